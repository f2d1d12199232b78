use super::*;
use crate::check::PolicySetting;
use crate::finding::fingerprint;
use crate::finding::script::{CHECK, Says, Sees, USERS, entity, judged, moment, origin, policy};
use proptest::prelude::*;

fn run(
    ledger: Ledger,
    says: &[Says],
    sees: Sees,
    epoch: u64,
    (for_epochs, keep): (u64, u64),
) -> (Ledger, Step) {
    let (origin, policy) = (origin("1"), policy(for_epochs, keep));
    let terms = Terms::plain(&origin);
    step(ledger, &judged(says, sees, &policy), &terms, moment(epoch))
}

type Row = (Why, Severity, u64, Option<Severity>);

/// One user through several epochs; what each says as (why, severity, epochs, successor).
fn life(policy: (u64, u64), epochs: &[(Says, Sees)]) -> Vec<Vec<Row>> {
    let mut ledger = Ledger::default();
    let mut out = Vec::new();
    for (epoch, (says, sees)) in (0..).zip(epochs) {
        let (next, step) = run(ledger, &[*says], *sees, epoch, policy);
        ledger = next;
        let row = |Said { finding, why }: &Said| (*why, finding.severity, finding.epochs, finding.successor);
        out.push(step.said.iter().map(row).collect());
    }
    out
}

fn whys(policy: (u64, u64), epochs: &[(Says, Sees)]) -> Vec<Vec<Why>> {
    life(policy, epochs).into_iter().map(|said| said.into_iter().map(|row| row.0).collect()).collect()
}

const ONCE: (u64, u64) = (1, 1);
const WARNS: (Says, Sees) = (Says::Warns, Sees::All);
const ALARMS: (Says, Sees) = (Says::Alarms, Sees::All);
const CLEAR: (Says, Sees) = (Says::Clear, Sees::All);
const UNKNOWN: (Says, Sees) = (Says::Unknown, Sees::All);

#[test]
fn a_finding_is_repeated_and_its_end_is_said_twice() {
    use Severity::Warning;
    let said = life(ONCE, &[CLEAR, WARNS, WARNS, CLEAR, CLEAR, CLEAR, WARNS]);
    assert_eq!(said[0], []);
    assert_eq!(said[1], [(Why::Began, Warning, 1, None)]);
    assert_eq!(said[2], [(Why::Repeated, Warning, 2, None)]);
    assert_eq!(said[3], [(Why::Ended, Warning, 2, None)]);
    assert_eq!(said[4], [(Why::EndedAgain, Warning, 2, None)]);
    assert_eq!(said[5], []);
    assert_eq!(said[6], [(Why::Began, Warning, 1, None)]);
}

#[test]
fn an_end_is_not_repeated_into_a_new_life() {
    assert_eq!(whys(ONCE, &[WARNS, CLEAR, WARNS])[2], [Why::Began]);
    // What only begins to be seen does not fire yet.
    assert_eq!(whys((2, 1), &[WARNS, WARNS, CLEAR, WARNS])[3], [Why::EndedAgain]);
}

#[test]
fn a_repeated_end_is_the_same_message() {
    let (ledger, _) = run(Ledger::default(), &[Says::Warns], Sees::All, 0, ONCE);
    let (ledger, end) = run(ledger, &[Says::Clear], Sees::All, 1, ONCE);
    let (_, again) = run(ledger, &[Says::Clear], Sees::All, 2, ONCE);
    assert_eq!((end.said[0].why, again.said[0].why), (Why::Ended, Why::EndedAgain));
    assert_eq!(end.said[0].finding, again.said[0].finding);
}

