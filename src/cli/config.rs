//! `config`: what the agent is told.

use super::global::Settings;
use super::{Failure, Output};
use crate::check::count;
use crate::config::{Config, Overrides, example, show};
use clap::Subcommand;
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
    },
}

pub(super) fn run(settings: Settings, command: ConfigCommand) -> Result<Output, Failure> {
    match command {
        ConfigCommand::Show => Ok(Output::of(show(&settings.load()?)?)),
        ConfigCommand::Example => Ok(Output::of(example())),
        ConfigCommand::Validate { file } => {
            let file = file.or(settings.file).ok_or(Failure::NoFile)?;
            // The file alone: it must not depend on who validates it.
            let config = Config::load(Some(&file), Overrides::default())?;
            Ok(Output::of(format!(
                "{} is valid: {} enabled, {} disabled, {}\n",
                file.display(),
                count(config.checks.checks.len() as u64, "check"),
                config.checks.disabled,
                count(config.override_count() as u64, "override"),
            )))
        }
    }
}
