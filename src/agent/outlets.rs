//! Where the outcome of an epoch goes.

use super::Report;
use super::tell::tell;
use crate::config::Config;
use crate::finding::{EpochSummary, Finding, Status, Why};
use crate::nats::connect::Connection;
use crate::nats::publish::Publisher;
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
    current: watch::Sender<Option<Arc<Current>>>,
}

impl Outlets {
    pub(super) fn new(connection: &Connection, config: &Config) -> Self {
        let publisher = Publisher::new(connection, &config.subject_prefix);
        Self { publisher, current: watch::Sender::new(None) }
    }

    /// The state after the last epoch; none before the first one has ended.
    #[expect(dead_code, reason = "for those who are asked for the present state")]
    pub(super) fn current(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.current.subscribe()
    }

    /// Hands out an epoch's outcome. `within` is what publishing may take.
    pub(super) async fn deliver(&mut self, report: &Report, system_account: &str, within: Duration) {
        tell(report);
        let errors = self.publisher.epoch(system_account, &report.said, &report.summary, within).await;
        for error in errors {
            tracing::error!("{error}");
        }
        let open = report
            .said
            .iter()
            .filter(|said| said.finding.status == Status::Firing && said.why != Why::EndedAgain)
            .map(|said| Arc::clone(&said.finding))
            .collect();
        let current = Current { summary: Arc::new(report.summary.clone()), open };
        self.current.send_replace(Some(Arc::new(current)));
    }
}
