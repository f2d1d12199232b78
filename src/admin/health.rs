//! Whether the agent is alive and does its work. About the agent alone: trouble of the system that it watches is told by
//! findings, and a probe that failed with it would only take more of it away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many epochs the loop may be late.
const EPOCHS: u32 = 3;
/// The least that the loop may be late: with epochs of a second a busy machine is late at once.
const LEAST: Duration = Duration::from_secs(30);

/// What the loop did last. All times are counted from the beginning of the program.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    epoch: Duration,
    /// The last sign of life, and how long the loop said that it would wait after it.
    progress: (Duration, Duration),
    /// The last epoch that ended here, or that a leader told of.
    fresh: Option<Duration>,
    /// Why there is no epoch yet.
    waiting_for: String,
    standby: bool,
}

/// The loop no longer progresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent has shown no progress for {} s; it should within {} s", silent.as_secs(), at_most.as_secs())]
pub struct NotLive {
    /// How long it has been silent.
    pub silent: Duration,
    /// How long it may be.
    pub at_most: Duration,
}

/// Its results are not, or not yet, of today.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It has just begun.
    #[error("no epoch has ended yet: {why}")]
    NoEpoch {
        /// What it waits for.
        why: String,
    },
    /// The leader itself is behind.
    #[error("the last epoch ended {} s ago", ago.as_secs())]
    Stale {
        /// How long.
        ago: Duration,
    },
    /// Nobody leads, as far as is heard.
    #[error("no leader has been heard for {} s", ago.as_secs())]
    NoLeader {
        /// How long.
        ago: Duration,
    },
}

impl Health {
    /// An agent that has just begun, with epochs of this length.
    pub fn new(epoch: Duration, now: Duration) -> Self {
        Self(Mutex::new(State {
            epoch,
            progress: (now, Duration::ZERO),
            fresh: None,
            waiting_for: "the agent is connecting".into(),
            standby: false,
        }))
    }

    /// The length of an epoch.
    pub fn epoch(&self) -> Duration {
        self.state().epoch
    }

    /// The length of an epoch has changed.
    pub fn set_epoch(&self, epoch: Duration) {
        self.state().epoch = epoch;
    }

    /// The loop does something: it begins an epoch, tries to connect, hears a leader. It will be back within `waits`,
    /// where that is planned.
    pub fn progress(&self, now: Duration, waits: Duration) {
        self.state().progress = (now, waits);
    }

    /// It could not start, for this reason.
    pub fn cannot_start(&self, why: &str) {
        self.state().waiting_for = why.into();
    }

    /// An epoch of its own has ended. The first one counts when a server was heard in it.
    pub fn epoch_ended(&self, now: Duration, heard: bool) {
        let mut state = self.state();
        state.progress = (now, Duration::ZERO);
        state.standby = false;
        if heard || state.fresh.is_some() {
            state.fresh = Some(now);
        } else {
            state.waiting_for = "no server has answered so far".into();
        }
    }

    /// It stands by, and heard the leader.
    pub fn leader_heard(&self, now: Duration) {
        let mut state = self.state();
        state.progress = (now, Duration::ZERO);
        state.standby = true;
        state.fresh = Some(now);
    }

    /// Whether the loop progresses.
    pub fn live(&self, now: Duration) -> Result<(), NotLive> {
        let state = self.state();
        let (since, waits) = state.progress;
        let silent = now.saturating_sub(since);
        let at_most = state.patience() + waits;
        if silent < at_most { Ok(()) } else { Err(NotLive { silent, at_most }) }
    }

    /// Whether what it tells is of today.
    pub fn ready(&self, now: Duration) -> Result<(), NotReady> {
        let state = self.state();
        let Some(fresh) = state.fresh else {
            return Err(NotReady::NoEpoch { why: state.waiting_for.clone() });
        };
        let ago = now.saturating_sub(fresh);
        match (ago < state.patience(), state.standby) {
            (true, _) => Ok(()),
            (false, false) => Err(NotReady::Stale { ago }),
            (false, true) => Err(NotReady::NoLeader { ago }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn patience(&self) -> Duration {
        (self.epoch * EPOCHS).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_loop_that_progresses_is_alive_whatever_it_finds() {
        let health = Health::new(s(60), s(0));
        assert_eq!(health.live(s(179)), Ok(()));
        assert_eq!(health.live(s(180)), Err(NotLive { silent: s(180), at_most: s(180) }));
        health.progress(s(180), s(60));
        assert_eq!(health.live(s(180 + 60 + 179)), Ok(()));
        assert!(health.live(s(180 + 60 + 180)).is_err());
        health.epoch_ended(s(500), false);
        assert_eq!(health.live(s(501)), Ok(()));
    }

    #[test]
    fn short_epochs_leave_half_a_minute() {
        let health = Health::new(s(1), s(0));
        assert_eq!(health.live(s(29)), Ok(()));
        assert!(health.live(s(30)).is_err());
        health.set_epoch(s(20));
        assert_eq!(health.live(s(59)), Ok(()));
    }

    #[test]
    fn ready_is_a_latch_that_the_first_epoch_with_an_answer_sets() {
        let health = Health::new(s(60), s(0));
        health.cannot_start("cannot reach a:4222");
        let sentence = |now| health.ready(now).unwrap_err().to_string();
        assert_eq!(sentence(s(1)), "no epoch has ended yet: cannot reach a:4222");
        health.epoch_ended(s(2), false);
        assert_eq!(sentence(s(2)), "no epoch has ended yet: no server has answered so far");
        health.epoch_ended(s(60), true);
        assert_eq!(health.ready(s(61)), Ok(()));
        // The system has died; the agent goes on telling so.
        health.epoch_ended(s(200), false);
        assert_eq!(health.ready(s(379)), Ok(()));
        assert_eq!(sentence(s(380)), "the last epoch ended 180 s ago");
        health.epoch_ended(s(400), false);
        assert_eq!(health.ready(s(401)), Ok(()));
    }

    #[test]
    fn a_standby_is_ready_while_it_hears_a_leader() {
        let health = Health::new(s(10), s(0));
        health.leader_heard(s(5));
        assert_eq!((health.ready(s(34)), health.live(s(34))), (Ok(()), Ok(())));
        assert_eq!(health.ready(s(40)).unwrap_err().to_string(), "no leader has been heard for 35 s");
    }
}
