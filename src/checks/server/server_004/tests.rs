use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge_last, judge_last_set, judge_with, only};
use crate::snapshot::ByKind;
use crate::snapshot::Snapshot;
use crate::snapshot::build::{System, at};
use serde_json::json;

type Check = SlowConsumers;

fn counted(system: System, slow: u64, kinds: Option<ByKind>) -> System {
    system.vars("n1", |vars| (vars.slow_consumers, vars.slow_by_kind) = (slow, kinds))
}

fn before(slow: u64) -> Snapshot {
    counted(System::of(2), slow, Some(ByKind { clients: slow, ..ByKind::default() })).done()
}

fn server(name: &str) -> Entity {
    Entity::server(&name.into(), Some(&"east".into()))
}

#[test]
fn events_are_told_with_who_was_closed() {
    let now = counted(System::of(2).at(30), 7, Some(ByKind { clients: 6, routes: 1, ..ByKind::default() }))
        .end("n1", ("APP", "u"), PENDING, 2, |c, i| c.name = format!("worker-{i}").into())
        .end("n1", ("APP", "u"), "Client Closed", 9, |_, _| {})
        .end("n2", ("APP", "u"), PENDING, 1, |_, _| {})
        .with(|snapshot| snapshot.accounts.clear());
    let judgement = judge_last::<Check>(&[before(3), now.done()]);
    let (entity, firing) = only(&judgement);
    assert_eq!(entity, &server("n1"));
    assert_eq!(
        firing.summary,
        "server n1 counted 4 slow consumer events since the previous epoch (3 of clients, 1 of routes); the last that was \
         closed is `worker-1` (user u, 10.0.0.1) of account APP"
    );
    assert_eq!(json!(firing.observed), json!({"value": 4, "threshold": 1, "unit": "events"}));
    let evidence = &firing.evidence;
    assert_eq!(evidence["by_kind"], json!({"clients": 3, "routes": 1, "gateways": 0, "leafs": 0}));
    assert_eq!((&evidence["per_minute"], &evidence["since_start"]), (&json!(8.0), &json!(7)));
    assert_eq!(evidence["closed"]["connections"], 2);
    assert_eq!(evidence["closed"]["reasons"], json!([{"name": PENDING, "count": 2}]));
    assert_eq!(evidence["closed"]["newest"][0]["name"], "worker-1");
    assert!(firing.remediation[0].contains("its routes could not be written fast enough"), "{firing:?}");
    assert!(firing.remediation[1].ends_with("more than 64 MB waited."), "{firing:?}");
    assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
}

#[test]
fn an_old_server_tells_no_kinds_and_a_closed_list_that_is_missing_is_said() {
    let now = counted(System::of(1).at(60), 1, None).silent("n1", Endpoint::Closed);
    let judgement = judge_last::<Check>(&[counted(System::of(1), 0, None).done(), now.done()]);
    let (_, firing) = only(&judgement);
    assert_eq!(firing.summary, "server n1 counted 1 slow consumer event since the previous epoch");
    assert_eq!(firing.evidence["by_kind"], json!(null));
    assert_eq!(
        firing.evidence["closed_incomplete"],
        json!(["server n1 did not answer CONNZ of closed connections"])
    );
    assert!(firing.remediation[0].contains("`Slow Consumer Detected`"));
    // The server leaves the kinds out while all are zero.
    let kinds = Some(ByKind { leafs: 2, ..ByKind::default() });
    let now = counted(System::of(1).at(60), 2, kinds);
    let judgement = judge_last::<Check>(&[counted(System::of(1), 0, None).done(), now.done()]);
    assert_eq!(only(&judgement).1.evidence["by_kind"]["leafs"], 2);
}

#[test]
fn what_did_not_grow_is_silent() {
    for (earlier, later) in [(0, 0), (5, 5), (5, 3), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        let now = counted(System::of(2).at(60), later, None);
        assert!(judge_last::<Check>(&[before(earlier), now.done()]).firing.is_empty(), "{earlier} {later}");
    }
    let now = counted(System::of(2).at(60), u64::MAX, None);
    assert_eq!(only(&judge_last::<Check>(&[before(0), now.done()])).1.observed.value, u64::MAX.into());
    let now = counted(System::of(2).at(60), 4, None).done();
    let base = json!({"min_events": 5}).as_object().cloned().unwrap();
    let settings = Settings { base, ..Settings::default() };
    assert!(judge_last_set::<Check>(&[before(0), now], &settings).firing.is_empty());
}

