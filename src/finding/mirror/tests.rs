use super::*;
use crate::check::PolicySetting;
use crate::finding::script::{Says, Sees, any_says, judged, moment, origin, told};
use crate::finding::{Ledger, Silenced, Terms, step};
use proptest::prelude::*;

/// A bucket in memory.
#[derive(Debug, Default)]
struct Bucket(BTreeMap<Fingerprint, Finding>);

impl Bucket {
    fn stored(&self) -> Vec<Stored> {
        self.0.values().cloned().map(|finding| Stored::Finding(Box::new(finding))).collect()
    }

    /// Writes what is wanted.
    fn write(&mut self, mirror: &mut Mirror) -> usize {
        let wanted: Vec<_> =
            [Status::Firing, Status::Resolved].into_iter().flat_map(|s| mirror.wanted(s)).collect();
        for finding in &wanted {
            self.0.insert(finding.fingerprint.clone(), (**finding).clone());
            mirror.written(finding);
        }
        assert_eq!(mirror.wanting(), 0);
        wanted.len()
    }
}

const WARNS: [Says; 3] = [Says::Warns, Says::Clear, Says::Clear];
const QUIET: [Says; 3] = [Says::Clear; 3];

#[test]
fn a_state_is_written_when_something_changed_and_in_every_tenth_epoch() {
    let mut says = vec![WARNS; 21];
    says.extend([[Says::Alarms, Says::Clear, Says::Clear], QUIET, QUIET]);
    let (mut mirror, mut bucket) = (Mirror::default(), Bucket::default());
    let written: Vec<usize> = told(&says)
        .iter()
        .map(|said| {
            mirror.take_in(said);
            bucket.write(&mut mirror)
        })
        .collect();
    let at: Vec<usize> = (0..written.len()).filter(|epoch| written[*epoch] > 0).collect();
    assert_eq!(at, [0, 10, 20, 21, 22]);
    let last = bucket.0.values().next().unwrap();
    assert_eq!((last.status, last.epochs, bucket.0.len()), (Status::Resolved, 22, 1));
}

#[test]
fn what_ended_is_purged_after_an_hour_and_forgotten_after_another() {
    let (mut mirror, mut bucket) = (Mirror::default(), Bucket::default());
    for said in told(&[WARNS, QUIET]) {
        mirror.take_in(&said);
    }
    let ended = moment(1).at;
    assert_eq!(mirror.due(ended + STAYS), Due::default(), "it is not written yet");
    bucket.write(&mut mirror);
    assert_eq!(mirror.due(ended + STAYS - Duration::SECOND), Due::default());
    let fingerprint = bucket.0.keys().next().unwrap();
    let purge = Due { purge: vec![fingerprint.clone()], erase: Vec::new() };
    assert_eq!(mirror.due(ended + STAYS), purge);
    // Another run finds the same.
    let mut other = Mirror::default();
    assert!(other.take_stock(bucket.stored()).is_empty());
    assert_eq!(other.due(ended + STAYS), purge);

    mirror.purged(fingerprint, ended + STAYS);
    assert_eq!(mirror.due(ended + STAYS), Due::default());
    let erase = Due { purge: Vec::new(), erase: vec![fingerprint.clone()] };
    assert_eq!(mirror.due(ended + STAYS * 2), erase);
    let mut other = Mirror::default();
    other.take_stock(vec![Stored::Purged(fingerprint.clone(), ended + STAYS)]);
    assert_eq!(other.due(ended + STAYS * 2), erase);
    mirror.erased(fingerprint);
    assert_eq!(mirror.slots.len(), 0);
}

#[test]
fn what_fires_again_is_not_purged() {
    let epochs = told(&[WARNS, QUIET, WARNS]);
    let (mut mirror, mut bucket) = (Mirror::default(), Bucket::default());
    for said in &epochs[..2] {
        mirror.take_in(said);
    }
    bucket.write(&mut mirror);
    let fingerprint = bucket.0.keys().next().unwrap().clone();
    // It begins again while the purge is under way.
    mirror.take_in(&epochs[2]);
    mirror.purged(&fingerprint, moment(3).at);
    mirror.erased(&fingerprint);
    assert_eq!(mirror.wanted(Status::Firing).len(), 1);
    assert_eq!(mirror.due(moment(1_000_000).at), Due::default());
}

