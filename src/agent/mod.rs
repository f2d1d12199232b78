//! The epoch loop: gather, judge, publish; and its shutdown.

mod look;
mod outlets;
mod schedule;
mod serve;
mod tell;

pub use outlets::Current;

use crate::config::Config;
use crate::finding::{EpochSummary, Finding, Said, Why};
use crate::nats::connect::ConnectError;
use crate::nats::inbox::InboxError;
use crate::nats::selftest::SelfTestError;
use look::{Looker, Purpose};
use outlets::Outlets;
use schedule::Schedule;
use serve::Api;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The part of an epoch in which it gathers; the rest is for judging and publishing.
const GATHER_SHARE: f64 = 0.8;

/// What a one-shot look may take, in multiples of the connection's timeout.
const CHECK_TIMEOUTS: u32 = 6;

/// First and longest wait before the start-up is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What one epoch found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its summary.
    pub summary: EpochSummary,
    /// What is to be published of findings, in this order.
    pub said: Vec<Said>,
    /// Whether any check could be judged that needs a server's answer; true where none such is enabled.
    pub judged: bool,
}

impl Report {
    /// Findings that fire, and those that ended in this epoch.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.said.iter().filter(|said| said.why != Why::EndedAgain).map(|said| &*said.finding)
    }
}

/// Why the agent cannot look.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection with which it cannot work.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// A connection that takes no subscription.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

/// Runs until `stop`: each epoch gathers, judges and publishes. What keeps it from starting is logged as one sentence and
/// tried again, ever more rarely.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    let config = Arc::new(config);
    let mut wait = RETRY.0;
    let mut looker = loop {
        let started = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            started = Looker::start(Arc::clone(&config), Purpose::Publish) => started,
        };
        match started {
            Ok(looker) => break looker,
            Err(error) => {
                tracing::error!(retry_in = %humantime::format_duration(wait), "{error}");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(RETRY.1);
    };
    let mut outlets = Outlets::new(looker.connection(), &config);
    let mut api = Api::new(&config, outlets.current(), looker.memory(), looker.id());
    api.start(looker.connection()).await;
    let mut schedule = Schedule::new(config.epoch, now());
    tracing::info!(epoch = %humantime::format_duration(config.epoch), "watching");
    loop {
        let within = config.epoch.mul_f64(GATHER_SHARE);
        let epoch = looker.epoch(&schedule, within, config.epoch);
        let report = tokio::select! {
            () = stop.cancelled() => break,
            report = epoch => report,
        };
        let left = config.epoch.mul_f64(1.0 - GATHER_SHARE);
        outlets.deliver(&report, looker.system_account(), left).await;
        looker.published();
        let wait = schedule.next(now());
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(wait) => {}
        }
    }
    api.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Looks once, or over several epochs for checks that compare, and reports the last. Publishes nothing.
pub async fn check(config: Config, epochs: u32) -> Result<Report, AgentError> {
    let config = Arc::new(config);
    let mut looker = Looker::start(Arc::clone(&config), Purpose::Look).await?;
    let within = looker.connection().timeout() * CHECK_TIMEOUTS;
    let mut schedule = Schedule::new(config.epoch, now());
    let mut report = looker.epoch(&schedule, within, within).await;
    for _ in 1..epochs {
        let wait = schedule.next(now());
        sleep(wait).await;
        report = looker.epoch(&schedule, within, within).await;
    }
    Ok(report)
}

#[expect(clippy::disallowed_methods, reason = "the edge at which the clock is read")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
