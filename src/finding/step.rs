//! The life of findings, as a pure step: what was known, what this epoch judged, and the time give what is known
//! now and what to publish, and why.

use super::flaps::Flaps;
use super::ledger::{Ledger, Life, State};
use super::{FINDING_TYPE, Finding, Fingerprint, Origin, Status, fingerprint};
use crate::check::{Entity, Firing, Judgement, Policy, Severity, Standing, UnknownRow};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

/// When a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The epoch's id.
    pub epoch: u64,
    /// The time.
    pub at: OffsetDateTime,
}

/// What a step is taken under, beside the judgements.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who judges what.
    pub origin: &'a Origin,
    /// Whether what is seen once fires, however many epochs it should take: for who looks once.
    pub at_once: bool,
}

/// A finding that neither fires nor ends because its data is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The row for the summary.
    pub row: UnknownRow,
    /// Which one.
    pub fingerprint: Fingerprint,
}

/// Why something is said of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It fires for the first time, or again.
    Began,
    /// It goes on.
    Repeated,
    /// It is clear, but not for long enough to end.
    Kept,
    /// It could not be judged, and goes on as it was.
    Held,
    /// It ended under this severity and goes on under another.
    Succeeded,
    /// It goes on under this severity after another.
    Changed,
    /// It ended.
    Ended,
    /// Its end, or its end under another severity, was said in the epoch before: the same message once more, so that
    /// one lost message does no harm.
    EndedAgain,
}

impl Why {
    /// Whether it tells something that earlier messages do not.
    pub const fn is_transition(self) -> bool {
        matches!(self, Self::Began | Self::Succeeded | Self::Changed | Self::Ended)
    }

    /// A word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Repeated => "repeated",
            Self::Kept => "kept",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Changed => "changed",
            Self::Ended => "ended",
            Self::EndedAgain => "ended_again",
        }
    }
}

/// A message about a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The message.
    pub finding: Arc<Finding>,
    /// Why it is sent.
    pub why: Why,
}

/// What a step brings.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// To be published, in this order.
    pub said: Vec<Said>,
    /// Findings that could not be judged.
    pub held: Vec<Held>,
    /// Findings that have not been seen in as many epochs as it takes to fire.
    pub pending: u64,
}

/// Takes in one epoch.
///
/// What is seen in `for` epochs fires and is published in every epoch. It ends when it has been clear for `keep` epochs
/// (more while it flaps) and there is data to prove it; the end is published in two epochs. While data is missing it goes
/// on as it was. A finding whose severity rises, or has been lower for as many epochs, ends under the old one and goes on
/// under the new.
pub fn step(known: Ledger, judgements: &[Judgement], terms: &Terms<'_>, now: Moment) -> (Ledger, Step) {
    let mut walk = Walk { terms, now, before: known.lives, after: Ledger::default(), step: Step::default() };
    let repeats = walk.take_repeats();
    for judgement in judgements {
        for (entity, firing) in &judgement.firing {
            walk.seen(judgement, entity, firing);
        }
    }
    let judged: BTreeMap<&str, &Judgement> =
        judgements.iter().map(|judgement| (judgement.meta.id, judgement)).collect();
    for (fingerprint, life) in std::mem::take(&mut walk.before) {
        walk.not_seen(fingerprint, life, &judged);
    }
    let Walk { mut after, mut step, .. } = walk;
    // An end is not repeated into the life of what fires again under the same severity.
    let fires_as = |told: &Finding| match after.lives.get(&told.fingerprint).map(|life| &life.state) {
        Some(State::Open { finding, .. }) => finding.severity == told.severity,
        _ => false,
    };
    let repeats = repeats.into_iter().filter(|told| !fires_as(told));
    let mut said: Vec<Said> = repeats.map(|finding| Said { finding, why: Why::EndedAgain }).collect();
    said.append(&mut step.said);
    after.forget(now.at);
    step.said = said;
    step.pending = after.pending().count() as u64;
    (after, step)
}