#[test]
fn what_the_bucket_knows_better_is_told() {
    let epochs = told(&[WARNS, WARNS, QUIET]);
    let firing = |epoch: usize| (*epochs[epoch][0].finding).clone();
    let stored = |finding: &Finding| vec![Stored::Finding(Box::new(finding.clone()))];
    let later = Finding { first_seen: moment(1).at, ..firing(1) };

    let mut fresh = Mirror::default();
    assert_eq!(fresh.take_stock(stored(&firing(0))), [firing(0)]);
    // It began in this run, which has not heard of the earlier one.
    let mut mirror = Mirror::default();
    mirror.take_in(&[Said { finding: Arc::new(later.clone()), why: Why::Began }]);
    assert_eq!(mirror.take_stock(stored(&firing(0))), [firing(0)]);
    assert!(mirror.take_stock(stored(&later)).is_empty());
    // It ended while the bucket could not be told: it is told now.
    mirror.take_in(&epochs[2]);
    Bucket::default().write(&mut mirror);
    assert!(mirror.take_stock(stored(&firing(1))).is_empty());
    let end = &mirror.wanted(Status::Resolved)[0];
    assert_eq!((end.status, end.resolved_at), (Status::Resolved, Some(moment(2).at)));
    // Another agent saw it later than this one saw it end.
    let seen = Finding { last_seen: moment(5).at, ..firing(1) };
    assert_eq!(mirror.take_stock(stored(&seen)), [seen]);
}

#[test]
fn a_bucket_that_was_emptied_is_filled_again() {
    let epochs = told(&[WARNS, WARNS, WARNS]);
    let mut mirror = Mirror::default();
    mirror.take_in(&epochs[0]);
    Bucket::default().write(&mut mirror);
    mirror.take_in(&epochs[1]);
    assert_eq!(mirror.wanting(), 0);
    mirror.take_stock(Vec::new());
    mirror.take_in(&epochs[2]);
    assert_eq!(mirror.wanting(), 1);
}

#[test]
fn what_the_agent_was_told_of_and_says_nothing_about_is_over() {
    let epochs = told(&[WARNS, [Says::Clear, Says::Warns, Says::Clear]]);
    let known = (*epochs[0][0].finding).clone();
    let foreign = Finding {
        system: "other".into(),
        fingerprint: Fingerprint::parse(&"0".repeat(32)).unwrap(),
        ..known.clone()
    };
    let mut mirror = Mirror::default();
    let stored = [&known, &foreign].map(|finding| Stored::Finding(Box::new(finding.clone())));
    assert_eq!(mirror.take_stock(stored.into()).len(), 2);
    // Another user's finding; nothing of the known one, whose end this agent had heard of.
    let other: Vec<Said> = epochs[1].iter().filter(|said| said.why == Why::Began).cloned().collect();
    mirror.take_in(&other);
    let over = mirror.settle("test", 7, moment(7).at);
    assert_eq!(over.len(), 1);
    let end = &over[0].finding;
    assert_eq!((&end.fingerprint, end.status, end.epoch), (&known.fingerprint, Status::Resolved, 7));
    assert_eq!((end.resolved_at, end.last_seen), (Some(moment(7).at), known.last_seen));
    assert_eq!(mirror.wanted(Status::Resolved), [Arc::clone(end)]);
    assert!(mirror.settle("test", 8, moment(8).at).is_empty());
}