#[test]
fn times_and_fingerprint_belong_to_the_whole_life() {
    let (ledger, first) = run(Ledger::default(), &[Says::Warns], Sees::All, 1, ONCE);
    let (ledger, second) = run(ledger, &[Says::Warns], Sees::All, 2, ONCE);
    let (ledger, end) = run(ledger, &[Says::Clear], Sees::All, 4, ONCE);
    let [first, second, end] = [&first, &second, &end].map(|step| Arc::clone(&step.said[0].finding));
    assert_eq!((first.first_seen, first.last_seen, first.resolved_at), (moment(1).at, moment(1).at, None));
    assert_eq!((second.first_seen, second.last_seen, second.epoch), (moment(1).at, moment(2).at, 2));
    assert_eq!((end.first_seen, end.last_seen), (moment(1).at, moment(2).at));
    assert_eq!((end.resolved_at, end.epoch, end.epochs), (Some(moment(4).at), 4, 2));
    assert!(first.fingerprint == second.fingerprint && second.fingerprint == end.fingerprint);
    assert_eq!(first.fingerprint, fingerprint("test", CHECK, &entity("a")));
    assert_eq!(ledger.open().count(), 0);
}

#[test]
fn for_is_counted_in_a_row_and_from_the_first_sight() {
    let said = life((3, 1), &[WARNS, WARNS, CLEAR, WARNS, UNKNOWN, WARNS, WARNS]);
    assert!(said[..6].iter().all(Vec::is_empty), "{said:?}");
    assert_eq!(said[6], [(Why::Began, Severity::Warning, 3, None)]);
    let (ledger, step) = run(Ledger::default(), &[Says::Warns], Sees::All, 1, (2, 1));
    assert_eq!((step.pending, ledger.pending().count(), ledger.open().count()), (1, 1, 0));
    let (_, step) = run(ledger, &[Says::Warns], Sees::All, 2, (2, 1));
    assert_eq!((step.pending, step.said[0].finding.first_seen), (0, moment(1).at));
}

#[test]
fn who_looks_once_sees_what_is_seen_once() {
    let origin = origin("1");
    let judgements = judged(&[Says::Warns], Sees::All, &policy(5, 1));
    let terms = Terms { at_once: true, ..Terms::plain(&origin) };
    let (_, step) = step(Ledger::default(), &judgements, &terms, moment(0));
    assert_eq!(step.said[0].why, Why::Began);
}

#[test]
fn keep_is_counted_in_a_row_and_told() {
    let epochs = [WARNS, CLEAR, CLEAR, WARNS, CLEAR, UNKNOWN, CLEAR, CLEAR];
    let said = whys((1, 3), &epochs).concat();
    use Why::*;
    assert_eq!(said, [Began, Kept, Kept, Repeated, Kept, Held, Kept, Ended]);
    let (ledger, _) = run(Ledger::default(), &[Says::Warns], Sees::All, 0, (1, 3));
    let (_, kept) = run(ledger, &[Says::Clear], Sees::All, 1, (1, 3));
    let kept = &kept.said[0].finding;
    assert_eq!((kept.status, kept.clear_epochs, kept.epochs, kept.epoch), (Status::Firing, 1, 1, 1));
    assert_eq!(kept.last_seen, moment(0).at);
}

#[test]
fn unknown_holds_and_says_so() {
    let (ledger, _) = run(Ledger::default(), &[Says::Warns], Sees::All, 0, ONCE);
    for (says, sees) in [(Says::Unknown, Sees::All), (Says::Clear, Sees::Half), (Says::Clear, Sees::Nothing)]
    {
        let (after, step) = run(ledger.clone(), &[says], sees, 1, ONCE);
        assert_eq!(after.open().count(), 1);
        let held = &step.held[0];
        assert_eq!((&*held.row.check, &*held.row.entity), (CHECK, "a"));
        assert_eq!(held.fingerprint, after.open().next().unwrap().fingerprint);
        assert!(!held.row.reason.is_empty());
        let [Said { finding, why: Why::Held }] = &step.said[..] else { panic!("{:?}", step.said) };
        assert_eq!(finding.held.as_ref(), Some(&held.row.reason));
        assert_eq!((finding.status, finding.epoch, finding.epochs), (Status::Firing, 1, 1));
        assert_eq!(finding.last_seen, moment(0).at);
        // Judged again, it is held no longer.
        let (_, step) = run(after, &[Says::Warns], Sees::All, 2, ONCE);
        assert_eq!((step.said[0].finding.held.as_ref(), step.said[0].finding.epochs), (None, 2));
    }
}

