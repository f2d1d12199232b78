//! Everything that may keep the agent from seeing.

use crate::snapshot::{Denied, Departure, Leaving, Missing, Snapshot};
use crate::text::Name;
use proptest::prelude::*;

/// What keeps the agent from seeing.
#[derive(Debug, Clone)]
pub(super) struct Blindness {
    silent_epochs: u64,
    lame_duck: bool,
    heartbeats: bool,
    never_answered: bool,
    placeless: bool,
    named: bool,
    cluster: bool,
    denied: Vec<Denied>,
    cut: bool,
    left: bool,
    skipped: u64,
    overruns: u64,
}

prop_compose! {
    pub(super) fn any_blindness()(
        silent_epochs in prop::sample::select(vec![0, 1, 2, 4, 5, u64::MAX]),
        (lame_duck, heartbeats, never_answered) in any::<(bool, bool, bool)>(),
        (named, cluster, cut, placeless, left) in any::<(bool, bool, bool, bool, bool)>(),
        denied in prop::collection::vec(
            (prop::sample::select(vec![
                "$SYS.REQ.SERVER.*.STATSZ", "$SYS.REQ.SERVER.*.CONNZ", "$SYS.ACCOUNT.*.DISCONNECT",
                "$SYS.SERVER.*.LAMEDUCK",
            ]), any::<bool>()).prop_map(|(subject, subscribe)| Denied { subject: subject.into(), subscribe }),
            0..3,
        ),
        (skipped, overruns) in prop::sample::select(vec![(0, 0), (1, 1), (0, 2), (u64::MAX, u64::MAX)]),
    ) -> Blindness {
        Blindness {
            silent_epochs, lame_duck, heartbeats, never_answered, placeless, named, cluster, denied, cut, left,
            skipped, overruns,
        }
    }
}

impl Blindness {
    /// Changes a snapshot accordingly.
    pub(super) fn blind(&self, snapshot: &mut Snapshot) {
        let by: Vec<Name> = snapshot.servers.values().map(|server| server.name.clone()).collect();
        for missing in &mut snapshot.coverage.missing {
            missing.silent_epochs = self.silent_epochs;
            missing.lame_duck = self.lame_duck;
            missing.heartbeats = self.heartbeats;
            if self.never_answered {
                (missing.id, missing.last_epoch, missing.last_at) = (None, None, None);
                if self.placeless {
                    (missing.cluster, missing.heartbeats) = (None, false);
                }
            }
            if self.named {
                missing.named_by.clone_from(&by);
            }
        }
        if self.cluster {
            let silent_epochs = self.silent_epochs;
            let (name, cluster) = ("*/hidden".into(), Some("hidden".into()));
            let hidden = Missing { name, cluster, silent_epochs, named_by: by, ..Missing::default() };
            snapshot.coverage.missing.push(hidden);
        }
        if self.left {
            let at = snapshot.taken_at;
            let gone = snapshot.coverage.missing.iter().map(|one| Departure {
                server: one.name.clone(),
                cluster: one.cluster.clone(),
                how: Leaving::Shutdown,
                at,
                back_at: None,
            });
            snapshot.departures = gone.collect();
        }
        snapshot.coverage.denied = self.denied.iter().cloned().collect();
        snapshot.cut = self.cut;
        (snapshot.pace.skipped, snapshot.pace.overruns) = (self.skipped, self.overruns);
        snapshot.cost.slowest.extend(snapshot.servers.keys().map(|id| (id.clone(), u64::MAX)));
    }
}
