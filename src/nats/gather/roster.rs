//! The servers that are known, so that one that falls silent is missed, and one that never spoke to this agent as well.
//!
//! A server is known by its answers to the roll call, by its heartbeats, and by the routes and gateways of others: where
//! not every server has a route to every other one, requests reach only the neighbours of the agent's own server.

mod departures;
mod expected;
#[cfg(test)]
mod tests;

use crate::snapshot::{Departure, Leaving, Missing, Snapshot, Version};
use crate::text::{NAME_BYTES, Name, bounded};
pub(super) use departures::Departures;
pub use expected::Expected;
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// Epochs after which a silent server without a name of its own is forgotten: it is called by its id, which is new
/// after a restart, so that nothing would ever tell that it came back.
const NAMELESS_EPOCHS: u64 = 10;

/// How long a silent server is missed that nobody names or hears any longer. It may have been removed for good without
/// a word, which nothing can tell from a crash.
const FORGET: Duration = Duration::hours(24);

/// How long a lame duck is waited for where no route tells whether it is still there. nats-server's own
/// `lame_duck_duration` is 2 minutes by default.
const LAME_DUCK: Duration = Duration::hours(1);

/// A server publishes a heartbeat every 10 s (2.9 to 2.15): after three of those without one it does no longer.
const HEARTBEATS: Duration = Duration::seconds(30);

/// Epochs in which the routes of others to a server that left in order are not taken for a sign of life.
const LINGER: u32 = 2;

/// Servers that are known only by what others tell. Anybody in the system account can publish heartbeats.
const TOLD: usize = 10_000;

/// What the name of a whole cluster begins with that only gateways tell of.
const CLUSTER: &str = "*/";

/// An event of a server's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerEvent {
    /// It ended in an orderly way; its id.
    Shutdown(Name),
    /// It entered lame-duck mode, in which it no longer answers; its id.
    LameDuck(Name),
    /// It published its statistics on its own account.
    Heartbeat {
        /// Its id.
        id: Name,
        /// Its name, or its id.
        name: Name,
        /// Its cluster.
        cluster: Option<Name>,
    },
}

/// What servers tell of others in the roll call, by the name of who tells.
pub(super) type Peers = BTreeMap<Name, Neighbours>;

/// Who a server is connected to.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    /// Names of servers.
    pub(super) routes: BTreeSet<Name>,
    /// Names of clusters.
    pub(super) gateways: BTreeSet<Name>,
}

impl Neighbours {
    /// From the names in an answer.
    pub(super) fn of(routes: &BTreeSet<String>, gateways: &BTreeSet<String>) -> Self {
        let names = |all: &BTreeSet<String>| all.iter().map(|name| bounded(name, NAME_BYTES)).collect();
        Self { routes: names(routes), gateways: names(gateways) }
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    id: Option<Name>,
    cluster: Option<Name>,
    version: Option<Version>,
    /// The epoch in which it last answered.
    last: Option<(u64, OffsetDateTime)>,
    /// When it was first missed after that.
    missed_at: Option<OffsetDateTime>,
    silent_epochs: u64,
    lame_duck_at: Option<OffsetDateTime>,
    /// The last heartbeat while it was silent.
    heard_at: Option<OffsetDateTime>,
    /// Servers that named it when they last answered.
    witnesses: BTreeSet<Name>,
    /// Whether any server ever did.
    named: bool,
    /// Whether findings of an agent that ran before are about it.
    expected: bool,
}

/// Known servers by name. A server that answers under the same name with a new id was restarted; one that shut down
/// in an orderly way has left; any other is missed until it answers, or for a day.
#[derive(Debug, Default)]
pub(super) struct Roster {
    servers: BTreeMap<Name, Known>,
    /// Names and ids of those that left in order, and the epochs since.
    left: BTreeMap<Name, u32>,
    departures: Departures,
}

impl Roster {
    /// The ids under which the known servers are expected to answer.
    pub(super) fn ids(&self) -> BTreeSet<Name> {
        let expected = self.servers.values().filter(|known| known.lame_duck_at.is_none());
        expected.filter_map(|known| known.id.clone()).collect()
    }

    /// Takes in what servers announced since the last epoch.
    pub(super) fn apply(&mut self, events: Vec<ServerEvent>, at: OffsetDateTime) {
        for event in events {
            match event {
                ServerEvent::Shutdown(id) => {
                    let (left, departures) = (&mut self.left, &mut self.departures);
                    departures.ended(&id, at);
                    self.servers.retain(|name, known| {
                        let stays = known.id.as_ref() != Some(&id);
                        if !stays {
                            left.insert(name.clone(), 0);
                            departures.announce(&id, (name, known.cluster.as_ref()), Leaving::Shutdown, at);
                        }
                        stays
                    });
                    left.insert(id, 0);
                }
                ServerEvent::LameDuck(id) => {
                    let of = |(_, known): &(&Name, &mut Known)| known.id.as_ref() == Some(&id);
                    for (name, known) in self.servers.iter_mut().filter(of) {
                        known.lame_duck_at = Some(at);
                        let who = (name, known.cluster.as_ref());
                        self.departures.announce(&id, who, Leaving::LameDuck, at);
                    }
                }
                ServerEvent::Heartbeat { id, name, cluster } => self.hear(id, name, cluster, at),
            }
        }
    }

