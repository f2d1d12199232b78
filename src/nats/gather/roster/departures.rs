//! Who announced that it leaves, and whether it came back: what others do meanwhile may be because of that.

use super::TOLD;
use crate::snapshot::{Departure, Leaving, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// How long a departure is remembered, and a return. No grace period is longer. Where a whole cluster left, who left is
/// remembered until somebody of it is back: whatever is missed of it meanwhile was announced.
const REMEMBER: Duration = Duration::hours(24);

/// Departures by the server's name, each with the id that left.
#[derive(Debug, Default)]
pub(in crate::nats::gather) struct Departures(BTreeMap<Name, (Name, Departure)>);

impl Departures {
    /// A server that is known announced it.
    pub(in crate::nats::gather) fn announce(
        &mut self,
        id: &Name,
        (server, cluster): (&Name, Option<&Name>),
        how: Leaving,
        at: OffsetDateTime,
    ) {
        let departure =
            Departure { server: server.clone(), cluster: cluster.cloned(), how, at, back_at: None };
        self.0.insert(server.clone(), (id.clone(), departure));
        while self.0.len() > TOLD {
            let oldest = self.0.values().min_by_key(|(_, one)| one.at).map(|(_, one)| one.server.clone());
            oldest.map(|name| self.0.remove(&name));
        }
    }

    /// A server is told to have left before anybody here listened; under which id is not known.
    pub(super) fn told(&mut self, server: &Name, cluster: Option<&Name>, at: OffsetDateTime) {
        if !self.0.contains_key(server) {
            self.announce(&Name::from(""), (server, cluster), Leaving::Shutdown, at);
        }
    }

    /// A lame duck that nobody misses any longer ended.
    pub(in crate::nats::gather) fn ended(&mut self, id: &Name, at: OffsetDateTime) {
        let of = self.0.values_mut().find(|(left, departure)| left == id && departure.back_at.is_none());
        if let Some((_, departure)) = of {
            (departure.how, departure.at) = (Leaving::Shutdown, at);
        }
    }

    /// Takes in who answered.
    pub(super) fn call(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        for server in snapshot.servers.values() {
            self.met(&server.name, &server.id, at);
        }
        self.forget(snapshot.servers.values().filter_map(|server| server.cluster.as_ref()), at);
    }

    /// A server is there under this id.
    pub(in crate::nats::gather) fn met(&mut self, server: &Name, id: &Name, at: OffsetDateTime) {
        if let Some((_, departure)) = self.0.get_mut(server).filter(|(left, _)| left != id) {
            departure.back_at.get_or_insert(at);
        }
    }

    /// Forgets what is over. `present` are the clusters of which a server is there.
    pub(in crate::nats::gather) fn forget<'a>(
        &mut self,
        present: impl Iterator<Item = &'a Name>,
        at: OffsetDateTime,
    ) {
        let present: BTreeSet<&Name> = present.collect();
        self.0.retain(|_, (_, departure)| {
            let is_whole = departure.cluster.as_ref().is_some_and(|cluster| !present.contains(cluster));
            let still_gone = is_whole && departure.back_at.is_none();
            still_gone || at - departure.back_at.unwrap_or(departure.at) < REMEMBER
        });
    }

    /// Lame ducks that have not ended, with their ids.
    pub(super) fn lame_ducks(&self) -> impl Iterator<Item = (&Name, &Departure)> {
        let all = self.0.values().map(|(id, departure)| (id, departure));
        all.filter(|(_, departure)| departure.how == Leaving::LameDuck && departure.back_at.is_none())
    }

    /// All that are remembered, by name.
    pub(in crate::nats::gather) fn list(&self) -> Vec<Departure> {
        self.0.values().map(|(_, departure)| departure.clone()).collect()
    }
}
