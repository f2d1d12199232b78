use super::*;
use crate::watch::samples::{at, epoch, firing, resolved};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn state(filter: Filter) -> State {
    State::new(filter, MINUTE, at(0))
}

fn hear(state: &mut State, row: Row, now: i64) -> Vec<What> {
    whats(state.hear(Message::Finding(Box::new(row)), at(now)))
}

fn whats(changes: Vec<Change>) -> Vec<What> {
    let finding = |change| match change {
        Change::Finding(what, _) => Some(what),
        Change::Silent(_) | Change::Heard => None,
    };
    changes.into_iter().filter_map(finding).collect()
}

use Severity::{Critical, Warning};

#[test]
fn a_finding_begins_goes_on_changes_and_ends_and_nothing_is_told_twice() {
    let mut state = state(Filter::default());
    state.settle();
    assert_eq!(hear(&mut state, firing("a", Warning, 60), 60), [What::Began]);
    assert_eq!(hear(&mut state, firing("a", Warning, 120), 120), []);
    assert_eq!(hear(&mut state, resolved("a", Warning, 180, Some(Critical)), 180), []);
    assert_eq!(hear(&mut state, firing("a", Critical, 180), 180), [What::Changed { from: Warning }]);
    // The end under the old severity once more, and the new one again.
    assert_eq!(hear(&mut state, resolved("a", Warning, 180, Some(Critical)), 240), []);
    assert_eq!(hear(&mut state, firing("a", Critical, 240), 240), []);
    assert_eq!(hear(&mut state, resolved("a", Critical, 300, None), 300), [What::Ended]);
    assert_eq!(hear(&mut state, resolved("a", Critical, 300, None), 360), []);
    assert_eq!(hear(&mut state, firing("a", Warning, 420), 420), [What::Began]);
}

#[test]
fn what_is_open_at_first_has_not_begun_now() {
    let mut state = state(Filter::default());
    assert!(matches!(state.open(firing("a", Warning, 60)), Some(Change::Finding(What::Open, _))));
    assert_eq!(hear(&mut state, firing("b", Warning, 60), 61), [What::Open]);
    assert_eq!(hear(&mut state, firing("a", Warning, 60), 61), []);
    // After a summary everything that was open has been heard.
    state.hear(epoch(60), at(62));
    assert_eq!(hear(&mut state, firing("c", Warning, 120), 120), [What::Began]);
    // What ended before anybody looked is nothing new.
    assert_eq!(hear(&mut state, resolved("d", Warning, 120, None), 120), []);
}

#[test]
fn a_severity_that_is_not_watched_ends_and_begins_the_watching() {
    let filter = Filter { severity: Some(Critical), ..Filter::default() };
    let mut state = state(filter);
    state.settle();
    assert_eq!(hear(&mut state, firing("a", Warning, 60), 60), []);
    assert_eq!(hear(&mut state, resolved("a", Warning, 120, Some(Critical)), 120), []);
    assert_eq!(hear(&mut state, firing("a", Critical, 120), 120), [What::Began]);
    assert_eq!(hear(&mut state, resolved("a", Critical, 180, Some(Warning)), 180), [What::Ended]);
    assert_eq!(hear(&mut state, firing("a", Warning, 180), 180), []);
}

#[test]
fn what_is_not_repeated_becomes_stale_and_is_not_dropped() {
    let mut state = state(Filter::default());
    state.settle();
    hear(&mut state, firing("a", Warning, 60), 60);
    hear(&mut state, firing("b", Warning, 60), 60);
    state.hear(epoch(60), at(60));
    hear(&mut state, firing("b", Warning, 120), 120);
    // One message may be lost.
    assert_eq!(whats(state.hear(epoch(120), at(120))), []);
    hear(&mut state, firing("b", Warning, 180), 180);
    assert_eq!(whats(state.hear(epoch(180), at(180))), [What::Stale]);
    assert_eq!(state.entries.len(), 2);
    assert_eq!(hear(&mut state, firing("a", Warning, 240), 240), [What::Back]);
}

#[test]
fn the_silence_of_all_agents_is_told_once_and_so_is_its_end() {
    let mut state = state(Filter::default());
    state.hear(epoch(60), at(60));
    state.hear(epoch(90), at(90));
    hear(&mut state, firing("a", Warning, 90), 91);
    assert_eq!(state.pulse().interval(), Duration::from_secs(30));
    assert!(state.tick(at(150)).is_empty());
    let told = state.tick(at(152));
    assert!(matches!(&told[..], [Change::Silent(2), Change::Finding(What::Stale, _)]), "{told:?}");
    assert!(state.tick(at(400)).is_empty());
    assert_eq!(state.hear(epoch(480), at(480)), [Change::Heard]);
}

#[test]
fn an_account_that_hears_no_summaries_and_has_no_findings_is_not_missing_anything() {
    let mut state = state(Filter::default());
    assert!(state.tick(at(10_000)).is_empty());
    hear(&mut state, firing("a", Warning, 10_020), 10_020);
    assert_eq!(state.tick(at(10_200)).len(), 2);
}

#[test]
fn what_is_kept_is_bounded_and_ended_ones_are_forgotten() {
    let mut state = state(Filter::default());
    for n in 0..ROWS + 5 {
        hear(&mut state, firing(&n.to_string(), Warning, 60), 60);
    }
    assert_eq!((state.entries.len(), state.left_out), (ROWS, 5));
    hear(&mut state, resolved("7", Warning, 120, None), 120);
    state.tick(at(120 + 599));
    assert_eq!(state.entries.len(), ROWS);
    state.tick(at(120 + 600));
    assert_eq!(state.entries.len(), ROWS - 1);
}

fn any_message() -> impl Strategy<Value = Message> {
    let severity = || prop::sample::select(vec![Severity::Info, Warning, Critical]);
    let user = || prop::sample::select(vec!["a", "b"]);
    let told = |n: u64| n * 60;
    prop_oneof![
        (user(), severity(), 1..6_u64).prop_map(move |(user, severity, n)| {
            Message::Finding(Box::new(firing(user, severity, told(n))))
        }),
        (user(), severity(), 1..6_u64, prop::option::of(severity())).prop_map(
            move |(user, severity, n, next)| {
                Message::Finding(Box::new(resolved(user, severity, told(n), next)))
            }
        ),
        (1..6_u64).prop_map(move |n| epoch(told(n))),
    ]
}

proptest! {
    #[test]
    fn any_order_of_messages_gives_the_state_of_the_last_by_epoch(
        messages in prop::collection::vec(any_message(), 0..20), seed in any::<u64>(),
    ) {
        let rows = |messages: &[Message]| {
            let mut state = state(Filter::default());
            for message in messages {
                state.hear(message.clone(), at(600));
            }
            let kept: Vec<Row> = state.entries.values().map(|entry| entry.row.clone()).collect();
            (kept, state.pulse.latest().cloned())
        };
        let in_order = rows(&messages);
        let mut shuffled = messages.clone();
        // Any permutation, from the seed.
        let mut random = seed;
        for i in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (random >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(&rows(&shuffled), &in_order);
        // And that of each finding is of its last epoch.
        for row in &in_order.0 {
            let of_it = messages.iter().filter_map(|message| match message {
                Message::Finding(other) if other.fingerprint == row.fingerprint => Some(other.epoch),
                _ => None,
            });
            prop_assert_eq!(of_it.max(), Some(row.epoch));
        }
    }
}
