use super::*;
use crate::check::{Match, Override, Settings, Standing};
use crate::checks::laws::{judge, judge_set, only};
use crate::snapshot::build::System;
use crate::snapshot::{Budget, Version};
use crate::wire::connz::Connection;
use serde_json::json;

type Check = ExcessiveUserConnections;

fn plain(_: &mut Connection<'_>, _: u64) {}

#[test]
fn fires_over_a_hundred_on_all_servers_together_and_not_at_a_hundred() {
    let system = |n| {
        System::of(3)
            .account("APP", 150, -1, -1)
            .connect("n1", "APP", "u", 60, plain)
            .connect("n2", "APP", "u", n, plain)
    };
    let judgement = judge::<Check>(&system(40).done());
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&Entity::user("APP", None, "u", None)), Standing::Clear);
    let judgement = judge::<Check>(&system(41).connect("n3", "APP", "v", 19, plain).done());
    let (entity, firing) = only(&judgement);
    assert_eq!(entity, &Entity::user("APP", None, "u", None));
    assert_eq!(firing.summary, "user u of account APP has 101 connections, more than 100");
    assert_eq!(json!(firing.observed), json!({"value": 101, "threshold": 100, "unit": "connections"}));
    assert_eq!(
        firing.evidence["by_server"],
        json!([{"server": "n1", "connections": 60, "percent": 59.4}, {"server": "n2", "connections": 41, "percent": 40.6}])
    );
    assert_eq!(
        firing.evidence["account"],
        json!({"connections": 120, "user_percent": 84.2, "limit": 150, "percent": 80.0})
    );
    assert_eq!(firing.evidence["oldest"], "2023-11-14T21:13:20Z");
}

#[test]
fn the_same_name_in_two_accounts_is_two_users() {
    let system = System::of(1).connect("n1", "A", "u", 60, plain).connect("n1", "B", "u", 60, plain);
    assert!(judge::<Check>(&system.done()).firing.is_empty());
}

#[test]
fn an_override_raises_the_threshold_of_one_user() {
    let snapshot =
        System::of(1).connect("n1", "APP", "fleet", 200, plain).connect("n1", "APP", "u", 101, plain).done();
    let matcher = Match { account: Some("APP".into()), user: Some("fleet*".into()), ..Match::default() };
    let patch = json!({"max_connections": 200}).as_object().cloned().unwrap();
    let narrowed = Override { matcher, thresholds: patch, ..Override::default() };
    let settings = Settings { overrides: vec![narrowed], ..Settings::default() };
    let judgement = judge_set::<Check>(&snapshot, None, &[], &settings);
    assert_eq!(only(&judgement).0.user.as_deref(), Some("u"));
}

#[test]
fn labels_are_honest_and_what_is_hidden_is_unknown() {
    let token = System::of(1).connect("n1", "", "[REDACTED]", 101, |c, _| c.account = "".into());
    let judgement = judge::<Check>(&token.done());
    assert_eq!(
        only(&judgement).1.summary,
        "clients with a login token of account $G have 101 connections, more than 100"
    );
    let open = System::of(1).connect("n1", "", "", 101, plain);
    let judgement = judge::<Check>(&open.done());
    assert!(only(&judgement).1.summary.starts_with("clients without authentication of account $G have 101"));

    let hidden = |n| {
        let mut system = System::of(1);
        system.server_mut("n1").version = Some(Version(2, 10, 26));
        system.connect("n1", "", "s3cret", n, plain).done()
    };
    let judgement = judge::<Check>(&hidden(101));
    assert!(judgement.firing.is_empty());
    let rows = judgement.unknown_rows();
    assert!(
        rows.len() == 1 && &*rows[0].entity == "[hidden]" && rows[0].reason.contains("login tokens"),
        "{rows:?}"
    );
    assert!(judge::<Check>(&hidden(100)).unknown_rows().is_empty());
}

#[test]
fn a_missing_sweep_leaves_what_is_over_firing_and_the_rest_unknown() {
    let system = || System::of(2).connect("n1", "APP", "u", 101, plain).connect("n2", "APP", "v", 50, plain);
    let judgement = judge::<Check>(&system().silent("n2", Endpoint::Connz).done());
    let (entity, firing) = only(&judgement);
    assert_eq!(entity.user.as_deref(), Some("u"));
    assert_eq!(firing.evidence["sweep_incomplete"], json!(["server n2 did not answer CONNZ"]));
    let other = Entity::user("APP", None, "v", None);
    assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
    let judgement = judge::<Check>(&system().gone("n2").done());
    assert_eq!(judgement.firing.len(), 1);
    assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
}

#[test]
fn the_count_is_exact_where_the_details_began_late_or_never() {
    let system = |users| {
        let budget = Budget { users, ..Budget::default() };
        // Two others are met before, with three connections each; there is room for the details of two.
        System::of(1)
            .within(budget)
            .connect("n1", "APP", "v", 3, plain)
            .connect("n1", "APP", "w", 3, plain)
            .connect("n1", "APP", "u", 120, plain)
    };
    let judgement = judge::<Check>(&system(2).done());
    let firing = only(&judgement).1;
    assert_eq!(firing.summary, "user u of account APP has 120 connections, more than 100");
    assert_eq!(firing.evidence["details_of"], 117);
    assert_eq!(firing.evidence["addresses"]["top"][0]["count"], 117);
    assert!(firing.remediation[0].starts_with("100.0 % come from the address 10.0.0.1"));
    let judgement = judge::<Check>(&system(0).done());
    let firing = only(&judgement).1;
    assert_eq!(firing.observed.value, 120.into());
    assert_eq!(
        (&firing.evidence["details_of"], &firing.evidence["pattern"]),
        (&json!(0), &json!([NOT_KEPT]))
    );
    let whole = judge::<Check>(&system(3).done());
    assert_eq!(only(&whole).1.evidence.get("details_of"), None);
}

#[test]
fn the_pattern_is_told_in_words() {
    let pattern = |edit: fn(&mut Connection<'_>, u64)| {
        let judgement = judge::<Check>(&System::of(1).connect("n1", "APP", "u", 120, edit).done());
        only(&judgement).1.clone()
    };
    let burst = pattern(plain);
    assert_eq!(
        burst.evidence["pattern"],
        json!([
            "all from the address 10.0.0.1, with the client name `app`: likely one process that opens many \
                connections, or many behind one proxy",
            "opened within 0s: one burst, such as a deployment or a reconnect of all"
        ])
    );
    assert!(burst.remediation[0].starts_with("100.0 % come from the address 10.0.0.1"));
    let leak = pattern(|c, i| {
        c.start = format!("2023-11-14T1{}:00:00Z", i % 10).into();
        c.in_msgs = 0;
        c.last_activity = c.start.clone();
        c.ip = format!("10.0.0.{i}").into();
        c.name = "".into();
    });
    assert_eq!(
        leak.evidence["pattern"],
        json!([
            "from 120 addresses, without a client name: likely many replicas that share one credential",
            "opened over 9h, many of them idle since: likely a slow leak"
        ])
    );
    assert_eq!(leak.evidence["addresses"]["distinct"], 120);
    assert_eq!(leak.evidence["unnamed"], 120);
    assert!(leak.remediation[0].starts_with("120 connections (100.0 %) never carried a message"));
}
