//! The servers that are known, so that one that falls silent is missed.

use crate::snapshot::{Missing, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};

/// Epochs after which a silent server without a name of its own is forgotten: it is called by its id, which is new
/// after a restart, so that nothing would ever tell that it came back.
const NAMELESS_EPOCHS: u32 = 10;

/// An event of a server's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerEvent {
    /// It ended in an orderly way; its id.
    Shutdown(Name),
    /// It entered lame-duck mode, in which it no longer answers; its id.
    LameDuck(Name),
}

#[derive(Debug, Clone)]
struct Known {
    id: Name,
    cluster: Option<Name>,
    last_epoch: u64,
    silent_for: u32,
    lame_duck: bool,
}

/// Known servers by name. A server that answers under the same name with a new id was restarted; one that shut down
/// in an orderly way has left; any other is missed until it answers.
#[derive(Debug, Default)]
pub(super) struct Roster {
    servers: BTreeMap<Name, Known>,
}

impl Roster {
    /// The ids under which the known servers last answered.
    pub(super) fn ids(&self) -> BTreeSet<Name> {
        self.servers.values().filter(|known| !known.lame_duck).map(|known| known.id.clone()).collect()
    }

    /// Takes in what servers announced.
    pub(super) fn apply(&mut self, events: &[ServerEvent]) {
        for event in events {
            match event {
                ServerEvent::Shutdown(id) => self.servers.retain(|_, known| known.id != *id),
                ServerEvent::LameDuck(id) => {
                    self.servers
                        .values_mut()
                        .filter(|known| known.id == *id)
                        .for_each(|known| known.lame_duck = true);
                }
            }
        }
    }

    /// Known servers that are not in the snapshot.
    pub(super) fn missing(&self, snapshot: &Snapshot) -> Vec<Missing> {
        let present: BTreeSet<&Name> = snapshot.servers.values().map(|server| &server.name).collect();
        self.servers
            .iter()
            .filter(|(name, _)| !present.contains(name))
            .map(|(name, known)| Missing {
                name: name.clone(),
                id: known.id.clone(),
                cluster: known.cluster.clone(),
                last_epoch: known.last_epoch,
                lame_duck: known.lame_duck,
            })
            .collect()
    }

    /// Remembers who answered.
    pub(super) fn learn(&mut self, snapshot: &Snapshot, epoch: u64) {
        for known in self.servers.values_mut() {
            known.silent_for += 1;
        }
        for server in snapshot.servers.values() {
            let known = Known {
                id: server.id.clone(),
                cluster: server.cluster.clone(),
                last_epoch: epoch,
                silent_for: 0,
                lame_duck: false,
            };
            self.servers.insert(server.name.clone(), known);
        }
        self.servers.retain(|name, known| *name != known.id || known.silent_for < NAMELESS_EPOCHS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;

    fn missing(roster: &Roster, snapshot: &Snapshot) -> Vec<String> {
        roster.missing(snapshot).into_iter().map(|missing| missing.name.to_string()).collect()
    }

    #[test]
    fn a_silent_server_is_missed_until_it_answers_or_left_in_order() {
        let all = System::of(3).done();
        let without = System::of(2).done();
        let mut roster = Roster::default();
        roster.learn(&all, 1);
        assert_eq!(roster.ids().len(), 3);
        assert_eq!(missing(&roster, &without), ["n3"]);
        roster.learn(&without, 2);
        assert_eq!(missing(&roster, &without), ["n3"]);
        assert_eq!(roster.missing(&without)[0].last_epoch, 1);
        assert!(missing(&roster, &all).is_empty());
        roster.apply(&[ServerEvent::LameDuck("ID-n3".into())]);
        assert!(roster.missing(&without)[0].lame_duck && roster.ids().len() == 2);
        roster.apply(&[ServerEvent::Shutdown("ID-n3".into())]);
        assert!(missing(&roster, &without).is_empty());
    }

    #[test]
    fn a_shutdown_of_an_earlier_boot_does_not_remove_the_present_one() {
        let mut roster = Roster::default();
        roster.learn(&System::of(1).done(), 1);
        roster.apply(&[ServerEvent::Shutdown("ID-n1-before".into())]);
        assert_eq!(roster.ids().len(), 1);
    }

    #[test]
    fn a_nameless_server_is_forgotten_after_a_while() {
        let mut nameless = System::of(0);
        nameless.add_server("x", None);
        let mut nameless = nameless.done();
        nameless.servers.values_mut().for_each(|server| server.name = server.id.clone());
        let nobody = System::of(0).done();
        let mut roster = Roster::default();
        roster.learn(&nameless, 1);
        for epoch in 2..=u64::from(NAMELESS_EPOCHS) {
            roster.learn(&nobody, epoch);
            assert_eq!(missing(&roster, &nobody), ["ID-x"], "{epoch}");
        }
        roster.learn(&nobody, 99);
        assert!(missing(&roster, &nobody).is_empty());
    }
}
