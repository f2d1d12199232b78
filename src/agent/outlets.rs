//! Where the outcome of an epoch goes.

use super::alerts::Alerts;
use super::election::Office;
use super::tell::{Lasting, tell, tell_unpublished};
use super::vitals::Vitals;
use super::{Report, now};
use crate::config::Config;
use crate::finding::{EpochSummary, Finding, Status};
use crate::nats::connect::Connection;
use crate::nats::publish::Publisher;
use crate::nats::sink::Sink;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the summary says of an agent that is denied the subject of agents.
const DENIED: &str = "the agent's user may not publish and subscribe to insights.agents.*: the agent acts as if it were \
                      alone, and others beside the same system publish the same";

/// The state after an epoch.
#[derive(Debug, Clone)]
pub struct Current {
    /// Its summary.
    pub summary: Arc<EpochSummary>,
    /// Findings that are published as firing.
    pub open: Vec<Arc<Finding>>,
}

/// Everything that an epoch's outcome goes to.
pub(super) struct Outlets {
    vitals: Vitals,
    publisher: Publisher,
    /// Messages that could not be published.
    unpublished: Lasting,
    alerts: Option<Alerts>,
    sink: Option<Sink>,
    office: Office,
    current: watch::Sender<Option<Arc<Current>>>,
}

impl Outlets {
    pub(super) fn new(
        connection: &Connection,
        sink: Option<Sink>,
        office: Office,
        config: &Config,
        vitals: &Vitals,
    ) -> Self {
        let alerts = |alertmanager| Alerts::start(alertmanager, &office, vitals);
        Self {
            vitals: vitals.clone(),
            publisher: Publisher::new(connection, &config.subject_prefix),
            unpublished: Lasting::default(),
            alerts: config.alertmanager.as_ref().map(alerts),
            sink,
            office,
            current: watch::Sender::new(None),
        }
    }

    /// Findings of earlier runs that the sink has come to know of since the last call.
    pub(super) fn late(&self) -> Vec<Finding> {
        self.sink.as_ref().map(Sink::late).unwrap_or_default()
    }

    /// The connection to the sink, once it was made.
    pub(super) fn sink_connection(&self) -> Option<Connection> {
        self.sink.as_ref().and_then(Sink::connection)
    }

    /// The state after the last epoch; none before the first one has ended.
    pub(super) fn current(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.current.subscribe()
    }

    /// Another agent led until now: what the sink knows by now is of its doing.
    pub(super) async fn take_over(&self, within: Duration) -> Vec<Finding> {
        match &self.sink {
            Some(sink) => {
                sink.read_again();
                sink.known(within).await.unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// Another agent leads: what the sink has not taken yet is that one's to tell.
    pub(super) fn stand_down(&self) {
        if let Some(sink) = &self.sink {
            sink.stand_down();
        }
    }

    /// Hands out an epoch's outcome, as far as this agent leads. `within` is what publishing may take.
    pub(super) async fn deliver(&mut self, report: &mut Report, system_account: &str, within: Duration) {
        if !self.office.holds() {
            tracing::warn!(
                epoch = report.summary.epoch,
                "this agent no longer leads, so the epoch is not published"
            );
            return;
        }
        tell(report);
        report.summary.agents = Some(self.office.at_work(&report.summary.agent));
        if self.office.denied() {
            report.summary.notes.push(DENIED.into());
        }
        report.summary.sink = self.sink.as_ref().map(Sink::status);
        let open = report
            .said
            .iter()
            .filter(|said| said.finding.status == Status::Firing)
            .map(|said| Arc::clone(&said.finding))
            .collect();
        let current = Arc::new(Current { summary: Arc::new(report.summary.clone()), open });
        self.current.send_replace(Some(Arc::clone(&current)));
        // Alertmanager and the sink have connections of their own, whatever becomes of this one.
        if let Some(alerts) = &self.alerts {
            alerts.epoch_ended(report);
        }
        if let Some(sink) = &self.sink {
            sink.deliver(&report.said, &current.summary, system_account, now());
        }
        let leads = || self.office.holds();
        let errors = self.publisher.epoch(system_account, &report.said, &report.summary, leads, within).await;
        self.vitals.epoch_ended(report, &current, errors.len());
        let first = errors.first().map(ToString::to_string);
        tell_unpublished(&mut self.unpublished, errors.len(), first);
    }

    /// Lets what is under way be sent within this time.
    pub(super) async fn close(self, within: Duration) {
        let alerts = async {
            if let Some(alerts) = self.alerts {
                alerts.close(within).await;
            }
        };
        let sink = async {
            if let Some(mut sink) = self.sink {
                sink.finish(within).await;
            }
        };
        tokio::join!(alerts, sink);
    }
}
