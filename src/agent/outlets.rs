//! Where the outcome of an epoch goes.

use super::tell::tell;
use super::{Report, now};
use crate::config::Config;
use crate::finding::{EpochSummary, Finding, Status, Why};
use crate::nats::connect::Connection;
use crate::nats::publish::Publisher;
use crate::nats::sink::Sink;
use std::sync::Arc;
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
    publisher: Publisher,
    sink: Option<Sink>,
    current: watch::Sender<Option<Arc<Current>>>,
}

impl Outlets {
    pub(super) fn new(connection: &Connection, sink: Option<Sink>, config: &Config) -> Self {
        let publisher = Publisher::new(connection, &config.subject_prefix);
        Self { publisher, sink, current: watch::Sender::new(None) }
    }

    /// Findings of earlier runs that the sink has come to know of since the last call.
    pub(super) fn late(&self) -> Vec<Finding> {
        self.sink.as_ref().map(Sink::late).unwrap_or_default()
    }

    /// The state after the last epoch; none before the first one has ended.
    #[expect(dead_code, reason = "for those who are asked for the present state")]
    pub(super) fn current(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.current.subscribe()
    }

    /// Hands out an epoch's outcome. `within` is what publishing may take.
    pub(super) async fn deliver(&mut self, report: &Report, system_account: &str, within: Duration) {
        tell(report);
        let sink = self.sink.as_ref().map(Sink::status);
        let summary = Arc::new(EpochSummary { sink, ..report.summary.clone() });
        let errors = self.publisher.epoch(system_account, &report.said, &summary, within).await;
        for error in errors {
            tracing::error!("{error}");
        }
        if let Some(sink) = &self.sink {
            sink.deliver(&report.said, &summary, system_account, now());
        }
        let open = report
            .said
            .iter()
            .filter(|said| said.finding.status == Status::Firing && said.why != Why::EndedAgain)
            .map(|said| Arc::clone(&said.finding))
            .collect();
        self.current.send_replace(Some(Arc::new(Current { summary, open })));
    }

    /// Gives those who have something left to send this long for it.
    pub(super) async fn finish(&mut self, within: Duration) {
        if let Some(sink) = &mut self.sink {
            sink.finish(within).await;
        }
    }
}
