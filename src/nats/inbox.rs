//! One wildcard inbox for the life of the connection; answers find their request by the last token.

use super::carrier::{Carrier, Incoming};
use super::connect::Connection;
use super::encoding::{DecodeError, Encoding, decode};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A request that could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask on {subject}: {reason}")]
pub struct InboxError {
    /// Its subject.
    subject: String,
    /// What the client said.
    reason: String,
}

impl InboxError {
    pub(super) fn new(subject: &str, reason: &dyn std::fmt::Display) -> Self {
        Self { subject: subject.to_owned(), reason: reason.to_string() }
    }
}

/// One answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    payload: Bytes,
    encoding: Encoding,
    /// Whether the server says that nobody listens on the subject.
    pub(super) no_responders: bool,
    /// When it came.
    pub(super) at: Instant,
}

impl Answer {
    /// Bytes on the network.
    pub(super) fn size(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The plain bytes.
    pub(super) fn decode(self) -> Result<Bytes, DecodeError> {
        decode(self.payload, &self.encoding)
    }
}

type Routes = Arc<Mutex<HashMap<u64, UnboundedSender<Answer>>>>;

/// The inbox. Dropping it ends its reader.
#[derive(Debug)]
pub(super) struct Inbox {
    carrier: Arc<dyn Carrier>,
    base: String,
    next: AtomicU64,
    routes: Routes,
    strangers: Arc<AtomicU64>,
    _reader: AbortOnDropHandle<()>,
}

/// An open request; dropping it makes what still comes a stranger.
#[derive(Debug)]
pub(super) struct Question {
    token: u64,
    routes: Routes,
    strangers: Arc<AtomicU64>,
    answers: UnboundedReceiver<Answer>,
    /// When it was sent.
    pub(super) asked_at: Instant,
}

impl Question {
    /// The next answer, whenever it comes.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// The next answer that has come already.
    pub(super) fn waiting(&mut self) -> Option<Answer> {
        self.next().now_or_never().flatten()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        lock(&self.routes).remove(&self.token);
        // Answers that came in the same moment as the last one that was wanted.
        while self.answers.try_recv().is_ok() {
            self.strangers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn lock(routes: &Routes) -> std::sync::MutexGuard<'_, HashMap<u64, UnboundedSender<Answer>>> {
    // A panic while the map was locked leaves a whole map: its operations are single inserts and removes.
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// Subscribes, once.
    pub(super) async fn open(connection: &Connection) -> Result<Self, InboxError> {
        let base = connection.client().new_inbox();
        let subject = format!("{base}.*");
        let subscription = connection
            .client()
            .subscribe(subject.clone())
            .await
            .map_err(|error| InboxError::new(&subject, &error))?;
        Ok(Self::over(Arc::new(connection.clone()), base, subscription.map(Incoming::of).boxed()))
    }

    /// An inbox whose messages come from this stream.
    pub(super) fn over(
        carrier: Arc<dyn Carrier>,
        base: String,
        messages: BoxStream<'static, Incoming>,
    ) -> Self {
        let routes = Routes::default();
        let strangers = Arc::new(AtomicU64::new(0));
        let reader = tokio::spawn(route(messages, Arc::clone(&routes), Arc::clone(&strangers)));
        Self {
            carrier,
            base,
            next: AtomicU64::new(1),
            routes,
            strangers,
            _reader: AbortOnDropHandle::new(reader),
        }
    }

    /// What carries it.
    pub(super) fn carrier(&self) -> &dyn Carrier {
        &*self.carrier
    }

    /// Messages that belonged to no open request, since the start.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// Sends a request that any number of servers may answer. `compressed` offers them snappy.
    pub(super) async fn ask(
        &self,
        subject: &str,
        body: Bytes,
        compressed: bool,
    ) -> Result<Question, InboxError> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = unbounded_channel();
        lock(&self.routes).insert(token, sender);
        let question = Question {
            token,
            routes: Arc::clone(&self.routes),
            strangers: Arc::clone(&self.strangers),
            answers,
            asked_at: Instant::now(),
        };
        let reply = format!("{}.{token}", self.base);
        let sent = self.carrier.send(subject.to_owned(), reply, compressed, body).await;
        sent.map_err(|reason| InboxError::new(subject, &reason))?;
        Ok(question)
    }
}

/// Only routes: decoding here would let a large answer hold up all others, until the client drops messages.
async fn route(mut messages: BoxStream<'static, Incoming>, routes: Routes, strangers: Arc<AtomicU64>) {
    while let Some(Incoming { token, payload, encoding, no_responders }) = messages.next().await {
        let answer = Answer { payload, encoding, no_responders, at: Instant::now() };
        let sender = token.and_then(|token: u64| lock(&routes).get(&token).cloned());
        if sender.is_none_or(|sender| sender.send(answer).is_err()) {
            strangers.fetch_add(1, Ordering::Relaxed);
        }
    }
}