#[test]
fn what_is_seen_to_be_over_resolves_although_its_limit_is_not_seen() {
    assert_eq!(whys(ONCE, &[WARNS, (Says::UnknownButOver, Sees::All)])[1], [Why::Ended]);
    assert_eq!(whys(ONCE, &[WARNS, (Says::UnknownButOver, Sees::Half)])[1], [Why::Held]);
}

#[test]
fn a_changed_severity_ends_the_old_subject_before_the_new_one_begins() {
    use Severity::*;
    let said = life(ONCE, &[WARNS, ALARMS, ALARMS, WARNS, CLEAR, CLEAR]);
    assert_eq!(said[1], [(Why::Succeeded, Warning, 1, Some(Critical)), (Why::Changed, Critical, 2, None)]);
    assert_eq!(said[2], [(Why::EndedAgain, Warning, 1, Some(Critical)), (Why::Repeated, Critical, 3, None)]);
    assert_eq!(said[3], [(Why::Succeeded, Critical, 3, Some(Warning)), (Why::Changed, Warning, 4, None)]);
    assert_eq!(said[4], [(Why::EndedAgain, Critical, 3, Some(Warning)), (Why::Ended, Warning, 4, None)]);
    assert_eq!(said[5], [(Why::EndedAgain, Warning, 4, None)]);
    // The end of the severity to which it returned is not repeated.
    let said = whys(ONCE, &[WARNS, ALARMS, WARNS]);
    assert_eq!(said[2], [Why::Succeeded, Why::Changed]);
}

#[test]
fn a_severity_falls_only_after_as_many_epochs_as_an_end_takes() {
    use Severity::*;
    let said = life((1, 2), &[ALARMS, WARNS, ALARMS, WARNS, WARNS]);
    let severities: Vec<_> = said.iter().map(|said| said.last().unwrap().1).collect();
    assert_eq!(severities, [Critical, Critical, Critical, Critical, Warning]);
}

#[test]
fn the_findings_of_a_disabled_check_end_at_once() {
    let said = whys((1, 5), &[WARNS, (Says::Warns, Sees::Disabled), (Says::Clear, Sees::Disabled)]);
    assert_eq!(said[1..], [vec![Why::Ended], vec![Why::EndedAgain]]);
}

#[test]
fn an_entity_that_is_not_judged_any_more_ends_at_once() {
    let (ledger, _) = run(Ledger::default(), &[Says::Warns], Sees::All, 0, (1, 5));
    let (origin, kept) = (origin("1"), policy(1, 5));
    let off = PolicySetting { enabled: Some(false), ..kept };
    let terms = Terms::plain(&origin);
    let (_, step) = step(ledger, &judged(&[Says::Warns], Sees::All, &off), &terms, moment(1));
    assert_eq!(step.said[0].why, Why::Ended);
}

#[test]
fn a_short_sight_after_an_end_is_not_forgotten_as_a_turn() {
    let epochs = [WARNS, WARNS, CLEAR, WARNS, CLEAR, WARNS, WARNS];
    let mut ledger = Ledger::default();
    for (epoch, (says, sees)) in (0..).zip(epochs) {
        ledger = run(ledger, &[says], sees, epoch, (2, 1)).0;
    }
    assert_eq!(ledger.open().next().unwrap().flaps, 1);
}

