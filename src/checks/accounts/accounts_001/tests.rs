use super::*;
use crate::check::{DeclaredLimits, Standing};
use crate::checks::laws::{judge, judge_with, only};
use crate::snapshot::AccountFold;
use crate::snapshot::build::System;
use serde_json::json;

fn plain(_: &mut crate::wire::connz::Connection<'_>, _: u64) {}

#[test]
fn fires_at_the_threshold_and_not_below() {
    let system = |n| System::of(3).account("APP", 20, -1, -1).connect("n1", "APP", "u", n, plain);
    assert!(judge::<ConnectionLimit>(&system(17).done()).firing.is_empty());
    let judgement = judge::<ConnectionLimit>(&system(18).done());
    let (entity, firing) = only(&judgement);
    assert_eq!(&*entity.id, "APP");
    assert_eq!(firing.summary, "account APP uses 18 of 20 connections (90.0 %)");
    assert_eq!(
        json!(firing.observed),
        json!({"value": 18, "limit": 20, "percent": 90.0, "threshold": 90.0, "unit": "connections",
               "limit_source": "jwt", "scope": "connections"})
    );
    assert_eq!(firing.evidence["by_server"][0], json!({"server": "n1", "connections": 18, "percent": 100.0}));
}

#[test]
fn counts_over_all_servers_and_every_kind_of_client() {
    let system = System::of(3)
        .account("APP", 10, -1, -1)
        .connect("n1", "APP", "u", 4, plain)
        .connect("n2", "APP", "u", 3, |c, _| c.client_type = "mqtt".into())
        .connect("n3", "APP", "v", 2, |c, _| c.client_type = "websocket".into());
    let judgement = judge::<ConnectionLimit>(&system.done());
    let (_, firing) = only(&judgement);
    assert_eq!(firing.evidence["kinds"], json!({"nats": 4, "websocket": 2, "mqtt": 3, "leafnode": 0}));
    assert_eq!(
        firing.evidence["users"]["top"],
        json!([{"name": "u", "count": 7}, {"name": "v", "count": 2}])
    );
}

#[test]
fn leafnodes_count_on_their_own_server_and_have_their_own_limit() {
    let leaf = |c: &mut crate::wire::connz::Connection<'_>, _| c.kind = "Leafnode".into();
    let system = System::of(2)
        .account("APP", 10, -1, -1)
        .connect("n1", "APP", "u", 7, plain)
        .connect("n1", "APP", "l", 2, leaf)
        .connect("n2", "APP", "l", 1, leaf);
    let judgement = judge::<ConnectionLimit>(&system.done());
    let (_, firing) = only(&judgement);
    assert_eq!(firing.observed.value_on_fullest_server, Some(9));
    assert_eq!(firing.observed.percent, Some(90.0));

    let system = System::of(2).account("APP", 100, -1, 3).connect("n1", "APP", "l", 3, leaf);
    let mut snapshot = system.done();
    // Before 2.11 they are in no list of connections.
    snapshot.accounts.get_mut("APP").unwrap().fold = AccountFold::default();
    let judgement = judge::<ConnectionLimit>(&snapshot);
    let (_, firing) = only(&judgement);
    assert_eq!(firing.summary, "account APP uses 3 of 3 leafnode connections (100.0 %)");
    assert_eq!(firing.evidence["limit_kind"], "leafnodes");
    assert_eq!(firing.evidence["kinds"]["leafnode"], 3);
}

#[test]
fn a_limit_lowered_later_is_said_and_a_limit_of_zero_has_no_percentage() {
    let above = System::of(1).account("APP", 4, -1, -1).connect("n1", "APP", "u", 6, plain).done();
    let judgement = judge::<ConnectionLimit>(&above);
    assert_eq!(only(&judgement).1.summary, "account APP uses 6 of 4 connections (150.0 %), above its limit");
    let zero = System::of(1).account("APP", 0, -1, -1).connect("n1", "APP", "u", 1, plain).done();
    let judgement = judge::<ConnectionLimit>(&zero);
    assert_eq!(only(&judgement).1.observed.percent, None);
    let unused = System::of(1).account("APP", 0, -1, 0).done();
    assert!(judge::<ConnectionLimit>(&unused).firing.is_empty());
}

#[test]
fn unlimited_is_clear_and_unseen_is_unknown() {
    let entity = Entity::account("APP", None);
    let unlimited = System::of(1).account("APP", -1, -1, -1).connect("n1", "APP", "u", 500, plain).done();
    let judgement = judge::<ConnectionLimit>(&unlimited);
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&entity), Standing::Clear);

    let unseen = System::of(1).config_account("APP").connect("n1", "APP", "u", 5, plain).done();
    let judgement = judge::<ConnectionLimit>(&unseen);
    assert!(judgement.firing.is_empty());
    let rows = judgement.unknown_rows();
    assert!(rows.len() == 1 && rows[0].reason.contains("declare max_connections"), "{rows:?}");
}

