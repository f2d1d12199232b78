//! Events of the system account, folded as they come and taken once an epoch.

use super::roster::ServerEvent;
use crate::nats::connect::Connection;
use crate::nats::events::ClientEvents;
use crate::nats::inbox::InboxError;
use crate::snapshot::Events;
use crate::text::{NAME_BYTES, bounded};
use crate::wire::event::disconnect;
use async_nats::Subscriber;
use futures_util::StreamExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

/// What the agent listens to.
pub(super) const EVENT_SUBJECTS: [&str; 3] =
    ["$SYS.ACCOUNT.*.DISCONNECT", "$SYS.SERVER.*.SHUTDOWN", "$SYS.SERVER.*.LAMEDUCK"];

/// Announcements kept between two epochs; a rolling restart of a thousand servers has two thousand.
const ANNOUNCEMENTS: usize = 10_000;

#[derive(Debug, Default)]
struct Folded {
    disconnects: Events,
    servers: Vec<ServerEvent>,
}

/// The reader of events. Dropping it ends it.
#[derive(Debug)]
pub(super) struct EventReader {
    noticed: ClientEvents,
    folded: Arc<Mutex<Folded>>,
    disconnects_before: u64,
    drops_before: u64,
    _reader: AbortOnDropHandle<()>,
}

fn lock(folded: &Mutex<Folded>) -> MutexGuard<'_, Folded> {
    // Counts stay usable whatever happened while they were locked.
    folded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventReader {
    pub(super) async fn start(connection: &Connection) -> Result<Self, InboxError> {
        let mut subscriptions = Vec::with_capacity(EVENT_SUBJECTS.len());
        for subject in EVENT_SUBJECTS {
            let subscribed = connection.client().subscribe(subject).await;
            subscriptions.push(subscribed.map_err(|error| InboxError::new(subject, &error))?);
        }
        let folded = Arc::new(Mutex::new(Folded::default()));
        let reader = tokio::spawn(read(subscriptions, Arc::clone(&folded)));
        Ok(Self {
            noticed: connection.events().clone(),
            folded,
            disconnects_before: connection.events().disconnects(),
            drops_before: connection.events().drops(),
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// A reader to which nothing comes.
    #[cfg(test)]
    pub(super) fn of_nothing(noticed: ClientEvents) -> Self {
        Self {
            noticed,
            folded: Arc::default(),
            disconnects_before: 0,
            drops_before: 0,
            _reader: AbortOnDropHandle::new(tokio::spawn(async {})),
        }
    }

    /// Disconnects since the last call, and whether all of them were seen.
    pub(super) fn take_disconnects(&mut self) -> (Events, Result<(), String>) {
        let events = std::mem::take(&mut lock(&self.folded).disconnects);
        let noticed = &self.noticed;
        let (disconnects, drops) = (noticed.disconnects(), noticed.drops());
        let seen = if noticed.subscription_denied(EVENT_SUBJECTS[0]) {
            Err(format!("this agent's user may not subscribe to {}", EVENT_SUBJECTS[0]))
        } else if disconnects != self.disconnects_before {
            Err("the agent's connection was lost for a while".into())
        } else if drops != self.drops_before {
            Err("the client dropped messages".into())
        } else {
            Ok(())
        };
        (self.disconnects_before, self.drops_before) = (disconnects, drops);
        (events, seen)
    }

    /// What servers announced since the last call.
    pub(super) fn take_server_events(&self) -> Vec<ServerEvent> {
        std::mem::take(&mut lock(&self.folded).servers)
    }
}

async fn read(subscriptions: Vec<Subscriber>, folded: Arc<Mutex<Folded>>) {
    let mut messages = futures_util::stream::select_all(subscriptions);
    while let Some(message) = messages.next().await {
        let subject = message.subject.as_str();
        let mut folded = lock(&folded);
        if subject.starts_with("$SYS.ACCOUNT.") {
            match disconnect(&message.payload) {
                Ok(event) => folded.disconnects.disconnected(&event.client.acc, &event.reason),
                Err(_) => folded.disconnects.unreadable += 1,
            }
            continue;
        }
        let mut tokens = subject.split('.').skip(2);
        let (Some(id), Some(what)) = (tokens.next(), tokens.next()) else {
            continue;
        };
        let id = bounded(id, NAME_BYTES);
        if folded.servers.len() < ANNOUNCEMENTS {
            match what {
                "SHUTDOWN" => folded.servers.push(ServerEvent::Shutdown(id)),
                "LAMEDUCK" => folded.servers.push(ServerEvent::LameDuck(id)),
                _ => {}
            }
        }
    }
}
