//! When epochs begin.

use std::time::Duration;
use time::OffsetDateTime;

/// Epochs at multiples of the interval since 1970, so that two agents call the same epoch alike. The first begins at
/// once, in the one that is running.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    interval_ms: u64,
    started_ms: u64,
    /// Unix time in seconds at which the epoch begins.
    pub(super) id: u64,
    /// Epochs left out between this one and the one before.
    pub(super) skipped: u64,
}

impl Schedule {
    pub(super) fn new(interval: Duration, now: OffsetDateTime) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1000);
        let mut schedule = Self { interval_ms, started_ms: 0, id: 0, skipped: 0 };
        schedule.begin(milliseconds(now) / interval_ms * interval_ms);
        schedule
    }

    /// The epochs of an agent that takes over after `last`, and how long to wait for the first: the one that is running, or
    /// the next one if that has been published already.
    pub(super) fn after(last: Option<u64>, interval: Duration, now: OffsetDateTime) -> (Self, Duration) {
        let mut schedule = Self::new(interval, now);
        let mut wait = Duration::ZERO;
        if last.is_some_and(|last| schedule.id <= last) {
            wait = schedule.next(now);
            schedule.skipped = 0;
        }
        (schedule, wait)
    }

    fn begin(&mut self, at_ms: u64) {
        self.started_ms = at_ms;
        self.id = at_ms / 1000;
    }

    /// Makes epochs of another length from the one after this on, and tells how long to wait for it. To be called instead
    /// of [`Self::next`].
    pub(super) fn next_of(&mut self, interval: Duration, now: OffsetDateTime) -> Duration {
        self.interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1000);
        let now = milliseconds(now);
        self.skipped = 0;
        // A clock set back must not give an epoch the id of an earlier one.
        self.begin((now.max(self.started_ms) / self.interval_ms + 1) * self.interval_ms);
        Duration::from_millis(self.started_ms.saturating_sub(now).min(self.interval_ms))
    }

    /// Moves on to the next epoch that has not begun yet, and tells how long to wait for it. An epoch that took too long
    /// makes those be left out that should have begun meanwhile.
    pub(super) fn next(&mut self, now: OffsetDateTime) -> Duration {
        let now = milliseconds(now);
        let next = (now / self.interval_ms + 1) * self.interval_ms;
        self.skipped = next.saturating_sub(self.started_ms + self.interval_ms) / self.interval_ms;
        // A clock set back must not give an epoch the id of an earlier one.
        self.begin(next.max(self.started_ms + self.interval_ms));
        Duration::from_millis(self.started_ms.saturating_sub(now).min(self.interval_ms))
    }
}

fn milliseconds(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i128) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000).unwrap()
    }

    #[test]
    fn epochs_are_aligned_and_never_repeat() {
        let mut schedule = Schedule::new(Duration::from_secs(60), at(1_763_632_859_000));
        assert_eq!(schedule.id, 1_763_632_800);
        assert_eq!(schedule.next(at(1_763_632_859_500)), Duration::from_millis(500));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860, 0));
        // It took too long: two epochs are left out.
        assert_eq!(schedule.next(at(1_763_632_860_000 + 150_000)), Duration::from_secs(30));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860 + 180, 2));
        // The clock is set back by an hour.
        assert_eq!(schedule.next(at(1_763_629_000_000)), Duration::from_secs(60));
        assert_eq!((schedule.id, schedule.skipped), (1_763_632_860 + 240, 0));
    }

    #[test]
    fn epochs_of_another_length_begin_after_the_present_one() {
        for (interval, expected) in [(5, 35), (60, 60), (3600, 3540)] {
            let mut schedule = Schedule::new(Duration::from_secs(60), at(1_763_632_860_000));
            let before = schedule.id;
            let wait = schedule.next_of(Duration::from_secs(interval), at(1_763_632_890_500));
            assert!(schedule.id > before && schedule.id.is_multiple_of(interval), "{schedule:?}");
            assert_eq!((schedule.id - before, schedule.skipped), (expected, 0));
            assert_eq!(wait, Duration::from_millis(expected * 1000 - 30_500));
            schedule.next(at(i128::from(schedule.id) * 1000 + 10));
            assert_eq!((schedule.id - before, schedule.skipped), (expected + interval, 0));
        }
    }

    #[test]
    fn who_takes_over_leaves_no_epoch_out_and_repeats_none() {
        let (minute, now) = (Duration::from_secs(60), at(1_763_632_859_000));
        let running = 1_763_632_800;
        for last in [None, Some(running - 60)] {
            let (schedule, wait) = Schedule::after(last, minute, now);
            assert_eq!((schedule.id, schedule.skipped, wait), (running, 0, Duration::ZERO), "{last:?}");
        }
        let (schedule, wait) = Schedule::after(Some(running), minute, now);
        assert_eq!((schedule.id, schedule.skipped, wait), (running + 60, 0, Duration::from_secs(1)));
    }

    #[test]
    fn two_agents_name_the_same_epoch_alike() {
        let a = Schedule::new(Duration::from_secs(30), at(1_763_632_801_000));
        let b = Schedule::new(Duration::from_secs(30), at(1_763_632_829_999));
        assert_eq!(a.id, b.id);
    }
}
