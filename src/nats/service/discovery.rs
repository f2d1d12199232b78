//! What a service tells of itself: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, to all services, by name, and by id.

use super::requests::Counts;
use super::{Description, QUEUE, What};
use async_nats::service::{Info, PingResponse, Stats, endpoint, error};
use std::collections::HashMap;
use std::time::Duration;

/// What can be asked of any service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }
}

/// The description with the messages made of it.
pub(super) struct Card {
    of: Description,
}

impl Card {
    pub(super) const fn new(of: Description) -> Self {
        Self { of }
    }

    /// What to subscribe to, whether in the queue group, and what a message there is for.
    pub(super) fn subjects(&self) -> Vec<(String, bool, What)> {
        let Description { name, id, endpoints, .. } = &self.of;
        let mut subjects = Vec::new();
        for verb in Verb::ALL {
            let all = format!("$SRV.{}", verb.as_str());
            for subject in [format!("{all}.{name}"), format!("{all}.{name}.{id}"), all] {
                subjects.push((subject, false, What::Discovery(verb)));
            }
        }
        let endpoints = endpoints.iter().enumerate();
        subjects.extend(endpoints.map(|(i, endpoint)| (endpoint.subject.clone(), true, What::Endpoint(i))));
        subjects
    }

    /// The answer to a verb.
    pub(super) fn tell(&self, verb: Verb, counts: &[Counts]) -> Option<Vec<u8>> {
        let (name, version) = (self.of.name.to_owned(), self.of.version.to_owned());
        let id = self.of.id.clone();
        let told = match verb {
            Verb::Ping => serde_json::to_vec(&PingResponse {
                kind: "io.nats.micro.v1.ping_response".into(),
                name,
                id,
                version,
                metadata: HashMap::new(),
            }),
            Verb::Info => serde_json::to_vec(&Info {
                kind: "io.nats.micro.v1.info_response".into(),
                name,
                id,
                description: self.of.description.to_owned(),
                version,
                metadata: HashMap::new(),
                endpoints: self.endpoints(),
            }),
            Verb::Stats => serde_json::to_vec(&Stats {
                kind: "io.nats.micro.v1.stats_response".into(),
                name,
                id,
                version,
                started: self.of.started,
                endpoints: self.stats(counts),
            }),
        };
        told.ok()
    }

    fn endpoints(&self) -> Vec<endpoint::Info> {
        let endpoint = |of: &super::EndpointDescription| endpoint::Info {
            name: of.name.to_owned(),
            subject: of.subject.clone(),
            queue_group: QUEUE.to_owned(),
            metadata: of.metadata.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
        };
        self.of.endpoints.iter().map(endpoint).collect()
    }

    fn stats(&self, counts: &[Counts]) -> Vec<endpoint::Stats> {
        let stats = |(i, of): (usize, &super::EndpointDescription)| {
            let counts = counts.get(i).cloned().unwrap_or_default();
            let each = counts.took.checked_div(u32::try_from(counts.requests).unwrap_or(u32::MAX));
            endpoint::Stats {
                name: of.name.to_owned(),
                subject: of.subject.clone(),
                requests: counts.requests,
                errors: counts.errors,
                processing_time: counts.took,
                average_processing_time: each.unwrap_or(Duration::ZERO),
                last_error: counts
                    .last_error
                    .map(|refusal| error::Error { status: refusal.text, code: refusal.code.into() }),
                data: None,
                queue_group: QUEUE.to_owned(),
            }
        };
        self.of.endpoints.iter().enumerate().map(stats).collect()
    }
}
