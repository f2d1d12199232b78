//! The log on standard error.

use super::Failure;
use crate::config::LogFormat;
use std::io::{self, IsTerminal};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// Starts the log. `filter` is what the operator asked for, `default` what holds otherwise.
pub(super) fn start(format: LogFormat, filter: Option<&str>, default: &str) -> Result<(), Failure> {
    let wanted = filter.unwrap_or(default);
    // Levels by target are all that is needed; the library's richer filter would bring an engine of regular expressions.
    let filter: Targets = wanted
        .parse()
        .map_err(|error| Failure::LogFilter { filter: format!("{wanted:?}"), problem: format!("{error}") })?;
    let log = fmt::layer().with_writer(io::stderr);
    let log = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let log = log.with_filter(filter).with_filter(filter_fn(may_be_told));
    // Only a log that is there already can fail it, and that one will do.
    drop(registry().with(log).try_init());
    Ok(())
}

/// At this level async-nats 0.51 tells every message with its bytes, and they hold login tokens and JWTs of the clients.
/// No filter may ask for that.
fn may_be_told(of: &Metadata<'_>) -> bool {
    *of.level() != Level::TRACE || of.target().split("::").next() != Some("async_nats")
}
