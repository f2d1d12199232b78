//! What agents tell each other in the system account: hearing it, and saying it.
//!
//! Besides, an agent that meets another one when both lead, and leaves the lead to it, sends it what it has found, to the
//! other's subject: only it has published that, and nobody else would end it.

use super::connect::Connection;
use super::inbox::InboxError;
use crate::election::{AGENTS_SUBJECT, Listed, Presence, agent_subject};
use crate::finding::{Finding, fit};
use async_nats::Subscriber;
use async_nats::header::HeaderMap;
use futures_util::StreamExt;
use std::time::Duration;

/// Tells findings from presences.
const TYPE: &str = "Insights-Type";

/// Bytes that the headers of a message may take.
const HEADER_BYTES: usize = 256;

/// What saying something may take: the client holds it back while the connection is busy.
const PATIENCE: Duration = Duration::from_millis(500);

/// A message to this agent, or to all.
#[derive(Debug)]
pub enum Heard {
    /// An agent is there; may be this one.
    Presence(Box<Presence>),
    /// What an agent had found that leaves the lead to this one.
    Finding(Box<Finding>),
}

/// What one agent hears, and how it speaks.
#[derive(Debug)]
pub struct Presences {
    connection: Connection,
    own: String,
    messages: Subscriber,
}

impl Presences {
    /// Subscribes. `id` is that of this agent.
    pub async fn start(connection: &Connection, id: &str) -> Result<Self, InboxError> {
        let messages = subscribe(connection).await?;
        Ok(Self { connection: connection.clone(), own: agent_subject(id), messages })
    }

    /// The next message of an agent, this one among them. Others may publish there too; what is none of agents is logged
    /// and left out. Never ends: without a connection nothing is heard.
    ///
    /// Can be dropped while it waits without losing a message.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(message) = self.messages.next().await else {
                return std::future::pending().await;
            };
            if message.headers.as_ref().is_some_and(|headers| headers.get(TYPE).is_some()) {
                if *message.subject == *self.own {
                    match serde_json::from_slice(&message.payload) {
                        Ok(finding) => return Heard::Finding(finding),
                        Err(error) => tracing::debug!("a finding that cannot be read: {error}"),
                    }
                }
                continue;
            }
            match Presence::read(&message.subject, &message.payload) {
                Ok(told) => return Heard::Presence(Box::new(told)),
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }

    /// Says it, unless the connection is down: what is kept until it stands again would be of the past then.
    pub async fn say(&self, told: &Presence) {
        let (server, cid) = self.connection.own();
        let told = Presence { connection: Some(Listed { server, cid }), ..told.clone() };
        let Ok(payload) = serde_json::to_vec(&told) else {
            return;
        };
        if !self.connection.events().connected() {
            return;
        }
        let published = self.connection.client().publish(self.own.clone(), payload.into());
        // A failure shows by what is not heard.
        let _ = tokio::time::timeout(PATIENCE, published).await;
    }

    /// Says it, and waits until it is on its way: for the last message.
    pub async fn say_and_flush(&self, told: &Presence) {
        self.say(told).await;
        let _ = tokio::time::timeout(PATIENCE, self.connection.client().flush()).await;
    }

    /// Whether the server does not let this agent speak, or hear.
    pub fn denied(&self) -> bool {
        let events = self.connection.events();
        events.denied(&self.own) || events.subscription_denied(AGENTS_SUBJECT)
    }

    /// Subscribes anew: a subscription that was denied stays so, whatever becomes of the permissions.
    pub async fn start_again(&mut self) -> Result<(), InboxError> {
        self.connection.events().forget_denied(&[&self.own, AGENTS_SUBJECT]);
        self.messages = subscribe(&self.connection).await?;
        Ok(())
    }
}

/// Sends the agent of this id what this one has found, and tells how many findings that were. A finding that does not fit
/// a message goes without its evidence, which the other one gathers anew.
pub async fn hand_over<'a>(
    connection: &Connection,
    id: &str,
    findings: impl Iterator<Item = &'a Finding>,
) -> usize {
    let (subject, mut sent) = (agent_subject(id), 0);
    let limit = connection.max_payload().saturating_sub(HEADER_BYTES);
    for finding in findings {
        let Some(payload) = fit(finding, limit) else {
            continue;
        };
        let mut headers = HeaderMap::new();
        headers.insert(TYPE, &*finding.kind_of_message);
        let published = connection.client().publish_with_headers(subject.clone(), headers, payload.into());
        // A connection that is down ends it: the rest would come when it is of the past.
        if !matches!(tokio::time::timeout(PATIENCE, published).await, Ok(Ok(()))) {
            break;
        }
        sent += 1;
    }
    sent
}

async fn subscribe(connection: &Connection) -> Result<Subscriber, InboxError> {
    let subscribed = connection.client().subscribe(AGENTS_SUBJECT).await;
    subscribed.map_err(|error| InboxError::new(AGENTS_SUBJECT, &error))
}
