//! Why a connection could not be made, in one sentence each.

use std::error::Error;
use std::time::Duration;

use async_nats::rustls;
use async_nats::{ConnectErrorKind, ServerError};

use super::login::Login;
use crate::nats::auth::{Credentials, Expiry};
use crate::nats::context::ContextError;
use crate::nats::credentials_file::CredentialsError;
use crate::nats::tls::TlsFileError;
use crate::nats::urls::UrlError;

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A server URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A TLS file cannot be used.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The inbox prefix is no subject.
    #[error(
        "the inbox prefix `{prefix}` is not a subject: use tokens of letters, digits, `_` and `-`, joined by dots"
    )]
    InboxPrefix {
        /// The prefix as given.
        prefix: String,
    },
    /// A timeout of nothing.
    #[error("a timeout of 0 leaves no time to connect: give some seconds")]
    NoTime,
    /// No server listens.
    #[error("cannot reach {servers} ({reason}): check the address and that a server listens there")]
    Unreachable {
        /// Where it was tried.
        servers: String,
        /// What the last attempt met.
        reason: String,
    },
    /// A host name does not resolve.
    #[error("cannot resolve the host name of {servers} ({reason}): check its spelling and the name service")]
    Dns {
        /// Where it was tried.
        servers: String,
        /// What the name service said.
        reason: String,
    },
    /// TLS failed.
    #[error("TLS with {servers} failed ({reason}): check tlsca, tlscert, tlskey and tlsfirst")]
    Tls {
        /// Where it was tried.
        servers: String,
        /// What rustls said.
        reason: String,
    },
    /// The server does not accept the credentials.
    #[error("{servers} refused {credentials}: check that they are valid for this system and not revoked")]
    Refused {
        /// Where it was tried.
        servers: String,
        /// What was presented, without its secret.
        credentials: String,
    },
    /// The credentials have expired, which is why the server refused them.
    #[error("{credentials} expired at {at}: issue new ones")]
    Expired {
        /// What was presented, without its secret.
        credentials: String,
        /// When they expired.
        at: String,
    },
    /// The server closed the connection with an error of its own.
    #[error("{servers} closed the connection: {reason}")]
    Rejected {
        /// Where it was tried.
        servers: String,
        /// The server's words.
        reason: String,
    },
    /// The server did not answer in time.
    #[error(
        "{servers} did not answer within {}: raise the timeout, or set tlsfirst if the server does TLS first",
        humantime::format_duration(*timeout)
    )]
    TimedOut {
        /// Where it was tried.
        servers: String,
        /// How long it was waited for.
        timeout: Duration,
    },
}

impl ConnectError {
    pub(super) fn expired(credentials: &Credentials, expiry: Expiry) -> Self {
        Self::Expired { credentials: credentials.describe(), at: expiry.at() }
    }
}

/// The error of the client library in this program's words.
pub(super) fn classify(
    error: &async_nats::ConnectError,
    servers: String,
    timeout: Duration,
    login: &Login,
) -> ConnectError {
    let reason = || innermost(error);
    match error.kind() {
        ConnectErrorKind::Authentication => match login.failure() {
            Some(failure) => ConnectError::Credentials(failure),
            None => ConnectError::Rejected { servers, reason: reason() },
        },
        ConnectErrorKind::AuthorizationViolation => match login.passed_expiry() {
            Some(expiry) => ConnectError::expired(login.credentials(), expiry),
            None => ConnectError::Refused { servers, credentials: login.credentials().describe() },
        },
        ConnectErrorKind::Dns => ConnectError::Dns { servers, reason: reason() },
        ConnectErrorKind::TimedOut => ConnectError::TimedOut { servers, timeout },
        ConnectErrorKind::Tls => ConnectError::Tls { servers, reason: reason() },
        // async-nats 0.51 files a failed TLS handshake and a server's -ERR under I/O too; the cause tells them apart.
        _ => match cause(error) {
            Some(Cause::Tls(reason)) => ConnectError::Tls { servers, reason },
            Some(Cause::Server(reason)) => ConnectError::Rejected { servers, reason },
            None => ConnectError::Unreachable { servers, reason: reason() },
        },
    }
}

enum Cause {
    Tls(String),
    Server(String),
}

/// The errors below an error. `io::Error` passes over the error it wraps when asked for its source.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}

fn cause(error: &async_nats::ConnectError) -> Option<Cause> {
    chain(error).find_map(|error| {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            Some(Cause::Tls(error.to_string()))
        } else {
            match error.downcast_ref::<ServerError>()? {
                ServerError::Other(text) => Some(Cause::Server(text.clone())),
                error => Some(Cause::Server(error.to_string())),
            }
        }
    })
}

fn innermost(error: &async_nats::ConnectError) -> String {
    chain(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}
