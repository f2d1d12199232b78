//! Puts a simulated world behind the request subjects of a real server: the only part of the simulation that does I/O.

mod ceiling;
mod error;

use super::ask::{Ask, Wait};
use super::connect::Connection;
use crate::simulate::{Moment, Prepared, Question, Reply, World, is_roll_call};
use crate::wire::envelope;
use crate::wire::varz::Varz;
use async_nats::header::HeaderMap;
use async_nats::{Message, Subject};
use bytes::Bytes;
use error::failed;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ceiling::{Ceiling, ceiling, in_background};
pub use error::StageError;

/// What is listened to. The first covers `PING` and the ids of all servers, also of those that do not exist.
const SUBJECTS: [&str; 4] =
    ["$SYS.REQ.SERVER.*.*", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.*.CONNZ", "$SYS.REQ.ACCOUNT.*.STATZ"];

/// How often a server sends STATSZ by itself (nats-server: `DEFAULT_EVENTS_INTERVAL`).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats are spread over so many moments, as those of real servers are.
const BEATS: usize = 100;
/// Bytes that are handed to the client before it is waited until they have been written.
const UNWRITTEN: usize = 8 * 1024 * 1024;
/// Bytes of a message beside its payload: the header, and what the client counts.
const BESIDE: u64 = 256;
/// Late answers that wait to be sent; a thousand servers may be late at once.
const LATE: usize = 4096;
/// How long the real server may take to tell who it is.
const PATIENCE: Wait = Wait { first: Duration::from_secs(5), quiet: Duration::ZERO };

/// The name or key of the system account, as the server on the other end tells it.
pub async fn system_account(connection: &Connection) -> Result<String, StageError> {
    let subject = format!("$SYS.REQ.SERVER.{}.VARZ", connection.server_id());
    let answers = connection.ask(&subject, Bytes::new(), PATIENCE).await?;
    let told = answers.iter().filter(|answer| !answer.no_responders).find_map(|answer| {
        let (_, varz) = envelope::parse::<Varz>(&answer.payload).ok()?;
        varz.ok()?.system_account.filter(|account| !account.is_empty())
    });
    told.ok_or(StageError::NotSystem { subject })
}

/// Prepares the answers of all servers, on all cores, and looks whether the server takes them.
pub async fn prepare(connection: &Connection, world: &Arc<World>) -> Result<Prepared, StageError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<_> = stream::iter(0..world.servers())
        .map(|server| {
            let world = Arc::clone(world);
            tokio::task::spawn_blocking(move || world.prepare(server))
        })
        .buffer_unordered(workers)
        .collect()
        .await;
    let mut prepared = Prepared::default();
    for part in parts {
        prepared.add(part.map_err(|error| StageError::Task(error.to_string()))?);
    }
    let (needed, limit) = (prepared.largest_answer + BESIDE, connection.max_payload());
    if needed > limit as u64 {
        let (servers, connections) = (world.servers(), world.connections());
        return Err(StageError::TooLarge { needed, limit, servers, connections });
    }
    Ok(prepared)
}

/// What was answered.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Served {
    /// Requests that a simulated server was meant to answer.
    pub requests: u64,
    /// Roll calls among them.
    pub roll_calls: u64,
    /// Answers.
    pub answers: u64,
    /// Their bytes.
    pub bytes: u64,
    /// STATSZ that was sent unasked.
    pub heartbeats: u64,
    /// Answers that did not fit into the server's `max_payload`.
    pub too_large: u64,
    /// Seconds spent with making and handing over answers.
    pub seconds_busy: f64,
}

/// An answer whose time has come, and where it goes.
type Late = (Subject, Reply);

/// A world that listens, and answers once it is run.
#[derive(Debug)]
pub struct Stage {
    connection: Connection,
    world: Arc<World>,
    requests: stream::SelectAll<async_nats::Subscriber>,
    clock: fn() -> OffsetDateTime,
    started: Instant,
    served: Served,
    unwritten: usize,
    late: (Sender<Late>, Receiver<Late>),
    delays: TaskTracker,
}

impl Stage {
    /// Subscribes. From now on requests are kept until [`Stage::run`] answers them.
    pub async fn open(
        connection: &Connection,
        world: Arc<World>,
        clock: fn() -> OffsetDateTime,
    ) -> Result<Self, StageError> {
        let client = connection.client();
        let mut requests = Vec::with_capacity(SUBJECTS.len());
        for subject in SUBJECTS {
            let subscribed = client.subscribe(subject).await;
            requests.push(subscribed.map_err(|error| failed(subject, &error))?);
        }
        // A question and its answer: by then the server has taken the subscriptions, or has refused them.
        system_account(connection).await?;
        if let Some(subject) =
            SUBJECTS.iter().find(|subject| connection.events().subscription_denied(subject))
        {
            return Err(StageError::Denied { subject: (*subject).to_owned() });
        }
        Ok(Self {
            connection: connection.clone(),
            world,
            requests: stream::select_all(requests),
            clock,
            started: Instant::now(),
            served: Served::default(),
            unwritten: 0,
            late: channel(LATE),
            delays: TaskTracker::new(),
        })
    }

