//! A micro service of NATS (ADR-32): requests on subjects, discovery by `$SRV.PING`, `INFO` and `STATS`, errors in headers.
//!
//! The messages of discovery are those of the client library. Its own service (async-nats 0.51) is not used: it answers
//! discovery out of sight, so that a denied answer looks like any other denied publish, and its task ends for good, and
//! untold, at the first answer that the client does not take, such as one above `max_payload`.

mod discovery;
mod requests;

use super::connect::Connection;
use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use discovery::{Card, Verb};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use requests::Requests;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The queue group of every endpoint, the usual one: while two agents both think they lead, one of them answers.
pub const QUEUE: &str = "q";
/// How often it is looked whether something was denied, which only an event says.
const LOOK: Duration = Duration::from_secs(1);
/// How long requests in hand may still take after the end.
const LAST_ANSWERS: Duration = Duration::from_millis(400);
/// Bytes of an answer's headers.
const HEADER_BYTES: usize = 512;

/// A service as discovery tells it.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its name: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// The id of this instance, of the same characters.
    pub id: String,
    /// Its version, as semver has it.
    pub version: &'static str,
    /// What it is, in one sentence.
    pub description: &'static str,
    /// When it began.
    pub started: OffsetDateTime,
    /// What can be asked.
    pub endpoints: Vec<EndpointDescription>,
}

/// An endpoint as discovery tells it.
#[derive(Debug, Clone)]
pub struct EndpointDescription {
    /// Its name: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// Its subject, with wildcards where it has any.
    pub subject: String,
    /// Anything else, as pairs of names and texts.
    pub metadata: Vec<(&'static str, &'static str)>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The position of its endpoint in the description.
    pub endpoint: usize,
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Bytes,
    /// Bytes that the answer may have at the most.
    pub limit: usize,
}

/// A request that is not answered, for the headers `Nats-Service-Error-Code` and `Nats-Service-Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A code as HTTP has it.
    pub code: u16,
    /// A sentence.
    pub text: String,
}

/// What answers requests. It runs on a thread of its own and may take its time.
pub type Handler = Arc<dyn Fn(&Request) -> Result<Vec<u8>, Refusal> + Send + Sync>;

/// A service that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the service cannot subscribe to {subject}: {reason}")]
pub struct ServiceError {
    /// The subject.
    pub subject: String,
    /// What the client said.
    pub reason: String,
}

