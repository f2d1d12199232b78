use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge_last, judge_last_set, judge_with, only};
use crate::snapshot::build::System;
use serde_json::json;

type Check = AccountSlowConsumers;
const PENDING: &str = "Slow Consumer (Pending Bytes)";

fn system() -> System {
    System::of(2).account("APP", -1, -1, -1).account("B", -1, -1, -1)
}

/// What servers count for accounts since their start.
fn counted(mut system: System, counts: &[(&str, &str, u64)]) -> System {
    for (server, account, count) in counts {
        let id = Name::from(format!("ID-{server}"));
        system.entry(account).slow_consumers.insert(id, *count);
    }
    system
}

fn used_only(system: System) -> System {
    system.with(|snapshot| snapshot.coverage.used_accounts_only = true)
}

fn account(id: &str) -> Entity {
    Entity::account(id, None)
}

#[test]
fn growth_is_summed_over_servers_and_tells_who_was_closed() {
    let before = counted(system(), &[("n1", "APP", 3), ("n1", "B", 8)]).done();
    let now = counted(system().at(30), &[("n1", "APP", 4), ("n2", "APP", 3), ("n1", "B", 8)])
        .end("n2", ("APP", "u"), PENDING, 2, |c, _| c.name = "worker".into())
        .end("n2", ("B", "v"), PENDING, 1, |_, _| {});
    let judgement = judge_last::<Check>(&[before, now.done()]);
    let (entity, firing) = only(&judgement);
    assert_eq!(entity, &account("APP"));
    assert_eq!(
        firing.summary,
        "account APP has 4 slow consumer events since the previous epoch on 2 servers, most on n2; the last that was \
         closed is `worker` (user u, 10.0.0.1)"
    );
    assert_eq!(json!(firing.observed), json!({"value": 4, "threshold": 1, "unit": "events"}));
    let evidence = &firing.evidence;
    assert_eq!(
        evidence["servers"],
        json!([{"server": "n2", "events": 3, "since_start": 3}, {"server": "n1", "events": 1, "since_start": 4}])
    );
    assert_eq!((&evidence["closed"]["connections"], &evidence["per_minute"]), (&json!(2), &json!(8.0)));
    assert!(evidence["not_compared"].is_null());
    assert!(firing.remediation[0].starts_with("Make client `worker`"), "{firing:?}");
    assert_eq!(judgement.standing(&account("B")), Standing::Clear);
}

#[test]
fn a_fall_a_restart_and_a_new_server_are_no_growth() {
    let now = || counted(system().at(60), &[("n1", "APP", 5)]).done();
    let before = |count| counted(system(), &[("n1", "APP", count)]).done();
    for count in [5, 6, u64::MAX] {
        assert!(judge_last::<Check>(&[before(count), now()]).firing.is_empty(), "{count}");
    }
    assert!(judge_last::<Check>(&[system().gone("n1").done(), now()]).firing.is_empty());
    let unheard = system().silent("n1", Endpoint::AccountStatz).done();
    assert!(judge_last::<Check>(&[unheard, now()]).firing.is_empty());
    // A server that answered and had nothing to tell of the account counts from zero.
    assert_eq!(only(&judge_last::<Check>(&[system().done(), now()])).1.observed.value, 5.into());
    let huge = counted(system().at(60), &[("n1", "APP", u64::MAX), ("n2", "APP", u64::MAX)]).done();
    assert_eq!(only(&judge_last::<Check>(&[system().done(), huge])).1.observed.value, u64::MAX.into());
    assert!(judge_with::<Check>(&now(), None, &[]).nothing.is_some(), "the first epoch");
}

#[test]
fn what_is_seen_fires_and_what_is_not_is_unknown() {
    let now = counted(system().at(60), &[("n1", "APP", 1)]).silent("n2", Endpoint::AccountStatz);
    let judgement = judge_last::<Check>(&[system().done(), now.done()]);
    let (_, firing) = only(&judgement);
    assert_eq!(firing.evidence["not_compared"], json!(["n2"]));
    assert!(firing.remediation[0].contains("`Slow Consumer Detected`"));
    assert!(matches!(judgement.standing(&account("B")), Standing::Unknown(_)));
}

