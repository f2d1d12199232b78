//! How long to wait before a reconnect.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// No two attempts follow each other faster than this.
pub(super) const FLOOR: Duration = Duration::from_millis(250);
/// No wait is longer than this.
pub(super) const CEILING: Duration = Duration::from_secs(10);

/// The growing delay between attempts.
///
/// async-nats 0.51 counts attempts too, but starts anew whenever a login succeeds: a server that accepts a connection
/// and closes it at once would be asked four times a second for ever. So the delay shrinks only after quiet.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    level: u32,
}

impl Backoff {
    /// The delay before the next attempt, when the last one began `since_last` ago; `random` lies in 0..1.
    pub(super) fn next(&mut self, since_last: Duration, random: f64) -> Duration {
        // Longer than the longest delay and the connect that follows it: the connection must have held.
        if since_last > CEILING * 3 {
            self.level = 0;
        }
        let full = (FLOOR * 2).saturating_mul(2_u32.saturating_pow(self.level)).min(CEILING);
        self.level = self.level.saturating_add(1);
        full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0).max(FLOOR)
    }
}

/// A number in 0..1 that spreads agents apart. The standard library's hash keys are random, which is random enough.
pub(super) fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    bits as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_floor_to_the_ceiling() {
        let mut low = Backoff::default();
        let mut high = Backoff::default();
        let soon = Duration::from_millis(1);
        let lows: Vec<_> = (0..8).map(|_| low.next(soon, 0.0).as_millis()).collect();
        let highs: Vec<_> = (0..8).map(|_| high.next(soon, 1.0).as_millis()).collect();
        assert_eq!(lows, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(highs, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn only_quiet_resets_the_delay() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.next(Duration::from_secs(20), 0.0);
        }
        assert_eq!(backoff.next(Duration::from_secs(20), 0.0), Duration::from_secs(5));
        assert_eq!(backoff.next(Duration::from_secs(31), 0.0), FLOOR);
    }

    #[test]
    fn random_numbers_stay_in_range() {
        for _ in 0..1000 {
            assert!((0.0..=1.0).contains(&random()));
        }
    }
}
