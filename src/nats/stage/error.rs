//! Why a world cannot be put on stage.

use crate::nats::ask::AskError;
use crate::nats::inbox::InboxError;
use std::time::Duration;

/// Why a world cannot be put on stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The real server says nothing about itself.
    #[error(
        "the server did not answer {subject}: the simulation needs a user of the system account that may publish and \
         subscribe to everything (`permissions` left out)"
    )]
    NotSystem {
        /// What was asked.
        subject: String,
    },
    /// A question could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The second connection takes no subscription.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The user may not listen to requests.
    #[error(
        "the user may not subscribe to {subject}: the simulation needs a user of the system account that may publish \
         and subscribe to everything"
    )]
    Denied {
        /// The subject.
        subject: String,
    },
    /// The user may not answer.
    #[error(
        "the user may not publish to {subject}: the simulation needs a user of the system account that may publish \
         and subscribe to everything"
    )]
    MayNotAnswer {
        /// The subject.
        subject: String,
    },
    /// The client does not take a subscription or a message.
    #[error("the client failed at {subject}: {reason}")]
    Client {
        /// The subject.
        subject: String,
        /// What it said.
        reason: String,
    },
    /// The server does not take the largest answer. Servers' own answers are not bound by it, those of a client are.
    #[error(
        "the largest answer takes {needed} bytes, and the server's max_payload is {limit}: set `max_payload: {advice}` in \
         the server's configuration, or make the servers smaller ({servers} servers have {connections} connections)",
        advice = advice(*needed)
    )]
    TooLarge {
        /// Bytes of the largest answer.
        needed: u64,
        /// The server's limit.
        limit: usize,
        /// Servers of the world.
        servers: usize,
        /// Their connections.
        connections: u64,
    },
    /// Preparing ended early.
    #[error("the answers could not be prepared: {0}")]
    Task(String),
    /// The ceiling cannot be measured.
    #[error("only {answers} of {expected} answers came back within {}", humantime::format_duration(*within))]
    Incomplete {
        /// Answers that came.
        answers: u64,
        /// Answers that were asked for.
        expected: u64,
        /// How long it was waited.
        within: Duration,
    },
}

/// A value for `max_payload` that is large enough: nats-server allows 64 MB.
fn advice(needed: u64) -> String {
    let megabytes = needed.div_ceil(1024 * 1024).next_power_of_two();
    if megabytes > 64 {
        "64MB` (the most there is) and more servers than now; `64MB".into()
    } else {
        format!("{megabytes}MB")
    }
}

pub(super) fn failed(subject: &str, error: &dyn std::error::Error) -> StageError {
    StageError::Client { subject: subject.to_owned(), reason: error.to_string() }
}
