//! Events of the system account, folded as they come and taken once an epoch.

use super::farewells::Missed;
use super::roster::ServerEvent;
use super::{cluster_of, name_of};
use crate::nats::connect::Connection;
use crate::nats::events::ClientEvents;
use crate::nats::inbox::InboxError;
use crate::snapshot::{Answer, Event, Events, HeardBoot, Server};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::event::disconnect;
use crate::wire::statsz::heartbeat;
use crate::wire::time::timestamp;
use async_nats::Subscriber;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use tokio_util::task::AbortOnDropHandle;

/// What came and was not read in time.
const DROPPED: &str = "the client dropped messages";

/// Announcements kept between two epochs; a rolling restart of a thousand servers has two thousand.
const ANNOUNCEMENTS: usize = 10_000;

#[derive(Debug, Default)]
struct Folded {
    disconnects: Events,
    servers: Vec<ServerEvent>,
    /// Name, cluster and start of each server that published a heartbeat, by its id.
    heartbeats: BTreeMap<Name, (Name, Option<Name>, Option<OffsetDateTime>)>,
    /// Heartbeats that could not be read, or were of too many servers.
    lost_heartbeats: u64,
}

impl Folded {
    fn hear(&mut self, id: Name, payload: &[u8]) {
        let told = heartbeat(payload).ok().filter(|(server, _)| *server.id == *id);
        let Some((server, start)) = told.filter(|_| self.heartbeats.len() < ANNOUNCEMENTS) else {
            self.lost_heartbeats += 1;
            return;
        };
        self.heartbeats.insert(id, (name_of(&server), cluster_of(&server), timestamp(&start)));
    }
}

/// What servers told by themselves since it was taken last.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What they announced, and their heartbeats.
    pub(super) events: Vec<ServerEvent>,
    /// The boots behind those heartbeats.
    pub(super) boots: Vec<HeardBoot>,
    /// Heartbeats that were of no use.
    pub(super) lost: u64,
}

/// The reader of events. Dropping it ends it.
#[derive(Debug)]
pub(super) struct EventReader {
    noticed: ClientEvents,
    folded: Arc<Mutex<Folded>>,
    disconnects_before: u64,
    drops_before: u64,
    /// Why something may have been missed before the last call that told of it.
    lost: Option<&'static str>,
    _reader: AbortOnDropHandle<()>,
}

fn lock(folded: &Mutex<Folded>) -> MutexGuard<'_, Folded> {
    // Counts stay usable whatever happened while they were locked.
    folded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventReader {
    pub(super) async fn start(connection: &Connection) -> Result<Self, InboxError> {
        let mut subscriptions = Vec::with_capacity(Event::ALL.len());
        for subject in Event::ALL.map(Event::subject) {
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
            lost: None,
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
            lost: None,
            _reader: AbortOnDropHandle::new(tokio::spawn(async {})),
        }
    }

    /// As if this came.
    #[cfg(test)]
    pub(super) fn disconnected(&self, account: &str) {
        lock(&self.folded).disconnects.disconnected(account, "Client Closed");
    }

    /// As if a server's first heartbeat came.
    #[cfg(test)]
    pub(super) fn heard(&self, id: &str, name: &str) {
        let start = Some(OffsetDateTime::UNIX_EPOCH);
        lock(&self.folded).heartbeats.insert(id.into(), (name.into(), None, start));
    }

    /// Disconnects since the last call, and whether all of them were seen.
    pub(super) fn take_disconnects(&mut self) -> (Events, Answer) {
        let events = std::mem::take(&mut lock(&self.folded).disconnects);
        let noticed = &self.noticed;
        let (disconnects, drops) = (noticed.disconnects(), noticed.drops());
        self.lost = if disconnects != self.disconnects_before {
            Some("the agent's connection was lost for a while")
        } else if drops != self.drops_before {
            Some(DROPPED)
        } else {
            None
        };
        let disconnects_on = Event::Disconnect.subject();
        let seen = match self.lost {
            _ if noticed.subscription_denied(disconnects_on) => Answer::Denied(disconnects_on.into()),
            Some(why) => Answer::Partial(why.into()),
            None => Answer::Complete,
        };
        (self.disconnects_before, self.drops_before) = (disconnects, drops);
        (events, seen)
    }

    /// Why announcements of servers may have been missed in the time of which [`Self::take_disconnects`] told last.
    pub(super) fn missed_announcements(&self) -> Option<Missed> {
        let subjects = Event::FAREWELLS.map(Event::subject);
        let denied = subjects.iter().find(|subject| self.noticed.subscription_denied(subject));
        match (denied, self.lost) {
            (Some(subject), _) => {
                Some(Missed::All(format!("this agent's user may not subscribe to {subject}")))
            }
            (None, Some(DROPPED)) => Some(Missed::All(DROPPED.into())),
            (None, Some(why)) => Some(Missed::OfOthers(why.into())),
            (None, None) => None,
        }
    }

    /// The servers that announced their end since the last call of [`Self::take_server_events`], by their ids.
    pub(super) fn announced(&self) -> Vec<Name> {
        let folded = lock(&self.folded);
        let ids = folded.servers.iter().filter_map(|event| match event {
            ServerEvent::Shutdown(id) | ServerEvent::LameDuck(id) => Some(id.clone()),
            ServerEvent::Heartbeat { .. } => None,
        });
        ids.collect()
    }

    /// What servers told since the last call.
    pub(super) fn take_server_events(&self) -> Told {
        let mut folded = lock(&self.folded);
        let (mut events, mut boots) = (std::mem::take(&mut folded.servers), Vec::new());
        for (id, (name, cluster, start)) in std::mem::take(&mut folded.heartbeats) {
            if let Some(start) = start {
                // A server without a cluster reports its own name as cluster.
                let member = cluster.clone().filter(|cluster| *cluster != name);
                let key = Server::new(id.clone(), name.clone(), member).key();
                boots.push(HeardBoot { id: id.clone(), key, start });
            }
            events.push(ServerEvent::Heartbeat { id, name, cluster });
        }
        Told { events, boots, lost: std::mem::take(&mut folded.lost_heartbeats) }
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
        if what == "STATSZ" {
            folded.hear(id, &message.payload);
        } else if folded.servers.len() < ANNOUNCEMENTS {
            match what {
                "SHUTDOWN" => folded.servers.push(ServerEvent::Shutdown(id)),
                "LAMEDUCK" => folded.servers.push(ServerEvent::LameDuck(id)),
                _ => {}
            }
        }
    }
}
