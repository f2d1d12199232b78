//! Boots that are known by their heartbeats alone: a server that crashes again within an epoch answers nothing.

use crate::snapshot::{HeardBoot, Snapshot};
use crate::text::Name;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// How long a boot is known after it was last seen or heard; longer than series reach back.
const REMEMBER: Duration = Duration::hours(2);

/// Boots that are told of one epoch. Anybody in the system account can publish heartbeats.
const TOLD: usize = 1000;

/// Boots that answered or were told of.
#[derive(Debug, Default)]
pub(super) struct HeardBoots(BTreeMap<Name, OffsetDateTime>);

impl HeardBoots {
    /// Those that were heard since the last call and are new. Each is told of once.
    pub(super) fn take(&mut self, boots: Vec<HeardBoot>, snapshot: &Snapshot) -> Vec<HeardBoot> {
        let at = snapshot.taken_at;
        self.0.extend(snapshot.servers.keys().map(|id| (id.clone(), at)));
        let mut told = Vec::new();
        for boot in boots {
            if let Some(last) = self.0.get_mut(&boot.id) {
                *last = at;
            } else if told.len() < TOLD {
                self.0.insert(boot.id.clone(), at);
                told.push(boot);
            }
        }
        self.0.retain(|_, last| at - *last < REMEMBER);
        told
    }

    /// Forgets that these were told of.
    pub(super) fn unsay(&mut self, boots: &[HeardBoot]) {
        for boot in boots {
            self.0.remove(&boot.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::{System, at};

    fn boot(id: &str) -> HeardBoot {
        HeardBoot { id: id.into(), key: "east/n9".into(), start: at(0) }
    }

    fn ids(told: &[HeardBoot]) -> Vec<&str> {
        told.iter().map(|boot| &*boot.id).collect()
    }

    #[test]
    fn a_boot_is_told_of_once_and_not_if_it_answered() {
        let mut heard = HeardBoots::default();
        let first = System::of(1).done();
        assert_eq!(ids(&heard.take(vec![boot("ID-n1"), boot("A")], &first)), ["A"]);
        let next = System::of(1).gone("n1").at(60).done();
        assert_eq!(ids(&heard.take(vec![boot("ID-n1"), boot("A"), boot("B")], &next)), ["B"]);
        // Nobody learnt of it.
        heard.unsay(&[boot("B")]);
        assert_eq!(ids(&heard.take(vec![boot("A"), boot("B")], &next)), ["B"]);
        // What was not heard for long is forgotten, and a flood is bounded.
        let late = System::of(1).gone("n1").at(60 + 7200).done();
        assert!(heard.take(Vec::new(), &late).is_empty() && heard.0.is_empty());
        let flood = (0..TOLD + 5).map(|n| boot(&n.to_string())).collect();
        assert_eq!(heard.take(flood, &late).len(), TOLD);
    }
}
