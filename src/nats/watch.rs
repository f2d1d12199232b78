//! Listening to what agents publish.

use super::connect::Connection;
use async_nats::Subscriber;
use futures_util::StreamExt;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked whether the subscription was refused, which only an event says.
const LOOK: Duration = Duration::from_millis(250);

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The client does not subscribe.
    #[error("cannot subscribe to {subject}: {reason}")]
    Subscribe {
        /// The subject.
        subject: String,
        /// What the client said.
        reason: String,
    },
    /// The server does not allow it.
    #[error("the user may not subscribe to {subject}: allow it in the user's permissions")]
    Denied {
        /// The subject.
        subject: String,
    },
    /// The connection was closed for good.
    #[error("the connection is closed")]
    Closed,
}

/// A message below the prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub json: Value,
}

/// A subscription to everything below a prefix.
#[derive(Debug)]
pub struct Watch {
    connection: Connection,
    subject: String,
    messages: Subscriber,
}

impl Watch {
    /// Subscribes to `<prefix>.>`.
    pub async fn start(connection: &Connection, prefix: &str) -> Result<Self, WatchError> {
        let subject = format!("{prefix}.>");
        let failed = |reason: String| WatchError::Subscribe { subject: subject.clone(), reason };
        let client = connection.client();
        let messages = client.subscribe(subject.clone()).await;
        let messages = messages.map_err(|error| failed(error.to_string()))?;
        client.flush().await.map_err(|error| failed(error.to_string()))?;
        Ok(Self { connection: connection.clone(), subject, messages })
    }

    /// The next message that is JSON. Others may publish there too; what is no JSON is logged and left out.
    ///
    /// Can be dropped while it waits without losing a message.
    pub async fn next(&mut self) -> Result<Published, WatchError> {
        loop {
            tokio::select! {
                biased;
                message = self.messages.next() => {
                    let message = message.ok_or(WatchError::Closed)?;
                    let subject = message.subject.to_string();
                    match serde_json::from_slice(&message.payload) {
                        Ok(json) => return Ok(Published { subject, json }),
                        Err(error) => tracing::debug!(subject, "not JSON: {error}"),
                    }
                }
                () = sleep(LOOK) => {
                    if self.connection.events().subscription_denied(&self.subject) {
                        return Err(WatchError::Denied { subject: self.subject.clone() });
                    }
                }
            }
        }
    }
}
