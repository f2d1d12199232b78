//! Leaks, and what looks like them.

use super::*;
use crate::check::{Judgement, Settings, Standing};
use crate::checks::laws::{judge_last, judge_last_set, only};
use crate::snapshot::Snapshot;
use crate::snapshot::build::System;
use serde_json::json;

type Check = SubscriptionGrowth;

/// A minute of a server with 40 connections, of which one has all subscriptions.
fn minute(number: i64, subscriptions: u64, connections: u64) -> System {
    System::of(2)
        .at(number * 60)
        .connect("n1", "APP", "leaky", 1, |c, _| c.subscriptions = subscriptions)
        .connect("n1", "APP", "rest", connections - 1, |_, _| {})
        .with(|snapshot| snapshot.accounts.get_mut("APP").unwrap().interest = Some(subscriptions))
}

fn minutes(values: &[u64]) -> Vec<Snapshot> {
    (0..).zip(values).map(|(number, value)| minute(number, *value, 40).done()).collect()
}

fn rising() -> Vec<u64> {
    (0..10).map(|n| 1000 + 25 * n).collect()
}

fn entity() -> Entity {
    Entity::server(&"n1".into(), Some(&"east".into()))
}

#[test]
fn a_leak_fires_with_the_client_and_the_account() {
    let judgement = judge_last::<Check>(&minutes(&rising()));
    let (found, firing) = only(&judgement);
    assert_eq!(found, &entity());
    assert_eq!(
        firing.summary,
        "subscriptions of server n1's clients grew from 1000 to 1225 (22.5 %) in 9m, while it has 40 connections as \
         before"
    );
    assert_eq!(
        json!(firing.observed),
        json!({"value": 225, "percent": 22.5, "threshold": 20.0, "unit": "subscriptions"})
    );
    let evidence = &firing.evidence;
    assert_eq!((&evidence["per_hour"], &evidence["epochs"]), (&json!(1500.0), &json!(10)));
    assert_eq!((&evidence["connections_from"], &evidence["rising_percent"]), (&json!(40), &json!(100.0)));
    assert_eq!(
        evidence["accounts"],
        json!([{"account": "APP", "subscriptions": 225, "connections": 0, "over_seconds": 540}])
    );
    assert_eq!(evidence["top"]["connections"][0]["user"], "leaky");
    assert!(firing.remediation[0].starts_with("Account APP has gained most"));
    assert!(firing.remediation[1].starts_with("Begin with connection 1 of user leaky"));
}

#[test]
fn what_is_no_leak_does_not_fire() {
    let quiet = |values: &[u64]| {
        let judgement = judge_last::<Check>(&minutes(values));
        assert!(judgement.firing.is_empty(), "{values:?}");
        assert_eq!(judgement.standing(&entity()), Standing::Clear, "{values:?}");
    };
    let of = |f: fn(u64) -> u64| -> Vec<u64> { (0..10).map(f).collect() };
    quiet(&of(|_| 5000));
    quiet(&of(|n| 5000 - n * 100));
    // Exactly a fifth; too few of them; half of the epochs fall; a deployment.
    quiet(&[1000, 1025, 1050, 1075, 1100, 1120, 1140, 1160, 1180, 1200]);
    quiet(&of(|n| 10 + n * 9));
    quiet(&of(|n| 1000 + n * 50 - (n % 2) * 80));
    quiet(&of(|n| if n < 5 { 1000 } else { 2000 }));
    quiet(&of(|_| u64::MAX));
}

#[test]
fn growth_with_connections_is_growth_of_use() {
    let with = |last: u64| {
        let connections = |n: i64| if n == 9 { last } else { 40 };
        let epochs: Vec<Snapshot> =
            (0..).zip(rising()).map(|(n, value)| minute(n, value, connections(n)).done()).collect();
        judge_last::<Check>(&epochs).firing.len()
    };
    assert_eq!((with(41), with(42), with(38), with(39)), (1, 0, 0, 1));
}

/// What was found before holds, and nobody else is told.
#[track_caller]
fn assert_holds(judgement: &Judgement, seen: u64) {
    assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
    let reason = format!("it looks at 10 epochs in a row, of which {seen} have been seen");
    assert_eq!(judgement.standing(&entity()), Standing::Unknown(reason));
}

#[test]
fn a_restart_and_a_sweep_with_a_gap_begin_anew() {
    let mut epochs = minutes(&rising());
    for (id, server) in std::mem::take(&mut epochs[3].servers) {
        let id: Name = format!("{id}-before").into();
        epochs[3].servers.insert(id.clone(), Server { id, ..server });
    }
    assert_holds(&judge_last::<Check>(&epochs), 6);
    let mut epochs = minutes(&rising());
    epochs[3] = minute(3, 10, 40).silent("n1", Endpoint::Connz).done();
    assert_holds(&judge_last::<Check>(&epochs), 6);
    let mut now = minute(9, 2000, 40).silent("n1", Endpoint::Connz).done();
    now.servers.get_mut("ID-n1").unwrap().fold = None;
    let mut epochs = minutes(&rising());
    epochs[9] = now;
    let judgement = judge_last::<Check>(&epochs);
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&entity()), Standing::Unknown(_)));
    assert_holds(&judge_last::<Check>(&minutes(&rising())[..9]), 9);
}

#[test]
fn thresholds_can_be_set_and_are_bounded() {
    let settings = |value: serde_json::Value| Settings {
        base: value.as_object().cloned().unwrap(),
        ..Settings::default()
    };
    let strict = settings(json!({"growth_percent": 30}));
    assert!(judge_last_set::<Check>(&minutes(&rising()), &strict).firing.is_empty());
    for (key, bad) in [
        ("growth_percent", json!(0)),
        ("connections_percent", json!(101)),
        ("rising_percent", json!(-1)),
        ("min_subscriptions", json!(0)),
    ] {
        let base = [(key.to_owned(), bad)].into_iter().collect();
        let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key));
    }
}
