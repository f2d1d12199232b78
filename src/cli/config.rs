//! `config`: what the agent is told.

use super::global::Settings;
use super::{Failure, Output};
use crate::agent::now;
use crate::check::count;
use crate::config::{Config, Considered, Explained, Overrides, Subject, example, explain, show};
use crate::connection::ConnectionOptions;
use crate::report::{DEFAULT_WIDTH, grid, lines};
use clap::{Args, Subcommand};
use std::fmt::Write;
use std::path::PathBuf;

/// Show, explain or validate the configuration
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the effective configuration as TOML, secrets redacted
    Show,
    /// Print a complete configuration file with every default and what it means
    Example,
    /// Tell whether a configuration file can be used; exit status 0 if so, 3 if not
    Validate {
        /// The file; that of --config by default
        file: Option<PathBuf>,
        #[command(flatten)]
        entity: EntityArgs,
    },
}

/// Of which entity the file is explained.
#[derive(Debug, Args)]
pub(super) struct EntityArgs {
    /// Explain what holds for one entity of this check, and where each value comes from. The entity is described by
    /// --account, --cluster, --stream, and by --server and --user: nothing is connected to here
    #[arg(long, value_name = "ID")]
    check: Option<String>,
    /// The entity's account, by name or public key
    #[arg(long, value_name = "NAME", requires = "check")]
    account: Option<String>,
    /// The entity's cluster
    #[arg(long, value_name = "NAME", requires = "check")]
    cluster: Option<String>,
    /// The entity's stream
    #[arg(long, value_name = "NAME", requires = "check")]
    stream: Option<String>,
}

pub(super) fn run(settings: Settings, command: ConfigCommand) -> Result<Output, Failure> {
    match command {
        ConfigCommand::Show => Ok(Output::of(show(&settings.load()?)?)),
        ConfigCommand::Example => Ok(Output::of(example())),
        ConfigCommand::Validate { file, entity } => {
            let file = file.or(settings.file).ok_or(Failure::NoFile)?;
            // The file alone: it must not depend on who validates it.
            let config = Config::load(Some(&file), Overrides::default())?;
            let mut text = format!(
                "{} is valid: {} enabled, {} disabled, {}, {}\n",
                file.display(),
                count(config.checks.checks.len() as u64, "check"),
                config.checks.disabled,
                count(config.override_count() as u64, "override"),
                count(config.silences.0.len() as u64, "silence"),
            );
            for warning in config.warnings(now()) {
                let _ = writeln!(text, "note: {warning}");
            }
            let EntityArgs { check, account, cluster, stream } = entity;
            if let Some(check) = check {
                // Nothing is connected to here: the server and the user are the entity's.
                let ConnectionOptions { servers, user, .. } = settings.overrides.flags;
                let server = servers.into_iter().next_back();
                let subject = Subject { account, cluster, server, user, stream };
                text.push_str(&explained(&explain(&config, &check, &subject)?));
            }
            Ok(Output::of(text))
        }
    }
}

fn explained(explained: &Explained) -> String {
    let mut out = String::new();
    if !explained.overrides.is_empty() {
        out.push('\n');
    }
    for (number, Considered { line, patterns, missed, holds }) in (1..).zip(&explained.overrides) {
        let verdict = match missed {
            Some(why) => format!("does not cover it, since {why}"),
            None if *holds => "covers it and holds".to_owned(),
            None => "covers it, but a later one holds".to_owned(),
        };
        let _ = writeln!(out, "override {number} at line {line}, {patterns}: {verdict}");
    }
    let mut table = grid(DEFAULT_WIDTH);
    table.set_header([explained.check, "VALUE", "FROM"]);
    for value in &explained.values {
        table.add_row([value.key.clone(), value.value.to_string(), value.from.clone()]);
    }
    let _ = write!(out, "\n{}", lines(table));
    out
}
