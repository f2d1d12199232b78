//! Shares of the growth, over restarts and silent servers.

use super::*;
use crate::check::Standing;
use crate::checks::laws::{judge, judge_last, only};
use crate::snapshot::build::System;
use crate::snapshot::{OnServer, Traffic};
use serde_json::json;

type Check = HighGatewayTraffic;

const MIB: u64 = 1 << 20;

/// Bytes and gateway bytes of APP on n1, w1 and (without gateways) n2, told by boots with this digest.
fn epoch(second: i64, told_by: u64, counts: [(u64, u64); 2], others: u64) -> Snapshot {
    let mut system = System::of(2).at(second);
    system.add_server("w1", Some("west"));
    for server in ["n1", "w1"] {
        system.server_mut(server).vars.as_mut().unwrap().gateways = Some(Vec::new());
    }
    let account = system.entry("APP");
    account.told_by = told_by;
    // Followed from the first byte on.
    account.bytes = others + 1;
    for (id, (bytes, gateway_bytes)) in ["ID-n1", "ID-w1"].into_iter().zip(counts) {
        account.bytes += bytes;
        if gateway_bytes > 0 {
            account.traffic.insert(id.into(), Traffic { bytes, gateway_bytes });
        }
    }
    account.servers = [("ID-n1", 3), ("ID-w1", 1), ("ID-n2", 0)]
        .map(|(id, connections)| (id.into(), OnServer { connections, ..OnServer::default() }))
        .into();
    system.done()
}

fn app() -> Entity {
    Entity::account("APP", None)
}

#[test]
fn fires_from_a_third_of_the_growth_on_all_servers_counted() {
    let before = || epoch(0, 1, [(1000 * MIB, 900 * MIB), (0, 0)], 0);
    // What was before does not count: 3 of 10 MiB, one of which n2 counted without a gateway.
    let now = epoch(60, 1, [(1008 * MIB, 902 * MIB), (MIB, MIB)], MIB);
    let judgement = judge_last::<Check>(&[before(), now]);
    let (found, firing) = only(&judgement);
    assert_eq!(found, &app());
    assert_eq!(
        firing.summary,
        "30.0 % of the traffic of account APP went through gateways (3.0 MiB of 10.0 MiB in 1m)"
    );
    assert_eq!(
        json!(firing.observed),
        json!({"value": 3 * MIB, "limit": 10 * MIB, "percent": 30.0, "threshold": 30.0, "unit": "bytes"})
    );
    assert_eq!(
        firing.evidence,
        json!({"gateway_bytes": 3 * MIB, "bytes": 10 * MIB, "over_seconds": 60,
               "through": [{"server": "n1", "gateway_bytes": 2 * MIB}, {"server": "w1", "gateway_bytes": MIB}],
               "clients": [{"cluster": "east", "connections": 3}, {"cluster": "west", "connections": 1}]})
    );
    // More that crossed no gateway, on a server without any.
    let now = epoch(60, 1, [(1008 * MIB, 902 * MIB), (MIB, MIB)], 2 * MIB);
    let judgement = judge_last::<Check>(&[before(), now]);
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&app()), Standing::Clear);
}

#[test]
fn little_traffic_and_none_are_left_out() {
    let before = || epoch(0, 1, [(MIB, MIB), (0, 0)], 0);
    for grown in [0, MIB - 1] {
        let now = epoch(60, 1, [(MIB + grown, MIB + grown), (0, 0)], 0);
        assert!(judge_last::<Check>(&[before(), now]).firing.is_empty(), "{grown}");
    }
    let now = epoch(60, 1, [(2 * MIB, 2 * MIB), (0, 0)], 0);
    assert_eq!(judge_last::<Check>(&[before(), now]).firing.len(), 1);
    let now = epoch(60, 1, [(u64::MAX >> 1, u64::MAX), (1, u64::MAX)], 0);
    assert_eq!(judge_last::<Check>(&[before(), now]).firing.len(), 1);
}

#[test]
fn one_epoch_says_nothing() {
    let judgement = judge::<Check>(&epoch(0, 1, [(9 * MIB, 9 * MIB), (0, 0)], 0));
    assert!(judgement.firing.is_empty() && judgement.nothing.is_some());
}

