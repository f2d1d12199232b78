//! The agent as a service that is asked: `insights.api.>`, on every connection that it leads on.

use super::{Current, now};
use crate::api::{self, ApiError, Endpoint, View};
use crate::config::Config;
use crate::epoch::Memory;
use crate::nats::connect::Connection;
use crate::nats::service::{Description, EndpointDescription, Refusal, Request, Service};
use futures_util::future::join_all;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// What answers are made from.
struct Sources {
    current: watch::Receiver<Option<Arc<Current>>>,
    memory: Arc<RwLock<Memory>>,
    config: RwLock<Arc<Config>>,
}

/// Where the agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the system account.
    System,
    /// In the account of the sink.
    Sink,
}

/// The services that answer now: one for each place.
pub(super) struct Api {
    sources: Arc<Sources>,
    agent_id: String,
    services: Vec<(Place, Service)>,
}

impl Api {
    /// Answers nothing yet. `agent_id` becomes the id of the services.
    pub(super) fn new(
        config: &Arc<Config>,
        current: watch::Receiver<Option<Arc<Current>>>,
        memory: Arc<RwLock<Memory>>,
        agent_id: &str,
    ) -> Self {
        let sources = Sources { current, memory, config: RwLock::new(Arc::clone(config)) };
        Self { sources: Arc::new(sources), agent_id: agent_id.to_owned(), services: Vec::new() }
    }

    /// Begins to answer at a place, unless it does so already or the configuration says otherwise. What keeps it from that
    /// is logged: the agent is of use without. To be called once there is something to tell.
    pub(super) async fn serve(&mut self, place: Place, connection: &Connection) {
        if !self.sources.config().api.enabled || self.services.iter().any(|(other, _)| *other == place) {
            return;
        }
        let sources = Arc::clone(&self.sources);
        let handler = Arc::new(move |request: &Request| sources.answer(request));
        match Service::start(connection, self.description(), handler).await {
            Ok(service) => self.services.push((place, service)),
            Err(error) => tracing::warn!("{error}; requests are not answered"),
        }
    }

    /// Answers no more, after half a second at the most.
    pub(super) async fn stop(&mut self) {
        join_all(self.services.drain(..).map(|(_, service)| service.stop())).await;
    }

    /// Answers from here on by another configuration.
    pub(super) fn configure(&self, config: &Arc<Config>) {
        *self.sources.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(config);
    }

    fn description(&self) -> Description {
        let endpoint = |endpoint: Endpoint| EndpointDescription {
            name: endpoint.name(),
            subject: endpoint.subject(),
            metadata: vec![
                ("description", endpoint.description()),
                ("request_schema", endpoint.request_schema()),
                ("response_schema", endpoint.response_schema()),
            ],
        };
        Description {
            name: api::SERVICE,
            id: self.agent_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            description: api::DESCRIPTION,
            started: now(),
            endpoints: Endpoint::ALL.into_iter().map(endpoint).collect(),
        }
    }
}

impl Sources {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let Request { endpoint, subject, payload, limit } = request;
        let endpoint = Endpoint::ALL
            .get(*endpoint)
            .copied()
            .ok_or_else(|| Refusal { code: 404, text: "there is no such endpoint".into() })?;
        let config = self.config();
        let current = self.current.borrow().clone();
        let mut view = View { summary: None, open: &[], checks: &config.check_settings, context: None };
        if let Some(current) = &current {
            view.summary = Some(&current.summary);
            view.open = &current.open;
        }
        // The memory is locked by those alone who judge: an epoch waits for them.
        let answer = if endpoint == Endpoint::Check {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            view.context = memory.context_of_latest(&config.accounts);
            api::answer(endpoint, subject, payload, &view, *limit)
        } else {
            api::answer(endpoint, subject, payload, &view, *limit)
        };
        answer.map_err(|error: ApiError| Refusal { code: error.code(), text: error.to_string() })
    }
}
