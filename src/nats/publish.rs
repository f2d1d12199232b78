//! Publishing: the only place that writes to subjects other than requests.

use super::connect::Connection;
use crate::finding::{EpochSummary, Finding, Said, epoch_subject, fit, message_id, subject};
use async_nats::header::HeaderMap;
use std::time::Duration;

/// Bytes that the headers of a message may take; the longest has a fingerprint, an epoch and two names.
pub(super) const HEADER_BYTES: usize = 512;

/// Messages of an epoch that are handed to the connection before it is waited until they are on their way: so many at the most
/// a process that is stopped there says late, when it goes on.
const AT_ONCE: usize = 64;

/// Publishes under one prefix.
#[derive(Debug, Clone)]
pub struct Publisher {
    connection: Connection,
    prefix: String,
}

/// What could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The server's `max_payload` is too small for the message, even without its evidence.
    #[error("the message for {subject} does not fit the server's max_payload of {limit} bytes")]
    TooLarge {
        /// Its subject.
        subject: String,
        /// The server's limit in bytes.
        limit: usize,
    },
    /// The client did not take it.
    #[error("cannot publish to {subject}: {reason}")]
    Refused {
        /// Its subject.
        subject: String,
        /// What the client said.
        reason: String,
    },
    /// Another agent leads, or may lead by now.
    #[error("this agent no longer leads, so the rest of epoch {epoch} is not published")]
    Superseded {
        /// The epoch.
        epoch: u64,
    },
    /// The connection is down, or too slow.
    #[error("the connection did not take all messages of the epoch within {}", humantime::format_duration(*within))]
    TimedOut {
        /// How long it was waited for.
        within: Duration,
    },
}

impl Publisher {
    /// Publishes under `prefix`.
    pub fn new(connection: &Connection, prefix: &str) -> Self {
        Self { connection: connection.clone(), prefix: prefix.to_owned() }
    }

    /// Publishes the findings of an epoch, then its summary, and waits until they are on their way. What cannot be published
    /// does not keep back the rest. Before each message `leads` is asked whether it may go out: the process may have been
    /// stopped since the one before. What the connection has taken by then goes out all the same; that is kept small.
    pub async fn epoch(
        &self,
        system_account: &str,
        said: &[Said],
        summary: &EpochSummary,
        leads: impl Fn() -> bool,
        within: Duration,
    ) -> Vec<PublishError> {
        let mut errors = Vec::new();
        let all = async {
            for part in said.chunks(AT_ONCE) {
                for Said { finding, .. } in part {
                    if !leads() {
                        errors.push(PublishError::Superseded { epoch: summary.epoch });
                        return;
                    }
                    let Finding { severity, check, status, epoch, .. } = &**finding;
                    let subject = subject(&self.prefix, system_account, *severity, check, &finding.entity);
                    let id = message_id(&finding.fingerprint, *epoch, *status);
                    if let Err(error) = self.one(subject, &id, &finding.kind_of_message, &**finding).await {
                        errors.push(error);
                    }
                }
                self.on_their_way().await;
            }
            if !leads() {
                errors.push(PublishError::Superseded { epoch: summary.epoch });
                return;
            }
            let subject = epoch_subject(&self.prefix, system_account);
            let id = format!("{}-{}", summary.agent.id, summary.epoch);
            let kind = summary.kind_of_message;
            if let Err(error) = self.one(subject, &id, kind, summary).await {
                errors.push(error);
            }
            self.on_their_way().await;
        };
        if tokio::time::timeout(within, all).await.is_err() {
            errors.push(PublishError::TimedOut { within });
        }
        errors
    }

    /// Waits until the connection has written what it has taken.
    async fn on_their_way(&self) {
        // A failed flush means that the connection is down; the client keeps what it has taken.
        let _ = self.connection.client().flush().await;
    }

    async fn one<T: crate::finding::Trim>(
        &self,
        subject: String,
        id: &str,
        kind: &str,
        message: &T,
    ) -> Result<(), PublishError> {
        let limit = self.connection.max_payload();
        let Some(payload) = fit(message, limit.saturating_sub(HEADER_BYTES)) else {
            return Err(PublishError::TooLarge { subject, limit });
        };
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert("Insights-Type", kind);
        let published =
            self.connection.client().publish_with_headers(subject.clone(), headers, payload.into()).await;
        published.map_err(|error| PublishError::Refused { subject, reason: error.to_string() })
    }
}