#[test]
fn a_restart_begins_anew_without_a_jump() {
    // Before it 4 of 10 MiB, after it 1 of 10; what the new boot counted until it was seen first does not count.
    let epochs = |last: u64| {
        [
            epoch(0, 1, [(0, MIB), (0, 0)], 0),
            epoch(60, 1, [(10 * MIB, 5 * MIB), (0, 0)], 0),
            epoch(120, 2, [(90 * MIB, 90 * MIB), (0, 0)], 0),
            epoch(180, 2, [(100 * MIB, (90 + last) * MIB), (0, 0)], 0),
        ]
    };
    assert!(judge_last::<Check>(&epochs(1)).firing.is_empty());
    let judgement = judge_last::<Check>(&epochs(2));
    assert_eq!(only(&judgement).1.evidence["gateway_bytes"], 6 * MIB);
    assert_eq!(only(&judgement).1.evidence["over_seconds"], 120);
}

#[test]
fn the_first_traffic_of_an_account_counts() {
    let idle = |told_by| {
        let mut snapshot = epoch(0, told_by, [(0, 0), (0, 0)], 0);
        snapshot.accounts.get_mut("APP").unwrap().bytes = 0;
        snapshot
    };
    let now = || epoch(60, 1, [(4 * MIB, 3 * MIB), (0, 0)], 0);
    let judgement = judge_last::<Check>(&[idle(1), now()]);
    let evidence = &only(&judgement).1.evidence;
    assert_eq!((&evidence["gateway_bytes"], &evidence["bytes"]), (&json!(3 * MIB), &json!(4 * MIB + 1)));
    assert!(judge_last::<Check>(&[idle(2), now()]).firing.is_empty(), "it is not known since when");
    let judgement = judge_last::<Check>(&[idle(1), now(), epoch(120, 1, [(4 * MIB, 3 * MIB), (0, 0)], 0)]);
    assert_eq!(only(&judgement).1.evidence["over_seconds"], 120);
}

#[test]
fn no_time_counts_twice_where_a_server_is_silent_now_and_then() {
    // In every other epoch others told: of an hour with a MiB each minute, all across.
    let epochs: Vec<Snapshot> = (0..60u32)
        .map(|n| {
            let bytes = u64::from(n) * MIB;
            epoch(i64::from(n) * 60, 1 + u64::from(n % 2), [(bytes, bytes), (0, 0)], 0)
        })
        .collect();
    let judgement = judge_last::<Check>(&epochs);
    let evidence = &only(&judgement).1.evidence;
    let (bytes, over) = (evidence["bytes"].as_u64().unwrap(), evidence["over_seconds"].as_u64().unwrap());
    assert!((57 * MIB..=59 * MIB).contains(&bytes), "{evidence}");
    assert!((57 * 60..=59 * 60).contains(&over), "{evidence}");
}

#[test]
fn accounts_of_which_not_all_servers_tell_are_unknown_and_nothing_is_forgotten() {
    let before = epoch(0, 1, [(0, MIB), (0, 0)], 0);
    let mut used = epoch(60, 2, [(10 * MIB, 9 * MIB), (0, 0)], 0);
    used.coverage.used_accounts_only = true;
    let judgement = judge_last::<Check>(&[before.clone(), used.clone()]);
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&app()), Standing::Unknown(_)));
    assert_eq!(&*judgement.unknown_rows()[0].entity, "*");
    let judgement = judge_last::<Check>(&[before, used, epoch(120, 1, [(10 * MIB, 9 * MIB), (0, 0)], 0)]);
    let evidence = &only(&judgement).1.evidence;
    assert_eq!(evidence["over_seconds"], 120);
    assert_eq!(evidence["through"], json!([]), "the epoch before did not tell");
}

#[test]
fn a_server_that_is_not_known_from_the_epoch_before_is_left_out() {
    let before = || epoch(0, 1, [(0, 0), (0, 0)], 0);
    let now = || epoch(60, 1, [(9 * MIB, 8 * MIB), (2 * MIB, MIB)], 0);
    let through = |before: Snapshot| {
        only(&judge_last::<Check>(&[before, now()])).1.evidence["through"].as_array().unwrap().len()
    };
    assert_eq!(through(before()), 2);
    let mut started = before();
    started.servers.remove("ID-w1");
    assert_eq!(through(started), 1);
}

