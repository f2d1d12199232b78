use super::*;
use crate::finding::script::{Says, Sees, judged, moment, origin, policy};
use crate::finding::{Step, Terms, Why, step};

/// An epoch of an agent.
fn run(agent: &str, ledger: Ledger, says: Says, epoch: u64) -> (Ledger, Step) {
    let origin = origin(agent);
    let terms = Terms::plain(&origin);
    step(ledger, &judged(&[says], Sees::All, &policy(1, 1)), &terms, moment(epoch))
}

/// What another agent hears of a step, as it goes over the wire.
fn hear(ledger: &mut Ledger, step: &Step, epoch: u64) {
    for said in &step.said {
        let json = serde_json::to_vec(&*said.finding).unwrap();
        ledger.adopt(serde_json::from_slice(&json).unwrap(), moment(epoch).at);
    }
    ledger.only_of_epoch(epoch);
}

#[test]
fn another_agent_goes_on_with_the_same_life() {
    let mut warm = Ledger::default();
    let (ledger, first) = run("1", Ledger::default(), Says::Warns, 1);
    hear(&mut warm, &first, 1);
    let (_, second) = run("1", ledger, Says::Warns, 2);
    hear(&mut warm, &second, 2);
    let (_, third) = run("2", warm.clone(), Says::Warns, 3);
    let told = &third.said[0];
    assert_eq!((told.why, told.finding.epochs, told.finding.first_seen), (Why::Repeated, 3, moment(1).at));
    assert_eq!(
        (&*told.finding.agent.id, &told.finding.fingerprint),
        ("2", &first.said[0].finding.fingerprint)
    );
    let (_, third) = run("2", warm, Says::Clear, 3);
    assert_eq!((third.said[0].why, third.said[0].finding.epochs), (Why::Ended, 2));
}

#[test]
fn an_end_that_another_agent_said_is_said_once_more_by_the_next() {
    let mut warm = Ledger::default();
    let (ledger, began) = run("1", Ledger::default(), Says::Warns, 1);
    hear(&mut warm, &began, 1);
    let (_, ended) = run("1", ledger, Says::Clear, 2);
    hear(&mut warm, &ended, 2);
    assert_eq!(warm.open().count(), 0);
    let (_, again) = run("2", warm, Says::Clear, 3);
    assert_eq!((again.said.len(), again.said[0].why), (1, Why::EndedAgain));
    assert_eq!(again.said[0].finding, ended.said[0].finding);
}

#[test]
fn a_severity_that_changed_is_no_end() {
    let mut warm = Ledger::default();
    let (ledger, began) = run("1", Ledger::default(), Says::Warns, 1);
    let (_, changed) = run("1", ledger, Says::Alarms, 2);
    // Heard from the beginning, or only from then on.
    for mut warm in [
        {
            hear(&mut warm, &began, 1);
            warm.clone()
        },
        Ledger::default(),
    ] {
        hear(&mut warm, &changed, 2);
        let open = warm.open().next().unwrap();
        assert_eq!((open.severity.as_str(), open.first_seen), ("critical", moment(1).at));
    }
    // The message that should follow is lost.
    assert_eq!(changed.said[0].why, Why::Succeeded);
    warm.adopt(Finding::clone(&changed.said[0].finding), moment(2).at);
    assert_eq!(warm.open().count(), 1);
}

#[test]
fn of_two_tellings_the_earlier_beginning_and_the_later_epoch_hold() {
    let (earlier, of_bucket) = run("1", Ledger::default(), Says::Warns, 1);
    let (_, of_bucket_later) = run("1", earlier, Says::Warns, 2);
    let (mut ledger, _) = run("2", Ledger::default(), Says::Warns, 3);
    for step in [&of_bucket, &of_bucket_later] {
        ledger.adopt(Finding::clone(&step.said[0].finding), moment(3).at);
    }
    let open = ledger.open().next().unwrap();
    assert_eq!((open.first_seen, open.epoch, open.epochs, &*open.agent.id), (moment(1).at, 3, 2, "2"));
}

