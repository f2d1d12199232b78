//! The sink's own course: connect, look, read, send, and all over again after every failure.

use super::bucket::Reader;
use super::error::SinkError;
use super::provision::ensure;
use super::send::Sender;
use super::{Shared, Stock};
use crate::nats::connect::{Connection, connect};
use async_nats::jetstream::context::{Context, ContextBuilder};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// First and longest wait before something is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often it is looked whether the connection still stands.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until it is told to stop and everything is sent.
pub(super) async fn run(shared: Arc<Shared>) {
    let Some(connection) = reach(&shared).await else { return };
    shared.lock().connection = Some(connection.clone());
    settle(&shared).await;
    let context = ContextBuilder::new()
        .timeout(connection.timeout())
        .max_ack_inflight(super::send::UNDER_WAY * 2)
        .build(connection.client().clone());
    let mut course = Course { shared, connection, context, reader: Reader::default(), told: None };
    let mut wait = RETRY.0;
    loop {
        let connects = course.shared.events.connects();
        let done = course.shared.lock().published;
        match course.session(connects).await {
            Ok(()) => return,
            Err(error) => course.failed(&error.explained(&course.connection)),
        }
        if course.shared.lock().published > done {
            wait = RETRY.0;
        }
        if !course.pause(wait, connects).await {
            return;
        }
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Connects, however long it takes; `None` when it is told to stop.
async fn reach(shared: &Shared) -> Option<Connection> {
    let mut wait = RETRY.0;
    let mut told = None;
    loop {
        let error = tokio::select! {
            () = shared.stop.cancelled() => return None,
            connected = connect(&shared.config.connection, shared.events.clone()) => match connected {
                Ok(connection) => return Some(connection),
                Err(error) => error.to_string(),
            },
        };
        if told.as_ref() != Some(&error) {
            tracing::error!("the sink cannot be reached: {error}; it is tried again for as long as it takes");
            shared.lock().last_error = Some(error.clone());
            told = Some(error);
        }
        tokio::select! {
            () = shared.stop.cancelled() => return None,
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(RETRY.1);
    }
}

/// The client tells of its first connection a moment after it gives it away.
async fn settle(shared: &Shared) {
    let until = Instant::now() + RETRY.0;
    while shared.events.connects() == 0 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
}

struct Course {
    shared: Arc<Shared>,
    connection: Connection,
    context: Context,
    reader: Reader,
    /// The failure that was logged, until the sink works again.
    told: Option<String>,
}

impl Course {
    /// Works until something fails, or until it is told to stop and everything is sent.
    async fn session(&mut self, connects: u64) -> Result<(), SinkError> {
        let shared = Arc::clone(&self.shared);
        if !shared.events.connected() {
            return Err(SinkError::Down);
        }
        // Permissions may have changed; whoever is denied still is denied again.
        shared.events.forget_denied_publishes();
        let places = ensure(&self.context, &shared.config, &shared.prefix).await?;
        self.note(&places.notes);
        let mut read_at_all = false;
        loop {
            let wanted = !read_at_all || matches!(shared.lock().stock, Stock::Wanted);
            if wanted {
                let (client, patience) = (self.connection.client(), self.connection.timeout());
                let stored = self.reader.read(client, &places.store, patience).await?;
                let mut inner = shared.lock();
                let news = inner.mirror.take_stock(stored);
                if !(matches!(inner.stock, Stock::Taken) && news.is_empty()) {
                    inner.stock = Stock::Ready(news);
                }
                inner.places = Some(places.clone());
                inner.last_error = None;
                drop(inner);
                shared.read.notify_waiters();
                self.told = None;
                if !read_at_all {
                    let (stream, bucket) = (&shared.config.stream, &shared.config.bucket);
                    tracing::info!(stream, bucket, "the sink is ready");
                }
                read_at_all = true;
            }
            let sender = Sender { shared: &shared, context: &self.context, places: &places };
            sender.everything().await?;
            loop {
                if shared.events.connects() != connects || !shared.events.connected() {
                    return Err(SinkError::Down);
                }
                tokio::select! {
                    biased;
                    () = shared.work.notified() => break,
                    () = shared.stop.cancelled() => return sender.everything().await,
                    () = sleep(LOOK) => {}
                }
            }
        }
    }

    /// Tells where stream and bucket differ from the configuration, when that changes.
    fn note(&self, notes: &[String]) {
        let mut inner = self.shared.lock();
        if inner.notes != notes {
            inner.notes = notes.to_vec();
            drop(inner);
            for note in notes {
                tracing::warn!("{note}");
            }
        }
    }

    /// Notes that nothing more is taken, and tells why, once.
    fn failed(&mut self, error: &SinkError) {
        let error = error.to_string();
        let mut inner = self.shared.lock();
        inner.places = None;
        inner.outbox.close();
        inner.last_error = Some(error.clone());
        let waiting = inner.outbox.transitions();
        drop(inner);
        if self.told.as_ref() != Some(&error) {
            tracing::error!(
                waiting,
                "the sink cannot be used: {error}; it is tried again for as long as it takes"
            );
            self.told = Some(error);
        }
    }

    /// Waits before it is tried again: until the connection stands, and for `wait` where it stood all the time. False when
    /// it is told to stop.
    async fn pause(&self, wait: Duration, connects: u64) -> bool {
        let until = Instant::now() + wait;
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return false,
                () = sleep(LOOK) => {}
            }
            let events = &self.shared.events;
            if events.connected() && (events.connects() != connects || Instant::now() >= until) {
                return true;
            }
        }
    }
}