    /// Takes in servers that findings of an agent that ran before are about: one that answers nothing now is missed, and
    /// not taken for one that does not exist.
    pub(super) fn look_out_for(&mut self, servers: impl Iterator<Item = Expected>) {
        for Expected { name, cluster, silent_epochs, silent_since, left_at } in servers {
            if self.left.contains_key(&name) {
                continue;
            }
            if let Some(at) = left_at.filter(|_| !self.servers.contains_key(&name)) {
                self.departures.told(&name, cluster.as_ref(), at);
                continue;
            }
            if let Some(known) = self.servers.get_mut(&name) {
                // Of what was told before this agent looked, the longest silence holds.
                if known.expected && known.silent_epochs < silent_epochs {
                    (known.silent_epochs, known.missed_at) = (silent_epochs, silent_since);
                }
                continue;
            }
            if self.full() {
                continue;
            }
            let (missed_at, id) = (silent_since, is_id(&name).then(|| name.clone()));
            let known = Known { id, cluster, silent_epochs, missed_at, expected: true, ..Known::default() };
            self.servers.insert(name, known);
        }
    }

    /// Servers that answered, or were heard: name, id, cluster, and when that was last.
    pub(super) fn seen(
        &self,
    ) -> impl Iterator<Item = (Name, Option<Name>, Option<Name>, OffsetDateTime)> + '_ {
        self.servers.iter().filter_map(|(name, known)| {
            let answered = known.last.map(|(_, at)| at);
            let at = answered.max(known.heard_at)?;
            Some((name.clone(), known.id.clone(), known.cluster.clone(), at))
        })
    }

    /// Servers that announced that they leave, within the last day or with all of their cluster.
    pub(super) fn departures(&self) -> Vec<Departure> {
        self.departures.list()
    }

    /// The same, to be handed over; this roster knows of none afterwards.
    pub(super) fn take_departures(&mut self) -> Departures {
        std::mem::take(&mut self.departures)
    }

    /// Goes on with those that were handed over. A lame duck is known as one, because others name it until it ends.
    pub(super) fn take_over(&mut self, departures: Departures) {
        for (id, duck) in departures.lame_ducks() {
            let known = || Known {
                id: Some(id.clone()),
                cluster: duck.cluster.clone(),
                lame_duck_at: Some(duck.at),
                ..Known::default()
            };
            self.servers.entry(duck.server.clone()).or_insert_with(known);
        }
        self.departures = departures;
    }

    #[cfg(test)]
    pub(super) fn knows_as_lame_duck(&self, name: &str) -> bool {
        self.servers.get(name).is_some_and(|known| known.lame_duck_at.is_some())
    }

    fn hear(&mut self, id: Name, name: Name, cluster: Option<Name>, at: OffsetDateTime) {
        if self.left.contains_key(&id) {
            return;
        }
        let full = self.full();
        match self.servers.get_mut(&name) {
            Some(known) => {
                if known.id.as_ref() != Some(&id) {
                    // It was restarted.
                    (known.id, known.lame_duck_at) = (Some(id), None);
                }
                if known.silent_epochs > 0 || known.last.is_none() {
                    known.heard_at = Some(at);
                }
            }
            None if full => {}
            None => {
                let known = Known { id: Some(id), cluster, heard_at: Some(at), ..Known::default() };
                self.servers.insert(name, known);
            }
        }
    }

    /// Whether no more servers are taken in that others tell of.
    pub(super) fn full(&self) -> bool {
        self.servers.len() >= TOLD
            && self.servers.values().filter(|known| known.last.is_none()).count() >= TOLD
    }

    /// Takes in a roll call, and tells the known servers that did not answer it. `asked` is whether silence means
    /// anything: it does not where the agent's connection was lost, and neither if nobody answered.
    pub(super) fn call(&mut self, snapshot: &Snapshot, peers: &Peers, asked: bool) -> Vec<Missing> {
        let at = snapshot.taken_at;
        let asked = asked && !snapshot.servers.is_empty();
        for server in snapshot.servers.values() {
            let named = self.servers.get(&server.name).is_some_and(|known| known.named);
            let known = Known {
                id: Some(server.id.clone()),
                cluster: server.cluster.clone(),
                version: server.version,
                last: Some((snapshot.epoch, at)),
                named,
                ..Known::default()
            };
            // A server without a name may have been told of by another one.
            self.servers.insert(server.name.clone(), known);
        }
        self.departures.call(snapshot);
        let present = Present::of(snapshot);
        self.witness(&present, peers);
        if asked {
            for (_, known) in self.servers.iter_mut().filter(|(name, known)| !present.has(name, known)) {
                known.silent_epochs += 1;
                known.missed_at.get_or_insert(at);
            }
            self.servers.retain(|name, known| present.has(name, known) || known.is_missed(name, at));
            self.left.retain(|_, epochs| {
                *epochs += 1;
                *epochs < LINGER
            });
        }
        // Another server may answer under the name of one that others call by its id.
        self.servers.retain(|name, known| known.last.is_some() || !present.has(name, known));
        let silent = self.servers.iter().filter(|(name, known)| !present.has(name, known));
        silent.map(|(name, known)| known.missing(name, at, &present)).collect()
    }

