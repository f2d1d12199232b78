//! Epochs, and what one instance is sent of them.

use super::*;
use crate::alertmanager::update as epoch_update;
use crate::check::Severity;
use crate::finding::{Finding, Status};
use crate::report::samples::{change, with};
use proptest::prelude::*;
use serde_json::Value;
use time::macros::datetime;

const START: OffsetDateTime = datetime!(2025-11-20 10:00 UTC);
const EPOCH: Duration = Duration::from_secs(30);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An epoch at this second with so many warnings open.
fn epoch_of(at: u64, epoch: Duration, open: usize) -> Update {
    let report = with(&vec![Severity::Warning; open]);
    epoch_update(report.findings(), &BTreeMap::new(), START + s(at), epoch)
}

fn epoch(at: u64, open: usize) -> Update {
    epoch_of(at, EPOCH, open)
}

/// The batch that is due at this second.
#[track_caller]
fn due(queue: &Queue, at: u64) -> Batch {
    match queue.next(s(at)) {
        Decision::Send(batch) => batch,
        wait => panic!("nothing is due at {at}: {wait:?}"),
    }
}

#[track_caller]
fn waits(queue: &Queue, at: u64) -> (Option<Duration>, Waits) {
    match queue.next(s(at)) {
        Decision::Send(batch) => panic!("{:?} are due at {at}", batch.alerts),
        Decision::Wait { until, why } => (until, why),
    }
}

fn reasons(batch: &Batch) -> Vec<Due> {
    batch.alerts.iter().map(|(_, due)| *due).collect()
}

/// The times in a body.
fn times(batch: &Batch, key: &str) -> Vec<String> {
    let alerts: Vec<Value> = serde_json::from_slice(&batch.body).unwrap();
    alerts.iter().map(|alert| alert[key].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn settle(queue: &mut Queue, at: u64, outcome: Outcome) -> Batch {
    let batch = due(queue, at);
    queue.settle(&batch, outcome, s(at));
    batch
}

#[test]
fn an_alert_is_told_refreshed_with_every_epoch_and_ended_once() {
    let mut queue = Queue::default();
    assert_eq!(waits(&queue, 0), (None, Waits::UpToDate));
    queue.update(&epoch(0, 1), s(0));
    assert_eq!(queue.pending(s(0)), 1);
    let first = settle(&mut queue, 0, Outcome::Accepted);
    assert_eq!(
        (reasons(&first), times(&first, "endsAt")),
        (vec![Due::Began], vec!["2025-11-20T10:05:00Z".into()])
    );
    assert_eq!(waits(&queue, 1).1, Waits::UpToDate);
    queue.update(&epoch(30, 1), s(30));
    let second = settle(&mut queue, 30, Outcome::Accepted);
    assert_eq!(
        (reasons(&second), times(&second, "endsAt")),
        (vec![Due::Renewed], vec!["2025-11-20T10:05:30Z".into()])
    );
    queue.update(&epoch(60, 0), s(60));
    let end = settle(&mut queue, 60, Outcome::Accepted);
    assert_eq!(
        (reasons(&end), times(&end, "endsAt")),
        (vec![Due::Ended], vec!["2025-11-20T10:01:00Z".into()])
    );
    assert_eq!((waits(&queue, 61), queue.entries.len()), ((None, Waits::UpToDate), 0));
}

#[test]
fn the_time_of_the_end_is_that_of_the_finding() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 1), s(0));
    settle(&mut queue, 0, Outcome::Accepted);
    let mut report = with(&[Severity::Warning]);
    change(&mut report, 0).status = Status::Resolved;
    change(&mut report, 0).resolved_at = Some(START + s(29));
    queue.update(&epoch_update(report.findings(), &BTreeMap::new(), START + s(31), EPOCH), s(31));
    assert_eq!(times(&due(&queue, 31), "endsAt"), ["2025-11-20T10:00:29Z"]);
}

#[test]
fn long_epochs_are_refreshed_every_minute_for_instances_that_restart() {
    let mut queue = Queue::default();
    queue.update(&epoch_of(0, s(600), 1), s(0));
    settle(&mut queue, 5, Outcome::Accepted);
    assert_eq!(waits(&queue, 64), (Some(s(65)), Waits::UpToDate));
    let again = settle(&mut queue, 65, Outcome::Accepted);
    assert_eq!(
        (reasons(&again), times(&again, "endsAt")),
        (vec![Due::Refresh], vec!["2025-11-20T10:40:00Z".into()])
    );
    assert_eq!(waits(&queue, 66).0, Some(s(125)));
}

