//! How restless a finding is, and how much longer it must be clear for that.

use std::collections::VecDeque;
use time::{Duration, OffsetDateTime};

/// How far back beginnings and changes of severity count.
pub(super) const WINDOW: Duration = Duration::HOUR;

/// Turns that are remembered. More make no difference to [`Flaps::keep`].
const MOST: usize = 32;

/// Turns within the window from which a finding counts as flapping.
const FLAPPING: u64 = 3;

/// Epochs for which a flapping finding must be clear at the most, unless `keep` asks for more.
const LONGEST: u64 = 16;

/// When a finding began again or changed its severity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flaps(VecDeque<OffsetDateTime>);

impl Flaps {
    /// As another agent counted them; when they were is not told, so they count from `now` on.
    pub(super) fn counted(flaps: u64, now: OffsetDateTime) -> Self {
        let flaps = usize::try_from(flaps).unwrap_or(MOST).min(MOST);
        Self(std::iter::repeat_n(now, flaps).collect())
    }

    pub(super) fn turn(&mut self, now: OffsetDateTime) {
        self.0.push_back(now);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    pub(super) fn count(&mut self, now: OffsetDateTime) -> u64 {
        while self.0.front().is_some_and(|at| now - *at >= WINDOW) {
            self.0.pop_front();
        }
        self.0.len() as u64
    }

    /// Epochs for which the finding must be clear before it ends: `keep`, and twice as many with each turn from the
    /// third on, up to 16.
    pub(super) fn keep(&mut self, keep: u64, now: OffsetDateTime) -> u64 {
        let flaps = self.count(now);
        let doublings = (flaps + 1).saturating_sub(FLAPPING).min(u64::from(u32::BITS));
        keep.max(keep.saturating_mul(1 << doublings).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restless_finding_is_kept_longer_and_calms_down_within_the_hour() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut flaps = Flaps::default();
        let mut kept = vec![flaps.keep(1, start)];
        for _ in 0..40 {
            flaps.turn(start);
            kept.push(flaps.keep(1, start));
        }
        assert_eq!(kept[..8], [1, 1, 1, 2, 4, 8, 16, 16]);
        assert_eq!((kept[40], flaps.count(start)), (16, MOST as u64));
        assert_eq!(flaps.keep(3, start), 16);
        assert_eq!(flaps.keep(100, start), 100);
        assert_eq!(flaps.count(start + WINDOW - Duration::SECOND), MOST as u64);
        assert_eq!((flaps.count(start + WINDOW), flaps.keep(1, start + WINDOW)), (0, 1));
    }

    #[test]
    fn what_another_agent_counted_is_taken_over_within_the_bound() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(Flaps::counted(4, now).count(now), 4);
        assert_eq!(Flaps::counted(u64::MAX, now).count(now), MOST as u64);
    }
}
