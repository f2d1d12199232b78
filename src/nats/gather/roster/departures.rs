//! Who announced that it leaves, and whether it came back: what others do meanwhile may be because of that.

use super::TOLD;
use crate::snapshot::{Departure, Leaving, Snapshot};
use crate::text::Name;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// How long a departure is remembered, and a return. No grace period is longer.
const REMEMBER: Duration = Duration::hours(24);

/// Departures by the server's name, each with the id that left.
#[derive(Debug, Default)]
pub(super) struct Departures(BTreeMap<Name, (Name, Departure)>);

impl Departures {
    /// A server that is known announced it.
    pub(super) fn announce(
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

    /// A lame duck that nobody misses any longer ended.
    pub(super) fn ended(&mut self, id: &Name, at: OffsetDateTime) {
        let of = self.0.values_mut().find(|(left, departure)| left == id && departure.back_at.is_none());
        if let Some((_, departure)) = of {
            (departure.how, departure.at) = (Leaving::Shutdown, at);
        }
    }

    /// Takes in who answered.
    pub(super) fn call(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        for server in snapshot.servers.values() {
            if let Some((_, departure)) = self.0.get_mut(&server.name).filter(|(left, _)| *left != server.id)
            {
                departure.back_at.get_or_insert(at);
            }
        }
        self.0.retain(|_, (_, departure)| at - departure.back_at.unwrap_or(departure.at) < REMEMBER);
    }

    /// All that are remembered, by name.
    pub(super) fn list(&self) -> Vec<Departure> {
        self.0.values().map(|(_, departure)| departure.clone()).collect()
    }
}
