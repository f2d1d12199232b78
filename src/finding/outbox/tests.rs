use super::*;
use crate::finding::script::{Says, any_says, summary, told};
use crate::finding::{Status, message_id};
use proptest::prelude::*;

const QUIET: [Says; 3] = [Says::Clear; 3];
const ALL: [Says; 3] = [Says::Warns; 3];

fn take_in(outbox: &mut Outbox, epoch: usize, said: &[Said], reachable: bool) {
    outbox.take_in(said, &summary(epoch as u64), "SYS", reachable);
}

/// Sends everything without a failure, and gives it as `epoch status` or `epoch summary`.
fn drain(outbox: &mut Outbox) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(letter) = outbox.next(u64::MAX) {
        out.push(match &letter.content {
            Content::Finding(finding) => format!("{} {}", letter.epoch, finding.status.as_str()),
            Content::Summary(_) => format!("{} summary", letter.epoch),
        });
        outbox.arrived(letter.number);
    }
    assert!(outbox.is_empty());
    out
}

#[test]
fn an_epoch_goes_out_in_its_order_with_its_summary_last() {
    let epochs = told(&[[Says::Warns, Says::Clear, Says::Clear], QUIET, QUIET]);
    let mut outbox = Outbox::new(10);
    for (epoch, said) in epochs.iter().enumerate() {
        take_in(&mut outbox, epoch, said, true);
    }
    // Summaries of epochs that are over are not sent, nor is the second telling of the end.
    assert_eq!(epochs[2].len(), 1);
    assert_eq!(drain(&mut outbox), ["0 firing", "1 resolved", "2 summary"]);
}

#[test]
fn only_transitions_are_kept_for_a_sink_that_is_away_and_the_oldest_go_first() {
    let epochs = told(&[ALL, ALL, QUIET, QUIET]);
    let mut outbox = Outbox::new(4);
    for (epoch, said) in epochs.iter().enumerate() {
        take_in(&mut outbox, epoch, said, false);
    }
    assert_eq!((outbox.transitions(), outbox.len(), outbox.dropped()), (4, 4, 2));
    assert_eq!(drain(&mut outbox), ["0 firing", "2 resolved", "2 resolved", "2 resolved"]);
}

#[test]
fn an_epoch_of_more_than_the_bound_is_not_cut_while_the_sink_takes_it() {
    let mut outbox = Outbox::new(1);
    take_in(&mut outbox, 0, &told(&[ALL])[0], true);
    assert_eq!((outbox.transitions(), outbox.dropped()), (3, 0));
    outbox.close();
    assert_eq!((outbox.transitions(), outbox.len(), outbox.dropped()), (1, 1, 2));
}

#[test]
fn behind_a_failure_nothing_new_is_sent_until_the_rest_has_come_to_an_end() {
    let mut outbox = Outbox::new(10);
    take_in(&mut outbox, 0, &told(&[ALL])[0], true);
    let first = outbox.next(u64::MAX).unwrap();
    let second = outbox.next(u64::MAX).unwrap();
    outbox.failed(first.number, Failed::Unsure);
    assert!(outbox.next(u64::MAX).is_none());
    outbox.arrived(second.number);
    let again = outbox.next(u64::MAX).unwrap();
    assert_eq!((again.number, again.unsure), (first.number, true));
    assert!(!outbox.next(u64::MAX).unwrap().unsure);
    assert!(outbox.next(u64::MAX).is_none(), "the summary goes alone");
}

#[test]
fn a_change_of_severity_is_two_messages_one_after_the_other() {
    let epochs = told(&[ALL, [Says::Alarms, Says::Clear, Says::Clear]]);
    let mut outbox = Outbox::new(10);
    take_in(&mut outbox, 1, &epochs[1], true);
    let mut under_way = Vec::new();
    while let Some(letter) = outbox.next(u64::MAX) {
        under_way.push(letter);
    }
    let Content::Finding(finding) = &under_way[0].content else { panic!("{under_way:?}") };
    assert_eq!((finding.status, finding.successor.is_some(), under_way.len()), (Status::Resolved, true, 1));
}

#[test]
fn what_comes_later_waits_when_only_the_earlier_is_wanted() {
    let epochs = told(&[ALL, ALL]);
    let mut outbox = Outbox::new(10);
    take_in(&mut outbox, 0, &epochs[0], true);
    let end = outbox.end();
    take_in(&mut outbox, 1, &epochs[1], true);
    let mut earlier = 0;
    while let Some(letter) = outbox.next(end) {
        outbox.arrived(letter.number);
        earlier += 1;
    }
    assert_eq!((earlier, outbox.len()), (3, 4));
}

