//! What is known of findings from epoch to epoch.

use super::flaps::{Flaps, WINDOW};
use super::{Finding, Fingerprint, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

/// Ended findings that are remembered, so that one that begins again is known to flap: those of a system in which ten
/// findings end with every epoch of a second, for half an hour.
const ENDED: usize = 20_000;

/// Findings by their fingerprint, in whatever part of their life.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub(super) lives: BTreeMap<Fingerprint, Life>,
}

/// What is known of one finding.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) flaps: Flaps,
}

/// Where a finding is in its life.
#[derive(Debug, Clone, Default)]
pub(super) enum State {
    /// Not seen before.
    #[default]
    New,
    /// Seen, but not in as many epochs as it takes to fire.
    Pending {
        /// As it would be said.
        finding: Arc<Finding>,
        /// Whether it ended within the window in which that counts as flapping.
        anew: bool,
    },
    /// Published as firing in every epoch.
    Open {
        /// As it was last said.
        finding: Arc<Finding>,
        /// Epochs in a row in which its severity was lower than the one that it has.
        milder: u64,
        /// What was said of its end under another severity, to be said once more.
        again: Option<Arc<Finding>>,
    },
    /// Over, and published as resolved.
    Ended {
        at: OffsetDateTime,
        /// What was said, to be said once more.
        again: Option<Arc<Finding>>,
    },
}

impl Ledger {
    /// Findings that are published as firing: those that fire, those that could not be judged in the last epoch, and
    /// those that have not been clear for long enough to end.
    pub fn open(&self) -> impl Iterator<Item = &Arc<Finding>> {
        self.lives.values().filter_map(Life::finding)
    }

    /// Open findings, and those that only a silence keeps from being published.
    pub fn living(&self) -> impl Iterator<Item = &Arc<Finding>> {
        self.lives.values().filter_map(|life| match &life.state {
            State::Open { finding, .. } => Some(finding),
            State::New | State::Pending { .. } | State::Ended { .. } => None,
        })
    }

    /// Findings that have not been seen in as many epochs as it takes to fire.
    pub fn pending(&self) -> impl Iterator<Item = &Arc<Finding>> {
        self.lives.values().filter_map(|life| match &life.state {
            State::Pending { finding, .. } => Some(finding),
            State::New | State::Open { .. } | State::Ended { .. } => None,
        })
    }

    /// Takes in what an earlier run stored, or another agent published. Of two tellings of one life the earlier beginning
    /// and the later epoch hold; a message that is older than what is known changes no more than the beginning.
    pub fn adopt(&mut self, finding: Finding, now: OffsetDateTime) {
        let fingerprint = finding.fingerprint.clone();
        let known = self.lives.remove(&fingerprint);
        let life = match finding.status {
            Status::Firing => Some(begin(finding, known, now)),
            // It goes on under another severity; that message comes next.
            Status::Resolved if finding.successor.is_some() => known,
            Status::Resolved => Some(end(finding, known, now)),
        };
        self.lives.extend(life.map(|life| (fingerprint, life)));
    }

    /// Drops what was last said in an epoch before this one. After each epoch every open finding has been published once, so
    /// that is over for whoever heard all of the epoch. What is silenced stays until the silence ends. What was seen in too few
    /// epochs begins anew: whether the other agent saw it as well is not told.
    pub fn only_of_epoch(&mut self, epoch: u64) {
        self.lives.retain(|_, life| {
            if let State::Pending { finding, anew } = &life.state
                && finding.epoch < epoch
            {
                let (at, anew) = (finding.last_seen, *anew);
                // How often it began is remembered.
                life.state = State::Ended { at, again: None };
                return anew;
            }
            let of_epoch = || life.finding().is_none_or(|finding| finding.epoch >= epoch);
            life.silenced_in(epoch).unwrap_or_else(of_epoch)
        });
    }

    /// Forgets ended findings after the time in which a new beginning would count as flapping, and the earliest of too many.
    pub fn forget(&mut self, now: OffsetDateTime) {
        let ended = |life: &Life| match &life.state {
            State::Ended { at, again: None } => Some(*at),
            _ => None,
        };
        self.lives.retain(|_, life| ended(life).is_none_or(|at| now - at < WINDOW));
        let mut times: Vec<OffsetDateTime> = self.lives.values().filter_map(ended).collect();
        if times.len() > ENDED {
            let surplus = times.len() - ENDED;
            let (_, last, _) = times.select_nth_unstable(surplus - 1);
            let last = *last;
            self.lives.retain(|_, life| ended(life).is_none_or(|at| at > last));
        }
    }
}

impl Life {
    fn finding(&self) -> Option<&Arc<Finding>> {
        match &self.state {
            State::Open { finding, .. } if finding.silenced.is_none() => Some(finding),
            State::New | State::Pending { .. } | State::Open { .. } | State::Ended { .. } => None,
        }
    }

    /// Whether a silence that is not over by then keeps it from being published.
    fn silenced_in(&self, epoch: u64) -> Option<bool> {
        let State::Open { finding, .. } = &self.state else {
            return None;
        };
        let until = finding.silenced.as_ref()?.until.unix_timestamp();
        Some(u64::try_from(until).is_ok_and(|until| until >= epoch))
    }
}

fn begin(mut told: Finding, known: Option<Life>, now: OffsetDateTime) -> Life {
    let Life { state, mut flaps } = known.unwrap_or_default();
    if flaps.count(now) < told.flaps {
        flaps = Flaps::counted(told.flaps, now);
    }
    let state = match state {
        State::New => open(told),
        State::Pending { finding, .. } => {
            told.first_seen = told.first_seen.min(finding.first_seen);
            told.epochs = told.epochs.max(finding.epochs);
            open(told)
        }
        State::Open { finding, milder, again } => {
            let first_seen = told.first_seen.min(finding.first_seen);
            let epochs = told.epochs.max(finding.epochs);
            let newer = if told.epoch >= finding.epoch { told } else { Arc::unwrap_or_clone(finding) };
            State::Open { finding: Arc::new(Finding { first_seen, epochs, ..newer }), milder, again }
        }
        // Said before it ended, and heard late.
        State::Ended { at, again } if told.last_seen < at => State::Ended { at, again },
        State::Ended { .. } => open(told),
    };
    Life { state, flaps }
}

fn open(finding: Finding) -> State {
    State::Open { finding: Arc::new(finding), milder: 0, again: None }
}

fn end(told: Finding, known: Option<Life>, now: OffsetDateTime) -> Life {
    let at = told.resolved_at.unwrap_or(told.last_seen);
    let Some(Life { state, flaps }) = known else {
        let flaps = Flaps::counted(told.flaps, now);
        let state =
            if told.silenced.is_some() { hidden(told, None) } else { State::Ended { at, again: None } };
        return Life { state, flaps };
    };
    let state = match state {
        State::Open { finding, .. } if told.epoch >= finding.epoch => {
            let again = Some(Arc::new(told.clone()));
            if told.silenced.is_some() { hidden(told, again) } else { State::Ended { at, again } }
        }
        other => other,
    };
    Life { state, flaps }
}

/// A finding that was said to end because a silence keeps it from being published: nothing tells that it is over.
fn hidden(told: Finding, again: Option<Arc<Finding>>) -> State {
    let finding = Finding { status: Status::Firing, resolved_at: None, ..told };
    State::Open { finding: Arc::new(finding), milder: 0, again }
}

#[cfg(test)]
mod tests;
