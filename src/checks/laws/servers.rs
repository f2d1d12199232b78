//! What servers may tell of themselves, their past boots included.

use crate::snapshot::{BusyConnection, Deaf, Endpoint, JetStreamVars, Order, Server, ServerVars, Snapshot};
use crate::text::Name;
use proptest::prelude::*;
use time::Duration;

/// What one server tells of itself.
#[derive(Debug, Clone)]
struct Told {
    /// Which of its boots it is.
    boot: u8,
    started: Option<i64>,
    now: Option<i64>,
    cpu: f64,
    cores: u64,
    memory: u64,
    auth_required: bool,
    loaded: Option<i64>,
    digest: Option<u8>,
    leafnodes: u64,
    jetstream: Option<JetStreamVars>,
    busy: bool,
}

/// What all of them tell, and what was announced.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    told: Vec<Told>,
    announced: Vec<(usize, u8)>,
    deaf: Vec<(i64, i64, Option<usize>)>,
    cluster: Option<&'static str>,
}

fn any_size() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 0, 1, 90, 95, 100, 300 << 20, u64::MAX])
}

prop_compose! {
    fn any_jetstream()(
        domain in prop::option::of(prop::sample::select(vec!["hub", "edge", "a b", "\u{0}"])),
        (max_memory, max_storage) in (super::any_limit(), super::any_limit()),
        (memory, storage) in (any_size(), any_size()),
        (reserved_memory, reserved_storage) in (any_size(), any_size()),
    ) -> JetStreamVars {
        let domain = domain.map(Name::from);
        JetStreamVars { domain, max_memory, max_storage, memory, storage, reserved_memory, reserved_storage }
    }
}

prop_compose! {
    fn any_told()(
        boot in 0u8..3,
        (started, now) in (any_second(), any_second()),
        cpu in prop::sample::select(vec![0.0, 1.0, 90.0, 100.0, 3200.0, f64::MAX]),
        cores in prop::sample::select(vec![0, 1, 4, u64::MAX]),
        memory in any_size(),
        auth_required in prop::bool::weighted(0.8),
        (loaded, digest) in (any_second(), prop::option::of(0u8..2)),
        leafnodes in prop::sample::select(vec![0, 0, 0, 1, u64::MAX]),
        jetstream in prop::option::of(any_jetstream()),
        busy in any::<bool>(),
    ) -> Told {
        Told { boot, started, now, cpu, cores, memory, auth_required, loaded, digest, leafnodes, jetstream, busy }
    }
}

fn any_second() -> impl Strategy<Value = Option<i64>> {
    prop::option::weighted(0.9, prop::sample::select(vec![-100_000, -60, 0, 0, 60, 100_000, 4_000_000_000]))
}

prop_compose! {
    pub(super) fn any_servers()(
        told in prop::collection::vec(any_told(), super::SERVERS.len()),
        announced in prop::collection::vec((0..super::SERVERS.len(), 0u8..3), 0..3),
        deaf in prop::collection::vec((-200i64..200, -200i64..200, prop::option::of(0..super::SERVERS.len())), 0..2),
        cluster in prop::option::weighted(0.2, prop::sample::select(vec!["my cluster", "\u{a0}"])),
    ) -> Servers {
        Servers { told, announced, deaf, cluster }
    }
}

fn id(slot: usize, boot: u8) -> Name {
    let name = super::SERVERS[slot];
    match boot {
        0 => format!("ID-{name}").into(),
        _ => format!("ID-{name}-{boot}").into(),
    }
}

impl Servers {
    /// Changes a snapshot accordingly, before those answers are taken out of it that are lost.
    pub(super) fn tell(&self, snapshot: &mut Snapshot) {
        for (slot, told) in self.told.iter().enumerate() {
            let at = snapshot.taken_at;
            let Some(server) = snapshot.servers.get_mut(&id(slot, 0)) else { continue };
            server.start = told.started.map(|second| at + Duration::seconds(second));
            server.now = told.now.map(|second| at + Duration::seconds(second));
            if let Some(vars) = &mut server.vars {
                *vars = ServerVars {
                    cpu: told.cpu,
                    cores: told.cores,
                    memory: told.memory,
                    auth_required: told.auth_required,
                    config_loaded: told.loaded.map(super::at),
                    config_digest: told.digest.map(|digest| Name::from(digest.to_string())),
                    leafnodes: told.leafnodes,
                    jetstream: told.jetstream.clone(),
                    ..vars.clone()
                };
            }
        }
        snapshot.ends.announced = self.announced.iter().map(|(slot, boot)| id(*slot, *boot)).collect();
        let deaf = self.deaf.iter().map(|(from, to, except)| Deaf {
            from: super::at(*from),
            to: super::at(*to),
            except: except.map(|slot| id(slot, 0)),
            why: "nobody listened".into(),
        });
        snapshot.ends.deaf = deaf.collect();
    }

    /// Gives servers the ids of their boots, when all else is done.
    pub(super) fn boot(&self, snapshot: &mut Snapshot) {
        for (slot, told) in self.told.iter().enumerate() {
            rename(snapshot, &id(slot, 0), &id(slot, told.boot));
            let row =
                BusyConnection { pending: told.memory, bytes_to: u64::MAX, ..BusyConnection::default() };
            if told.busy {
                for by in [Order::BytesTo, Order::BytesFrom, Order::Pending, Order::Subscriptions] {
                    snapshot
                        .follow_ups
                        .busiest
                        .insert((id(slot, told.boot), by), vec![row.clone(), row.clone()]);
                }
            }
        }
        if let Some(cluster) = self.cluster {
            for server in snapshot.servers.values_mut().filter(|server| server.cluster.is_some()) {
                server.cluster = Some(cluster.into());
            }
            for (_, of) in snapshot.coverage.present.values_mut().filter(|(_, of)| of.is_some()) {
                *of = Some(cluster.into());
            }
            for missing in snapshot.coverage.missing.iter_mut().filter(|missing| missing.cluster.is_some()) {
                missing.cluster = Some(cluster.into());
            }
        }
    }
}

fn rename(snapshot: &mut Snapshot, old: &Name, new: &Name) {
    if old == new {
        return;
    }
    let Some(server) = snapshot.servers.remove(old) else { return };
    snapshot.servers.insert(new.clone(), Server { id: new.clone(), ..server });
    let coverage = &mut snapshot.coverage;
    if let Some(named) = coverage.present.remove(old) {
        coverage.present.insert(new.clone(), named);
    }
    for endpoint in Endpoint::ALL {
        if let Some(answer) = coverage.answer(endpoint, old).cloned() {
            coverage.note(endpoint, new, answer);
        }
    }
    for account in snapshot.accounts.values_mut() {
        if let Some(on) = account.servers.remove(old) {
            account.servers.insert(new.clone(), on);
        }
    }
    if let Some(rejected) = snapshot.follow_ups.rejected.remove(old) {
        snapshot.follow_ups.rejected.insert(new.clone(), rejected);
    }
}
