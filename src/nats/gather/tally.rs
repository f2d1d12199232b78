//! What a part of the gather cost and met, until it is added to the snapshot.

use crate::snapshot::{Cost, Snapshot};
use crate::text::Name;
use std::time::Duration;

/// Sentences that are kept; who garbles answers could make each of them another one.
const NOTES: usize = 100;

/// Costs and sentences of one part of the gather; parts run at the same time.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cost: Cost,
    notes: Vec<String>,
}

impl Tally {
    /// A request was sent.
    pub(super) const fn request(&mut self) {
        self.cost.requests += 1;
    }

    /// An answer was used.
    pub(super) fn answer(&mut self, bytes: u64, took: Duration) {
        self.cost.responses += 1;
        self.cost.bytes += bytes;
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.cost.slowest_server_ms = self.cost.slowest_server_ms.max(took);
    }

    /// How long a server took for it.
    pub(super) fn time(&mut self, server: &Name, took: Duration) {
        self.cost.note_time(server, took);
    }

    /// Bytes of one answer on average, if there was any.
    pub(super) fn bytes_of_an_answer(&self) -> Option<f64> {
        (self.cost.responses > 0).then(|| self.cost.bytes as f64 / self.cost.responses as f64)
    }

    /// A server answered again.
    pub(super) const fn duplicate(&mut self) {
        self.cost.duplicates += 1;
    }

    /// Somebody answered who was not asked.
    pub(super) const fn stranger(&mut self) {
        self.cost.strangers += 1;
    }

    /// A sentence for the operator. Anybody may send any number of answers; one sentence tells of all that are alike.
    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes in another part.
    pub(super) fn merge(&mut self, other: Self) {
        let Self { cost, notes } = other;
        self.cost.requests += cost.requests;
        self.cost.responses += cost.responses;
        self.cost.bytes += cost.bytes;
        self.cost.slowest_server_ms = self.cost.slowest_server_ms.max(cost.slowest_server_ms);
        self.cost.duplicates += cost.duplicates;
        self.cost.strangers += cost.strangers;
        for (server, took) in cost.slowest {
            let slowest = self.cost.slowest.entry(server).or_default();
            *slowest = took.max(*slowest);
        }
        notes.into_iter().for_each(|note| self.note(note));
    }

    /// Adds it to the snapshot.
    pub(super) fn add_to(self, snapshot: &mut Snapshot) {
        let mut sum = Self {
            cost: std::mem::take(&mut snapshot.cost),
            notes: std::mem::take(&mut snapshot.coverage.notes),
        };
        sum.merge(self);
        (snapshot.cost, snapshot.coverage.notes) = (sum.cost, sum.notes);
    }
}
