//! What carries requests out and answers in: a connection, or a scripted system in tests.

use super::connect::Connection;
use super::encoding::Encoding;
use super::events::ClientEvents;
use async_nats::header::HeaderMap;
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// One message to the inbox, as it came.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The last token of its subject, which tells the request; none where it is no number.
    pub(super) token: Option<u64>,
    /// Its bytes.
    pub(super) payload: Bytes,
    /// How they are encoded.
    pub(super) encoding: Encoding,
    /// Whether the server says that nobody listens on the subject.
    pub(super) no_responders: bool,
}

impl Incoming {
    pub(super) fn of(message: Message) -> Self {
        let header = message.headers.as_ref().and_then(|headers| headers.get("Content-Encoding"));
        Self {
            token: message.subject.rsplit('.').next().and_then(|token| token.parse().ok()),
            encoding: Encoding::of(header.map(|value| value.as_str())),
            no_responders: message.status == Some(StatusCode::NO_RESPONDERS),
            payload: message.payload,
        }
    }
}

/// A way to the servers.
pub(super) trait Carrier: Debug + Send + Sync {
    /// Sends a request. `compressed` offers the answerers snappy. The error is a clause about why it was not sent.
    fn send(
        &self,
        subject: String,
        reply: String,
        compressed: bool,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), String>>;

    /// What was noticed on the side: denied subjects, dropped messages, lost connections.
    fn events(&self) -> &ClientEvents;

    /// The server it is connected to and its connection's id there.
    fn own(&self) -> (String, u64);

    /// Every connection that it had, the newest ones.
    fn owned(&self) -> Vec<(String, u64)> {
        vec![self.own()]
    }
}

impl Carrier for Connection {
    fn send(
        &self,
        subject: String,
        reply: String,
        compressed: bool,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let client = self.client();
            let sent = if compressed {
                let mut headers = HeaderMap::new();
                headers.insert("Accept-Encoding", "snappy");
                client.publish_with_reply_and_headers(subject, reply, headers, body).await
            } else {
                client.publish_with_reply(subject, reply, body).await
            };
            sent.map_err(|error| error.to_string())
        })
    }

    fn events(&self) -> &ClientEvents {
        Self::events(self)
    }

    fn own(&self) -> (String, u64) {
        Self::own(self)
    }

    fn owned(&self) -> Vec<(String, u64)> {
        Self::owned(self)
    }
}
