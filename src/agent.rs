//! The epoch loop: gather, judge, publish; and its shutdown.

use crate::check::Judgement;
use crate::config::{Config, ListConnections};
use crate::epoch::{Memory, follow_ups, judge, summarize};
use crate::finding::{AgentInfo, EpochSummary, Finding, Ledger, Moment, Origin, Status, step};
use crate::nats::connect::{ConnectError, Connection, connect};
use crate::nats::events::ClientEvents;
use crate::nats::gather::{Gatherer, PAGE, Plan, Sweep};
use crate::nats::inbox::InboxError;
use crate::nats::publish::Publisher;
use crate::nats::selftest::{Needs, SelfTestError, self_test};
use crate::permissions::Permissions;
use crate::snapshot::{AccountLimits, Endpoint, FoldRules, Login, Pace};
use crate::text::{Name, digest_hex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The part of an epoch in which it gathers; the rest is for judging and publishing.
const GATHER_SHARE: f64 = 0.8;

/// The part of an epoch that one answer may take, if the timeout of the connection is not shorter.
const PATIENCE_SHARE: f64 = 0.4;

/// The part of an epoch over which the first requests for connections are spread.
const SPREAD_SHARE: f64 = 0.1;

/// What a one-shot look may take, in multiples of the connection's timeout.
const CHECK_TIMEOUTS: u32 = 6;

/// First and longest wait before the start-up is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What one epoch found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its summary.
    pub summary: EpochSummary,
    /// Findings that fire, and those that ended.
    pub findings: Vec<Finding>,
    /// Whether any check could be judged that needs a server's answer; true where none such is enabled.
    pub judged: bool,
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
    let mut agent = loop {
        let started = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            started = Agent::start(Arc::clone(&config), Purpose::Publish) => started,
        };
        match started {
            Ok(agent) => break agent,
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
    let publisher = Publisher::new(&agent.connection, &config.subject_prefix);
    let mut schedule = Schedule::new(config.epoch, now());
    tracing::info!(epoch = %humantime::format_duration(config.epoch), "watching");
    loop {
        let within = config.epoch.mul_f64(GATHER_SHARE);
        agent.pace.skipped = schedule.skipped;
        let started = Instant::now();
        let epoch = agent.epoch(schedule.id, within, config.epoch);
        let report = tokio::select! {
            () = stop.cancelled() => break,
            report = epoch => report,
        };
        let left = config.epoch.mul_f64(1.0 - GATHER_SHARE);
        let system_account = agent.origin.system_account.clone();
        let errors = publisher.epoch(&system_account, report.findings, report.summary, left).await;
        for error in errors {
            tracing::error!("{error}");
        }
        agent.pace.previous_took = Some(started.elapsed());
        let wait = schedule.next(now());
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(wait) => {}
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Looks once, or over several epochs for checks that compare, and reports the last. Publishes nothing.
pub async fn check(config: Config, epochs: u32) -> Result<Report, AgentError> {
    let config = Arc::new(config);
    let mut agent = Agent::start(Arc::clone(&config), Purpose::Look).await?;
    let within = agent.connection.timeout() * CHECK_TIMEOUTS;
    let mut schedule = Schedule::new(config.epoch, now());
    let mut report = agent.epoch(schedule.id, within, within).await;
    for _ in 1..epochs {
        let wait = schedule.next(now());
        sleep(wait).await;
        report = agent.epoch(schedule.id, within, within).await;
    }
    Ok(report)
}

/// What the agent was started for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Publish,
    Look,
}

/// Everything that lives from epoch to epoch.
struct Agent {
    connection: Connection,
    purpose: Purpose,
    gatherer: Gatherer,
    config: Arc<Config>,
    memory: Memory,
    ledger: Ledger,
    origin: Origin,
    /// The configured name of the system; none where the system account's key stands for it.
    system: Option<String>,
    /// How the last epochs went.
    pace: Pace,
}

impl Agent {
    async fn start(config: Arc<Config>, purpose: Purpose) -> Result<Self, AgentError> {
        let connection = connect(&config.connection, ClientEvents::new()).await?;
        let Permissions { publish, subscribe } = Permissions::for_config(&config);
        let mut needs = Needs { publish, subscribe };
        if purpose == Purpose::Look {
            let publishes = format!("{}.>", config.subject_prefix);
            needs.publish.retain(|subject| *subject != publishes);
        }
        let mut denied = None;
        let account = match self_test(&connection, &needs).await {
            Ok(identity) => {
                tracing::info!(account = identity.account, servers = identity.servers.len(), "connected");
                Some(identity.account)
            }
            Err(error) if can_go_on(&error, &config.subject_prefix) => {
                tracing::warn!("{error}; what depends on them is reported as unknown");
                denied = Some(error);
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut gatherer = Gatherer::start(&connection, account.as_deref()).await?;
        gatherer.declare(declared(&config));
        if let Some(SelfTestError::Denied { publish, subscribe }) = &denied {
            gatherer.note_denied(publish, subscribe);
        }
        let system_account = account.unwrap_or_else(|| "$SYS".into());
        let system = config.system.clone();
        let name = config.agent_name.clone().unwrap_or_else(|| "insights-agent".into());
        let agent =
            AgentInfo { id: agent_id(&name), name: name.clone(), version: env!("CARGO_PKG_VERSION").into() };
        let pace = Pace { agent: name.into(), interval: config.epoch, ..Pace::default() };
        let origin = Origin {
            system: system.clone().unwrap_or_else(|| system_account.clone()),
            system_account,
            agent,
        };
        Ok(Self {
            connection,
            purpose,
            gatherer,
            config,
            memory: Memory::new(),
            ledger: Ledger::default(),
            origin,
            system,
            pace,
        })
    }

    /// One epoch. `within` bounds the gather, `epoch` the patience with one answer.
    async fn epoch(&mut self, id: u64, within: Duration, epoch: Duration) -> Report {
        let started = Instant::now();
        // Who looks once waits for the answer.
        let (spread, period) = match self.purpose {
            Purpose::Publish => (epoch.mul_f64(SPREAD_SHARE), epoch),
            Purpose::Look => (Duration::ZERO, Duration::ZERO),
        };
        let requests = self.config.requests();
        let plan = Plan {
            epoch: id,
            taken_at: now(),
            deadline: started + within,
            patience: self.connection.timeout().min(epoch.mul_f64(PATIENCE_SHARE)),
            connections: sweep(&self.config),
            accounts: requests.contains(&Endpoint::AccountStatz) || requests.contains(&Endpoint::Accountz),
            page: PAGE,
            spread,
            period,
        };
        let config = Arc::clone(&self.config);
        let idle_after = Box::new(move |login: Login<'_>| config.checks.idle_after(login));
        let rules = FoldRules { idle_after, own: Vec::new() };
        let mut snapshot = self.gatherer.sweep(&plan, rules).await;
        let wanted = follow_ups(&self.config.checks, &snapshot, &self.memory, &self.config.accounts);
        if !wanted.is_empty() {
            self.gatherer.follow_up(&plan, &mut snapshot, &wanted).await;
        }
        if !snapshot.servers.is_empty() {
            self.origin.system_account = snapshot.system_account.to_string();
            if self.system.is_none() {
                self.origin.system.clone_from(&self.origin.system_account);
            }
        }
        self.pace.took = started.elapsed();
        let overran = snapshot.cut || self.pace.skipped > 0;
        self.pace.overruns = if overran { self.pace.overruns + 1 } else { 0 };
        snapshot.pace = self.pace.clone();
        let judgements = judge(&self.config.checks, &snapshot, &self.memory, &self.config.accounts);
        let moment = Moment { epoch: id, at: now() };
        let (ledger, stepped) = step(std::mem::take(&mut self.ledger), &judgements, &self.origin, moment);
        self.ledger = ledger;
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let summary = summarize(&snapshot, &self.config.checks, &judgements, &stepped, &self.origin, took);
        self.memory.push(snapshot);
        tell(&stepped.publish, &summary);
        let mut needy = judgements.iter().filter(|judgement| !judgement.meta.needs.is_empty()).peekable();
        let judged = needy.peek().is_none() || needy.any(Judgement::evaluated);
        Report { summary, findings: stepped.publish, judged }
    }
}

/// Which connections are listed.
fn sweep(config: &Config) -> Sweep {
    match config.list_connections {
        _ if !config.checks.requests().contains(&Endpoint::Connz) => Sweep::NotNeeded,
        ListConnections::All => Sweep::Whole,
        ListConnections::Flagged => Sweep::Flagged,
        ListConnections::Off => Sweep::Off,
    }
}

/// Declared limits as claims write them.
fn declared(config: &Config) -> BTreeMap<Name, AccountLimits> {
    let claim = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let limits = config.accounts.iter().map(|(account, limits)| {
        let limits = AccountLimits {
            connections: claim(limits.max_connections),
            subscriptions: claim(limits.max_subscriptions),
            leafnodes: claim(limits.max_leafnodes),
        };
        (Name::from(account.as_str()), limits)
    });
    limits.collect()
}

/// Whether the agent is of use although subjects are denied: it must hear the roll call and be able to publish.
fn can_go_on(error: &SelfTestError, prefix: &str) -> bool {
    let SelfTestError::Denied { publish, .. } = error else {
        return false;
    };
    let vital = [format!("{prefix}.>"), "$SYS.REQ.SERVER.*.STATSZ".to_owned()];
    !publish.iter().any(|subject| vital.contains(subject))
}

/// Logs what changed; what stays as it was is not repeated.
fn tell(findings: &[Finding], summary: &EpochSummary) {
    for finding in findings {
        let (check, severity, status) = (finding.check, finding.severity.as_str(), finding.status.as_str());
        if finding.status == Status::Resolved || finding.epochs == 1 {
            tracing::info!(check, severity, status, "{}", finding.summary);
        }
    }
    tracing::debug!(
        epoch = summary.epoch,
        duration_ms = summary.duration_ms,
        complete = summary.complete,
        "epoch"
    );
}

/// Epochs at multiples of the interval since 1970, so that two agents call the same epoch alike. The first begins at
/// once, in the one that is running.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    interval_ms: u64,
    started_ms: u64,
    id: u64,
    /// Epochs left out between this one and the one before.
    skipped: u64,
}

impl Schedule {
    fn new(interval: Duration, now: OffsetDateTime) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1000);
        let mut schedule = Self { interval_ms, started_ms: 0, id: 0, skipped: 0 };
        schedule.begin(milliseconds(now) / interval_ms * interval_ms);
        schedule
    }

    fn begin(&mut self, at_ms: u64) {
        self.started_ms = at_ms;
        self.id = at_ms / 1000;
    }

    /// Moves on to the next epoch that has not begun yet, and tells how long to wait for it. An epoch that took too long
    /// makes those be left out that should have begun meanwhile.
    fn next(&mut self, now: OffsetDateTime) -> Duration {
        let now = milliseconds(now);
        let next = (now / self.interval_ms + 1) * self.interval_ms;
        self.skipped = next.saturating_sub(self.started_ms + self.interval_ms) / self.interval_ms;
        // A clock set back must not give an epoch the id of an earlier one.
        self.begin(next.max(self.started_ms + self.interval_ms));
        Duration::from_millis(self.started_ms.saturating_sub(now).min(self.interval_ms))
    }
}

fn milliseconds(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// New at every start: two agents on one host must not be taken for one.
fn agent_id(name: &str) -> String {
    let text = format!("{name}/{}/{}", std::process::id(), now().unix_timestamp_nanos());
    digest_hex(text.as_bytes(), 8)
}

#[expect(clippy::disallowed_methods, reason = "the edge at which the clock is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i128) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).unwrap()
    }

    #[test]
    fn epochs_are_aligned_and_never_repeat() {
        let mut schedule = Schedule::new(Duration::from_secs(60), at(1_763_632_859_000));
        assert_eq!(schedule.id, 1_763_632_800);
        assert_eq!(schedule.next(at(1_763_632_859_500)), Duration::from_millis(500));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860, 0));
        // It took too long: two epochs are left out.
        assert_eq!(schedule.next(at(1_763_632_860_000 + 150_000)), Duration::from_secs(30));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860 + 180, 2));
        // The clock is set back by an hour.
        assert_eq!(schedule.next(at(1_763_629_000_000)), Duration::from_secs(60));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860 + 240, 0));
    }

    #[test]
    fn two_agents_name_the_same_epoch_alike() {
        let a = Schedule::new(Duration::from_secs(30), at(1_763_632_801_000));
        let b = Schedule::new(Duration::from_secs(30), at(1_763_632_829_999));
        assert_eq!(a.id, b.id);
    }
}
