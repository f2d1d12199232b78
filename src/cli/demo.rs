//! `demo`: a local cluster with faults, and what the agent finds in it.

use super::global::Settings;
use super::run::{runtime, stop_at_signals};
use super::{Failure, Output, logging, terminal};
use crate::config;
use crate::demo::{self, DEFAULT_EPOCH, DemoError, DemoOptions};
use clap::Args;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

const LONG_ABOUT: &str = "\
Starts three servers on free ports of this machine, lets some two hundred clients misbehave, runs the agent against \
them and shows what it publishes. Nothing of yours is touched: the servers have accounts of their own, made for the \
occasion, and listen on 127.0.0.1 only. Options and environment variables of the connection are ignored; `--epoch` is \
not, and is 2s unless given.

It runs until Ctrl-C and then stops the servers and removes their directory, as it does when it is killed or one of \
its parts is.";

/// Start a local cluster with faults, and show what the agent finds in it
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT)]
pub(super) struct DemoArgs {
    /// The nats-server to start [default: that of the environment variable NATS_SERVER, else the one in PATH]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// End once everything that is provoked has been found; exit status 3 if that takes longer than 30s
    #[arg(long)]
    until_found: bool,
    /// End after the agent has run for so long
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    stop_after: Option<Duration>,
}

pub(super) fn run(settings: &Settings, arguments: DemoArgs) -> Result<Output, Failure> {
    let overrides = &settings.overrides;
    let format = overrides.log_format.unwrap_or_default();
    logging::start(format, settings.log_level.as_deref(), "warn,async_nats=error")?;
    let options = DemoOptions {
        server_binary: arguments.nats_server,
        epoch: overrides.epoch.unwrap_or(DEFAULT_EPOCH),
        stop_after: arguments.stop_after,
        until_found: arguments.until_found,
        width: io::stdout().is_terminal().then(terminal::width),
    };
    let ended = runtime()?.block_on(async {
        let stop = stop_at_signals()?;
        Ok::<_, Failure>(demo::run(options, io::stdout(), stop).await)
    })?;
    match ended {
        // A reader that has gone away is no failure, here as in the other commands.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => drop(other?),
    }
    Ok(Output::of(""))
}
