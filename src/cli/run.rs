//! `run`: the agent.

use super::global::Settings;
use super::{Failure, Output, logging};
use crate::agent::{self, Reloads};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Threads for the work between answers; most of the time goes by in waiting.
const THREADS: usize = 2;

pub(super) fn run(settings: Settings) -> Result<Output, Failure> {
    let level = settings.log_level.clone();
    let config = settings.load()?;
    logging::start(config.log_format, level.as_deref(), "info,async_nats=warn")?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let stop = stop_at_signals()?;
        let reloads = Reloads::new(notified_by_hangups()?, Box::new(move || settings.load()));
        tokio::select! {
            ended = agent::run(config, reloads, stop.clone()) => ended?,
            () = overdue(&stop) => tracing::warn!("not everything ended in time"),
        }
        Ok(Output::of(""))
    });
    // Names that are being looked up cannot be given up, and would be waited for.
    runtime.shutdown_background();
    outcome
}

/// Returns when an orderly end has taken too long.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(agent::ENDS_WITHIN).await;
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().map_err(Failure::Start)
}

/// Is cancelled by SIGINT and SIGTERM.
pub(super) fn stop_at_signals() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let interrupts = signal(SignalKind::interrupt()).map_err(Failure::Start)?;
    let terminations = signal(SignalKind::terminate()).map_err(Failure::Start)?;
    tokio::spawn(stop_at_a_signal(interrupts, terminations, stop.clone()));
    Ok(stop)
}

/// Is notified by SIGHUP, upon which the configuration is read again.
fn notified_by_hangups() -> Result<Arc<Notify>, Failure> {
    let asked = Arc::new(Notify::new());
    let mut hangups = signal(SignalKind::hangup()).map_err(Failure::Start)?;
    let notified = Arc::clone(&asked);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            notified.notify_one();
        }
    });
    Ok(asked)
}

/// The first signal asks for an orderly end; the second, of someone who has lost patience, ends at once.
async fn stop_at_a_signal(mut interrupts: Signal, mut terminations: Signal, stop: CancellationToken) {
    let mut next = async || {
        tokio::select! {
            _ = interrupts.recv() => SignalKind::interrupt(),
            _ = terminations.recv() => SignalKind::terminate(),
        }
    };
    next().await;
    tracing::info!("stopping; a second signal ends at once");
    stop.cancel();
    let signal = next().await;
    // As shells tell of a process that a signal has ended.
    std::process::exit(128 + signal.as_raw_value());
}
