//! Sending: the outbox into the stream, the state into the bucket, many at a time.

use super::Shared;
use super::error::{SinkError, chain, code, sources};
use super::provision::Places;
use crate::finding::{
    Content, Due, Failed, Finding, Fingerprint, Letter, Status, epoch_subject, fit, message_id, subject,
};
use crate::nats::publish::HEADER_BYTES;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;

/// Messages that may wait for their acknowledgement at the same time.
pub(super) const UNDER_WAY: usize = 512;
/// Purges at the same time; each is a request of its own.
const PURGES: usize = 32;

/// Sends through one session.
pub(super) struct Sender<'a> {
    pub(super) shared: &'a Shared,
    pub(super) context: &'a Context,
    pub(super) places: &'a Places,
}

/// A message as it goes out.
struct Packed {
    subject: String,
    id: String,
    kind: String,
    /// None if it cannot be made small enough.
    payload: Option<Vec<u8>>,
}

/// What became of a message that was sent.
enum Sent {
    Arrived,
    /// It can never arrive.
    Hopeless(String),
    Failed(Failed, SinkError),
}

impl Sender<'_> {
    /// Sends what there is. New findings are stored before they are told, and ended ones after: a run that ends in between
    /// leaves a state from which the next one tells what is missing.
    pub(super) async fn everything(&self) -> Result<(), SinkError> {
        self.states(Status::Firing).await?;
        self.letters().await?;
        self.states(Status::Resolved).await?;
        self.purge().await
    }

    /// Empties the outbox, as far as it was full when this began: what comes meanwhile waits for the states.
    async fn letters(&self) -> Result<(), SinkError> {
        let end = self.shared.lock().outbox.end();
        let mut under_way = FuturesUnordered::new();
        let mut trouble = None;
        loop {
            while trouble.is_none() && under_way.len() < UNDER_WAY {
                let Some(letter) = self.shared.lock().outbox.next(end) else { break };
                match self.send(&letter).await {
                    Ok(None) => self.ended(&letter, Sent::Arrived, &mut trouble),
                    Ok(Some(acknowledgement)) => under_way.push(async move {
                        let answer = acknowledgement.await;
                        (letter, answer)
                    }),
                    Err(sent) => self.ended(&letter, sent, &mut trouble),
                }
            }
            let Some((letter, answer)) = under_way.next().await else { break };
            let sent = match answer {
                Ok(_) => Sent::Arrived,
                Err(error) => sent(&error, "the stream did not take a message"),
            };
            self.ended(&letter, sent, &mut trouble);
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Hands a message to the client; `None` if it has arrived already.
    async fn send(&self, letter: &Letter) -> Result<Option<PublishAckFuture>, Sent> {
        let packed = self.pack(letter);
        let Some(payload) = packed.payload else {
            return Err(Sent::Hopeless(format!(
                "the message for {} does not fit the max_payload of {} bytes",
                packed.subject,
                self.max_payload()
            )));
        };
        if letter.unsure && self.is_there(&packed.subject, &packed.id).await? {
            return Ok(None);
        }
        let message = PublishMessage::build()
            .payload(payload.into())
            .message_id(&packed.id)
            .expected_stream(&self.shared.config.stream)
            .header("Insights-Type", packed.kind.as_str());
        let handed = self.context.send_publish(packed.subject, message).await;
        handed.map(Some).map_err(|error| sent(&error, "the stream did not take a message"))
    }

    fn pack(&self, letter: &Letter) -> Packed {
        let (prefix, account) = (&self.shared.prefix, &letter.system_account);
        let limit = self.max_payload();
        match &letter.content {
            Content::Finding(finding) => Packed {
                subject: subject(prefix, account, finding.severity, &finding.check, &finding.entity),
                id: message_id(&finding.fingerprint, finding.epoch, finding.status),
                kind: finding.kind_of_message.clone().into_owned(),
                payload: fit(&**finding, limit),
            },
            Content::Summary(summary) => Packed {
                subject: epoch_subject(prefix, account),
                id: format!("{}-{}", summary.agent.id, summary.epoch),
                kind: summary.kind_of_message.to_owned(),
                payload: fit(&**summary, limit),
            },
        }
    }

    /// Whether the last message of the subject is this one: what was sent long ago is not known as a duplicate any more.
    async fn is_there(&self, subject: &str, id: &str) -> Result<bool, Sent> {
        match self.places.stream.get_last_raw_message_by_subject(subject).await {
            Ok(last) => Ok(last.headers.get("Nats-Msg-Id").is_some_and(|last| last.as_str() == id)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => {
                let error =
                    SinkError::request("cannot look for a message that may have arrived", chain(&error));
                Err(Sent::Failed(Failed::Unsure, error))
            }
        }
    }

    fn max_payload(&self) -> usize {
        self.context.client().server_info().max_payload.saturating_sub(HEADER_BYTES)
    }

    fn ended(&self, letter: &Letter, sent: Sent, trouble: &mut Option<SinkError>) {
        let mut inner = self.shared.lock();
        match sent {
            Sent::Arrived => {
                inner.published += 1;
                inner.outbox.arrived(letter.number);
            }
            Sent::Hopeless(reason) => {
                inner.failed += 1;
                inner.outbox.arrived(letter.number);
                drop(inner);
                tracing::error!("{reason}; the sink goes without it");
            }
            Sent::Failed(how, error) => {
                inner.failed += 1;
                inner.outbox.failed(letter.number, how);
                drop(inner);
                trouble.get_or_insert(error);
            }
        }
    }

    /// Whether the agent knows what the bucket knew.
    fn may_write(&self) -> bool {
        matches!(self.shared.lock().stock, super::Stock::Taken)
    }

    /// Writes the states of this status that are to be written.
    async fn states(&self, status: Status) -> Result<(), SinkError> {
        if !self.may_write() {
            return Ok(());
        }
        let wanted = self.shared.lock().mirror.wanted(status);
        let mut written = futures_util::stream::iter(wanted)
            .map(|finding| async move {
                let sent = self.state(&finding).await;
                (finding, sent)
            })
            .buffer_unordered(UNDER_WAY);
        let mut trouble = None;
        while let Some((finding, sent)) = written.next().await {
            let mut inner = self.shared.lock();
            match sent {
                Sent::Arrived => inner.mirror.written(&finding),
                Sent::Hopeless(reason) => {
                    inner.failed += 1;
                    inner.mirror.written(&finding);
                    drop(inner);
                    tracing::error!("{reason}; the bucket goes without it");
                }
                Sent::Failed(_, error) => {
                    inner.failed += 1;
                    drop(inner);
                    trouble.get_or_insert(error);
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    async fn state(&self, finding: &Arc<Finding>) -> Sent {
        let Some(value) = fit(&**finding, self.max_payload()) else {
            return Sent::Hopeless(format!(
                "the state of {} does not fit the max_payload",
                finding.fingerprint
            ));
        };
        match self.places.store.put(finding.fingerprint.to_string(), value.into()).await {
            Ok(_) => Sent::Arrived,
            Err(error) if is_hopeless(&error) => Sent::Hopeless(chain(&error)),
            Err(error) => {
                let error = SinkError::request("the bucket did not take a state", chain(&error));
                Sent::Failed(Failed::Unsure, error)
            }
        }
    }

    /// Purges what ended long ago, and erases what was purged long ago.
    async fn purge(&self) -> Result<(), SinkError> {
        if !self.may_write() {
            return Ok(());
        }
        let (due, now) = {
            let inner = self.shared.lock();
            (inner.mirror.due(inner.now), inner.now)
        };
        let Due { purge, erase } = due;
        let store = &self.places.store;
        let failed =
            |error: String| SinkError::request(format!("cannot purge the bucket {}", store.name), error);
        let mut purged = futures_util::stream::iter(purge)
            .map(|key: Fingerprint| async move {
                let done = store.purge(key.to_string()).await;
                done.map(|()| key).map_err(|error| failed(chain(&error)))
            })
            .buffer_unordered(PURGES);
        while let Some(key) = purged.next().await {
            self.shared.lock().mirror.purged(&key?, now);
        }
        let mut erased = futures_util::stream::iter(erase)
            .map(|key: Fingerprint| async move {
                let done = store.stream.purge().filter(format!("{}{key}", store.prefix)).await;
                done.map(|_| key).map_err(|error| failed(chain(&error)))
            })
            .buffer_unordered(PURGES);
        while let Some(key) = erased.next().await {
            self.shared.lock().mirror.erased(&key?);
        }
        Ok(())
    }
}

fn sent(error: &PublishError, what: &str) -> Sent {
    if is_hopeless(error) {
        return Sent::Hopeless(format!("{what}: {}", chain(error)));
    }
    let how = match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Failed::Unsure,
        _ => Failed::NotArrived,
    };
    Sent::Failed(how, SinkError::request(what, chain(error)))
}

/// Whether it would fail the same way again and again, whatever happens to the servers: it is too large.
fn is_hopeless(error: &(dyn std::error::Error + 'static)) -> bool {
    let too_large = |error: &(dyn std::error::Error + 'static)| {
        error
            .downcast_ref::<PublishError>()
            .is_some_and(|error| error.kind() == PublishErrorKind::MaxPayloadExceeded)
    };
    code(error) == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) || sources(error).any(too_large)
}
