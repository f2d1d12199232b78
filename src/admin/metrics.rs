//! The figures of the agent, as its parts report them.

use super::expose;
use crate::check::Severity;
use crate::finding::{AnswerKind, EpochSummary, SinkStatus};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// The figures; clones share them. Everything in here is bounded by the catalogue and the configuration: no account, no
/// server and no other entity has figures of its own.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Figures>>);

/// How a configuration was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is in use, since this time.
    Done(OffsetDateTime),
    /// It cannot be used; the old one stays.
    Refused,
}

/// The figures of one Alertmanager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) sent: u64,
    pub(super) failures: u64,
    pub(super) refused: u64,
    pub(super) dropped: u64,
    pub(super) pending: u64,
}

/// The state behind [`Metrics`].
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) version: String,
    pub(super) open: BTreeMap<(Cow<'static, str>, Severity), u64>,
    pub(super) epochs: u64,
    pub(super) took: Duration,
    pub(super) took_all: Duration,
    pub(super) last: Option<LastEpoch>,
    pub(super) requests: u64,
    pub(super) responses: u64,
    pub(super) bytes: u64,
    pub(super) publish_failures: u64,
    pub(super) connected: bool,
    pub(super) connects: u64,
    pub(super) disconnects: u64,
    pub(super) leader: bool,
    pub(super) reloads: u64,
    pub(super) reloads_refused: u64,
    pub(super) reloaded_at: Option<OffsetDateTime>,
    pub(super) sink: Option<SinkStatus>,
    pub(super) alertmanagers: BTreeMap<String, Instance>,
}

/// What the last epoch of a leader told.
#[derive(Debug, Clone)]
pub(super) struct LastEpoch {
    pub(super) ended_at: OffsetDateTime,
    pub(super) complete: bool,
    pub(super) known: u64,
    pub(super) responded: u64,
    pub(super) unknown: u64,
    pub(super) held: u64,
    pub(super) pending: u64,
    pub(super) silenced: u64,
    pub(super) shortfalls: BTreeMap<AnswerKind, u64>,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(version: &str) -> Self {
        Self(Arc::new(Mutex::new(Figures { version: version.into(), ..Figures::default() })))
    }

    /// An epoch of a leader has ended: its summary, and its open findings by check and severity.
    pub fn epoch_ended(
        &self,
        summary: &EpochSummary,
        open: impl IntoIterator<Item = (Cow<'static, str>, Severity)>,
        at: OffsetDateTime,
    ) {
        let mut by_check = BTreeMap::new();
        for finding in open {
            *by_check.entry(finding).or_insert(0) += 1;
        }
        let mut shortfalls = BTreeMap::new();
        for row in &summary.coverage {
            *shortfalls.entry(row.answer).or_insert(0) += 1;
        }
        let mut figures = self.lock();
        figures.open = by_check;
        figures.epochs += 1;
        let took = Duration::from_millis(summary.duration_ms);
        figures.took = took;
        figures.took_all += took;
        figures.requests += summary.cost.requests;
        figures.responses += summary.cost.responses;
        figures.bytes += summary.cost.bytes;
        figures.sink.clone_from(&summary.sink);
        figures.last = Some(LastEpoch {
            ended_at: at,
            complete: summary.complete,
            known: summary.servers.known,
            responded: summary.servers.responded,
            unknown: summary.checks.unknown.len() as u64 + summary.checks.unknown_omitted.unwrap_or(0),
            held: summary.findings.held,
            pending: summary.findings.pending,
            silenced: summary.findings.silenced,
            shortfalls,
        });
    }

    /// Whether this agent leads. A standby tells nothing of findings and of the system, or sums over agents would count
    /// everything twice.
    pub fn set_leader(&self, leader: bool) {
        let mut figures = self.lock();
        figures.leader = leader;
        if !leader {
            figures.open.clear();
            figures.last = None;
        }
    }

    /// So many messages could not be published.
    pub fn publish_failed(&self, messages: u64) {
        self.lock().publish_failures += messages;
    }

    /// The connection to the system account, and how often it was made and lost since the start.
    pub fn set_connection(&self, connected: bool, connects: u64, disconnects: u64) {
        let mut figures = self.lock();
        (figures.connected, figures.connects, figures.disconnects) = (connected, connects, disconnects);
    }

    /// The configuration was read again.
    pub fn reloaded(&self, outcome: Reload) {
        let mut figures = self.lock();
        match outcome {
            Reload::Done(at) => {
                figures.reloads += 1;
                figures.reloaded_at = Some(at);
            }
            Reload::Refused => figures.reloads_refused += 1,
        }
    }

    /// The Alertmanagers that there are; figures of others are forgotten.
    pub fn set_alertmanagers(&self, instances: &[String]) {
        let mut figures = self.lock();
        figures.alertmanagers.retain(|instance, _| instances.contains(instance));
        for instance in instances {
            figures.alertmanagers.entry(instance.clone()).or_default();
        }
    }

    /// An Alertmanager took so many alerts.
    pub fn alerts_sent(&self, instance: &str, alerts: u64) {
        self.alertmanager(instance, |figures| figures.sent += alerts);
    }

    /// An Alertmanager could not be reached, or failed; it is tried again.
    pub fn alerts_failed(&self, instance: &str) {
        self.alertmanager(instance, |figures| figures.failures += 1);
    }

    /// An Alertmanager refused so many alerts.
    pub fn alerts_refused(&self, instance: &str, alerts: u64) {
        self.alertmanager(instance, |figures| figures.refused += alerts);
    }

    /// What waits for an Alertmanager, and how many alerts there was no room for since the start.
    pub fn set_alerts_waiting(&self, instance: &str, pending: u64, dropped: u64) {
        self.alertmanager(instance, |figures| (figures.pending, figures.dropped) = (pending, dropped));
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let figures = self.lock().clone();
        expose::text(figures)
    }

    fn alertmanager(&self, instance: &str, change: impl FnOnce(&mut Instance)) {
        if let Some(figures) = self.lock().alertmanagers.get_mut(instance) {
            change(figures);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
