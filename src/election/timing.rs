//! How often agents speak, and how long one may be silent.

use std::time::Duration;

/// How long an agent that starts, or comes back, waits for answers to its hello before it leads. An answer takes one
/// way over the network and back; 750 ms is three times the slowest round trip of a connection around the globe.
pub const HELLO_WAIT: Duration = Duration::from_millis(750);

/// Between an answer to a hello and the message before it: many agents that start together are answered once.
pub(super) const ANSWER_GAP: Duration = Duration::from_millis(50);

/// Between two hellos until the answers are in: one may be lost.
pub(super) const HELLO_AGAIN: Duration = Duration::from_millis(250);

/// How often an agent whose user may not speak or hear tries again: each time costs a line in the server's log.
pub const DENIED_RETRY: Duration = Duration::from_secs(60);

/// What a leader that is heard has, beyond [`silence`], to renew a lease that another agent could take: its client waits up
/// to 10 s between two attempts to connect, an attempt takes up to 5 s, and a bucket that could not be opened is tried again
/// after 10 s.
pub(super) const RETURN: Duration = Duration::from_secs(30);

const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
const SILENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What an agent that hears no others allows its own connection, at the least: nobody could take over meanwhile.
const ALONE: Duration = Duration::from_secs(5);

/// Between two messages of an agent with epochs of `interval`, and between two renewals of its lease: a quarter of the
/// epoch, from 250 ms to 5 s.
pub fn heartbeat(interval: Duration) -> Duration {
    (interval / 4).clamp(HEARTBEAT.0, HEARTBEAT.1)
}

/// How long an agent with epochs of `interval` is unheard, or its lease unchanged, until it counts as gone: an epoch,
/// from 1 s to 30 s. That is four to six heartbeats.
pub fn silence(interval: Duration) -> Duration {
    interval.clamp(SILENCE.0, SILENCE.1)
}

/// How long a lease is unchanged until it can be taken: so much less that who looks at it once a heartbeat still takes
/// over in time.
pub fn lease_silence(interval: Duration) -> Duration {
    silence(interval) * 7 / 8
}

/// How long an agent relies on its own last proof of being heard, or its last renewal: less than the others wait, so
/// that a leader has stopped before another one begins.
pub fn patience(interval: Duration, others: bool) -> Duration {
    let silence = silence(interval);
    (if others { silence } else { silence.max(ALONE) }) * 3 / 4
}

/// The agent's own clock: time since its start in which neither a stopped process nor a suspended machine is left out.
///
/// The monotonic clock of Linux stands still while a machine is suspended, and the wall clock does not; so the clock goes
/// on by the larger of the two steps. A wall clock that is set forward looks like a suspension, at the cost of one hello.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    up: Duration,
    monotonic: Duration,
    wall: time::OffsetDateTime,
}

impl Clock {
    /// Starts at zero. `monotonic` may count from anywhere.
    pub fn new(monotonic: Duration, wall: time::OffsetDateTime) -> Self {
        Self { up: Duration::ZERO, monotonic, wall }
    }

    /// The time since the start. Goes never back.
    pub fn read(&mut self, monotonic: Duration, wall: time::OffsetDateTime) -> Duration {
        let step = monotonic.saturating_sub(self.monotonic);
        let by_wall = Duration::try_from(wall - self.wall).unwrap_or(Duration::ZERO);
        // The two never go quite alike; a slewed clock must not add up.
        let suspended = by_wall > step + HEARTBEAT.0;
        self.up += if suspended { by_wall } else { step };
        (self.monotonic, self.wall) = (self.monotonic.max(monotonic), wall);
        self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_leader_stops_before_the_others_take_over_and_two_epochs_are_enough() {
        for interval in [1, 2, 5, 10, 60, 3600].map(s) {
            assert!(patience(interval, true) < silence(interval), "{interval:?}");
            assert!(patience(interval, true) >= 3 * heartbeat(interval), "{interval:?}");
            // Unheard for that long, then one gather of at most four fifths of an epoch.
            let gather = interval.mul_f64(0.8);
            assert!(silence(interval) + gather <= 2 * interval, "{interval:?}");
            assert!(patience(interval, true) < lease_silence(interval), "{interval:?}");
            assert!(heartbeat(interval) + lease_silence(interval) + gather <= 2 * interval, "{interval:?}");
        }
        assert_eq!((heartbeat(s(1)), silence(s(1))), (Duration::from_millis(250), s(1)));
        assert_eq!((heartbeat(s(60)), silence(s(60))), (s(5), s(30)));
        assert!(patience(s(1), false) > patience(s(1), true));
    }

    #[test]
    fn a_suspended_machine_loses_no_time_and_a_clock_set_back_takes_none_away() {
        let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(1_763_632_800 + seconds).unwrap();
        let mut clock = Clock::new(s(100), at(0));
        assert_eq!(clock.read(s(101), at(1)), s(1));
        // Suspended for a minute: the monotonic clock did not see it.
        assert_eq!(clock.read(s(102), at(62)), s(62));
        assert_eq!(clock.read(s(103), at(3)), s(63));
        assert_eq!(clock.read(s(104), at(4)), s(64));
    }

    #[test]
    fn a_slewed_clock_does_not_add_up() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut clock = Clock::new(Duration::ZERO, start);
        let mut up = Duration::ZERO;
        for step in 1..=1000u32 {
            let (monotonic, wall) =
                (Duration::from_millis(100) * step, Duration::from_micros(100_050) * step);
            up = clock.read(monotonic, start + wall);
        }
        assert_eq!(up, s(100));
    }
}
