//! Where the outcome of an epoch goes.

use super::alerts::Alerts;
use super::serve::{Api, Place};
use super::tell::{Lasting, tell, tell_unpublished};
use super::vitals::Vitals;
use super::{Report, now};
use crate::config::Config;
use crate::epoch::Memory;
use crate::finding::{EpochSummary, Finding, Status, Why};
use crate::nats::connect::Connection;
use crate::nats::publish::Publisher;
use crate::nats::sink::Sink;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::watch;

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
    connection: Connection,
    api: Option<Api>,
    current: watch::Sender<Option<Arc<Current>>>,
}

impl Outlets {
    pub(super) fn new(connection: &Connection, sink: Option<Sink>, config: &Config, vitals: &Vitals) -> Self {
        let alerts = |alertmanager| Alerts::start(alertmanager, config.epoch, vitals);
        Self {
            vitals: vitals.clone(),
            publisher: Publisher::new(connection, &config.subject_prefix),
            unpublished: Lasting::default(),
            alerts: config.alertmanager.as_ref().map(alerts),
            sink,
            connection: connection.clone(),
            api: None,
            current: watch::Sender::new(None),
        }
    }

    /// Findings of earlier runs that the sink has come to know of since the last call.
    pub(super) fn late(&self) -> Vec<Finding> {
        self.sink.as_ref().map(Sink::late).unwrap_or_default()
    }

    /// Lets the agent be asked, from the end of the next epoch on.
    pub(super) fn answer(&mut self, config: &Arc<Config>, memory: Arc<RwLock<Memory>>, agent_id: &str) {
        self.api = Some(Api::new(config, self.current.subscribe(), memory, agent_id));
    }

    /// Answers from here on by another configuration.
    pub(super) fn configure(&self, config: &Arc<Config>) {
        if let Some(api) = &self.api {
            api.configure(config);
        }
    }

    async fn serve(&mut self) {
        if let Some(api) = &mut self.api {
            api.serve(Place::System, &self.connection).await;
            if let Some(connection) = self.sink.as_ref().and_then(Sink::connection) {
                api.serve(Place::Sink, &connection).await;
            }
        }
    }

    /// Answers nobody until the next epoch has ended.
    #[expect(dead_code, reason = "for an agent that no longer leads")]
    pub(super) async fn rest(&mut self) {
        if let Some(api) = &mut self.api {
            api.stop().await;
        }
    }

    /// Hands out an epoch's outcome. `within` is what publishing may take.
    pub(super) async fn deliver(&mut self, report: &mut Report, system_account: &str, within: Duration) {
        tell(report);
        report.summary.sink = self.sink.as_ref().map(Sink::status);
        let open = report
            .said
            .iter()
            .filter(|said| said.finding.status == Status::Firing && said.why != Why::EndedAgain)
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
        let errors = self.publisher.epoch(system_account, &report.said, &report.summary, within).await;
        self.vitals.epoch_ended(report, &current, errors.len());
        let first = errors.first().map(ToString::to_string);
        tell_unpublished(&mut self.unpublished, errors.len(), first);
        self.serve().await;
    }

    /// Lets what is under way be sent within this time.
    pub(super) async fn close(self, within: Duration) {
        let api = async {
            if let Some(mut api) = self.api {
                api.stop().await;
            }
        };
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
        tokio::join!(alerts, sink, api);
    }
}
