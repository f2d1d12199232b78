//! Options of every command.

use crate::config::{self, Config, ConfigError, LogFormat, Overrides};
use crate::connection::{ConnectionOptions, Secret};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Agent options")]
pub(super) struct GlobalArgs {
    /// The configuration file (TOML); `config example` prints one
    #[arg(long, global = true, value_name = "FILE", env = "INSIGHTS_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// How often the system is looked at: whole seconds, at least 1s [default: 60s]
    #[arg(long, global = true, value_name = "DURATION", env = "INSIGHTS_EPOCH", hide_env_values = true, value_parser = config::epoch)]
    epoch: Option<Duration>,
    /// The first tokens of the subjects of findings [default: insights.checks]
    #[arg(long, global = true, value_name = "PREFIX", value_parser = config::prefix)]
    subject_prefix: Option<String>,
    /// Serve /metrics, /livez and /readyz over HTTP there, like 127.0.0.1:7778 [default: nowhere]
    #[arg(long, global = true, value_name = "ADDR", env = "INSIGHTS_LISTEN", hide_env_values = true, value_parser = config::listen)]
    listen: Option<SocketAddr>,
    /// How the log on standard error is written [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter per module [default: info, for check warn]
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true)]
    log_level: Option<String>,
}

/// Options of every command, as far as they were given.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) file: Option<PathBuf>,
    pub(super) log_level: Option<String>,
    pub(super) overrides: Overrides,
}

impl GlobalArgs {
    /// Together with the connection options of the environment and of flags.
    pub(super) fn with(self, (environment, flags): (ConnectionOptions, ConnectionOptions)) -> Settings {
        let Self { config, epoch, subject_prefix, listen, log_format, log_level } = self;
        let sink_password =
            std::env::var(config::SINK_PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty());
        let sink_password = sink_password.map(Secret::from);
        let overrides =
            Overrides { epoch, subject_prefix, log_format, listen, environment, flags, sink_password };
        Settings { file: config, log_level, overrides }
    }
}

impl Settings {
    /// The effective configuration.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), self.overrides.clone())
    }
}