#[test]
fn where_only_accounts_with_clients_are_listed_closed_connections_stand_for_what_is_left_out() {
    // Counted long ago, while the account had no clients: it is listed again.
    let again = counted(used_only(system().at(60)), &[("n1", "APP", 5)]);
    assert!(judge_last::<Check>(&[used_only(system()).done(), again.done()]).firing.is_empty());
    // Its first: the list of closed connections shows it.
    let first = counted(used_only(system().at(60)), &[("n1", "APP", 5)]).end(
        "n1",
        ("APP", "u"),
        PENDING,
        1,
        |_, _| {},
    );
    assert_eq!(
        only(&judge_last::<Check>(&[used_only(system()).done(), first.done()])).1.observed.value,
        1.into()
    );
    // Its last client was closed, so that the account is not listed at all.
    let gone = used_only(System::of(2).at(60)).end("n1", ("APP", "u"), PENDING, 2, |_, _| {});
    let judgement = judge_last::<Check>(&[used_only(system()).done(), gone.done()]);
    let (_, firing) = only(&judgement);
    assert_eq!(firing.evidence["servers"], json!([{"server": "n1", "events": 2, "since_start": null}]));
    // Listed in both: the counter tells.
    let both = counted(used_only(system().at(60)), &[("n1", "APP", 9)]).end(
        "n1",
        ("APP", "u"),
        PENDING,
        1,
        |_, _| {},
    );
    let before = counted(used_only(system()), &[("n1", "APP", 6)]).done();
    assert_eq!(only(&judge_last::<Check>(&[before, both.done()])).1.observed.value, 3.into());
}

#[test]
fn the_threshold_is_of_the_account() {
    let base = json!({"min_events": 5}).as_object().cloned().unwrap();
    let settings = Settings { base, ..Settings::default() };
    let now = |count| counted(system().at(60), &[("n1", "APP", count)]).done();
    assert!(judge_last_set::<Check>(&[system().done(), now(4)], &settings).firing.is_empty());
    assert_eq!(judge_last_set::<Check>(&[system().done(), now(5)], &settings).firing.len(), 1);
    let base = [("min_events".to_owned(), json!(0))].into_iter().collect();
    Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
}

#[test]
fn what_was_counted_while_a_server_was_silent_is_told_when_it_answers_again() {
    let silent = system().at(60).silent("n1", Endpoint::AccountStatz);
    let epochs = [
        counted(system(), &[("n1", "APP", 3)]).done(),
        silent.done(),
        counted(system().at(120), &[("n1", "APP", 5)]).done(),
    ];
    let judgement = judge_last::<Check>(&epochs);
    let (_, firing) = only(&judgement);
    assert_eq!((&firing.observed.value, &firing.evidence["per_minute"]), (&2.into(), &json!(null)));
    // That was an hour ago.
    let late = counted(system().at(3720), &[("n1", "APP", 5)]).done();
    let silent = system().at(3660).silent("n1", Endpoint::AccountStatz).done();
    assert!(judge_last::<Check>(&[epochs[0].clone(), silent, late]).firing.is_empty());
}

#[test]
fn the_agents_own_connection_is_taken_off() {
    let judged = |events: u64| {
        let system = || System::of(1).account("SYS", -1, -1, -1).with(|s| s.system_account = "SYS".into());
        let before = counted(system(), &[("n1", "SYS", 3)]).done();
        let now = counted(system().at(60), &[("n1", "SYS", 3 + events)]).end_own("n1", PENDING, 1);
        judge_last::<Check>(&[before, now.done()])
    };
    assert!(judged(1).firing.is_empty());
    assert_eq!(only(&judged(2)).1.observed.value, 1.into());
}
