//! What silences and maintenance make of a finding's life.

use super::*;
use crate::check::{Disturbed, Match};
use crate::finding::script::{CHECK, Says, Sees, USERS, judged, moment, origin, policy};
use crate::finding::{Matcher, Silence, Silenced};
use crate::snapshot::{Departure, Leaving};
use proptest::prelude::*;
use std::time::Duration;

/// The user is silenced before this epoch.
fn until(user: &str, epoch: u64) -> Silence {
    let whose = Match { user: Some(user.into()), ..Match::default() };
    let matcher = Matcher { check: Some("USER_*".into()), whose, ..Matcher::default() };
    Silence { matcher, silenced: Silenced { reason: "known".into(), until: moment(epoch).at } }
}

fn run(ledger: Ledger, says: &[Says], silences: &Silences, epoch: u64, keep: u64) -> (Ledger, Step) {
    let origin = origin("1");
    let terms = Terms { silences, ..Terms::plain(&origin) };
    step(ledger, &judged(says, Sees::All, &policy(1, keep)), &terms, moment(epoch))
}

/// One user through several epochs, each with its silences: why, severity, epochs, and whether it carries a silence.
fn life(keep: u64, epochs: &[(Says, &[Silence])]) -> Vec<Vec<(Why, Severity, u64, bool)>> {
    let mut ledger = Ledger::default();
    let mut out = Vec::new();
    for (epoch, (says, silences)) in (0..).zip(epochs) {
        let (next, step) = run(ledger, &[*says], &Silences(silences.to_vec()), epoch, keep);
        ledger = next;
        let row = |Said { finding: f, why }: &Said| (*why, f.severity, f.epochs, f.silenced.is_some());
        out.push(step.said.iter().map(row).collect());
        for said in &step.said {
            let carries = said.finding.silenced.is_some();
            assert!(!carries || said.finding.status == Status::Resolved, "{said:?}");
        }
    }
    out
}

use Says::{Alarms, Clear, Unknown, Warns};
use Severity::{Critical, Warning};

#[test]
fn what_is_silenced_while_it_fires_ends_and_goes_on_after_the_silence() {
    let ten = [until("a", 10)];
    let hushed: &[Silence] = &ten;
    let said = life(1, &[(Warns, &[]), (Warns, hushed), (Warns, hushed), (Warns, hushed), (Warns, &[])]);
    assert_eq!(said[0], [(Why::Began, Warning, 1, false)]);
    assert_eq!(said[1], [(Why::Ended, Warning, 1, true)]);
    assert_eq!(said[2], [(Why::EndedAgain, Warning, 1, true)]);
    assert_eq!(said[3], []);
    assert_eq!(said[4], [(Why::Began, Warning, 5, false)]);
    // Its own end comes when it is due; with the silence over in the next epoch already, nothing is repeated.
    let said = life(1, &[(Warns, &[]), (Warns, hushed), (Warns, &[]), (Clear, &[])]);
    assert_eq!(said[2], [(Why::Began, Warning, 3, false)]);
    assert_eq!(said[3], [(Why::Ended, Warning, 3, false)]);
}

#[test]
fn what_begins_and_ends_in_a_silence_is_never_told() {
    let ten = [until("a", 10)];
    let hushed: &[Silence] = &ten;
    let epochs = [Warns, Alarms, Unknown, Warns, Clear, Clear, Clear].map(|says| (says, hushed));
    assert!(life(2, &epochs).iter().all(Vec::is_empty));
    let (ledger, step) = run(Ledger::default(), &[Warns, Warns], &Silences(vec![until("a", 10)]), 0, 1);
    assert_eq!((step.said.len(), step.silenced.len(), ledger.open().count()), (1, 1, 1));
    let row = &step.silenced[0];
    assert_eq!((&*row.check, &*row.entity, row.reason.as_str()), (CHECK, "a", "known"));
    assert_eq!(row.until, moment(10).at);
    assert!(step.held.is_empty());
}

#[test]
fn a_silence_of_one_severity_lets_the_others_through() {
    let mut warnings = until("a", 10);
    warnings.matcher.severity = Some("warning".into());
    let one = [warnings];
    let hushed: &[Silence] = &one;
    let said = life(1, &[(Warns, hushed), (Alarms, hushed), (Warns, hushed), (Warns, hushed)]);
    assert_eq!(said[0], []);
    assert_eq!(said[1], [(Why::Began, Critical, 2, false)]);
    // It falls back to what is silenced: the old subject ends, and nothing succeeds it.
    assert_eq!(said[2], [(Why::Ended, Critical, 2, true)]);
    assert_eq!(said[3], [(Why::EndedAgain, Critical, 2, true)]);
}

#[test]
fn first_seen_outlives_the_silence_and_the_agent() {
    let silences = Silences(vec![until("a", 3)]);
    let (ledger, _) = run(Ledger::default(), &[Warns], &Silences::default(), 0, 1);
    let (ledger, hushed) = run(ledger, &[Warns], &silences, 1, 1);
    let told = (*hushed.said[0].finding).clone();
    assert_eq!(
        (told.status, told.silenced.as_ref().map(|one| one.until)),
        (Status::Resolved, Some(moment(3).at))
    );
    let mut adopted = Ledger::default();
    adopted.adopt(told, moment(1).at);
    for ledger in [ledger, adopted] {
        assert_eq!((ledger.open().count(), ledger.living().count()), (0, 1));
        let mut standby = ledger.clone();
        standby.only_of_epoch(2);
        let (ledger, step) = run(standby, &[Warns], &silences, 2, 1);
        assert!(step.said.iter().all(|said| said.why == Why::EndedAgain), "{:?}", step.said);
        let (_, step) = run(ledger.clone(), &[Warns], &silences, 3, 1);
        let [Said { finding, why: Why::Began }] = &step.said[..] else { panic!("{:?}", step.said) };
        assert_eq!((finding.first_seen, finding.status), (moment(0).at, Status::Firing));
        // Or it ends without a word.
        let (ledger, step) = run(ledger, &[Clear], &silences, 3, 1);
        assert!(step.said.is_empty() && step.silenced.is_empty() && ledger.open().count() == 0);
    }
}