#[test]
fn flapping_is_counted_and_damped_and_forgotten_after_an_hour() {
    let mut ledger = Ledger::default();
    let mut flaps = Vec::new();
    let mut says = Says::Warns;
    for epoch in 0..9 {
        let (next, step) = run(ledger, &[says], Sees::All, epoch, ONCE);
        ledger = next;
        flaps.extend(step.said.iter().filter(|said| said.why == Why::Began).map(|said| said.finding.flaps));
        says = if says == Says::Warns { Says::Clear } else { Says::Warns };
    }
    // From the third beginning on, one epoch of calm is not enough.
    assert_eq!(flaps, [0, 1, 2, 3]);
    assert_eq!(ledger.open().next().unwrap().flaps, 3);
    let hour = 120;
    let (ledger, _) = run(ledger, &[Says::Warns], Sees::All, 9 + hour, ONCE);
    let (ledger, step) = run(ledger, &[Says::Clear], Sees::All, 10 + hour, ONCE);
    assert_eq!((step.said[0].why, step.said[0].finding.flaps), (Why::Ended, 0));
    let (ledger, _) = run(ledger, &[Says::Clear], Sees::All, 11 + hour, ONCE);
    let (ledger, _) = run(ledger, &[Says::Clear], Sees::All, 12 + 2 * hour, ONCE);
    assert!(ledger.lives.is_empty());
}

fn any_says() -> impl Strategy<Value = [Says; 3]> {
    let one = || {
        prop::sample::select(vec![
            Says::Warns,
            Says::Alarms,
            Says::Clear,
            Says::Unknown,
            Says::UnknownButOver,
        ])
    };
    [one(), one(), one()]
}

fn any_sees() -> impl Strategy<Value = Sees> {
    prop::sample::select(vec![Sees::All, Sees::All, Sees::All, Sees::Half, Sees::Nothing, Sees::Disabled])
}

/// What is known of one user in the reference: since when, how often, how bad.
type Known = Option<(OffsetDateTime, u64, Severity)>;
type Publication = (String, Status, Severity, u64, OffsetDateTime, Option<Severity>);

/// The rules of a finding's life that is neither delayed nor kept, told once more, one user at a time, without
/// fingerprints, and without what is repeated.
fn reference(
    user: &str,
    known: Known,
    says: Says,
    sees: Sees,
    now: Moment,
    publish: &mut Vec<Publication>,
) -> Known {
    let ends = |(since, epochs, severity): (OffsetDateTime, u64, Severity), successor| {
        (user.to_owned(), Status::Resolved, severity, epochs, since, successor)
    };
    let severity = match (sees, says) {
        (Sees::All | Sees::Half, Says::Warns) => Some(Severity::Warning),
        (Sees::All | Sees::Half, Says::Alarms) => Some(Severity::Critical),
        _ => None,
    };
    if let Some(severity) = severity {
        let (since, epochs) = known.map_or((now.at, 1), |(since, epochs, _)| (since, epochs + 1));
        publish.extend(known.filter(|known| known.2 != severity).map(|known| ends(known, Some(severity))));
        publish.push((user.to_owned(), Status::Firing, severity, epochs, since, None));
        return Some((since, epochs, severity));
    }
    let proven = match sees {
        Sees::Disabled => true,
        Sees::All => says != Says::Unknown,
        Sees::Half | Sees::Nothing => false,
    };
    if !proven {
        return known;
    }
    publish.extend(known.map(|known| ends(known, None)));
    None
}

