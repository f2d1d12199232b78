//! Who may be asked now: one heavy request for each server, and a bound over all of them.

use crate::text::Name;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Estimated bytes, as they come over the network, that may be on their way to this agent. All answers arrive at one
/// connection, for which its server keeps at most 64 MB pending (`max_pending`) before it closes it; an estimate may be
/// wrong by a factor, so this is an eighth.
pub(super) const BUDGET: u64 = 8 * 1024 * 1024;

/// Most servers that are asked at the same time. Enough to hide 100 ms of latency to a thousand servers; their bytes are
/// bounded by [`BUDGET`].
pub(super) const WIDEST: usize = 32;

/// An answer is slow if it took this many times what the same server took before.
const SLOWER: f64 = 3.0;

/// Differences below this are noise of scheduling, not load.
const NOISE: Duration = Duration::from_millis(50);

/// The lanes of one epoch, or of many: what was learnt about the pace stays.
#[derive(Debug)]
pub(super) struct Lanes {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    /// Servers that have a heavy request.
    busy: HashSet<Name>,
    bytes: u64,
    /// How many servers may be asked at once: a server that gets slower halves it, answers in time widen it by one for each
    /// round, as TCP does.
    width: f64,
    /// Answers since the last halving: those that were on their way then tell of the same load.
    since: usize,
    narrowest: usize,
}

/// The right to one heavy request; dropping it gives the right back.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    lanes: &'a Lanes,
    server: Name,
    bytes: u64,
    answered: bool,
}

impl Default for Lanes {
    fn default() -> Self {
        let state =
            State { busy: HashSet::new(), bytes: 0, width: WIDEST as f64, since: 0, narrowest: WIDEST };
        Self { state: Mutex::new(state), freed: Notify::new() }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server has no other heavy request and its estimated bytes fit; none at the deadline.
    pub(super) async fn enter(&self, server: &Name, bytes: u64, deadline: Instant) -> Option<Pass<'_>> {
        let bytes = bytes.min(BUDGET);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no release is missed.
            freed.as_mut().enable();
            if Instant::now() >= deadline {
                return None;
            }
            if self.try_enter(server, bytes) {
                return Some(Pass { lanes: self, server: server.clone(), bytes, answered: false });
            }
            timeout_at(deadline, freed).await.ok()?;
        }
    }

    fn try_enter(&self, server: &Name, bytes: u64) -> bool {
        let mut state = self.lock();
        let fits = state.bytes + bytes <= BUDGET && (state.busy.len() as f64) < state.width.floor();
        if state.busy.contains(server) || !(fits || (state.busy.is_empty() && state.bytes == 0)) {
            return false;
        }
        state.busy.insert(server.clone());
        state.bytes += bytes;
        true
    }

    /// How an answer came: how long it took and how long such an answer of this server took before, none if that is not
    /// known. No answer at all is `Duration::MAX`.
    pub(super) fn judge(&self, took: Duration, before: Option<Duration>) {
        let slow = took == Duration::MAX
            || before.is_some_and(|before| took > before.mul_f64(SLOWER) && took > before + NOISE);
        let mut state = self.lock();
        state.since += 1;
        if !slow {
            state.width = (state.width + 1.0 / state.width).min(WIDEST as f64);
        } else if state.since as f64 >= state.width {
            state.width = (state.width / 2.0).max(1.0);
            state.since = 0;
            state.narrowest = state.narrowest.min(state.width as usize);
        }
    }

    /// The fewest servers that were asked at once since the last call, if there was reason to ask fewer.
    pub(super) fn take_narrowest(&self) -> Option<usize> {
        let mut state = self.lock();
        let narrowest = state.narrowest;
        state.narrowest = state.width as usize;
        (narrowest < WIDEST).then_some(narrowest)
    }
}

impl Pass<'_> {
    /// The server has answered and may be asked for something else, while the answer is still being read.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.lanes.lock().busy.remove(&self.server);
            self.lanes.freed.notify_waiters();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        if !self.answered {
            state.busy.remove(&self.server);
        }
        state.bytes -= self.bytes;
        drop(state);
        self.lanes.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_once() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    #[test]
    fn a_server_that_has_answered_is_free_while_its_bytes_still_count() {
        let lanes = Lanes::default();
        let enter = |server: &str, bytes| {
            let server = Name::from(server);
            lanes.try_enter(&server, bytes).then(|| Pass { lanes: &lanes, server, bytes, answered: false })
        };
        let mut first = enter("a", BUDGET).unwrap();
        assert!(enter("a", 0).is_none());
        first.answered();
        let again = enter("a", 0).unwrap();
        drop(again);
        assert!(enter("b", 1).is_none());
        drop(first);
        assert!(enter("b", 1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_has_one_request_and_all_have_a_budget() {
        let lanes = Lanes::default();
        let (a, b, c) = (Name::from("a"), Name::from("b"), Name::from("c"));
        let first = lanes.enter(&a, 1, at_once()).await;
        assert!(first.is_some() && lanes.enter(&a, 1, at_once()).await.is_none());
        // What would not fit beside others is asked alone.
        assert!(lanes.enter(&b, BUDGET, at_once()).await.is_none());
        drop(first);
        let large = lanes.enter(&b, u64::MAX, at_once()).await;
        assert!(large.is_some() && lanes.enter(&c, 1, at_once()).await.is_none());
        drop(large);
        assert!(lanes.enter(&c, 1, at_once()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_in_when_another_leaves() {
        let lanes = Lanes::default();
        let a = Name::from("a");
        let first = lanes.enter(&a, 1, at_once()).await.unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        let (second, ()) = tokio::join!(lanes.enter(&a, 1, later), async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        });
        assert!(second.is_some());
    }

    #[test]
    fn slowness_halves_the_width_once_a_round_and_pace_widens_it_again() {
        let lanes = Lanes::default();
        let (before, slow) = (Some(Duration::from_millis(100)), Duration::from_millis(400));
        let width = || lanes.lock().width as usize;
        for _ in 0..WIDEST {
            lanes.judge(Duration::from_millis(110), before);
        }
        assert_eq!((width(), lanes.take_narrowest()), (WIDEST, None));
        for _ in 0..5 {
            lanes.judge(slow, before);
        }
        assert_eq!(width(), WIDEST / 2);
        for _ in 0..200 {
            lanes.judge(Duration::MAX, None);
        }
        assert_eq!((width(), lanes.take_narrowest()), (1, Some(1)));
        for _ in 0..2000 {
            lanes.judge(Duration::from_millis(90), before);
        }
        assert_eq!(width(), WIDEST);
    }

    #[test]
    fn a_little_more_than_nothing_is_not_slow() {
        let lanes = Lanes::default();
        for _ in 0..200 {
            lanes.judge(Duration::from_millis(40), Some(Duration::from_millis(1)));
        }
        assert_eq!(lanes.take_narrowest(), None);
    }
}
