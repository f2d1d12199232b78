//! Times in which services were not seen whole, so that nothing was said of those that are gone.

use super::series::WINDOW;
use super::{Endpoint, Snapshot};
use std::collections::VecDeque;
use time::{Duration, OffsetDateTime};

/// Spans of time, the oldest first, as far back as services are followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Unseen {
    spans: VecDeque<(OffsetDateTime, OffsetDateTime)>,
    /// The last epoch.
    last: Option<OffsetDateTime>,
}

impl Unseen {
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let (from, to) = (self.last.unwrap_or(snapshot.taken_at), snapshot.taken_at);
        self.last = Some(to);
        let coverage = &snapshot.coverage;
        let whole = [Endpoint::Subsz, Endpoint::Services].iter().all(|one| coverage.gaps(*one).is_empty());
        if !whole {
            match self.spans.back_mut() {
                Some(span) if span.1 >= from => span.1 = to,
                _ => self.spans.push_back((from, to)),
            }
        }
        while self.spans.front().is_some_and(|span| to - span.1 >= WINDOW) {
            self.spans.pop_front();
        }
    }

    /// How much of the time since then it was.
    pub(super) fn since(&self, since: OffsetDateTime) -> Duration {
        let parts = self.spans.iter().map(|(from, to)| *to - (*from).max(since));
        parts.filter(|part| part.is_positive()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::{System, at};

    #[test]
    fn the_time_up_to_an_epoch_with_a_gap_is_unseen() {
        let mut unseen = Unseen::default();
        let seconds = |unseen: &Unseen, since: i64| unseen.since(at(since)).whole_seconds();
        for (second, whole) in [(0, true), (60, false), (120, false), (180, true), (240, false)] {
            let system = System::of(2).at(second);
            let system = if whole { system } else { system.silent("n2", Endpoint::Services) };
            unseen.push(&system.done());
        }
        assert_eq!([0, 60, 120, 180, 240].map(|since| seconds(&unseen, since)), [180, 120, 60, 60, 0]);
        assert_eq!(unseen.spans.len(), 2);
        unseen.push(&System::of(2).at(3720).done());
        assert_eq!((seconds(&unseen, 0), unseen.spans.len()), (60, 1));
    }
}
