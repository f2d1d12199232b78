use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge, judge_with, only};
use crate::snapshot::build::{System, at};
use crate::snapshot::{History, Version};
use serde_json::json;

type Check = ConnectionCountHigh;

fn plain(_: &mut crate::wire::connz::Connection<'_>, _: u64) {}

fn n1() -> Entity {
    Entity::server(&"n1".into(), Some(&"east".into()))
}

fn with_max(version: Option<Version>, max: i64, connections: u64) -> crate::snapshot::Snapshot {
    let mut system = System::of(1).vars("n1", |vars| {
        vars.max_connections = max;
        vars.connections = connections;
    });
    system.server_mut("n1").version = version;
    system.done()
}

#[test]
fn fires_at_the_threshold_and_not_one_below() {
    let system =
        |n| System::of(3).connect("n1", "APP", "u", n, plain).vars("n1", |vars| vars.max_connections = 20);
    let below = judge::<Check>(&system(15).done());
    assert!(below.firing.is_empty());
    assert_eq!(below.standing(&n1()), Standing::Clear);
    let judgement = judge::<Check>(&system(16).connect("n2", "APP", "u", 2, plain).done());
    let (entity, firing) = only(&judgement);
    assert_eq!(entity, &n1());
    assert_eq!(firing.summary, "server n1 has 16 of 20 connections (80.0 %)");
    assert_eq!(
        json!(firing.observed),
        json!({"value": 16, "limit": 20, "percent": 80.0, "threshold": 80.0, "unit": "connections",
               "limit_source": "server"})
    );
    assert_eq!(
        firing.evidence["cluster"],
        json!({"servers": [
                   {"server": "n1", "connections": 16, "max_connections": 20, "percent": 80.0},
                   {"server": "n2", "connections": 2, "max_connections": 65536, "percent": 0.0},
                   {"server": "n3", "connections": 0, "max_connections": 65536, "percent": 0.0}],
               "connections": 18, "max_connections": 131_092, "has_room": true})
    );
    assert_eq!(firing.evidence["top"]["accounts"]["top"], json!([{"name": "APP", "count": 16}]));
    assert!(firing.remediation[0].contains("URLs of all its servers"), "{:?}", firing.remediation);
}

#[test]
fn a_value_above_the_limit_is_said() {
    let judgement = judge::<Check>(&with_max(Some(Version(2, 15, 1)), 4, 6));
    assert_eq!(only(&judgement).1.summary, "server n1 has 6 of 4 connections (150.0 %), above its limit");
}

#[test]
fn zero_or_less_is_no_limit_on_old_servers_and_a_closed_door_on_new_ones() {
    for version in [Version(2, 9, 10), Version(2, 10, 26), Version(2, 12, 4), Version(2, 13, 9)] {
        for max in [0, -1] {
            let judgement = judge::<Check>(&with_max(Some(version), max, 9));
            assert!(judgement.firing.is_empty(), "{version:?}");
            assert_eq!(judgement.standing(&n1()), Standing::Clear);
        }
    }
    for version in [Version(2, 12, 5), Version(2, 12, 8), Version(2, 14, 0), Version(2, 15, 1)] {
        for max in [0, -1] {
            let judgement = judge::<Check>(&with_max(Some(version), max, 9));
            let firing = only(&judgement).1;
            assert_eq!(firing.severity, Some(Severity::Critical), "{version:?}");
            assert_eq!(firing.observed.percent, None);
            assert!(firing.summary.starts_with("server n1 refuses every client"), "{}", firing.summary);
            assert!(firing.summary.ends_with("; 9 connections are open"), "{}", firing.summary);
        }
    }
    let judgement = judge::<Check>(&with_max(None, -1, 9));
    assert!(judgement.firing.is_empty());
    assert!(
        matches!(judgement.standing(&n1()), Standing::Unknown(reason) if reason.contains("version is not known"))
    );
    assert_eq!(judge::<Check>(&with_max(None, 10, 9)).firing.len(), 1);
}

#[test]
fn a_server_that_is_silent_or_gone_is_unknown_and_the_others_are_judged() {
    let system = || {
        System::of(3)
            .connect("n1", "APP", "u", 10, plain)
            .connect("n2", "APP", "u", 10, plain)
            .vars("n1", |vars| vars.max_connections = 10)
            .vars("n2", |vars| vars.max_connections = 10)
    };
    let judgement = judge::<Check>(&system().silent("n2", Endpoint::Varz).done());
    assert_eq!(only(&judgement).0, &n1());
    assert_eq!(only(&judgement).1.evidence["cluster"]["has_room"], json!(null));
    let rows = judgement.unknown_rows();
    assert!(rows.len() == 1 && &*rows[0].entity == "n2", "{rows:?}");
    let judgement = judge::<Check>(&system().gone("n1").done());
    assert_eq!(judgement.standing(&n1()), Standing::Unknown("server n1 did not answer VARZ".into()));
}

#[test]
fn arrivals_are_told_for_the_same_process_only() {
    let full = |second, connections, total| {
        System::of(1).at(second).vars("n1", move |vars| {
            *vars = ServerVars {
                connections,
                total_connections: total,
                max_connections: 100,
                ..Default::default()
            };
        })
    };
    let (before, now) = (full(0, 80, 1000).done(), full(60, 90, 1200).done());
    let judgement = judge_with::<Check>(&now, Some(&before), &[]);
    let evidence = &only(&judgement).1.evidence;
    assert_eq!(evidence["arrivals"], json!({"opened": 200, "net": 10, "opened_per_minute": 200.0}));
    assert_eq!(evidence["growth"], json!({"connections": 10, "over_seconds": 60, "seconds_to_limit": null}));

    let restarted = full(0, 80, 1000).with(|snapshot| {
        let server = snapshot.servers.pop_first().unwrap().1;
        snapshot.servers.insert("ID-old".into(), Server { id: "ID-old".into(), ..server });
    });
    let judgement = judge_with::<Check>(&now, Some(&restarted.done()), &[]);
    assert_eq!(only(&judgement).1.evidence["arrivals"], json!(null));
}

#[test]
fn steady_growth_gives_the_time_to_the_limit() {
    let full = |second, connections| {
        System::of(1).at(second).vars("n1", move |vars| {
            vars.connections = connections;
            vars.max_connections = 100;
        })
    };
    let mut history = History::default();
    history.push(&full(0, 70).done());
    history.push(&full(60, 80).done());
    let now = full(120, 90).done();
    assert_eq!(now.taken_at, at(120));
    let context = Context { now: &now, previous: None, history: &history, declared: &Default::default() };
    let rule = crate::check::Entry::of::<Check>().configure(&Settings::default()).unwrap();
    let crate::check::Outcome::Firing(firing) = &rule.judge(&context)[0].outcome else { panic!() };
    assert_eq!(
        firing.evidence["growth"],
        json!({"connections": 20, "over_seconds": 120, "seconds_to_limit": 60})
    );
    assert_eq!(rule.follow_ups(&context), [FollowUp::ClosedConnections { server: "ID-n1".into() }]);
}

#[test]
fn rejections_and_leaks_are_told() {
    let system = System::of(1)
        .vars("n1", |vars| vars.max_connections = 10)
        .connect("n1", "APP", "u", 6, plain)
        .connect("n1", "APP", "u", 4, |c, _| {
            c.in_msgs = 0;
            c.last_activity = "2023-11-14T22:00:00Z".into();
        })
        .with(|snapshot| snapshot.follow_ups.rejected = [("ID-n1".into(), 7)].into());
    let judgement = judge::<Check>(&system.done());
    let firing = only(&judgement).1;
    assert_eq!(firing.evidence["rejected"], 7);
    assert_eq!(firing.evidence["idle_without_messages"], json!({"connections": 4, "percent": 40.0}));
    assert!(firing.remediation[0].starts_with("4 connections (40.0 %) never carried a message"));
}
