//! The life of findings, as a pure step: what was known, what this epoch judged, and the time give what is known
//! now and what to publish.

use super::{FINDING_TYPE, Finding, Fingerprint, Origin, Status, fingerprint};
use crate::check::{Entity, Firing, Judgement, Standing, UnknownRow};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Findings that are firing, or were when they could last be judged.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    firing: BTreeMap<Fingerprint, Finding>,
}

impl Ledger {
    /// Findings that are firing, or were when they could last be judged.
    pub fn firing(&self) -> impl Iterator<Item = &Finding> {
        self.firing.values()
    }
}

/// When a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The epoch's id.
    pub epoch: u64,
    /// The time.
    pub at: OffsetDateTime,
}

/// A finding that neither fires nor ends because its data is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The row for the summary.
    pub row: UnknownRow,
    /// Which one.
    pub fingerprint: Fingerprint,
}

/// What a step brings.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// To be published: firing ones and those that ended.
    pub publish: Vec<Finding>,
    /// Neither.
    pub held: Vec<Held>,
}

/// Takes in one epoch. What fires is published; what no longer fires is published as resolved, once, if there is data
/// to prove it, and held otherwise. A finding that changes its severity ends under the old one and goes on under the
/// new.
pub fn step(known: Ledger, judgements: &[Judgement], origin: &Origin, now: Moment) -> (Ledger, Step) {
    let mut before = known.firing;
    let mut after = BTreeMap::new();
    let mut step = Step::default();
    for judgement in judgements {
        for (entity, firing) in &judgement.firing {
            let fingerprint = fingerprint(&origin.system, judgement.meta.id, entity);
            let past = before.remove(&fingerprint);
            let finding = fire(judgement, entity, firing, fingerprint.clone(), past.as_ref(), origin, now);
            if let Some(past) = past.filter(|past| past.severity != finding.severity) {
                step.publish.push(resolve(past, origin, now, Some(finding.severity)));
            }
            step.publish.push(finding.clone());
            after.insert(fingerprint, finding);
        }
    }
    for (fingerprint, finding) in before {
        let standing = judgements
            .iter()
            .find(|judgement| judgement.meta.id == finding.check)
            // A check that is no longer enabled is not judged: its findings end with it.
            .map_or(Standing::Clear, |judgement| judgement.standing(&finding.entity));
        match standing {
            Standing::Clear => step.publish.push(resolve(finding, origin, now, None)),
            Standing::Unknown(reason) => {
                let entity = finding.entity.label().into();
                let row = UnknownRow { check: finding.check, entity, reason };
                step.held.push(Held { row, fingerprint: fingerprint.clone() });
                after.insert(fingerprint, finding);
            }
        }
    }
    (Ledger { firing: after }, step)
}

fn fire(
    judgement: &Judgement,
    entity: &Entity,
    firing: &Firing,
    fingerprint: Fingerprint,
    past: Option<&Finding>,
    origin: &Origin,
    now: Moment,
) -> Finding {
    let meta = judgement.meta;
    Finding {
        kind_of_message: FINDING_TYPE,
        fingerprint,
        status: Status::Firing,
        check: meta.id,
        name: meta.name,
        severity: judgement.severity(entity, firing),
        category: meta.category,
        kind: meta.kind,
        entity: entity.clone(),
        summary: firing.summary.clone(),
        observed: firing.observed.clone(),
        evidence: firing.evidence.clone(),
        remediation: firing.remediation.clone(),
        docs_url: meta.docs_url,
        epoch: now.epoch,
        first_seen: past.map_or(now.at, |past| past.first_seen),
        last_seen: now.at,
        resolved_at: None,
        epochs: past.map_or(0, |past| past.epochs) + 1,
        successor: None,
        system: origin.system.clone(),
        agent: origin.agent.clone(),
    }
}

