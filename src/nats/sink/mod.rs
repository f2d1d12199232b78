//! The sink: findings kept with JetStream in an ordinary account, over a connection of its own, since the system account
//! cannot have JetStream.
//!
//! [`Sink::deliver`] puts an epoch into an outbox and returns at once; a [`task`] empties it into the stream and keeps the
//! bucket at the present state, connects for as long as it takes, and begins anew after every lost connection: looks
//! whether stream and bucket are there ([`provision`]), reads the bucket ([`bucket`]), sends ([`send`]).

mod bucket;
mod error;
mod provision;
mod send;
mod task;

use super::connect::{Connection, connect};
use super::events::ClientEvents;
use super::lease::{LeaseKey, LeasePlace};
use crate::config::{SinkConfig, SinkStorage};
use crate::finding::{EpochSummary, Finding, Mirror, Outbox, Said, SinkStatus, Status, Stored};
use async_nats::jetstream::context::ContextBuilder;
use provision::Places;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use error::SinkError;

/// A sink, from the first attempt to connect until it is dropped.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the agent and the task share.
#[derive(Debug)]
struct Shared {
    config: SinkConfig,
    prefix: String,
    events: ClientEvents,
    stop: CancellationToken,
    /// There is something to send.
    work: Notify,
    /// The bucket has been read.
    read: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    outbox: Outbox,
    mirror: Mirror,
    stock: Stock,
    connection: Option<Connection>,
    /// Set while messages are taken.
    places: Option<Places>,
    /// The time of the last epoch.
    now: OffsetDateTime,
    published: u64,
    failed: u64,
    last_error: Option<String>,
    notes: Vec<String>,
}

/// What the bucket knew, on its way to the agent. Until the agent has it, no state is written: it could not tell yet when
/// its findings began.
#[derive(Debug)]
enum Stock {
    /// The bucket has not been read since this was asked for.
    Wanted,
    /// It has been read.
    Ready(Vec<Finding>),
    /// The agent has it.
    Taken,
}

/// The firing findings in the bucket of a sink, as they were last written: at most ten epochs ago. For who only looks.
pub async fn stored(config: &SinkConfig) -> Result<Vec<Finding>, SinkError> {
    let connection = connect(&config.connection, ClientEvents::named("sink")).await?;
    let look = async {
        let context = ContextBuilder::new().timeout(connection.timeout()).build(connection.client().clone());
        let store = provision::existing_bucket(&context, config).await?;
        bucket::Reader::default().read(connection.client(), &store, connection.timeout()).await
    };
    let stored = look.await.map_err(|error| error.explained(&connection))?;
    let firing = |stored| match stored {
        Stored::Finding(finding) if finding.status == Status::Firing => Some(*finding),
        Stored::Finding(_) | Stored::Purged(..) => None,
    };
    Ok(stored.into_iter().filter_map(firing).collect())
}