proptest! {
    /// Whenever the sink is there, and whenever the agent is killed: what fires is in the bucket as it is, with its first
    /// beginning that was ever written, and nothing else is firing there.
    #[test]
    fn the_bucket_comes_to_the_present_state(
        epochs in prop::collection::vec(
            (any_says(), any_says(), any_says(), prop::bool::weighted(0.6), prop::bool::weighted(0.2)), 1..30),
    ) {
        let (mut bucket, mut mirror, mut ledger) = (Bucket::default(), Mirror::default(), Ledger::default());
        let (mut heard, mut was_there, mut run) = (false, true, 0);
        let mut ended: BTreeMap<Fingerprint, OffsetDateTime> = BTreeMap::new();
        let last = epochs.len() - 1;
        for (epoch, (a, b, c, there, killed)) in epochs.iter().enumerate() {
            let there = *there || epoch == last;
            if *killed {
                (mirror, ledger, heard, run) = (Mirror::default(), Ledger::default(), false, run + 1);
                ended.clear();
            }
            let now = moment(epoch as u64);
            if there && !(heard && was_there) {
                for finding in mirror.take_stock(bucket.stored()) {
                    ledger.adopt(finding, now.at);
                }
                heard = true;
            }
            was_there = there;
            let known: BTreeMap<Fingerprint, OffsetDateTime> = bucket
                .0
                .values()
                .filter(|finding| finding.status == Status::Firing)
                .map(|finding| (finding.fingerprint.clone(), finding.first_seen))
                .collect();
            let origin = origin(&run.to_string());
            let terms = Terms::plain(&origin);
            let judged = judged(&[*a, *b, *c], Sees::All, &PolicySetting::default());
            let (next, step) = step(ledger, &judged, &terms, now);
            ledger = next;
            mirror.take_in(&step.said);
            for said in step.said.iter().filter(|said| said.why == Why::Ended) {
                ended.insert(said.finding.fingerprint.clone(), now.at);
            }
            for open in ledger.open() {
                let over = ended.get(&open.fingerprint);
                prop_assert!(over.is_none_or(|over| *over < open.first_seen), "of a life that is over: {:?}", open);
            }
            if !there || !heard {
                continue;
            }
            bucket.write(&mut mirror);
            for open in ledger.open() {
                let stored = &bucket.0[&open.fingerprint];
                prop_assert_eq!(stored.status, Status::Firing);
                prop_assert_eq!((stored.severity, &stored.summary, stored.first_seen), (open.severity, &open.summary, open.first_seen));
                if let Some(first_seen) = known.get(&open.fingerprint).filter(|_| *killed) {
                    prop_assert_eq!(open.first_seen, *first_seen);
                }
            }
            let firing = bucket.0.values().filter(|finding| finding.status == Status::Firing).count();
            prop_assert_eq!(firing, ledger.open().count());
        }
    }
}

#[test]
fn what_a_silence_ended_is_told_and_stays_for_the_silence_or_a_week() {
    let fired = (*told(&[WARNS])[0][0].finding).clone();
    let at = moment(1).at;
    for (until, stays) in [(Duration::hours(5), Duration::hours(5)), (Duration::weeks(50), Duration::WEEK)] {
        let silenced = Silenced { reason: "known".into(), until: at + until };
        let ended = Finding {
            status: Status::Resolved,
            resolved_at: Some(at),
            silenced: Some(silenced),
            ..fired.clone()
        };
        let mut mirror = Mirror::default();
        mirror.take_in(&[Said { finding: Arc::new(ended.clone()), why: Why::Ended }]);
        let mut bucket = Bucket::default();
        bucket.write(&mut mirror);
        assert_eq!(mirror.due(at + stays - Duration::SECOND), Due::default());
        assert_eq!(mirror.due(at + stays).purge, std::slice::from_ref(&ended.fingerprint));

        let mut other = Mirror::default();
        let news = other.take_stock(bucket.stored());
        assert_eq!(news, std::slice::from_ref(&ended));
        assert_eq!(other.due(at + stays - Duration::SECOND), Due::default());
        let mut ledger = Ledger::default();
        ledger.adopt(news[0].clone(), at);
        assert_eq!(ledger.open().count(), 0);
        // It goes on: what the bucket says of its end is old.
        other.take_in(&[Said { finding: Arc::new(fired.clone()), why: Why::Began }]);
        assert!(other.take_stock(bucket.stored()).is_empty());
    }
}