fn resolve(
    past: Finding,
    origin: &Origin,
    now: Moment,
    successor: Option<crate::check::Severity>,
) -> Finding {
    Finding {
        status: Status::Resolved,
        epoch: now.epoch,
        resolved_at: Some(now.at),
        successor,
        agent: origin.agent.clone(),
        ..past
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Context, Judge, Observed, Settings, Severity, Verdict, evaluate};
    use crate::checks::find;
    use crate::finding::AgentInfo;
    use crate::snapshot::build::System;
    use crate::snapshot::{Endpoint, FollowUp, History};
    use proptest::prelude::*;
    use std::sync::Arc;

    const CHECK: &str = "USER_002";
    const USERS: [&str; 3] = ["a", "b", "c"];

    /// What an epoch says of one user.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Says {
        Warns,
        Alarms,
        Clear,
        Unknown,
        UnknownButOver,
    }

    /// How well the epoch went.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Sees {
        All,
        /// One server of two did not answer.
        Half,
        Nothing,
        /// The check is not enabled.
        Disabled,
    }

    struct Script(Vec<Verdict>);

    impl Judge for Script {
        fn follow_ups(&self, _: &Context<'_>) -> Vec<FollowUp> {
            Vec::new()
        }
        fn judge(&self, _: &Context<'_>) -> Vec<Verdict> {
            self.0.clone()
        }
        fn thresholds(&self) -> serde_json::Map<String, serde_json::Value> {
            serde_json::Map::new()
        }
        fn idle_after(&self, _: &dyn Fn() -> Entity) -> Option<std::time::Duration> {
            None
        }
    }

    fn entity(user: &str) -> Entity {
        Entity::user("APP", None, user, None)
    }

    fn verdict(user: &str, says: Says) -> Option<Verdict> {
        let entity = entity(user);
        let firing = |entity| {
            let observed = Observed::count(2, 1, "connections");
            Verdict::firing(entity, format!("{user} fires"), observed, &(), Vec::new())
        };
        match says {
            Says::Warns => Some(firing(entity)),
            Says::Alarms => Some(firing(entity).with_severity(Severity::Critical)),
            Says::Clear => None,
            Says::Unknown => Some(Verdict::unknown(entity, "hidden")),
            Says::UnknownButOver => Some(Verdict::unknown_but_over(entity, "limit not visible")),
        }
    }

    fn judged(says: &[Says], sees: Sees) -> Vec<Judgement> {
        let system = System::of(2);
        let snapshot = match sees {
            Sees::Disabled => return Vec::new(),
            Sees::All => system,
            Sees::Half => system.silent("n1", Endpoint::Connz),
            Sees::Nothing => system.silent("n1", Endpoint::Connz).silent("n2", Endpoint::Connz),
        };
        let verdicts = USERS.iter().zip(says).filter_map(|(user, says)| verdict(user, *says)).collect();
        let (now, history, declared) = (snapshot.done(), History::default(), BTreeMap::new());
        let context = Context { now: &now, previous: None, history: &history, declared: &declared };
        let entry = find(CHECK).unwrap();
        let policies = Arc::new(entry.policies(&Settings::default()));
        vec![evaluate(entry, &Script(verdicts), &policies, &context)]
    }

    fn origin() -> Origin {
        let agent = AgentInfo { id: "1".into(), name: "host".into(), version: "0".into() };
        Origin { system: "test".into(), system_account: "SYS".into(), agent }
    }

    fn moment(epoch: u64) -> Moment {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000 + epoch as i64 * 30).unwrap();
        Moment { epoch, at }
    }

    type Said = (Status, Severity, u64, Option<Severity>);

    /// One user through several epochs; what each publishes as (status, severity, epochs, successor).
    fn life(epochs: &[(Says, Sees)]) -> Vec<Vec<Said>> {
        let mut ledger = Ledger::default();
        let mut out = Vec::new();
        for (epoch, (says, sees)) in (0..).zip(epochs) {
            let (next, step) = step(ledger, &judged(&[*says], *sees), &origin(), moment(epoch));
            ledger = next;
            out.push(step.publish.iter().map(|f| (f.status, f.severity, f.epochs, f.successor)).collect());
        }
        out
    }

    const WARNS: (Says, Sees) = (Says::Warns, Sees::All);
    const CLEAR: (Says, Sees) = (Says::Clear, Sees::All);

    #[test]
    fn a_finding_is_repeated_and_then_resolved_once() {
        use {Severity::Warning, Status::*};
        let published = life(&[CLEAR, WARNS, WARNS, CLEAR, CLEAR, WARNS]);
        assert_eq!(published[0], []);
        assert_eq!(published[1], [(Firing, Warning, 1, None)]);
        assert_eq!(published[2], [(Firing, Warning, 2, None)]);
        assert_eq!(published[3], [(Resolved, Warning, 2, None)]);
        assert_eq!(published[4], []);
        assert_eq!(published[5], [(Firing, Warning, 1, None)]);
    }

    #[test]
    fn times_and_fingerprint_belong_to_the_whole_life() {
        let (ledger, first) =
            step(Ledger::default(), &judged(&[Says::Warns], Sees::All), &origin(), moment(1));
        let (ledger, second) = step(ledger, &judged(&[Says::Warns], Sees::All), &origin(), moment(2));
        let (ledger, end) = step(ledger, &judged(&[Says::Clear], Sees::All), &origin(), moment(4));
        let (first, second, end) = (&first.publish[0], &second.publish[0], &end.publish[0]);
        assert_eq!(
            (first.first_seen, first.last_seen, first.resolved_at),
            (moment(1).at, moment(1).at, None)
        );
        assert_eq!((second.first_seen, second.last_seen, second.epoch), (moment(1).at, moment(2).at, 2));
        assert_eq!((end.first_seen, end.last_seen), (moment(1).at, moment(2).at));
        assert_eq!((end.resolved_at, end.epoch, end.epochs), (Some(moment(4).at), 4, 2));
        assert!(first.fingerprint == second.fingerprint && second.fingerprint == end.fingerprint);
        assert_eq!(first.fingerprint, fingerprint("test", CHECK, &entity("a")));
        assert_eq!(ledger.firing().count(), 0);
    }

    #[test]
    fn unknown_holds_and_says_so() {
        let (ledger, _) = step(Ledger::default(), &judged(&[Says::Warns], Sees::All), &origin(), moment(0));
        for (says, sees) in
            [(Says::Unknown, Sees::All), (Says::Clear, Sees::Half), (Says::Clear, Sees::Nothing)]
        {
            let (after, step) = step(ledger.clone(), &judged(&[says], sees), &origin(), moment(1));
            assert!(step.publish.is_empty());
            assert_eq!(after.firing().count(), 1);
            let held = &step.held[0];
            assert_eq!((held.row.check, &*held.row.entity), (CHECK, "a"));
            assert_eq!(held.fingerprint, after.firing().next().unwrap().fingerprint);
            assert!(!held.row.reason.is_empty());
        }
        let published = life(&[WARNS, (Says::Unknown, Sees::All), WARNS, CLEAR]);
        assert_eq!(published[2][0].2, 2, "epochs in which it was seen");
        assert_eq!(published[3].len(), 1);
    }

    #[test]
    fn what_is_seen_to_be_over_resolves_although_its_limit_is_not_seen() {
        let published = life(&[WARNS, (Says::UnknownButOver, Sees::All)]);
        assert_eq!(published[1][0].0, Status::Resolved);
        assert!(life(&[WARNS, (Says::UnknownButOver, Sees::Half)])[1].is_empty());
    }

    #[test]
    fn a_changed_severity_ends_the_old_subject_before_the_new_one_begins() {
        use {Severity::*, Status::*};
        let published = life(&[WARNS, (Says::Alarms, Sees::All), WARNS, CLEAR]);
        assert_eq!(published[1], [(Resolved, Warning, 1, Some(Critical)), (Firing, Critical, 2, None)]);
        assert_eq!(published[2], [(Resolved, Critical, 2, Some(Warning)), (Firing, Warning, 3, None)]);
        assert_eq!(published[3], [(Resolved, Warning, 3, None)]);
    }

    #[test]
    fn the_findings_of_a_disabled_check_end() {
        let published = life(&[WARNS, (Says::Warns, Sees::Disabled), (Says::Clear, Sees::Disabled)]);
        assert_eq!(published[1][0].0, Status::Resolved);
        assert!(published[2].is_empty());
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
    type Row = (String, Status, Severity, u64, OffsetDateTime, Option<Severity>);

    /// The rules of a finding's life, told once more, one user at a time and without fingerprints.
    fn reference(
        user: &str,
        known: Known,
        says: Says,
        sees: Sees,
        now: Moment,
        publish: &mut Vec<Row>,
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
            publish
                .extend(known.filter(|known| known.2 != severity).map(|known| ends(known, Some(severity))));
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
            let mut open: BTreeMap<String, u64> = BTreeMap::new();
            for (epoch, (says, sees)) in (0..).zip(&epochs) {
                let now = moment(epoch);
                let (next, step) = step(ledger, &judged(says, *sees), &origin(), now);
                ledger = next;
                let mut expected = Vec::new();
                for ((user, known), says) in USERS.iter().zip(&mut known).zip(says) {
                    *known = reference(user, *known, *says, *sees, now, &mut expected);
                }
                let mut published: Vec<Row> = step
                    .publish
                    .iter()
                    .map(|f| (f.entity.id.to_string(), f.status, f.severity, f.epochs, f.first_seen, f.successor))
                    .collect();
                for finding in &step.publish {
                    let user = &finding.entity.id;
                    prop_assert_eq!(&finding.fingerprint, &fingerprint("test", CHECK, &entity(user)));
                    // Resolved exactly once for each time that it began, under the severity that it had.
                    let key = format!("{user} {:?}", finding.severity);
                    match finding.status {
                        Status::Firing => *open.entry(key).or_default() = 1,
                        Status::Resolved => prop_assert_eq!(open.remove(&key), Some(1)),
                    }
                }
                let order = |row: &Row| (row.0.clone(), row.1 == Status::Firing);
                published.sort_by_key(order);
                expected.sort_by_key(order);
                prop_assert_eq!(published, expected);
                prop_assert_eq!(ledger.firing().count(), known.iter().flatten().count());
                let judged_now = step.publish.iter().filter(|f| f.status == Status::Firing).count();
                prop_assert_eq!(step.held.len(), ledger.firing().count() - judged_now);
            }
        }
    }
}