#[test]
fn the_connection_of_the_agents_sink_does_not_count() {
    let mut now = epoch(60, 1, [(9 * MIB, 8 * MIB), (0, 0)], 0);
    let own = System::of(1).own_next("n1").connect("n1", "APP", "insights", 1, |_, _| {}).done();
    now.servers.get_mut("ID-n1").unwrap().fold.clone_from(&own.servers["ID-n1"].fold);
    let judgement = judge_last::<Check>(&[epoch(0, 1, [(0, 0), (0, 0)], 0), now]);
    let rows = &only(&judgement).1.evidence["clients"];
    assert_eq!(rows[0], json!({"cluster": "east", "connections": 2}));
}

#[test]
fn the_last_hour_counts() {
    let mut epochs: Vec<Snapshot> =
        (0..80).map(|n| epoch(n * 60, 1, [(n.unsigned_abs() * MIB, MIB), (0, 0)], 0)).collect();
    // All of the first hour's 20 MiB crossed.
    epochs[0] = epoch(0, 1, [(0, 0), (0, 0)], 0);
    assert!(judge_last::<Check>(&epochs).firing.is_empty());
    epochs.push(epoch(4800, 1, [(200 * MIB, 81 * MIB), (0, 0)], 0));
    let judgement = judge_last::<Check>(&epochs);
    let over = only(&judgement).1.evidence["over_seconds"].as_u64().unwrap();
    assert!((3540..=3600).contains(&over), "{over}");
}

#[test]
fn of_a_step_that_begins_before_the_hour_a_part_counts() {
    let epochs = [(0, 1, 0), (3000, 100, 50), (6000, 110, 50)]
        .map(|(second, bytes, gateway)| epoch(second, 1, [(bytes * MIB, gateway * MIB), (0, 0)], 0));
    let judgement = judge_last::<Check>(&epochs);
    let evidence = &only(&judgement).1.evidence;
    // A fifth of 99 MiB, and 10.
    assert_eq!((&evidence["bytes"], &evidence["over_seconds"]), (&json!((298 * MIB) / 10), &json!(3600)));
    assert_eq!(evidence["gateway_bytes"], 10 * MIB);
}

#[test]
fn a_silent_server_makes_it_unknown() {
    let before = epoch(0, 1, [(0, MIB), (0, 0)], 0);
    let mut now = epoch(60, 1, [(10 * MIB, 9 * MIB), (0, 0)], 0);
    now.coverage.note(Endpoint::AccountStatz, &"ID-n2".into(), crate::snapshot::Answer::Silent);
    let judgement = judge_last::<Check>(&[before, now]);
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&app()), Standing::Unknown(_)));
}

#[test]
fn old_servers_with_gateways_make_it_unknown_where_it_does_not_fire_already() {
    let pair = |gateway: u64, version: Option<Version>, server: &str| {
        let mut epochs =
            [epoch(0, 1, [(0, MIB), (0, 0)], 0), epoch(60, 1, [(10 * MIB, gateway * MIB), (0, 0)], 0)];
        let id = format!("ID-{server}");
        epochs.iter_mut().for_each(|epoch| epoch.servers.get_mut(&*id).unwrap().version = version);
        judge_last::<Check>(&epochs)
    };
    let old = pair(2, Some(Version(2, 10, 26)), "w1");
    let why =
        "server w1 (2.10.26) does not tell what goes through its gateways, which servers do from 2.11.0 on";
    assert_eq!(old.standing(&app()), Standing::Unknown(why.into()));
    assert_eq!(&*old.unknown_rows()[0].entity, "*");
    assert_eq!(pair(9, Some(Version(2, 10, 26)), "w1").firing.len(), 1);
    assert!(pair(2, None, "w1").unknown_rows()[0].reason.contains("an unknown version"));
    // Without gateways there is nothing to tell.
    assert_eq!(pair(2, Some(Version(2, 10, 26)), "n2").standing(&app()), Standing::Clear);
}

#[test]
fn the_system_account_is_left_out() {
    let (mut before, mut now) =
        (epoch(0, 1, [(0, MIB), (0, 0)], 0), epoch(60, 1, [(10 * MIB, 9 * MIB), (0, 0)], 0));
    (before.system_account, now.system_account) = ("APP".into(), "APP".into());
    assert!(judge_last::<Check>(&[before, now]).firing.is_empty());
}