proptest! {
    #[test]
    fn any_sequence_of_epochs_lives_as_the_reference_does(
        epochs in prop::collection::vec((any_says(), any_sees()), 1..12),
    ) {
        let mut ledger = Ledger::default();
        let mut known: [Known; 3] = [None; 3];
        for (epoch, (says, sees)) in (0..).zip(&epochs) {
            // An hour apart, so that nothing flaps.
            let epoch = epoch * 120;
            let (next, step) = run(ledger, says, *sees, epoch, ONCE);
            ledger = next;
            let mut expected = Vec::new();
            for ((user, known), says) in USERS.iter().zip(&mut known).zip(says) {
                *known = reference(user, *known, *says, *sees, moment(epoch), &mut expected);
            }
            let new = |said: &&Said| !matches!(said.why, Why::EndedAgain | Why::Held);
            let publication = |Said { finding: f, .. }: &Said| {
                (f.entity.id.to_string(), f.status, f.severity, f.epochs, f.first_seen, f.successor)
            };
            let mut published: Vec<Publication> = step.said.iter().filter(new).map(publication).collect();
            let order = |row: &Publication| (row.0.clone(), row.1 == Status::Firing);
            published.sort_by_key(order);
            expected.sort_by_key(order);
            prop_assert_eq!(published, expected);
            prop_assert_eq!(ledger.open().count(), known.iter().flatten().count());
        }
    }

    #[test]
    fn whatever_is_judged_the_messages_tell_one_life_after_the_other(
        epochs in prop::collection::vec((any_says(), any_sees()), 1..40),
        for_epochs in 1u64..4,
        keep in 1u64..4,
    ) {
        let mut ledger = Ledger::default();
        // By user: the severity under which it fires, and when it was first seen.
        let mut open: BTreeMap<String, (Severity, OffsetDateTime)> = BTreeMap::new();
        let mut to_repeat: Vec<Arc<Finding>> = Vec::new();
        let (mut seen, mut calm) = ([0; 3], [0; 3]);
        for (epoch, (says, sees)) in (0..).zip(&epochs) {
            let (next, step) = run(ledger, says, *sees, epoch, (for_epochs, keep));
            ledger = next;
            for user in 0..3 {
                let fires = matches!(says[user], Says::Warns | Says::Alarms)
                    && matches!(sees, Sees::All | Sees::Half);
                let judged = fires || *sees == Sees::Disabled || (*sees == Sees::All && says[user] != Says::Unknown);
                if judged {
                    seen[user] = if fires { seen[user] + 1 } else { 0 };
                    calm[user] = if fires { 0 } else { calm[user] + 1 };
                }
            }
            let mut ends = Vec::new();
            let mut fired = 0;
            for Said { finding, why } in &step.said {
                let user = finding.entity.id.to_string();
                let index = USERS.iter().position(|name| *name == user).unwrap();
                prop_assert_eq!(&finding.fingerprint, &fingerprint("test", CHECK, &entity(&user)));
                let now = (finding.severity, finding.first_seen);
                match why {
                    Why::Began => {
                        prop_assert!(seen[index] >= for_epochs);
                        prop_assert_eq!(open.insert(user, now), None);
                    }
                    Why::Changed => prop_assert_eq!(open.insert(user, now), None),
                    Why::Repeated | Why::Kept | Why::Held => prop_assert_eq!(open.get(&user), Some(&now)),
                    Why::Succeeded => {
                        prop_assert_eq!(open.remove(&user), Some(now));
                        ends.push(Arc::clone(finding));
                    }
                    Why::Ended => {
                        prop_assert!(calm[index] >= keep || *sees == Sees::Disabled);
                        prop_assert_eq!(open.remove(&user), Some(now));
                        ends.push(Arc::clone(finding));
                    }
                    Why::EndedAgain => {
                        let at = to_repeat.iter().position(|end| end == finding);
                        prop_assert!(at.is_some());
                        to_repeat.swap_remove(at.unwrap());
                    }
                }
                fired += usize::from(finding.status == Status::Firing);
                prop_assert_eq!(finding.held.is_some(), *why == Why::Held);
                prop_assert_eq!(finding.clear_epochs > 0, *why == Why::Kept || (*why == Why::Held && calm[index] > 0));
            }
            // Every open finding is said once, and every end twice unless it fires again under the same severity.
            prop_assert_eq!(fired, open.len());
            prop_assert_eq!(ledger.open().count(), open.len());
            for left in to_repeat {
                let severity = open.get(&*left.entity.id).map(|now| now.0);
                prop_assert_eq!(severity, Some(left.severity));
            }
            to_repeat = ends;
            for (index, user) in USERS.iter().enumerate() {
                prop_assert!(!open.contains_key(*user) || calm[index] < 16);
                prop_assert!(open.contains_key(*user) || seen[index] < for_epochs || *sees == Sees::Disabled);
            }
        }
    }
}
