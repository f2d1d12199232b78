//! Who is there. The question stays open for the whole epoch: nobody waits for servers that nobody knows yet, and those
//! that answer late are asked for the rest in a second round.

use super::scatter::{Request, Scatter, Wait};
use super::{Plan, name_of};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Server, Snapshot, Version};
use crate::text::{NAME_BYTES, Name, bounded};
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
        Self { asked: Scatter::ask(inbox, plan, request).await, met: BTreeSet::new() }
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

    /// Closes the question.
    pub(super) fn close(mut self, snapshot: &mut Snapshot) {
        if let Some(subject) = self.asked.denied.take() {
            snapshot.coverage.notes.push(format!("this agent's user may not publish to {subject}"));
        }
        std::mem::take(&mut self.asked.tally).add_to(snapshot);
    }

    fn enter(&mut self, snapshot: &mut Snapshot, heard: Heard) -> BTreeSet<Name> {
        let mut new = BTreeSet::new();
        for (id, (info, answer)) in heard {
            if !self.met.insert(id.clone()) {
                continue;
            }
            let cluster = info.cluster.as_deref().filter(|name| !name.is_empty());
            let server = Server {
                id: id.clone(),
                name: name_of(&info),
                cluster: cluster.map(|name| bounded(name, NAME_BYTES)),
                version: Version::parse(&info.ver),
                start: answer.as_ref().ok().and_then(|statsz| timestamp(&statsz.start)),
                now: timestamp(&info.time),
                vars: None,
                fold: None,
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