#[test]
fn a_declared_limit_is_judged() {
    let snapshot = System::of(1).config_account("APP").connect("n1", "APP", "u", 9, plain).done();
    let declared = DeclaredLimits { max_connections: Some(10), ..DeclaredLimits::default() };
    let judgement = judge_with::<ConnectionLimit>(&snapshot, None, &[("APP", declared)]);
    assert_eq!(only(&judgement).1.observed.limit_source.as_deref(), Some("declared"));
}

#[test]
fn refusals_are_critical_where_the_limit_is_not_visible_and_end_when_they_end() {
    let system = || System::of(1).config_account("APP").connect("n1", "APP", "u", 5, plain);
    let refusing = system().with(|snapshot| {
        snapshot.accounts.values_mut().for_each(|account| account.events.refused_connections = 3);
    });
    let judgement = judge::<ConnectionLimit>(&refusing.done());
    let (entity, firing) = only(&judgement);
    assert_eq!(firing.severity, Some(Severity::Critical));
    assert_eq!(firing.evidence["refused"], 3);
    let empty = judge::<ConnectionLimit>(&System::of(1).config_account("APP").done());
    assert!(empty.unknown_rows().is_empty());
    let after = judge::<ConnectionLimit>(&system().done());
    assert_eq!(after.standing(entity), Standing::Clear);
    assert_eq!(after.unknown_rows().len(), 1);
    let blind = judge::<ConnectionLimit>(&system().silent("n1", Endpoint::Events).done());
    assert!(matches!(blind.standing(entity), Standing::Unknown(_)));
}

#[test]
fn a_limit_that_was_not_read_this_time_ends_nothing() {
    let unread =
        System::of(1).account("APP", 10, -1, -1).connect("n1", "APP", "u", 9, plain).with(|snapshot| {
            for account in snapshot.accounts.values_mut() {
                account.limits = crate::snapshot::Limits::Unread("no answer".into());
            }
        });
    let judgement = judge::<ConnectionLimit>(&unread.done());
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&Entity::account("APP", None)), Standing::Unknown(_)));
}

#[test]
fn a_missing_server_leaves_what_is_over_firing_and_the_rest_unknown() {
    let system = || {
        System::of(3)
            .account("FULL", 10, -1, -1)
            .account("FINE", 10, -1, -1)
            .connect("n1", "FULL", "u", 9, plain)
            .connect("n2", "FINE", "u", 5, plain)
    };
    let judgement = judge::<ConnectionLimit>(&system().gone("n3").done());
    assert_eq!(&*only(&judgement).0.id, "FULL");
    let standing = judgement.standing(&Entity::account("FINE", None));
    assert_eq!(standing, Standing::Unknown("server n3 did not answer ACCOUNT STATZ".into()));
    let judgement = judge::<ConnectionLimit>(&system().silent("n2", Endpoint::AccountStatz).done());
    assert_eq!(judgement.unknown_rows()[0].entity.as_ref(), "*");
}

#[test]
fn churn_and_leaks_are_told_with_numbers() {
    let before = System::of(1).account("APP", 100, -1, -1).connect("n1", "APP", "u", 80, plain).done();
    let now = System::of(1)
        .at(30)
        .account("APP", 100, -1, -1)
        .connect("n1", "APP", "u", 60, plain)
        .connect("n1", "APP", "leaky", 32, |c, _| {
            c.in_msgs = 0;
            c.last_activity = "2023-11-14T22:00:00Z".into();
        })
        .with(|snapshot| snapshot.accounts.values_mut().for_each(|account| account.events.closed = 7));
    let judgement = judge_with::<ConnectionLimit>(&now.done(), Some(&before), &[]);
    let firing = only(&judgement).1;
    assert_eq!(
        firing.evidence["churn"],
        json!({"opened": 19, "closed": 7, "net": 12, "opened_per_minute": 38.0})
    );
    assert_eq!(firing.evidence["idle_without_messages"], json!({"connections": 32, "percent": 34.8}));
    assert!(firing.remediation[0].starts_with("32 connections (34.8 %) never carried a message"));
}