impl Sink {
    /// Starts to connect, and goes on for as long as it takes. Findings are published below `prefix`.
    pub fn start(config: &SinkConfig, prefix: &str) -> Self {
        let inner = Inner {
            outbox: Outbox::new(config.buffer),
            mirror: Mirror::default(),
            stock: Stock::Wanted,
            connection: None,
            places: None,
            now: OffsetDateTime::UNIX_EPOCH,
            published: 0,
            failed: 0,
            last_error: None,
            notes: Vec::new(),
        };
        let shared = Arc::new(Shared {
            config: config.clone(),
            prefix: prefix.to_owned(),
            events: ClientEvents::named("sink"),
            stop: CancellationToken::new(),
            work: Notify::new(),
            read: Notify::new(),
            inner: Mutex::new(inner),
        });
        let task = tokio::spawn(task::run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Takes in what an epoch said, at the time `now`; sends it later, and waits for nothing.
    pub fn deliver(
        &self,
        said: &[Said],
        summary: &Arc<EpochSummary>,
        system_account: &str,
        now: OffsetDateTime,
    ) {
        let reachable = self.shared.connected();
        let mut inner = self.shared.lock();
        let dropped = inner.outbox.dropped();
        inner.now = now;
        inner.mirror.take_in(said);
        // What the agent was told of and says nothing about, it knows to be over.
        let over = match inner.stock {
            Stock::Taken => inner.mirror.settle(&summary.system, summary.epoch, now),
            Stock::Wanted | Stock::Ready(_) => Vec::new(),
        };
        inner.outbox.take_in(&[said, &over].concat(), summary, system_account, reachable);
        if dropped == 0 && inner.outbox.dropped() > 0 {
            tracing::warn!(
                buffer = self.shared.config.buffer,
                "more transitions wait for the sink than it may keep: the oldest are dropped"
            );
        }
        drop(inner);
        self.shared.work.notify_one();
    }

    /// Waits until the bucket has been read, and gives the firing findings in it that have not been judged since
    /// [`Sink::start`] or [`Sink::read_again`], or that began earlier than was thought. `None` if that takes longer than
    /// `within`; then [`Sink::late`] gives them when they are there.
    pub async fn known(&self, within: Duration) -> Option<Vec<Finding>> {
        let read = async {
            loop {
                let read = self.shared.read.notified();
                tokio::pin!(read);
                // Enlisted before the look, so that nothing comes between the two.
                read.as_mut().enable();
                if let Some(known) = self.shared.lock().take_stock() {
                    return known;
                }
                read.await;
            }
        };
        tokio::time::timeout(within, read).await.ok()
    }

    /// What [`Sink::known`] would give now, if it has not been given already.
    pub fn late(&self) -> Vec<Finding> {
        self.shared.lock().take_stock().unwrap_or_default()
    }

    /// Forgets what waits and what this agent has judged: another agent leads now, and tells it.
    pub fn stand_down(&self) {
        self.shared.lock().outbox.clear();
        self.read_again();
    }

    /// Forgets what this agent has judged and has the bucket read again: for one that takes over from another.
    pub fn read_again(&self) {
        let mut inner = self.shared.lock();
        inner.mirror = Mirror::default();
        inner.stock = Stock::Wanted;
        drop(inner);
        self.shared.work.notify_one();
    }

    /// How it does.
    pub fn status(&self) -> SinkStatus {
        let connected = self.shared.connected();
        let inner = self.shared.lock();
        SinkStatus {
            connected,
            buffered: inner.outbox.transitions() as u64,
            dropped: inner.outbox.dropped(),
            published: inner.published,
            failed: inner.failed,
            last_error: inner.last_error.clone(),
            notes: inner.notes.clone(),
        }
    }

    /// The connection, once it was made. It mends itself.
    pub fn connection(&self) -> Option<Connection> {
        self.shared.lock().connection.clone()
    }

    /// The lease of the agents that share this sink, under `key` in a bucket of its own beside that of findings. One question
    /// about it may take `patience`.
    pub fn lease(&self, key: &str, patience: Duration) -> LeaseKey {
        let config = &self.shared.config;
        let place = LeasePlace {
            bucket: config.lease_bucket(),
            key: key.into(),
            memory: config.storage == SinkStorage::Memory,
            replicas: config.replicas,
            patience,
        };
        let shared = Arc::clone(&self.shared);
        LeaseKey::new(place, move || shared.lock().connection.clone())
    }

    /// Sends what waits, for as long as `within`, and ends.
    pub async fn finish(&mut self, within: Duration) {
        self.shared.stop.cancel();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let left = self.shared.lock().outbox.transitions();
        if left > 0 {
            tracing::warn!(left, "the sink did not take everything before the end");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages are taken now.
    fn connected(&self) -> bool {
        self.events.connected() && self.lock().places.is_some()
    }
}

impl Inner {
    /// What the bucket knew, as far as it still tells something new.
    fn take_stock(&mut self) -> Option<Vec<Finding>> {
        match std::mem::replace(&mut self.stock, Stock::Taken) {
            Stock::Wanted => {
                self.stock = Stock::Wanted;
                None
            }
            Stock::Ready(mut findings) => {
                findings.retain(|finding| self.mirror.is_news(finding));
                Some(findings)
            }
            Stock::Taken => Some(Vec::new()),
        }
    }
}
