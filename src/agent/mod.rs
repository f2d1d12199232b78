//! The epoch loop: gather, judge, publish; and its shutdown.

mod alerts;
mod election;
mod ending;
mod look;
mod outlets;
mod post;
mod reload;
mod schedule;
mod serve;
mod standby;
mod systemd;
mod tell;
mod vitals;

pub use ending::ENDS_WITHIN;
pub use outlets::Current;
pub use reload::{Read, Reloads};

use crate::config::Config;
use crate::election::heartbeat;
use crate::finding::{EpochSummary, Finding, Said, Why};
use crate::http::serve::BindError;
use crate::nats::connect::ConnectError;
use crate::nats::inbox::InboxError;
use crate::nats::lease::{LeaseKey, lease_key};
use crate::nats::selftest::SelfTestError;
use crate::nats::sink::Sink;
use election::Office;
use ending::{Ending, unless_stopped};
use look::{Beside, Looker, Purpose};
use outlets::Outlets;
use post::Post;
use schedule::Schedule;
use serve::Api;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use vitals::Vitals;

/// The part of an epoch in which it gathers; the rest is for judging and publishing.
const GATHER_SHARE: f64 = 0.8;

/// What a one-shot look may take, in multiples of the connection's timeout.
const CHECK_TIMEOUTS: u32 = 6;

/// What one attempt to start may take, in multiples of the connection's timeout.
const START_TIMEOUTS: u32 = 6;

/// What one question about the lease may take at the least.
const LEASE_PATIENCE: Duration = Duration::from_millis(500);

/// What leaving the others in order may take.
const LEAVE: Duration = Duration::from_millis(750);

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
    /// It looked, and what it saw was not judged. Not of an agent that looks alone.
    #[error("nothing was judged")]
    NotJudged,
    /// An address at which it cannot be asked how it is.
    #[error(transparent)]
    Listen(#[from] BindError),
}

/// Runs until `stop`: each epoch gathers, judges and publishes. What keeps it from starting is logged as one sentence and
/// tried again, ever more rarely; but for an address that cannot be listened on, which ends it. When `reloads` is asked for,
/// the configuration is read again between two epochs. After `stop` it ends within [`ENDS_WITHIN`].
pub async fn run(config: Config, mut reloads: Reloads, stop: CancellationToken) -> Result<(), AgentError> {
    reload::warn(&config);
    let ending = Ending::watch(&stop);
    let vitals = Vitals::new(config.epoch);
    let _served = match config.listen {
        Some(address) => Some(vitals.serve(address).await?),
        None => None,
    };
    let _fed = systemd::feed_watchdog(&vitals);
    systemd::ready();
    let started = tokio::select! {
        () = stop.cancelled() => None,
        started = start(Arc::new(config), &mut reloads, &vitals) => Some(started),
    };
    if let Some((config, mut looker)) = started {
        let sink = config.sink.as_ref().map(|sink| Sink::start(sink, &config.subject_prefix));
        let lease = sink.as_ref().map(|sink| lease(sink, &looker, &config));
        let (office, member) = Office::start(&config, &looker, lease).await?;
        if let (Some(sink), Some(settings)) = (&sink, &config.sink) {
            let known =
                unless_stopped(&stop, Duration::ZERO, sink.known(settings.connection.timeout())).await;
            match known.flatten() {
                Some(known) => looker.adopt(known),
                None => tracing::warn!(
                    "the sink has not answered; what it knows of earlier runs is taken in when it does"
                ),
            }
        }
        let outlets = Outlets::new(looker.connection(), sink, office.clone(), &config, &vitals);
        let api = Api::new(&config, outlets.current(), looker.memory(), looker.id());
        tracing::info!(epoch = %humantime::format_duration(config.epoch), "watching");
        let mut post = Post { config, vitals, office, looker, outlets, api, reloads, stop };
        post.keep().await;
        // It is there: nothing but the signal ends the loop.
        if let Ok(ending) = ending.await {
            let left = ending.left().saturating_sub(LEAVE);
            let _ = tokio::join!(timeout(left, post.api.stop()), post.outlets.close(left));
            member.leave(ending.left().max(LEAVE)).await;
        }
    } else {
        // It tells that the end has begun.
        let _ = ending.await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// The lease of the agents that share a sink and watch the same system.
fn lease(sink: &Sink, looker: &Looker, config: &Config) -> LeaseKey {
    let key = lease_key(looker.system_account(), &config.subject_prefix);
    sink.lease(&key, heartbeat(config.epoch).max(LEASE_PATIENCE))
}

/// Tries until there is a connection with which the agent can work.
async fn start(mut config: Arc<Config>, reloads: &mut Reloads, vitals: &Vitals) -> (Arc<Config>, Looker) {
    let mut wait = RETRY.0;
    loop {
        vitals.progress(config.connection.timeout() * START_TIMEOUTS);
        let error = match Looker::start(Arc::clone(&config), Purpose::Publish).await {
            Ok(looker) => {
                vitals.connected(looker.connection().events());
                return (config, looker);
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(retry_in = %humantime::format_duration(wait), "{error}");
        vitals.health().cannot_start(&error);
        vitals.progress(wait);
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(RETRY.1),
            () = reloads.asked() => {
                if let Some(new) = reloads.read_before_start(&config) {
                    (config, wait) = (Arc::new(new), RETRY.0);
                }
                vitals.reloaded(reloads, &config);
            }
        }
    }
}

/// Looks once, or over several epochs for checks that compare, and reports the last. Publishes nothing.
pub async fn check(config: Config, epochs: u32) -> Result<Report, AgentError> {
    let config = Arc::new(config);
    let mut looker = Looker::start(Arc::clone(&config), Purpose::Look).await?;
    let within = looker.connection().timeout() * CHECK_TIMEOUTS;
    let mut schedule = Schedule::new(config.epoch, now());
    let mut report = looker.epoch(&schedule, within, within, Beside::ALONE).await?;
    for _ in 1..epochs {
        let wait = schedule.next(now());
        sleep(wait).await;
        report = looker.epoch(&schedule, within, within, Beside::ALONE).await?;
    }
    report.ok_or(AgentError::NotJudged)
}

#[expect(clippy::disallowed_methods, reason = "the edge at which the clock is read")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
