//! Who is there. The question stays open for the whole epoch: nobody waits for servers that nobody knows yet, and those
//! that answer late are asked for the rest in a second round.

use super::roster::{Neighbours, Peers, Roster};
use super::scatter::{Request, Scatter, Wait};
use super::{Plan, cluster_of, name_of};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Server, Snapshot, Version};
use crate::text::Name;
use crate::wire::WireError;
use crate::wire::envelope::ServerInfo;
use crate::wire::statsz::{self, Statsz};
use crate::wire::time::timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What servers answered.
type Heard = BTreeMap<Name, (ServerInfo, Result<Statsz, WireError>)>;

/// The open roll call.
pub(super) struct RollCall {
    asked: Scatter<Statsz>,
    /// Those that are in the snapshot.
    met: BTreeSet<Name>,
    /// Whom they name.
    peers: Peers,
    /// Whether the agent's connection stood when it was asked, and how often it had been lost by then.
    connection: (bool, u64),
}

impl RollCall {
    /// Asks everybody; `known` are the ids of those that are expected.
    pub(super) async fn open(inbox: &Inbox, plan: &Plan, known: BTreeSet<Name>) -> Self {
        let request = Request {
            subject: "$SYS.REQ.SERVER.PING.STATSZ",
            body: "",
            // STATSZ is never compressed.
            compressed: false,
            parse: statsz::parse,
            awaited: known,
            others: None,
        };
        let events = inbox.carrier().events();
        let connection = (events.connected(), events.disconnects());
        let asked = Scatter::ask(inbox, plan, request).await;
        Self { asked, met: BTreeSet::new(), peers: Peers::new(), connection }
    }

    /// Waits until all known servers have answered; if there are none, or some do not, until it has been quiet for a while.
    /// Gives the ids of those that are there.
    pub(super) async fn first(&mut self, inbox: &Inbox, snapshot: &mut Snapshot) -> BTreeSet<Name> {
        let mut heard = BTreeMap::new();
        let take = |id, info, statsz| drop(heard.insert(id, (info, statsz)));
        self.asked.collect(inbox, Wait::UntilQuiet, take).await;
        self.enter(snapshot, heard)
    }

    /// Those that have answered since. Known ones that have not are waited for, as long as one answer may take.
    pub(super) async fn late(&mut self, inbox: &Inbox, snapshot: &mut Snapshot) -> BTreeSet<Name> {
        let mut heard = BTreeMap::new();
        let mut take = |id, info, statsz| drop(heard.insert(id, (info, statsz)));
        if self.asked.is_waiting() {
            self.asked.collect(inbox, Wait::ForAll, &mut take).await;
        }
        self.asked.collect_waiting(&mut take).await;
        self.enter(snapshot, heard)
    }

    /// Closes the question, and tells who is missing.
    pub(super) fn close(mut self, inbox: &Inbox, roster: &mut Roster, snapshot: &mut Snapshot) {
        let (stood, lost_before) = self.connection;
        let mut asked = stood && inbox.carrier().events().disconnects() == lost_before;
        if let Some(subject) = self.asked.denied.take() {
            let why = format!("this agent's user may not publish to {subject}");
            snapshot.coverage.not_asked.insert(Endpoint::Statsz, why.clone());
            snapshot.coverage.notes.push(why);
            asked = false;
        }
        std::mem::take(&mut self.asked.tally).add_to(snapshot);
        snapshot.coverage.missing = roster.call(snapshot, &self.peers, asked);
        snapshot.departures = roster.departures();
        if roster.full() {
            let note = "servers or heartbeats tell of more servers than are remembered without an answer";
            snapshot.coverage.notes.push(note.into());
        }
    }

    fn enter(&mut self, snapshot: &mut Snapshot, heard: Heard) -> BTreeSet<Name> {
        let mut new = BTreeSet::new();
        for (id, (info, answer)) in heard {
            if !self.met.insert(id.clone()) {
                continue;
            }
            if let Ok(statsz) = &answer {
                self.peers.insert(name_of(&info), Neighbours::of(&statsz.routes, &statsz.gateways));
            }
            let server = Server {
                version: Version::parse(&info.ver),
                start: answer.as_ref().ok().and_then(|statsz| timestamp(&statsz.start)),
                now: timestamp(&info.time),
                ..Server::new(id.clone(), name_of(&info), cluster_of(&info))
            };
            snapshot.coverage.present.insert(id.clone(), (server.name.clone(), server.cluster.clone()));
            let answer = answer.map_or_else(|error| Answer::Failed(error.to_string()), |_| Answer::Complete);
            snapshot.coverage.note(Endpoint::Statsz, &id, answer);
            new.insert(id.clone());
            snapshot.servers.insert(id, server);
        }
        new
    }
}