#[test]
fn what_is_old_is_told_no_more() {
    let mut queue = Queue::default();
    queue.update(&epoch_of(0, s(600), 2), s(0));
    let first = settle(&mut queue, 0, Outcome::Accepted);
    assert_eq!(first.alerts.len(), 2);
    assert_eq!(reasons(&due(&queue, 1199)), [Due::Refresh; 2]);
    assert_eq!(waits(&queue, 1200), (None, Waits::UpToDate));
    queue.update(&epoch_of(1300, s(600), 1), s(1300));
    assert_eq!(reasons(&due(&queue, 1300)), [Due::Ended, Due::Renewed]);
}

#[test]
fn failures_are_tried_again_ever_more_rarely_with_what_is_known_by_then() {
    let mut queue = Queue::default();
    let mut at = 0;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        queue.update(&epoch(at, 1), s(at));
        settle(&mut queue, at, Outcome::Failed);
        assert_eq!(waits(&queue, at), (Some(s(at + wait)), Waits::BackingOff));
        at += wait;
    }
    queue.update(&epoch(at, 1), s(at));
    let batch = settle(&mut queue, at, Outcome::Accepted);
    // It was attempted, but nobody knows whether it arrived.
    assert_eq!(reasons(&batch), [Due::Began]);
    queue.update(&epoch(at + 1, 1), s(at + 1));
    settle(&mut queue, at + 1, Outcome::Failed);
    assert_eq!(waits(&queue, at + 1).0, Some(s(at + 2)));
}

#[test]
fn what_is_refused_is_not_sent_again_before_there_is_something_else_to_say() {
    let mut queue = Queue::default();
    queue.update(&epoch_of(0, s(600), 1), s(0));
    settle(&mut queue, 0, Outcome::Refused);
    assert_eq!(waits(&queue, 500), (None, Waits::UpToDate));
    queue.update(&epoch_of(600, s(600), 1), s(600));
    assert_eq!(reasons(&due(&queue, 600)), [Due::Renewed]);
    queue.update(&epoch_of(601, s(600), 0), s(601));
    assert_eq!(reasons(&settle(&mut queue, 601, Outcome::Refused)), [Due::Ended]);
    assert_eq!(queue.entries.len(), 0);
}

#[test]
fn the_end_of_what_was_never_attempted_is_not_told() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 1), s(0));
    queue.update(&epoch(1, 0), s(1));
    assert_eq!(waits(&queue, 1), (None, Waits::UpToDate));
    // Whereas it may have arrived although the answer did not.
    queue.update(&epoch(2, 1), s(2));
    settle(&mut queue, 2, Outcome::Failed);
    queue.update(&epoch(9, 0), s(9));
    assert_eq!(reasons(&due(&queue, 9)), [Due::Ended]);
}

#[test]
fn ends_are_forgotten_once_the_alert_has_ended_by_itself() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 1), s(0));
    settle(&mut queue, 0, Outcome::Accepted);
    let mut at = 30;
    while at < 300 {
        queue.update(&epoch(at, 0), s(at));
        settle(&mut queue, at, Outcome::Failed);
        assert_eq!(queue.entries.len(), 1, "at {at}");
        at += 65;
    }
    queue.update(&epoch(300, 0), s(300));
    assert_eq!((queue.entries.len(), queue.dropped()), (0, 0));
}

#[test]
fn one_that_fires_again_before_its_end_was_told_goes_on() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 1), s(0));
    settle(&mut queue, 0, Outcome::Accepted);
    queue.update(&epoch(30, 0), s(30));
    queue.update(&epoch(60, 1), s(60));
    assert_eq!(reasons(&due(&queue, 60)), [Due::Renewed]);
}

#[test]
fn batches_have_at_most_500_alerts_and_new_ones_come_first() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 600), s(0));
    assert_eq!(settle(&mut queue, 0, Outcome::Accepted).alerts.len(), 500);
    queue.update(&epoch(1, 599), s(1));
    assert_eq!(queue.pending(s(1)), 600);
    let batch = settle(&mut queue, 1, Outcome::Accepted);
    let count = |due| reasons(&batch).iter().filter(|one| **one == due).count();
    assert_eq!((count(Due::Began), count(Due::Ended), count(Due::Renewed)), (100, 1, 399));
    assert!(reasons(&batch).is_sorted());
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&batch.body).unwrap().len(), 500);
}

#[test]
fn batches_have_at_most_a_megabyte() {
    let mut report = with(&[Severity::Warning; 40]);
    for n in 0..40 {
        change(&mut report, n).summary = "x".repeat(60_000);
    }
    let mut queue = Queue::default();
    queue.update(&epoch_update(report.findings(), &BTreeMap::new(), START, EPOCH), s(0));
    let mut sent = 0;
    while let Decision::Send(batch) = queue.next(s(0)) {
        sent += batch.alerts.len();
        assert!(batch.body.len() <= BATCH_BYTES && (batch.alerts.len() > 10 || sent == 40), "{sent}");
        queue.settle(&batch, Outcome::Accepted, s(0));
    }
    assert_eq!(sent, 40);
}