    /// Notes who names whom. Who answered without naming a server any longer, or is itself forgotten, is no witness.
    fn witness(&mut self, present: &Present<'_>, peers: &Peers) {
        let names: BTreeSet<Name> = self.servers.keys().cloned().collect();
        for known in self.servers.values_mut() {
            known.witnesses.retain(|by| names.contains(by) && !present.names.contains(by));
        }
        let servers = self.servers.iter().filter(|(name, _)| !name.starts_with(CLUSTER));
        let clusters: BTreeSet<Name> = servers.filter_map(|(_, known)| known.cluster.clone()).collect();
        for (by, neighbours) in peers {
            let cluster = self.servers.get(by).and_then(|known| known.cluster.clone());
            for name in &neighbours.routes {
                match self.servers.get_mut(name).filter(|_| present.names.contains(name)) {
                    Some(known) => known.named = true,
                    None if present.ids.contains(name) => {}
                    None => self.named(name.clone(), cluster.clone(), by),
                }
            }
            for cluster in neighbours.gateways.iter().filter(|cluster| !clusters.contains(*cluster)) {
                self.named(Name::from(format!("{CLUSTER}{cluster}")), Some(cluster.clone()), by);
            }
        }
    }

    fn named(&mut self, name: Name, cluster: Option<Name>, by: &Name) {
        // A server without a name of its own goes by its id.
        let key = if self.servers.contains_key(&name) {
            Some(name.clone())
        } else {
            let of = |(_, known): &(&Name, &Known)| known.id.as_ref() == Some(&name);
            self.servers.iter().find(of).map(|(key, _)| key.clone())
        };
        if key.is_none() && (self.left.contains_key(&name) || self.full()) {
            return;
        }
        let known =
            self.servers.entry(key.unwrap_or(name)).or_insert_with(|| Known { cluster, ..Known::default() });
        known.named = true;
        known.witnesses.insert(by.clone());
    }

    /// Takes over what the rest of the sweep found out about the clusters of those that answered.
    pub(super) fn learn(&mut self, snapshot: &Snapshot) {
        for server in snapshot.servers.values() {
            if let Some(known) = self.servers.get_mut(&server.name) {
                known.cluster.clone_from(&server.cluster);
            }
        }
    }
}

impl Known {
    /// Whether there is no reason to forget it while it is silent.
    fn is_missed(&self, name: &Name, at: OffsetDateTime) -> bool {
        let heard = self.heard_at.is_some_and(|heard| at - heard <= HEARTBEATS);
        if heard || !self.witnesses.is_empty() {
            return true;
        }
        if let Some(since) = self.lame_duck_at {
            // Its routes stand until it ends: it is seen to have ended where others named it before.
            return !self.named && at - since < LAME_DUCK;
        }
        let heard_of = self.last.is_some() || self.heard_at.is_some() || self.expected;
        let nameless = self.id.as_ref() == Some(name) && self.silent_epochs >= NAMELESS_EPOCHS;
        heard_of && !nameless && self.missed_at.is_none_or(|since| at - since < FORGET)
    }

    fn missing(&self, name: &Name, at: OffsetDateTime, present: &Present<'_>) -> Missing {
        Missing {
            name: name.clone(),
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            version: self.version,
            last_epoch: self.last.map(|(epoch, _)| epoch),
            last_at: self.last.map(|(_, at)| at),
            silent_epochs: self.silent_epochs,
            lame_duck: self.lame_duck_at.is_some(),
            heartbeats: self.heard_at.is_some_and(|heard| at - heard <= HEARTBEATS),
            expected: self.expected,
            named_by: self.witnesses.iter().filter(|by| present.names.contains(*by)).cloned().collect(),
        }
    }
}

/// Whether a name is the public key that a server without a configured name goes by.
fn is_id(name: &str) -> bool {
    name.len() == 56 && name.starts_with('N') && name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

/// Who answered.
struct Present<'a> {
    names: BTreeSet<&'a Name>,
    ids: BTreeSet<&'a Name>,
    clusters: BTreeSet<&'a Name>,
}

impl<'a> Present<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let servers = || snapshot.servers.values();
        Self {
            names: servers().map(|server| &server.name).collect(),
            ids: servers().map(|server| &server.id).collect(),
            clusters: servers().filter_map(|server| server.cluster.as_ref()).collect(),
        }
    }

    /// Whether a known server is among them, or, for a whole cluster, one of its servers.
    fn has(&self, name: &Name, known: &Known) -> bool {
        let cluster = || {
            name.starts_with(CLUSTER)
                && known.cluster.as_ref().is_some_and(|cluster| self.clusters.contains(cluster))
        };
        self.names.contains(name)
            || known.id.as_ref().is_some_and(|id| self.ids.contains(id))
            || self.ids.contains(name)
            || cluster()
    }
}