struct Walk<'a> {
    terms: &'a Terms<'a>,
    now: Moment,
    before: BTreeMap<Fingerprint, Life>,
    after: Ledger,
    step: Step,
}

impl Walk<'_> {
    fn take_repeats(&mut self) -> Vec<Arc<Finding>> {
        let again = |life: &mut Life| match &mut life.state {
            State::Open { again, .. } | State::Ended { again, .. } => again.take(),
            State::New | State::Pending { .. } => None,
        };
        self.before.values_mut().filter_map(again).collect()
    }

    fn say(&mut self, finding: &Arc<Finding>, why: Why) {
        self.step.said.push(Said { finding: Arc::clone(finding), why });
    }

    /// What an epoch saw to hold.
    fn seen(&mut self, judgement: &Judgement, entity: &Entity, firing: &Firing) {
        let fingerprint = fingerprint(&self.terms.origin.system, judgement.meta.id, entity);
        let policy = judgement.policy(entity);
        let severity = policy.severity.or(firing.severity).unwrap_or(judgement.meta.severity);
        let mut told = self.tell(judgement, entity, firing, fingerprint.clone(), severity);
        let Life { state, mut flaps } = self.before.remove(&fingerprint).unwrap_or_default();
        let state = match state {
            State::Pending { finding, anew } => {
                (told.first_seen, told.epochs) = (finding.first_seen, finding.epochs + 1);
                self.begin(told, anew, &mut flaps, policy)
            }
            State::Ended { .. } => self.begin(told, true, &mut flaps, policy),
            State::New => self.begin(told, false, &mut flaps, policy),
            State::Open { finding, milder, .. } => {
                (told.first_seen, told.epochs) = (finding.first_seen, finding.epochs + 1);
                self.go_on(told, finding, milder, &mut flaps, policy)
            }
        };
        self.after.lives.insert(fingerprint, Life { state, flaps });
    }

    fn begin(&mut self, mut told: Finding, anew: bool, flaps: &mut Flaps, policy: Policy) -> State {
        if told.epochs < policy.for_epochs && !self.terms.at_once {
            return State::Pending { finding: Arc::new(told), anew };
        }
        if anew {
            flaps.turn(self.now.at);
        }
        told.flaps = flaps.count(self.now.at);
        let finding = Arc::new(told);
        self.say(&finding, Why::Began);
        State::Open { finding, milder: 0, again: None }
    }

    fn go_on(
        &mut self,
        mut told: Finding,
        past: Arc<Finding>,
        milder: u64,
        flaps: &mut Flaps,
        policy: Policy,
    ) -> State {
        let milder = if told.severity < past.severity { milder + 1 } else { 0 };
        let changes =
            told.severity > past.severity || (milder > 0 && milder >= flaps.keep(policy.keep, self.now.at));
        if !changes {
            told.severity = past.severity;
            told.flaps = flaps.count(self.now.at);
            let finding = Arc::new(told);
            self.say(&finding, Why::Repeated);
            return State::Open { finding, milder, again: None };
        }
        let old = Arc::new(self.resolve(Arc::unwrap_or_clone(past), Some(told.severity)));
        self.say(&old, Why::Succeeded);
        flaps.turn(self.now.at);
        told.flaps = flaps.count(self.now.at);
        let finding = Arc::new(told);
        self.say(&finding, Why::Changed);
        State::Open { finding, milder: 0, again: Some(old) }
    }

    /// What was known of before, and does not fire.
    fn not_seen(&mut self, fingerprint: Fingerprint, life: Life, judged: &BTreeMap<&str, &Judgement>) {
        let Life { state, mut flaps } = life;
        let state = match state {
            State::New => return,
            State::Ended { at, again } => State::Ended { at, again },
            State::Pending { finding, anew } => match standing(&finding, judged) {
                (Standing::Unknown(_), _) => State::Pending { finding, anew },
                (Standing::Clear, _) if anew => State::Ended { at: self.now.at, again: None },
                (Standing::Clear, _) => return,
            },
            State::Open { finding, milder, .. } => match standing(&finding, judged) {
                (Standing::Unknown(reason), _) => {
                    let entity = finding.entity.label().into();
                    let row = UnknownRow { check: finding.check.clone(), entity, reason: reason.clone() };
                    self.step.held.push(Held { row, fingerprint: fingerprint.clone() });
                    let held = self.as_it_was(finding, &mut flaps, |told| told.held = Some(reason));
                    self.say(&held, Why::Held);
                    State::Open { finding: held, milder, again: None }
                }
                (Standing::Clear, keep) => {
                    let keep = keep.map_or(1, |keep| flaps.keep(keep, self.now.at));
                    if finding.clear_epochs + 1 >= keep {
                        let end = Arc::new(self.resolve(Arc::unwrap_or_clone(finding), None));
                        self.say(&end, Why::Ended);
                        State::Ended { at: self.now.at, again: Some(end) }
                    } else {
                        let kept = self.as_it_was(finding, &mut flaps, |told| told.clear_epochs += 1);
                        self.say(&kept, Why::Kept);
                        State::Open { finding: kept, milder, again: None }
                    }
                }
            },
        };
        self.after.lives.insert(fingerprint, Life { state, flaps });
    }

    fn as_it_was(
        &self,
        past: Arc<Finding>,
        flaps: &mut Flaps,
        change: impl FnOnce(&mut Finding),
    ) -> Arc<Finding> {
        let mut told = Finding {
            epoch: self.now.epoch,
            agent: self.terms.origin.agent.clone(),
            flaps: flaps.count(self.now.at),
            held: None,
            ..Arc::unwrap_or_clone(past)
        };
        change(&mut told);
        Arc::new(told)
    }

    fn tell(
        &self,
        judgement: &Judgement,
        entity: &Entity,
        firing: &Firing,
        fingerprint: Fingerprint,
        severity: Severity,
    ) -> Finding {
        let meta = judgement.meta;
        Finding {
            kind_of_message: FINDING_TYPE.into(),
            fingerprint,
            status: Status::Firing,
            check: meta.id.into(),
            name: meta.name.into(),
            severity,
            category: meta.category,
            kind: meta.kind,
            entity: entity.clone(),
            summary: firing.summary.clone(),
            observed: firing.observed.clone(),
            evidence: firing.evidence.clone(),
            remediation: firing.remediation.clone(),
            docs_url: meta.docs_url.map(Into::into),
            epoch: self.now.epoch,
            first_seen: self.now.at,
            last_seen: self.now.at,
            resolved_at: None,
            epochs: 1,
            successor: None,
            flaps: 0,
            clear_epochs: 0,
            held: None,
            silenced: None,
            system: self.terms.origin.system.clone(),
            agent: self.terms.origin.agent.clone(),
        }
    }

    fn resolve(&self, past: Finding, successor: Option<Severity>) -> Finding {
        Finding {
            status: Status::Resolved,
            epoch: self.now.epoch,
            resolved_at: Some(self.now.at),
            successor,
            clear_epochs: 0,
            held: None,
            agent: self.terms.origin.agent.clone(),
            ..past
        }
    }
}

/// What holds for a finding that does not fire, and for how many epochs it is kept. A check, or an entity of it, that is
/// no longer enabled is not judged: its findings end at once.
fn standing(finding: &Finding, judged: &BTreeMap<&str, &Judgement>) -> (Standing, Option<u64>) {
    let Some(judgement) = judged.get(&*finding.check) else {
        return (Standing::Clear, None);
    };
    let policy = judgement.policy(&finding.entity);
    (judgement.standing(&finding.entity), policy.enabled.then_some(policy.keep))
}

#[cfg(test)]
mod tests;