#[test]
fn what_was_counted_while_it_did_not_tell_is_told_with_the_next_answer() {
    let mut skipped = System::of(2).at(60);
    skipped.server_mut("n1").vars = None;
    let now = counted(System::of(2).at(120), 7, None).done();
    for between in [skipped.done(), System::of(2).at(60).gone("n1").done()] {
        let judgement = judge_last::<Check>(&[before(3), between, now.clone()]);
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "server n1 counted 4 slow consumer events in the last 2m");
        assert_eq!((&firing.observed.value, &firing.evidence["per_minute"]), (&4.into(), &json!(2.0)));
    }
    // A boot that began since the previous epoch began with nothing.
    let mut young = counted(System::of(2).at(60), 9, None);
    (young.server_mut("n1").start, young.server_mut("n1").now) = (Some(at(30)), Some(at(60)));
    let judgement = judge_last::<Check>(&[System::of(2).gone("n1").done(), young.done()]);
    let firing = only(&judgement).1;
    assert_eq!(firing.summary, "server n1 counted 9 slow consumer events since it was started");
    assert_eq!(firing.evidence["per_minute"], 9.0);
}

#[test]
fn the_agents_own_connection_is_taken_off() {
    let judged = |events: u64, own: u64, others: u64| {
        let kinds = Some(ByKind { clients: 3 + events, ..ByKind::default() });
        let now = counted(System::of(2).at(60), 3 + events, kinds)
            .end_own("n1", PENDING, own)
            .end("n1", ("APP", "u"), PENDING, others, |_, _| {})
            .done();
        let judgement = judge_last::<Check>(&[before(3), now]);
        let firing = judgement.firing.first().map(|(_, firing)| firing);
        firing.map(|firing| (json!(firing.observed.value), firing.evidence["by_kind"]["clients"].clone()))
    };
    // It may be counted twice.
    assert_eq!((judged(1, 1, 0), judged(2, 1, 0)), (None, None));
    assert_eq!(judged(3, 1, 0), Some((json!(1), json!(1))));
    assert_eq!(judged(2, 1, 1), Some((json!(1), json!(1))));
    assert_eq!(judged(2, 0, 1), Some((json!(2), json!(2))));
}

#[test]
fn routes_that_are_slow_already_are_of_no_kind() {
    let kinds = Some(ByKind { routes: 1, clients: 3, ..ByKind::default() });
    let earlier = counted(System::of(2), 4, kinds).done();
    let now = counted(System::of(2).at(60), 9, kinds).done();
    let judgement = judge_last::<Check>(&[earlier, now]);
    let firing = only(&judgement).1;
    assert_eq!(
        firing.summary,
        "server n1 counted 5 slow consumer events since the previous epoch (5 of routes)"
    );
    assert_eq!(
        (&firing.evidence["of_slow_routes"], &firing.evidence["by_kind"]["routes"]),
        (&json!(5), &json!(0))
    );
    assert!(firing.remediation[0].contains("its routes could not be written fast enough"), "{firing:?}");
}

#[test]
fn a_restart_a_new_server_and_silence_are_unknown_and_not_zero() {
    let now = counted(System::of(2).at(60), 9, None).done();
    assert!(judge_with::<Check>(&now, None, &[]).nothing.is_some(), "the first epoch");
    let judgement = judge_last::<Check>(&[System::of(2).gone("n1").done(), now.clone()]);
    assert!(judgement.firing.is_empty());
    let Standing::Unknown(reason) = judgement.standing(&server("n1")) else { panic!("{judgement:?}") };
    assert!(
        reason.starts_with("server n1 has not told its counters before: they are compared from the next"),
        "{reason}"
    );
    assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
    let mut unheard = System::of(2);
    unheard.server_mut("n1").vars = None;
    let judgement = judge_last::<Check>(&[unheard.done(), now]);
    assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
    let silent = counted(System::of(2).at(60), 9, None).silent("n1", Endpoint::Varz);
    let judgement = judge_last::<Check>(&[before(0), silent.done()]);
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&server("n1")), Standing::Unknown("server n1 did not answer VARZ".into()));
}