/// A service that answers until it is stopped or dropped.
#[derive(Debug)]
pub struct Service {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Service {
    /// Subscribes and begins to answer. What the user may not subscribe to is told once in the log, and the rest is served.
    pub async fn start(
        connection: &Connection,
        description: Description,
        handler: Handler,
    ) -> Result<Self, ServiceError> {
        let card = Card::new(description);
        let mut asked = SelectAll::new();
        let mut subjects = Vec::new();
        for (subject, queue, what) in card.subjects() {
            connection.events().tolerate(&subject);
            let client = connection.client();
            let subscribed = match queue {
                true => client.queue_subscribe(subject.clone(), QUEUE.into()).await,
                false => client.subscribe(subject.clone()).await,
            };
            let messages: Subscriber = subscribed
                .map_err(|error| ServiceError { subject: subject.clone(), reason: error.to_string() })?;
            let messages: BoxStream<'static, (What, Message)> =
                messages.map(move |message| (what, message)).boxed();
            asked.push(messages);
            subjects.push(subject);
        }
        let stop = CancellationToken::new();
        let server = Server {
            connection: connection.clone(),
            requests: Requests::new(handler),
            card,
            subjects,
            told: Told::default(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(server.run(asked, stop.clone())));
        Ok(Self { stop, task })
    }

    /// Takes no more requests, and answers those that are in hand, for at most half a second.
    pub async fn stop(self) {
        self.stop.cancel();
        // It ends by itself; one that hangs is aborted.
        let _ = timeout(LAST_ANSWERS + LAST_ANSWERS / 4, self.task).await;
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy)]
enum What {
    Discovery(Verb),
    Endpoint(usize),
}

/// What has been told in the log on this connection.
#[derive(Debug, Default)]
struct Told {
    subscriptions: bool,
    replies: bool,
    connects: u64,
}

struct Server {
    connection: Connection,
    requests: Requests,
    card: Card,
    subjects: Vec<String>,
    told: Told,
}

impl Server {
    async fn run(
        mut self,
        mut asked: SelectAll<BoxStream<'static, (What, Message)>>,
        stop: CancellationToken,
    ) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                message = asked.next() => match message {
                    Some((what, message)) => self.take(what, message).await,
                    // The connection was closed for good.
                    None => break,
                },
                Some(done) = self.requests.next() => self.answer(done).await,
                _ = look.tick() => self.look(),
            }
        }
        // Dropping a subscription unsubscribes; after the flush the server sends nothing more.
        drop(asked);
        let last = async {
            let _ = self.connection.client().flush().await;
            while let Some(done) = self.requests.next().await {
                self.answer(done).await;
            }
            let _ = self.connection.client().flush().await;
        };
        let _ = timeout(LAST_ANSWERS, last).await;
    }

    async fn take(&mut self, what: What, message: Message) {
        // Nobody waits for an answer.
        let Some(reply) = message.reply else { return };
        match what {
            What::Discovery(verb) => {
                if let Some(payload) = self.card.tell(verb, self.requests.counts()) {
                    self.send(reply.to_string(), HeaderMap::new(), payload.into()).await;
                }
            }
            What::Endpoint(endpoint) => {
                let request = Request {
                    endpoint,
                    subject: message.subject.to_string(),
                    payload: message.payload,
                    limit: self.connection.max_payload().saturating_sub(HEADER_BYTES),
                };
                if let Some(refused) = self.requests.take(request, reply.to_string()) {
                    self.answer(refused).await;
                }
            }
        }
    }

    async fn answer(&mut self, done: requests::Done) {
        self.requests.count(&done);
        let (headers, payload) = match done.outcome {
            Ok(payload) => (HeaderMap::new(), payload),
            Err(Refusal { code, text }) => {
                let mut headers = HeaderMap::new();
                headers.insert(async_nats::service::NATS_SERVICE_ERROR, one_line(&text).as_str());
                let code = code.to_string();
                headers.insert(async_nats::service::NATS_SERVICE_ERROR_CODE, code.as_str());
                (headers, Vec::new())
            }
        };
        self.send(done.reply, headers, payload.into()).await;
    }

    /// The client refuses a subject that is none, and a denied one is an event: the requester waits in vain, and no other.
    async fn send(&self, reply: String, headers: HeaderMap, payload: Bytes) {
        self.connection.events().answering(&reply);
        let client = self.connection.client();
        let sent = if headers.is_empty() {
            client.publish(reply, payload).await
        } else {
            client.publish_with_headers(reply, headers, payload).await
        };
        if let Err(error) = sent {
            tracing::debug!("a request is not answered: {error}");
        }
    }

    /// Tells what is denied, once for each connection: other credentials may have been read for the next.
    fn look(&mut self) {
        let events = self.connection.events();
        if self.told.connects != events.connects() {
            self.told = Told { connects: events.connects(), ..Told::default() };
        }
        if !self.told.subscriptions {
            let denied: Vec<&str> =
                self.subjects.iter().filter(|s| events.subscription_denied(s)).map(String::as_str).collect();
            if !denied.is_empty() {
                self.told.subscriptions = true;
                tracing::warn!(
                    subjects = denied.join(" "),
                    "the user may not subscribe to these subjects, so that nobody can ask there; `insights-agent \
                     permissions` prints what to allow, and `enabled = false` under [api] does without"
                );
            }
        }
        if !self.told.replies && events.answers_denied() > 0 {
            self.told.replies = true;
            tracing::warn!(
                "the user may not publish answers to requests: give it `allow_responses` (nsc: --allow-pub-response), \
                 as `insights-agent permissions` prints it"
            );
        }
    }
}

/// A text for a header, which ends at a line break: what the request named comes back in it.
fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= MOST {
            line.push('…');
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line_of_bounded_length() {
        assert_eq!(
            one_line("a\r\nNats-Service-Error-Code: 1\u{85}"),
            "a\\r\\nNats-Service-Error-Code: 1\\u{85}"
        );
        assert!(one_line(&"ü\n".repeat(10_000)).len() < 420);
    }
}