    /// Answers until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Served, StageError> {
        let mut beats = interval(HEARTBEAT / BEATS as u32);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before requests, of which there may always be another one.
                _ = beats.tick() => {
                    self.beat(beat).await?;
                    beat = (beat + 1) % BEATS;
                }
                Some((to, reply)) = self.late.1.recv() => self.send(&to, reply).await?,
                request = self.requests.next() => match request {
                    Some(request) => self.take(request).await?,
                    None => break,
                },
            }
        }
        self.delays.close();
        // A failed flush means that the connection is gone, and with it those who asked.
        let _ = self.connection.client().flush().await;
        Ok(self.served)
    }

    fn moment(&self) -> Moment {
        Moment { now: (self.clock)(), since_start: self.started.elapsed(), roll_call: self.served.roll_calls }
    }

    async fn take(&mut self, request: Message) -> Result<(), StageError> {
        let Some(reply_to) = request.reply else {
            return Ok(());
        };
        if is_roll_call(&request.subject) {
            self.served.roll_calls += 1;
        }
        let began = Instant::now();
        let moment = self.moment();
        let header = request.headers.as_ref().and_then(|headers| headers.get("Accept-Encoding"));
        let compressed = header.is_some_and(|value| {
            let value = value.as_str().to_ascii_lowercase();
            value.contains("snappy") || value.contains("s2")
        });
        let question = self.world.question(&moment, &request.subject, &request.payload, compressed);
        let Some(question) = question else {
            return Ok(());
        };
        self.served.requests += 1;
        for server in &question.servers {
            self.answer(&moment, &question, *server, &reply_to).await?;
        }
        self.served.seconds_busy += began.elapsed().as_secs_f64();
        Ok(())
    }

    async fn answer(
        &mut self,
        moment: &Moment,
        question: &Question,
        server: usize,
        reply_to: &Subject,
    ) -> Result<(), StageError> {
        for mut reply in self.world.reply(moment, question, server) {
            if reply.payload.len() as u64 + BESIDE > self.connection.max_payload() as u64 {
                if self.served.too_large == 0 {
                    let (needed, limit) = (reply.payload.len(), self.connection.max_payload());
                    tracing::warn!(
                        endpoint = question.endpoint.name(),
                        needed,
                        limit,
                        "an answer exceeds the server's max_payload; those who ask are told, and this is not said again"
                    );
                }
                self.served.too_large += 1;
                let why = "the answer of this simulated server exceeds the max_payload of the real one";
                reply = Reply { delay: reply.delay, ..self.world.refuse(moment, server, why) };
            }
            if reply.delay.is_zero() {
                self.send(reply_to, reply).await?;
                continue;
            }
            let (sender, to) = (self.late.0.clone(), reply_to.clone());
            self.delays.spawn(async move {
                sleep(reply.delay).await;
                // Nobody waits for it once the stage has ended.
                let _ = sender.send((to, reply)).await;
            });
        }
        Ok(())
    }

    async fn send(&mut self, to: &Subject, reply: Reply) -> Result<(), StageError> {
        let client = self.connection.client();
        let length = reply.payload.len();
        let sent = if reply.snappy {
            let mut headers = HeaderMap::new();
            headers.insert("Content-Encoding", "snappy");
            client.publish_with_headers(to.clone(), headers, reply.payload).await
        } else {
            client.publish(to.clone(), reply.payload).await
        };
        sent.map_err(|error| failed(to, &error))?;
        self.served.answers += 1;
        self.served.bytes += length as u64;
        self.hold_back(length).await;
        Ok(())
    }

    /// Waits until what was sent is written, now and then: a world's answers are more than memory should hold.
    async fn hold_back(&mut self, length: usize) {
        self.unwritten += length;
        if self.unwritten >= UNWRITTEN {
            self.unwritten = 0;
            // It fails while the connection is down; the client keeps what it has taken.
            let _ = self.connection.client().flush().await;
        }
    }

    async fn beat(&mut self, beat: usize) -> Result<(), StageError> {
        if let Some(subject) = self.connection.events().denied_publishes().into_iter().next() {
            return Err(StageError::MayNotAnswer { subject });
        }
        let moment = self.moment();
        for server in (beat..self.world.servers()).step_by(BEATS) {
            if let Some((subject, payload)) = self.world.heartbeat(&moment, server) {
                let length = payload.len();
                let sent = self.connection.client().publish(subject.clone(), payload).await;
                sent.map_err(|error| failed(&subject, &error))?;
                self.served.heartbeats += 1;
                self.hold_back(length).await;
            }
        }
        Ok(())
    }
}
