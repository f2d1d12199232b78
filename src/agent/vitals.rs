//! What the agent tells about itself over HTTP, and the one clock by which it does.

use super::{Current, Reloads, Report, now};
use crate::admin::{Health, Metrics, Reload, answer};
use crate::config::Config;
use crate::http::serve::{BindError, Server};
use crate::nats::events::ClientEvents;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Figures and signs of life; clones share them.
#[derive(Clone)]
pub(super) struct Vitals(Arc<Inner>);

struct Inner {
    began: Instant,
    metrics: Metrics,
    health: Health,
    /// Of the connection to the system account, once there has been one.
    events: Mutex<Option<ClientEvents>>,
}

impl Vitals {
    pub(super) fn new(epoch: Duration) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
            health: Health::new(epoch, Duration::ZERO),
            events: Mutex::default(),
        }))
    }

    /// Serves until the handle is dropped.
    pub(super) async fn serve(&self, at: SocketAddr) -> Result<AbortOnDropHandle<()>, BindError> {
        let server = Server::bind(at).await?;
        tracing::info!(address = %server.address(), "serving /metrics, /livez and /readyz");
        let vitals = self.clone();
        let server = server.run(move |question| {
            vitals.refresh();
            answer(vitals.metrics(), vitals.health(), question, vitals.now())
        });
        Ok(AbortOnDropHandle::new(tokio::spawn(server)))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn health(&self) -> &Health {
        &self.0.health
    }

    /// The time since the program began.
    pub(super) fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// The loop goes on, and will be back within `waits`.
    pub(super) fn progress(&self, waits: Duration) {
        self.health().progress(self.now(), waits);
    }

    /// It was tried to read the configuration again, and this one holds.
    pub(super) fn reloaded(&self, reloads: &Reloads, config: &Config) {
        self.health().set_epoch(config.epoch);
        self.metrics().reloaded(match reloads.stale() {
            Some(_) => Reload::Refused,
            None => Reload::Done(now()),
        });
    }

    /// There is a connection to the system account.
    pub(super) fn connected(&self, events: &ClientEvents) {
        *self.0.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(events.clone());
    }

    /// An epoch of this agent has ended, and so many messages could not be published.
    pub(super) fn epoch_ended(&self, report: &Report, current: &Current, unpublished: usize) {
        let summary = &report.summary;
        let open = current.open.iter().map(|finding| (finding.check.clone(), finding.severity));
        self.metrics().epoch_ended(summary, open, now());
        self.metrics().publish_failed(unpublished as u64);
        self.health().epoch_ended(self.now(), summary.servers.responded > 0);
    }

    /// Takes in what nobody reports when it changes.
    fn refresh(&self) {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(events) = &*events {
            self.metrics().set_connection(events.connected(), events.connects(), events.disconnects());
        }
    }
}