#[test]
fn what_is_more_than_ten_thousand_is_counted_and_the_worst_is_kept() {
    let mut severities = vec![Severity::Info; ALERTS + 5];
    severities[ALERTS + 3] = Severity::Critical;
    let report = with(&severities);
    let mut queue = Queue::default();
    queue.update(&epoch_update(report.findings(), &BTreeMap::new(), START, EPOCH), s(0));
    assert_eq!((queue.entries.len(), queue.dropped()), (ALERTS, 5));
    assert!(queue.entries.values().any(|entry| entry.alert.severity == Severity::Critical));
    // All of them were told and ended, and as many others began.
    while let Decision::Send(batch) = queue.next(s(0)) {
        queue.settle(&batch, Outcome::Accepted, s(0));
    }
    let others = with(&vec![Severity::Warning; ALERTS]);
    queue.update(&epoch_update(others.findings(), &BTreeMap::new(), START + s(30), EPOCH), s(30));
    assert_eq!(queue.entries.len(), ALERTS);
    assert_eq!(queue.pending(s(30)), ALERTS as u64);
}

#[test]
fn at_the_end_beginnings_and_ends_are_told_without_patience() {
    let mut queue = Queue::default();
    queue.update(&epoch(0, 2), s(0));
    settle(&mut queue, 0, Outcome::Failed);
    assert_eq!(waits(&queue, 0).1, Waits::BackingOff);
    let last = queue.last(s(0)).unwrap();
    assert_eq!(reasons(&last), [Due::Began; 2]);
    queue.settle(&last, Outcome::Accepted, s(0));
    queue.update(&epoch(30, 1), s(30));
    let last = queue.last(s(30)).unwrap();
    assert_eq!(reasons(&last), [Due::Ended]);
    queue.settle(&last, Outcome::Accepted, s(30));
    assert_eq!(queue.last(s(30)), None);
}

#[test]
fn status_codes_are_told_apart() {
    let of = |status| Outcome::of_status(status);
    assert_eq!([of(200), of(204)], [Outcome::Accepted; 2]);
    assert_eq!([of(400), of(401), of(404), of(301), of(100)], [Outcome::Refused; 5]);
    assert_eq!([of(500), of(503), of(429), of(408)], [Outcome::Failed; 4]);
}

/// Alertmanager as far as it matters: what is active at a time, by key.
#[derive(Default)]
struct Instance(BTreeMap<String, OffsetDateTime>);

impl Instance {
    fn take(&mut self, batch: &Batch) {
        let alerts: Vec<Value> = serde_json::from_slice(&batch.body).unwrap();
        for alert in alerts {
            let ends = alert["endsAt"].as_str().unwrap();
            let ends = OffsetDateTime::parse(ends, &time::format_description::well_known::Rfc3339).unwrap();
            self.0.insert(alert["labels"]["entity"].as_str().unwrap().into(), ends);
        }
    }

    fn active(&self, now: OffsetDateTime) -> BTreeSet<String> {
        self.0.iter().filter(|(_, ends)| **ends > now).map(|(key, _)| key.clone()).collect()
    }
}

proptest! {
    /// Whatever fails in between: once an instance has taken what there is to send, it shows what is open.
    #[test]
    fn an_instance_that_answers_shows_what_is_open(
        epochs in prop::collection::vec((prop::collection::vec(any::<bool>(), 4), 0..4_usize, any::<bool>()), 1..12),
    ) {
        let all = with(&[Severity::Warning; 4]);
        let (mut queue, mut instance) = (Queue::default(), Instance::default());
        for (n, (fires, fails, arrives)) in (0..).zip(&epochs) {
            let at = n * 61;
            let open: Vec<&Finding> = all.findings().zip(fires).filter(|(_, fires)| **fires).map(|(f, _)| f).collect();
            queue.update(&epoch_update(open.iter().copied(), &BTreeMap::new(), START + s(at), EPOCH), s(at));
            // As many attempts fail as there are; such an attempt may have arrived.
            for _ in 0..*fails {
                if let Decision::Send(batch) = queue.next(s(at)) {
                    if *arrives {
                        instance.take(&batch);
                    }
                    queue.settle(&batch, Outcome::Failed, s(at));
                }
            }
            if *fails > 0 {
                continue;
            }
            while let Decision::Send(batch) = queue.next(s(at)) {
                instance.take(&batch);
                queue.settle(&batch, Outcome::Accepted, s(at));
            }
            prop_assert_eq!(queue.pending(s(at)), 0);
            let expected: BTreeSet<String> = open.iter().map(|f| f.entity.id.to_string()).collect();
            prop_assert_eq!(instance.active(START + s(at)), expected);
        }
    }
}
