//! What agents tell each other in the system account: hearing it, and saying it.

use super::connect::Connection;
use super::inbox::InboxError;
use crate::election::{AGENTS_SUBJECT, Presence, agent_subject};
use async_nats::Subscriber;
use futures_util::StreamExt;
use std::time::Duration;

/// What saying something may take: the client holds it back while the connection is busy.
const PATIENCE: Duration = Duration::from_millis(500);

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

    /// The next message of an agent, this one among them. Others may publish there too; what is no presence is logged and
    /// left out. Never ends: without a connection nothing is heard.
    ///
    /// Can be dropped while it waits without losing a message.
    pub async fn next(&mut self) -> Presence {
        loop {
            let Some(message) = self.messages.next().await else {
                return std::future::pending().await;
            };
            match Presence::read(&message.subject, &message.payload) {
                Ok(told) => return told,
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }

    /// Says it, unless the connection is down: what is kept until it stands again would be of the past then.
    pub async fn say(&self, told: &Presence) {
        let Ok(payload) = serde_json::to_vec(told) else {
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

async fn subscribe(connection: &Connection) -> Result<Subscriber, InboxError> {
    let subscribed = connection.client().subscribe(AGENTS_SUBJECT).await;
    subscribed.map_err(|error| InboxError::new(AGENTS_SUBJECT, &error))
}
