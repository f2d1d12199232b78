//! Whatever happens to answers on their way: every verdict is the true one or unknown.

use super::members::Member;
use super::world::{Trouble, World, key, plan, rules};
use super::{Gatherer, Plan};
use crate::check::{Entity, Judgement, Standing, same};
use crate::config::Config;
use crate::epoch::{Memory, follow_ups, judge};
use crate::snapshot::{Endpoint, Snapshot};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tokio::runtime::Builder;

const NONE: BTreeMap<String, crate::check::DeclaredLimits> = BTreeMap::new();

/// How many there are.
const CONNECTIONS: u64 = 300;

/// Three servers with something to find for nearly every check, and several pages of connections.
fn world() -> (World, Gatherer) {
    let (tight, greedy, wide) = (key(1), key(2), key(3));
    let mut first = Member::new(1).with(150, &wide, "hot").with(40, &tight, "t").with(30, &wide, "idle");
    for client in first.clients.iter_mut().filter(|client| client.user == "idle") {
        client.messages = 0;
    }
    let mut second = Member::new(2).with(30, &tight, "t").with(25, &greedy, "g");
    second.clients.last_mut().unwrap().subscriptions = 99;
    let mut third = Member::new(3).with(25, &tight, "t");
    third.max_connections = 26;
    World::of(vec![first, second, third], &[(tight, 100, -1), (greedy, -1, 100), (wide, -1, -1)])
}

struct Judged {
    snapshot: Snapshot,
    judgements: Vec<Judgement>,
}

async fn epoch(gatherer: &mut Gatherer, memory: &Memory, config: &Config, number: u64) -> Judged {
    let plan = Plan { page: 64, ..plan(number) };
    let mut snapshot = gatherer.sweep(&plan, rules()).await;
    let wanted = follow_ups(&config.checks, &snapshot, memory, &NONE);
    gatherer.follow_up(&plan, &mut snapshot, &wanted).await;
    let judgements = judge(&config.checks, &snapshot, memory, &NONE);
    Judged { snapshot, judgements }
}

fn firing(judged: &Judged) -> Vec<(&'static str, &Entity)> {
    let each = |judgement: &Judgement| judgement.meta.id;
    judged
        .judgements
        .iter()
        .flat_map(|judgement| judgement.firing.iter().map(move |(entity, _)| (each(judgement), entity)))
        .collect()
}

fn is_in(rows: &[(&'static str, &Entity)], check: &str, entity: &Entity) -> bool {
    rows.iter().any(|(id, other)| *id == check && same(other, entity))
}

/// The true verdict or unknown: nothing fires that does not in truth, and nothing that fires in truth is clear.
fn assert_true_or_unknown(truth: &Judged, disturbed: &Judged) {
    let (all, seen) = (firing(truth), firing(disturbed));
    for (check, entity) in &seen {
        assert!(
            is_in(&all, check, entity),
            "{check} fires for {entity:?}: {:?}",
            disturbed.snapshot.coverage
        );
    }
    for (check, entity) in all {
        let judgement = disturbed.judgements.iter().find(|judgement| judgement.meta.id == check).unwrap();
        let unknown = matches!(judgement.standing(entity), Standing::Unknown(_));
        assert!(
            is_in(&seen, check, entity) || unknown,
            "{check} is clear for {entity:?}: {:?}",
            disturbed.snapshot.coverage
        );
    }
}

/// Everything of which an answer did not come has a gap with the server's name.
fn assert_named(world: &World, snapshot: &Snapshot) {
    for (endpoint, server) in world.spoilt() {
        // Who is called late is met as long as others are waited for.
        if endpoint == "STATSZ" && snapshot.server_named(&server).is_some() {
            continue;
        }
        let endpoint = match endpoint {
            "STATSZ" | "VARZ" => Endpoint::Varz,
            "CONNZ" => Endpoint::Connz,
            "ACCOUNT STATZ" => Endpoint::AccountStatz,
            // Another server is asked for the same account.
            _ => continue,
        };
        let gaps = snapshot.coverage.gaps(endpoint);
        assert!(gaps.iter().any(|gap| *gap.server == server), "{endpoint:?} of {server}: {gaps:?}");
    }
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        6 => Just(Trouble::Nothing),
        2 => Just(Trouble::Lost),
        2 => (0u64..9_000).prop_map(Trouble::Late),
        2 => (0u64..3_000).prop_map(Trouble::Twice),
        1 => (0.0..1.0).prop_map(Trouble::Cut),
        1 => (0.0..1.0).prop_map(Trouble::Garbled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_are_true_or_unknown(troubles in prop::collection::vec(trouble(), 0..32)) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let config = Config::default();
            let (world, mut gatherer) = world();
            let mut memory = Memory::new();
            let truth = epoch(&mut gatherer, &memory, &config, 1).await;
            let Judged { snapshot, judgements } = truth;
            memory.push(snapshot.clone());
            memory.settle();
            let truth = Judged { snapshot, judgements };
            world.disturb(&troubles);
            let disturbed = epoch(&mut gatherer, &memory, &config, 2).await;
            assert_true_or_unknown(&truth, &disturbed);
            assert!(disturbed.snapshot.connections_seen() <= CONNECTIONS);
            assert_named(&world, &disturbed.snapshot);
            memory.push(disturbed.snapshot);
            memory.settle();
            world.disturb(&[]);
            // Late answers of the epoch before have come by then, or are strangers.
            let again = epoch(&mut gatherer, &memory, &config, 3).await;
            let rows = |judged: &Judged| -> BTreeSet<String> {
                firing(judged).iter().map(|(check, entity)| format!("{check} {entity:?}")).collect()
            };
            assert_eq!(rows(&again), rows(&truth));
            assert_eq!(again.snapshot.coverage.missing, []);
            assert_eq!(again.snapshot.connections_seen(), CONNECTIONS);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_undisturbed_world_fires_what_was_planted() {
    let (_, mut gatherer) = world();
    let config = Config::default();
    let judged = epoch(&mut gatherer, &Memory::new(), &config, 1).await;
    let checks: BTreeSet<&str> = firing(&judged).iter().map(|(check, _)| *check).collect();
    let expected =
        ["ACCOUNTS_001", "ACCOUNTS_006", "OPT_BALANCE_006", "OPT_IDLE_007", "SERVER_011", "USER_002"];
    assert!(checks.is_superset(&expected.into()), "{checks:?} {:?}", judged.snapshot.coverage);
    assert_eq!(judged.snapshot.coverage.notes, [""; 0]);
    assert_eq!(judged.snapshot.connections_seen(), CONNECTIONS);
}
