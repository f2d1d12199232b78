//! What keeps the sink from working, in one sentence each.

use crate::nats::connect::{ConnectError, Connection};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, RequestError,
    RequestErrorKind,
};
use std::error::Error;

/// What keeps the sink from working.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection was lost.
    #[error("the connection to the sink is down")]
    Down,
    /// The user may not publish where it must.
    #[error("the sink's user may not publish to {}: allow it in the user's permissions", subjects.join(", "))]
    Denied {
        /// The subjects.
        subjects: Vec<String>,
    },
    /// The user may not receive answers.
    #[error("the sink's user may not subscribe to {prefix}.>: allow it in the user's permissions")]
    DeniedInbox {
        /// The prefix of inboxes.
        prefix: String,
    },
    /// Nothing answers the requests of JetStream.
    #[error(
        "no JetStream answers in the account of the sink's user: enable it for the servers and for that account"
    )]
    NoJetStream,
    /// The subjects of findings belong to another stream.
    #[error("the stream {stream} cannot be created: {other} captures subjects below {prefix} already")]
    Taken {
        /// The stream of the configuration.
        stream: String,
        /// The one that is there, as far as it could be found out.
        other: String,
        /// The prefix of the subjects.
        prefix: String,
    },
    /// JetStream refused a request.
    #[error("{what}: {reason}")]
    Request {
        /// What was to be done.
        what: String,
        /// What the server or the client library said.
        reason: String,
    },
}

impl SinkError {
    pub(super) fn request(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Request { what: what.into(), reason: reason.to_string() }
    }

    /// The reason behind it. A denied subject is answered by silence, so the error itself says no more than that.
    pub(super) fn explained(self, connection: &Connection) -> Self {
        /// More would only be the same findings again.
        const NAMED: usize = 3;
        let events = connection.events();
        let mut subjects = events.denied_publishes();
        if !subjects.is_empty() {
            subjects.truncate(NAMED);
            return Self::Denied { subjects };
        }
        if events.denied_below(connection.inbox_prefix()) {
            return Self::DeniedInbox { prefix: connection.inbox_prefix().to_owned() };
        }
        if events.connected() { self } else { Self::Down }
    }
}

/// That something could not be done; `what` continues "cannot".
pub(super) fn cannot(what: &str, error: &(dyn Error + 'static)) -> SinkError {
    let unanswered = sources(error).any(|error| {
        let request = error.downcast_ref::<RequestError>();
        let create = error.downcast_ref::<CreateStreamError>();
        request.is_some_and(|error| error.kind() == RequestErrorKind::NoResponders)
            || create.is_some_and(|error| error.kind() == CreateStreamErrorKind::JetStreamUnavailable)
    });
    let disabled = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT]
        .map(Some)
        .contains(&code(error));
    if unanswered || disabled {
        return SinkError::NoJetStream;
    }
    SinkError::request(format!("cannot {what}"), chain(error))
}

/// What JetStream itself said, somewhere down the chain of errors.
pub(super) fn code(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    sources(error).find_map(|error| {
        if let Some(error) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(error.error_code());
        }
        if let Some(error) = error.downcast_ref::<GetStreamError>() {
            return match error.kind() {
                GetStreamErrorKind::JetStream(error) => Some(error.error_code()),
                _ => None,
            };
        }
        match error.downcast_ref::<CreateStreamError>()?.kind() {
            CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
            CreateStreamErrorKind::NotFound => Some(ErrorCode::STREAM_NOT_FOUND),
            _ => None,
        }
    })
}

/// An error with those behind it, each once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in sources(error) {
        let one = error.to_string();
        if !text.contains(&one) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&one);
        }
    }
    text
}

/// An error and those behind it.
pub(super) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}