#[test]
fn standbys_forget_what_is_silenced_when_the_silence_is_over() {
    let (ledger, _) = run(Ledger::default(), &[Warns], &Silences(vec![until("a", 3)]), 0, 1);
    for (epoch, stays) in [(moment(3), true), (moment(4), false)] {
        let mut ledger = ledger.clone();
        ledger.only_of_epoch(u64::try_from(epoch.at.unix_timestamp()).unwrap());
        assert_eq!(ledger.lives.len(), usize::from(stays));
    }
}

proptest! {
    /// A subscriber that keeps what it is told sees exactly what fires and is not silenced.
    #[test]
    fn what_is_told_is_what_fires_and_is_not_silenced(
        epochs in prop::collection::vec(([any_says(), any_says(), any_says()], any::<[bool; 3]>()), 1..12),
    ) {
        let mut ledger = Ledger::default();
        let mut told: BTreeMap<(String, Severity), u64> = BTreeMap::new();
        for (epoch, (says, hushed)) in (0..).zip(&epochs) {
            let each = USERS.iter().zip(hushed).filter(|(_, hushed)| **hushed);
            let silences = Silences(each.map(|(user, _)| until(user, 1000)).collect());
            let (next, step) = run(ledger, says, &silences, epoch, 1);
            ledger = next;
            for Said { finding, .. } in &step.said {
                let key = (finding.entity.id.to_string(), finding.severity);
                match finding.status {
                    Status::Firing => drop(told.insert(key, epoch)),
                    Status::Resolved => drop(told.remove(&key)),
                }
            }
            prop_assert!(told.values().all(|at| *at == epoch), "what fires is told in every epoch: {told:?}");
            for ((user, says), hushed) in USERS.iter().zip(says).zip(hushed) {
                let firing = told.keys().filter(|(id, _)| id == user).count();
                let expected = matches!(says, Warns | Alarms) && !hushed;
                // Flapping keeps what is over for longer, and what is unknown stays as it was.
                prop_assert!(firing <= 1 && !(*hushed && firing > 0) && (!expected || firing == 1), "{user} {told:?}");
            }
            let silent = step.silenced.len();
            prop_assert_eq!(ledger.open().count(), told.len());
            prop_assert!(silent <= hushed.iter().filter(|hushed| **hushed).count());
        }
    }
}

fn any_says() -> impl Strategy<Value = Says> {
    prop::sample::select(vec![Warns, Alarms, Clear, Unknown])
}

/// Two epochs of grace after epoch 1.
fn maintenance(now: u64) -> Maintenance {
    let departure = Departure {
        server: "n1".into(),
        cluster: None,
        how: Leaving::LameDuck,
        at: moment(1).at,
        back_at: None,
    };
    Maintenance::of(&[departure], Duration::from_secs(60), moment(now).at)
}

fn disturbed(says: &[(Says, Disturbed)]) -> Vec<(Vec<Why>, u64, Vec<u64>)> {
    let (origin, mut ledger) = (origin("1"), Ledger::default());
    let mut out = Vec::new();
    for (epoch, (says, disturbed)) in (0..).zip(says) {
        let maintenance = if epoch == 0 { Maintenance::none() } else { maintenance(epoch) };
        let terms = Terms { maintenance: &maintenance, ..Terms::plain(&origin) };
        let mut judgements = judged(&[*says], Sees::All, &policy(1, 1));
        judgements[0].disturbed = *disturbed;
        let (next, step) = step(ledger, &judgements, &terms, moment(epoch));
        ledger = next;
        let whys = step.said.iter().map(|said| said.why).collect();
        out.push((whys, step.pending, step.maintained));
    }
    out
}

#[test]
fn what_begins_in_maintenance_waits_until_it_is_over() {
    let of = |says: [Says; 4], what: Disturbed| disturbed(&says.map(|says| (says, what)));
    let held = of([Clear, Warns, Warns, Warns], Disturbed::Cluster);
    assert_eq!(held[1..3], [(vec![], 1, vec![1]), (vec![], 1, vec![1])]);
    assert_eq!(held[3], (vec![Why::Began], 0, vec![]));
    // It was over before anybody heard of it.
    assert!(of([Clear, Warns, Warns, Clear], Disturbed::Cluster).iter().all(|(whys, ..)| whys.is_empty()));
    // What the server cannot have brought about begins at once.
    assert_eq!(of([Clear, Warns, Warns, Warns], Disturbed::Never)[1], (vec![Why::Began], 0, vec![0]));
    assert_eq!(of([Clear, Warns, Warns, Warns], Disturbed::Own)[1].0, [Why::Began]);
    // What fires already goes on, gets worse and ends.
    let fired = of([Warns, Alarms, Clear, Clear], Disturbed::Cluster);
    assert_eq!(fired[1].0, [Why::Succeeded, Why::Changed]);
    assert_eq!(fired[2].0, [Why::EndedAgain, Why::Ended]);
}
