//! The life of findings, as a pure step: what was known, what this epoch judged, and the time give what is known
//! now and what to publish, and why.

use super::flaps::Flaps;
use super::ledger::{Ledger, Life, State};
use super::{
    FINDING_TYPE, Finding, Fingerprint, Maintenance, Origin, SilencedRow, Silences, Status, fingerprint,
};
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
    /// What is not published.
    pub silences: &'a Silences,
    /// What does not begin.
    pub maintenance: &'a Maintenance,
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
    /// It ended; or a silence keeps it from being published from now on, which it then carries.
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
    /// Findings that hold and are not published because of a silence.
    pub silenced: Vec<SilencedRow>,
    /// For each window of maintenance the findings that would have begun in this epoch.
    pub maintained: Vec<u64>,
}

/// Takes in one epoch.
///
/// What is seen in `for` epochs fires and is published in every epoch. It ends when it has been clear for `keep` epochs
/// (more while it flaps) and there is data to prove it; the end is published in two epochs. While data is missing it goes
/// on as it was. A finding whose severity rises, or has been lower for as many epochs, ends under the old one and goes on
/// under the new.
///
/// What is silenced lives on without being published: it ends for everybody else, and begins again with its old
/// `first_seen` if it outlives the silence. What may be because of maintenance stays pending.
pub fn step(known: Ledger, judgements: &[Judgement], terms: &Terms<'_>, now: Moment) -> (Ledger, Step) {
    let maintained = vec![0; terms.maintenance.windows().len()];
    let step = Step { maintained, ..Step::default() };
    let mut walk = Walk { terms, now, before: known.lives, after: Ledger::default(), step };
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
        Some(State::Open { finding, .. }) => finding.silenced.is_none() && finding.severity == told.severity,
        _ => false,
    };
    let repeats = repeats.into_iter().filter(|told| !fires_as(told));
    let mut said: Vec<Said> = repeats.map(|finding| Said { finding, why: Why::EndedAgain }).collect();
    said.append(&mut step.said);
    step.silenced.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
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

impl<'a> Terms<'a> {
    /// Without silences and maintenance.
    pub const fn plain(origin: &'a Origin) -> Self {
        static NO_SILENCES: Silences = Silences(Vec::new());
        static NO_MAINTENANCE: Maintenance = Maintenance::none();
        Self { origin, at_once: false, silences: &NO_SILENCES, maintenance: &NO_MAINTENANCE }
    }
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
        let severity = judgement.severity(entity, firing);
        let mut told = self.tell(judgement, entity, firing, fingerprint.clone(), severity);
        let Life { state, mut flaps } = self.before.remove(&fingerprint).unwrap_or_default();
        let state = match state {
            State::Pending { finding, anew } => {
                (told.first_seen, told.epochs) = (finding.first_seen, finding.epochs + 1);
                self.begin(told, anew, &mut flaps, judgement)
            }
            State::Ended { .. } => self.begin(told, true, &mut flaps, judgement),
            State::New => self.begin(told, false, &mut flaps, judgement),
            State::Open { finding, milder, .. } => {
                (told.first_seen, told.epochs) = (finding.first_seen, finding.epochs + 1);
                self.go_on(told, finding, milder, &mut flaps, policy)
            }
        };
        self.after.lives.insert(fingerprint, Life { state, flaps });
    }

    fn begin(&mut self, mut told: Finding, anew: bool, flaps: &mut Flaps, judgement: &Judgement) -> State {
        if told.epochs < judgement.policy(&told.entity).for_epochs && !self.terms.at_once {
            return State::Pending { finding: Arc::new(told), anew };
        }
        let window = self.terms.maintenance.holds(&told.entity, judgement.disturbed);
        if let Some(held) = window.and_then(|window| self.step.maintained.get_mut(window)) {
            *held += 1;
            return State::Pending { finding: Arc::new(told), anew };
        }
        if anew {
            flaps.turn(self.now.at);
        }
        told.flaps = flaps.count(self.now.at);
        self.open(None, told, Why::Began, 0)
    }

    /// An open finding in this epoch: said, unless a silence keeps it from being published. `past` is how it was before;
    /// none if it begins.
    fn open(&mut self, past: Option<Arc<Finding>>, mut told: Finding, why: Why, milder: u64) -> State {
        told.silenced = self.terms.silences.of(&told, self.now.at);
        let finding = Arc::new(told);
        let published = past.filter(|past| past.silenced.is_none());
        let again = match (published, &finding.silenced) {
            (Some(past), Some(silenced)) => {
                let mut end = self.resolve(Arc::unwrap_or_clone(past), None);
                end.silenced = Some(silenced.clone());
                let end = Arc::new(end);
                self.say(&end, Why::Ended);
                Some(end)
            }
            (Some(past), None) if past.severity != finding.severity => {
                let old = Arc::new(self.resolve(Arc::unwrap_or_clone(past), Some(finding.severity)));
                self.say(&old, Why::Succeeded);
                self.say(&finding, Why::Changed);
                Some(old)
            }
            (Some(_), None) => {
                self.say(&finding, why);
                None
            }
            (None, None) => {
                self.say(&finding, Why::Began);
                None
            }
            (None, Some(_)) => None,
        };
        if let Some(silenced) = &finding.silenced {
            self.step.silenced.push(SilencedRow {
                fingerprint: finding.fingerprint.clone(),
                check: finding.check.clone(),
                entity: finding.entity.label().into(),
                reason: silenced.reason.clone(),
                until: silenced.until,
            });
        }
        State::Open { finding, milder, again }
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
            return self.open(Some(past), told, Why::Repeated, milder);
        }
        flaps.turn(self.now.at);
        told.flaps = flaps.count(self.now.at);
        self.open(Some(past), told, Why::Changed, 0)
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
                    let held = self.as_it_was(&finding, &mut flaps, |told| told.held = Some(reason));
                    let state = self.open(Some(finding), held, Why::Held, milder);
                    // What nobody is told of is not held for anybody.
                    if matches!(&state, State::Open { finding, .. } if finding.silenced.is_none()) {
                        self.step.held.push(Held { row, fingerprint: fingerprint.clone() });
                    }
                    state
                }
                (Standing::Clear, keep) => {
                    let keep = keep.map_or(1, |keep| flaps.keep(keep, self.now.at));
                    if finding.clear_epochs + 1 >= keep && finding.silenced.is_some() {
                        State::Ended { at: self.now.at, again: None }
                    } else if finding.clear_epochs + 1 >= keep {
                        let end = Arc::new(self.resolve(Arc::unwrap_or_clone(finding), None));
                        self.say(&end, Why::Ended);
                        State::Ended { at: self.now.at, again: Some(end) }
                    } else {
                        let kept = self.as_it_was(&finding, &mut flaps, |told| told.clear_epochs += 1);
                        self.open(Some(finding), kept, Why::Kept, milder)
                    }
                }
            },
        };
        self.after.lives.insert(fingerprint, Life { state, flaps });
    }

    fn as_it_was(&self, past: &Finding, flaps: &mut Flaps, change: impl FnOnce(&mut Finding)) -> Finding {
        let mut told = Finding {
            epoch: self.now.epoch,
            agent: self.terms.origin.agent.clone(),
            flaps: flaps.count(self.now.at),
            held: None,
            ..past.clone()
        };
        change(&mut told);
        told
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
mod expectations;
#[cfg(test)]
mod tests;
