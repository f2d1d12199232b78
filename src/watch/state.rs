//! The findings that are watched, by what was said of each last.

use super::pulse::PATIENCE;
use super::{Filter, Message, Pulse, Row};
use crate::check::Severity;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Findings that are followed; those beyond are counted.
const ROWS: usize = 20_000;
/// How long what has ended is remembered: late messages about it must not bring it back.
const REMEMBER: Duration = Duration::from_secs(600);

/// What happened to a finding, or to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was open already when the watching began.
    Open,
    /// It fires, and did not before.
    Began,
    /// Its severity changed.
    Changed {
        /// What it was before.
        from: Severity,
    },
    /// It is over, or goes on under a severity that is not watched.
    Ended,
    /// It was neither repeated nor ended, although it should have been.
    Stale,
    /// A stale one was heard of again.
    Back,
}

impl What {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Began => "began",
            Self::Changed { .. } => "changed",
            Self::Ended => "ended",
            Self::Stale => "stale",
            Self::Back => "back",
        }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// About a finding.
    Finding(What, Box<Row>),
    /// No agent has been heard for so many epochs.
    Silent(u64),
    /// One is heard again.
    Heard,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) row: Row,
    pub(super) stale: bool,
    /// When it was heard to have ended.
    pub(super) ended: Option<OffsetDateTime>,
}

/// The findings that are watched.
#[derive(Debug)]
pub struct State {
    filter: Filter,
    pub(super) pulse: Pulse,
    pub(super) entries: BTreeMap<String, Entry>,
    /// Whether all that was open when the watching began is known.
    pub(super) settled: bool,
    pub(super) silent: bool,
    /// Findings for which there was no room.
    pub(super) left_out: u64,
}

impl State {
    /// Nothing is known. `interval` is the length of an epoch until two of them tell another.
    pub const fn new(filter: Filter, interval: Duration, now: OffsetDateTime) -> Self {
        Self {
            filter,
            pulse: Pulse::new(interval, now),
            entries: BTreeMap::new(),
            settled: false,
            silent: false,
            left_out: 0,
        }
    }

    /// What is heard of agents.
    pub const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Takes it that everything that was open is known: what fires from here on begins.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Whether it is known what was open when the watching began.
    pub const fn settled(&self) -> bool {
        self.settled
    }

    /// Takes in what was open when the watching began. It says nothing about whether an agent still lives.
    pub fn open(&mut self, row: Row) -> Option<Change> {
        self.finding(row, What::Open, OffsetDateTime::UNIX_EPOCH)
    }

    /// Takes in a message.
    pub fn hear(&mut self, message: Message, now: OffsetDateTime) -> Vec<Change> {
        let mut changes = Vec::new();
        self.pulse.heard(now);
        if std::mem::take(&mut self.silent) {
            changes.push(Change::Heard);
        }
        match message {
            Message::Finding(row) => {
                let new = if self.settled { What::Began } else { What::Open };
                changes.extend(self.finding(*row, new, now));
            }
            Message::Epoch(epoch) => {
                self.pulse.epoch(epoch);
                // Every open finding is published before the summary of its epoch.
                self.settled = true;
                changes.extend(self.passed());
            }
        }
        changes
    }

    /// Lets time pass: what is not repeated becomes stale, and what ended long ago is forgotten.
    pub fn tick(&mut self, now: OffsetDateTime) -> Vec<Change> {
        self.entries.retain(|_, entry| entry.ended.is_none_or(|ended| now - ended < REMEMBER));
        let silent = self.pulse.silent_epochs(now);
        // Where no summaries come, and nothing is open, silence is as it should be.
        let expected = self.pulse.any_summary() || self.entries.values().any(|entry| entry.row.fires());
        if self.silent || silent < PATIENCE || !expected {
            return Vec::new();
        }
        self.silent = true;
        let mut changes = vec![Change::Silent(silent)];
        changes.extend(self.stale(|_, _| true));
        changes
    }

    fn finding(&mut self, row: Row, new: What, now: OffsetDateTime) -> Option<Change> {
        if !self.filter.passes(&row) {
            return None;
        }
        let full = self.entries.len() >= ROWS;
        let Some(known) = self.entries.get_mut(&row.fingerprint) else {
            if full {
                self.left_out += 1;
                return None;
            }
            let change = row.fires().then(|| Change::Finding(new, Box::new(row.clone())));
            let ended = (!row.fires()).then_some(now);
            self.entries.insert(row.fingerprint.clone(), Entry { row, stale: false, ended });
            return change;
        };
        if row.later(&known.row) != Ordering::Greater {
            return None;
        }
        let before = std::mem::replace(&mut known.row, row);
        let (row, was_stale) = (&known.row, std::mem::take(&mut known.stale));
        known.ended = (!row.fires()).then_some(now);
        let goes_on = row.successor.is_some_and(|severity| self.filter.passes_at(row, severity));
        let what = match (before.fires() || before.successor.is_some(), row.fires()) {
            (_, true) if before.fires() && before.severity == row.severity => was_stale.then_some(What::Back),
            (true, true) if before.severity != row.severity => Some(What::Changed { from: before.severity }),
            (_, true) => Some(new),
            // The message under the other severity comes next.
            (_, false) if goes_on => None,
            (_, false) => before.fires().then_some(What::Ended),
        };
        what.map(|what| Change::Finding(what, Box::new(row.clone())))
    }

    /// Marks what should have been repeated by now.
    fn passed(&mut self) -> Vec<Change> {
        self.stale(|pulse, row| pulse.passed(&row.system, row.epoch))
    }

    fn stale(&mut self, is: impl Fn(&Pulse, &Row) -> bool) -> Vec<Change> {
        let pulse = &self.pulse;
        let fresh = self.entries.values_mut().filter(|entry| !entry.stale && entry.row.fires());
        let mark = |entry: &mut Entry| {
            entry.stale = true;
            Change::Finding(What::Stale, Box::new(entry.row.clone()))
        };
        fresh.filter(|entry| is(pulse, &entry.row)).map(mark).collect()
    }
}

#[cfg(test)]
mod tests;