/// What a sink does between two epochs.
#[derive(Debug, Clone, Copy)]
enum Does {
    Next,
    Arrives(usize),
    Fails(usize, Failed),
    Goes,
}

fn does() -> impl Strategy<Value = Does> {
    let failed = prop_oneof![Just(Failed::NotArrived), Just(Failed::Unsure)];
    prop_oneof![
        4 => Just(Does::Next),
        3 => (0..8_usize).prop_map(Does::Arrives),
        1 => (0..8_usize, failed).prop_map(|(which, how)| Does::Fails(which, how)),
        1 => Just(Does::Goes),
    ]
}

proptest! {
    /// However the sink behaves: transitions arrive once and in the order of epochs, and of a finding in order; or they are
    /// counted as dropped; what is kept is bounded.
    #[test]
    fn transitions_arrive_once_and_in_order_or_are_counted(
        says in prop::collection::vec(any_says(), 3..60),
        between in prop::collection::vec((any::<bool>(), prop::collection::vec(does(), 0..12)), 20),
        bound in 1..6_usize,
    ) {
        let says: Vec<[Says; 3]> = says.chunks_exact(3).map(|users| [users[0], users[1], users[2]]).collect();
        let mut outbox = Outbox::new(bound);
        let mut under_way: Vec<Letter> = Vec::new();
        let mut arrived: Vec<Letter> = Vec::new();
        let mut told_transitions = 0;
        for (epoch, (said, (reachable, between))) in told(&says).iter().zip(&between).enumerate() {
            take_in(&mut outbox, epoch, said, *reachable);
            let transitions = said.iter().filter(|said| said.why.is_transition()).count();
            told_transitions += transitions;
            let of_epoch = if *reachable { transitions } else { 0 };
            prop_assert!(outbox.transitions() <= bound + of_epoch + under_way.len());
            for does in between {
                match does {
                    Does::Next => under_way.extend(outbox.next(u64::MAX)),
                    Does::Arrives(which) if *which < under_way.len() => {
                        let letter = under_way.remove(*which);
                        outbox.arrived(letter.number);
                        arrived.push(letter);
                    }
                    Does::Fails(which, how) if *which < under_way.len() => {
                        outbox.failed(under_way.remove(*which).number, *how);
                    }
                    Does::Goes => outbox.close(),
                    _ => {}
                }
                let epochs: BTreeSet<u64> = under_way.iter().map(|letter| letter.epoch).collect();
                prop_assert!(epochs.len() <= 1, "{:?}", under_way);
                let findings: Vec<_> = under_way.iter().filter_map(finding).collect();
                let distinct: BTreeSet<_> = findings.iter().map(|finding| &finding.fingerprint).collect();
                prop_assert_eq!(findings.len(), distinct.len());
                prop_assert!(findings.len() == under_way.len() || under_way.len() == 1);
            }
        }
        for letter in under_way.drain(..) {
            outbox.arrived(letter.number);
            arrived.push(letter);
        }
        while let Some(letter) = outbox.next(u64::MAX) {
            outbox.arrived(letter.number);
            arrived.push(letter);
        }
        prop_assert!(outbox.is_empty());
        prop_assert!(arrived.is_sorted_by_key(|letter| letter.epoch));
        let mut last: std::collections::BTreeMap<Fingerprint, u64> = std::collections::BTreeMap::new();
        let mut ids = BTreeSet::new();
        for letter in &arrived {
            prop_assert!(ids.insert(letter.number), "twice: {:?}", letter);
            if let Some(finding) = finding(letter) {
                let before = last.insert(finding.fingerprint.clone(), letter.number);
                prop_assert!(before < Some(letter.number));
            }
        }
        let id = |finding: &Finding| message_id(&finding.fingerprint, finding.epoch, finding.status);
        let said = told(&says);
        let said = said.iter().take(between.len()).flatten();
        let transitions: BTreeSet<String> =
            said.filter(|said| said.why.is_transition()).map(|said| id(&said.finding)).collect();
        prop_assert_eq!(transitions.len(), told_transitions);
        let of_transitions = arrived.iter().filter_map(finding).filter(|finding| transitions.contains(&id(finding)));
        prop_assert_eq!(of_transitions.count() as u64 + outbox.dropped(), told_transitions as u64);
    }
}

fn finding(letter: &Letter) -> Option<&Arc<Finding>> {
    match &letter.content {
        Content::Finding(finding) => Some(finding),
        Content::Summary(_) => None,
    }
}