#[test]
fn what_was_said_before_an_end_and_heard_late_does_not_begin_it_again() {
    let (ledger, began) = run("1", Ledger::default(), Says::Warns, 1);
    let (mut ledger, _) = run("1", ledger, Says::Clear, 2);
    ledger.adopt(Finding::clone(&began.said[0].finding), moment(2).at);
    assert_eq!(ledger.open().count(), 0);
}

#[test]
fn what_is_not_repeated_is_over_for_who_only_hears() {
    let mut warm = Ledger::default();
    let (_, began) = run("1", Ledger::default(), Says::Warns, 1);
    hear(&mut warm, &began, 1);
    warm.only_of_epoch(1);
    assert_eq!(warm.open().count(), 1);
    warm.only_of_epoch(2);
    assert_eq!(warm.open().count(), 0);
}

#[test]
fn what_is_pending_begins_anew_when_another_agent_has_looked_meanwhile() {
    let run = |ledger: &Ledger, says: Says, epoch: u64| {
        let origin = origin("1");
        let judged = judged(&[says], Sees::All, &policy(2, 1));
        step(ledger.clone(), &judged, &Terms::plain(&origin), moment(epoch))
    };
    let (pending, _) = run(&Ledger::default(), Says::Warns, 1);
    let (_, next) = run(&pending, Says::Warns, 2);
    assert_eq!((next.pending, next.said.len()), (0, 1));
    let mut ledger = pending;
    // Its own epoch, told by the other as well.
    ledger.only_of_epoch(1);
    assert_eq!(ledger.pending().count(), 1);
    ledger.only_of_epoch(2);
    assert!(ledger.lives.is_empty());
    // What ended and came back is not forgotten over that.
    let (ledger, began) = run(&run(&ledger, Says::Warns, 3).0, Says::Warns, 4);
    let (ledger, _) = run(&ledger, Says::Clear, 5);
    let (mut ledger, again) = run(&ledger, Says::Warns, 6);
    assert_eq!((began.said[0].finding.flaps, again.pending), (0, 1));
    ledger.only_of_epoch(7);
    assert_eq!(ledger.pending().count(), 0);
    let (ledger, seen) = run(&ledger, Says::Warns, 8);
    assert_eq!((seen.pending, seen.said.len()), (1, 0));
    let (_, began) = run(&ledger, Says::Warns, 9);
    assert_eq!((began.said[0].finding.flaps, began.said[0].finding.first_seen), (1, moment(8).at));
}

#[test]
fn a_stored_end_is_remembered_for_flapping_alone() {
    let (ledger, _) = run("1", Ledger::default(), Says::Warns, 1);
    let (_, ended) = run("1", ledger, Says::Clear, 2);
    let mut fresh = Ledger::default();
    fresh.adopt(Finding::clone(&ended.said[0].finding), moment(3).at);
    let (_, began) = run("2", fresh.clone(), Says::Warns, 3);
    assert_eq!((began.said.len(), began.said[0].finding.flaps), (1, 1));
    let (_, silent) = run("2", fresh, Says::Clear, 3);
    assert!(silent.said.is_empty());
}

#[test]
fn ended_findings_are_bounded() {
    let (ledger, _) = run("1", Ledger::default(), Says::Warns, 1);
    let (_, ended) = run("1", ledger, Says::Clear, 2);
    let mut ledger = Ledger::default();
    for n in 0..ENDED as u64 + 10 {
        let mut told = Finding::clone(&ended.said[0].finding);
        told.fingerprint = crate::finding::fingerprint("test", &n.to_string(), &told.entity);
        told.resolved_at = Some(moment(0).at + time::Duration::milliseconds(n as i64));
        ledger.adopt(told, moment(1).at);
    }
    ledger.forget(moment(1).at);
    assert_eq!(ledger.lives.len(), ENDED);
    ledger.forget(moment(0).at + WINDOW + time::Duration::milliseconds(19));
    assert_eq!(ledger.lives.len(), ENDED - 10);
}
