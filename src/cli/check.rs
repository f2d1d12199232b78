//! `check`: look once, print, and end with a status.

use super::global::Settings;
use super::run::runtime;
use super::{Failure, Output, logging, terminal};
use crate::agent::{self, Report};
use crate::check::Severity;
use crate::report;
use clap::{Args, ValueEnum};

const LONG_ABOUT: &str = "\
Gathers, judges and prints once, without publishing anything.

The exit status is that of monitoring plugins: 0 nothing to report, 1 warnings, 2 something critical, 3 nothing could be \
looked at (no connection, no permission, no answer, or a configuration that cannot be used). `--fail-on` decides from \
which severity on findings count; information that counts ends with 1.";

/// Look once, print findings, and end with a status for monitoring and CI
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT)]
pub(super) struct CheckArgs {
    /// How findings are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Epochs to look at, one `--epoch` apart; what compares with an earlier epoch needs 2
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// The least severity that counts for the exit status
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = Severity::Warning)]
    fail_on: Severity,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// One document: {"epoch": …, "findings": […]}
    Json,
    /// A line per finding, then the summary of the epoch
    Ndjson,
    /// For the job summaries of CI systems
    Markdown,
    /// Plugin output with performance data
    Nagios,
}

pub(super) fn run(settings: &Settings, arguments: &CheckArgs) -> Result<Output, Failure> {
    let level = settings.log_level.clone();
    let config = settings.load()?;
    // What the client logs of a refusal is said again, better, by the failure.
    logging::start(config.log_format, level.as_deref(), "warn,async_nats=off")?;
    let report = runtime()?.block_on(agent::check(config, arguments.epochs))?;
    render(&report, arguments.format, arguments.fail_on)
}

fn render(report: &Report, format: Format, fail_on: Severity) -> Result<Output, Failure> {
    let text = match format {
        Format::Table => report::table(report, terminal::width()),
        Format::Json => report::json(report)?,
        Format::Ndjson => report::ndjson(report)?,
        Format::Markdown => report::markdown(report),
        Format::Nagios => report::nagios(report, fail_on),
    };
    Ok(Output { text, status: report::status(report, fail_on) })
}
