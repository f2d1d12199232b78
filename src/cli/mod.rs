//! The command line: what can be asked for, a file per command.

mod catalog;
mod check;
mod config;
mod connection;
mod demo;
mod global;
mod logging;
mod outcome;
mod permissions;
mod run;
mod simulate;
mod terminal;
mod watch;

pub use outcome::{Failure, Output, end};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

const LONG_ABOUT: &str = "\
Watches a NATS system over its system account, judges it each epoch by a catalogue of checks, and publishes what it \
finds below `insights.checks.`.

Without a command it runs as the agent does, like `insights-agent run`. A flag wins over the environment, the \
environment over the configuration file, and the file over the default.";

const AFTER_HELP: &str = "\
Exit status:
  0  done; `check`: nothing to report
  1  `check`: warnings
  2  `check`: something critical
  3  nothing could be looked at, or the command line or the configuration cannot be used";

#[derive(Debug, Parser)]
#[command(name = "insights-agent", version, about = "Judges a NATS system and publishes what it finds", long_about = LONG_ABOUT, after_long_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(flatten)]
    connection: connection::ConnectionArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the system and publish findings until stopped (the default command)
    Run,
    Check(check::CheckArgs),
    Watch(watch::WatchArgs),
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    Permissions(permissions::PermissionsArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Demo(demo::DemoArgs),
    Simulate(simulate::SimulateArgs),
    // Named by `demo::guard::COMMAND`.
    #[command(name = "demo-guard", hide = true)]
    DemoGuard,
}

/// What was asked for.
#[derive(Debug)]
pub struct Invocation {
    cli: Cli,
    matches: ArgMatches,
}

/// Reads the command line and the environment.
pub fn parse<I, T>(arguments: I) -> Result<Invocation, Failure>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    // An empty variable is what compose files and shells leave where nothing is set.
    let command = Cli::command().mut_args(|argument| {
        let is_empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { argument.env(None) } else { argument }
    });
    let matches = command.try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok(Invocation { cli, matches })
}

impl Invocation {
    /// Does it.
    pub fn run(self) -> Result<Output, Failure> {
        let Self { cli, matches } = self;
        let Cli { global, connection, command } = cli;
        let settings = global.with(connection.layers(&matches));
        match command.unwrap_or(Command::Run) {
            Command::Run => run::run(settings),
            Command::Check(arguments) => check::run(&settings, &arguments),
            Command::Watch(arguments) => watch::run(&settings, &arguments),
            Command::Catalog(command) => catalog::run(&command),
            Command::Permissions(arguments) => permissions::run(&settings, &arguments),
            Command::Config(command) => config::run(settings, command),
            Command::Demo(arguments) => demo::run(&settings, arguments),
            Command::Simulate(arguments) => simulate::run(&settings, arguments),
            Command::DemoGuard => {
                crate::demo::guard::guard_main(std::io::stdin().lock());
                Ok(Output::of(""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in [
            &["insights-agent", "--epoch", "5s", "--server", "a", "check"][..],
            &["insights-agent", "check", "--epoch", "5s", "-s", "a"],
            &["insights-agent", "-s", "a", "check", "--epoch=5s"],
        ] {
            let Invocation { cli, matches } = parse(line).unwrap();
            let settings = cli.global.with(cli.connection.layers(&matches));
            assert_eq!(settings.overrides.epoch, Some(std::time::Duration::from_secs(5)), "{line:?}");
            assert_eq!(settings.overrides.flags.servers, ["a"], "{line:?}");
        }
    }
}
