//! What an agent knows of the lease: one key, written only by who read its last revision.

use super::timing::{heartbeat, lease_silence, patience, silence};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use time::OffsetDateTime;

/// The value of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The agent's id.
    pub id: String,
    /// The agent's name.
    pub name: String,
    /// Since when the agent is there.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The interval of its epochs, in milliseconds.
    pub interval_ms: u64,
}

/// Something to be done with the key. One at a time: the next is asked for when the outcome of the last was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAction {
    /// Read it.
    Look,
    /// Write it: over this revision, or as a new key where there is none.
    Take {
        /// The revision that must be the last one; none where the key must not exist.
        over: Option<u64>,
        /// What to write.
        holder: Holder,
    },
    /// Delete it, if this is still its last revision.
    Release {
        /// That revision.
        revision: u64,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It was read: revision and value, or there is none.
    Seen(Option<(u64, Holder)>),
    /// It was written, and has this revision now.
    Written(u64),
    /// It was deleted.
    Released,
    /// Another one was faster: the revision was not the last one.
    Refused,
    /// It could not be reached.
    Unavailable,
}

/// What was last seen of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// Not looked at yet, since then.
    Nothing(Duration),
    Unavailable,
    /// No key, since then.
    Free(Duration),
    /// This revision, since then. `proven` if it was written while this agent looked on: then its holder is alive.
    Held {
        revision: u64,
        holder: Holder,
        since: Duration,
        proven: bool,
    },
}

/// What the lease says on who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// This agent.
    Mine,
    /// Another one, of which it is `proven` that it is alive; an agent that has just begun to look cannot know.
    Other { holder: Holder, proven: bool },
    /// Nobody holds it since then, and it can be taken.
    Free(Duration),
    /// Its holder has not renewed it since then; it can be taken.
    Stale(Duration),
    /// Not known yet.
    Wait,
    /// Nothing: it cannot be reached.
    Nothing,
}

/// The lease as one agent sees it.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    own_id: String,
    interval: Duration,
    seen: Seen,
    /// Revision of the last write, and when that was sent and confirmed.
    mine: Option<(u64, Duration, Duration)>,
    /// What is under way, in order, and since when: one action, and a release that could not wait for its end.
    asked: VecDeque<(LeaseAction, Duration)>,
    /// The holder that said that it leaves.
    left: Option<String>,
    /// Whether another agent is known to have written since the last look.
    written: bool,
    /// When the next is due.
    next: Duration,
}

impl Lease {
    pub(super) fn new(own_id: &str, interval: Duration, now: Duration) -> Self {
        Self {
            own_id: own_id.into(),
            interval,
            seen: Seen::Nothing(now),
            mine: None,
            asked: VecDeque::new(),
            left: None,
            written: false,
            next: now,
        }
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Takes in the outcome of what was asked first.
    pub(super) fn told(&mut self, outcome: LeaseOutcome, now: Duration) {
        let Some((asked, at)) = self.asked.pop_front() else {
            return;
        };
        self.next = (at + heartbeat(self.interval)).max(now);
        match outcome {
            LeaseOutcome::Seen(Some((revision, holder))) => {
                let same = matches!(&self.seen, Seen::Held { revision: known, .. } if *known == revision);
                let looked_on = matches!(&self.seen, Seen::Held { .. } | Seen::Free(_));
                let proven = looked_on || std::mem::take(&mut self.written);
                if !same {
                    self.seen = Seen::Held { revision, holder, since: now, proven };
                }
                if self.mine.is_some_and(|(mine, ..)| mine != revision) {
                    self.mine = None;
                }
            }
            LeaseOutcome::Seen(None) => {
                self.mine = None;
                if !matches!(self.seen, Seen::Free(_)) {
                    self.seen = Seen::Free(now);
                }
            }
            LeaseOutcome::Written(revision) => {
                if let LeaseAction::Take { holder, .. } = asked {
                    // Confirmed when it was first taken, not when it was renewed.
                    let confirmed = self.mine.map_or(now, |(_, _, confirmed)| confirmed);
                    self.mine = Some((revision, at, confirmed));
                    self.seen = Seen::Held { revision, holder, since: now, proven: true };
                }
            }
            LeaseOutcome::Released => {
                self.mine = None;
                self.seen = Seen::Free(now);
            }
            LeaseOutcome::Refused => {
                // Somebody wrote it: who, is to be read at once.
                self.mine = None;
                self.seen = Seen::Nothing(now);
                self.written = true;
                self.next = now;
            }
            // The revision may be as old as the failure is long, so it counts from when it is seen again.
            LeaseOutcome::Unavailable => self.seen = Seen::Unavailable,
        }
    }

    /// An agent said that it leaves: if it is the holder, it will not renew, whether or not it could delete the key.
    pub(super) fn leaves(&mut self, id: &str, now: Duration) {
        if matches!(&self.seen, Seen::Held { holder, .. } if holder.id == id) {
            self.left = Some(id.into());
            // It may have written since.
            self.next = now;
        }
    }

    /// What was seen is too old to be relied on.
    pub(super) fn forget(&mut self, now: Duration) {
        self.seen = Seen::Nothing(now);
        self.next = now;
    }

    /// What the lease says.
    pub(super) fn says(&self, now: Duration) -> Says {
        if self.is_mine(now) {
            return Says::Mine;
        }
        match &self.seen {
            Seen::Nothing(since) if now < *since + silence(self.interval) => Says::Wait,
            Seen::Nothing(_) | Seen::Unavailable => Says::Nothing,
            Seen::Free(since) => Says::Free(*since),
            Seen::Held { holder, since, .. }
                if holder.id == self.own_id || self.left.as_deref() == Some(&holder.id) =>
            {
                Says::Free(*since)
            }
            Seen::Held { holder, since, proven, .. } => {
                let stale = lease_silence(Duration::from_millis(holder.interval_ms));
                if now < *since + stale {
                    Says::Other { holder: holder.clone(), proven: *proven }
                } else {
                    Says::Stale(*since)
                }
            }
        }
    }

    /// Whether this agent wrote it last, and not so long ago that another one may have taken it.
    pub(super) fn is_mine(&self, now: Duration) -> bool {
        self.mine.is_some_and(|(_, sent, _)| now < sent + patience(self.interval, true))
    }

    fn is_in_own_name(&self) -> bool {
        matches!(&self.seen, Seen::Held { holder, .. } if holder.id == self.own_id)
    }

    /// When this agent got it, if it holds it.
    pub(super) fn taken_at(&self) -> Option<Duration> {
        self.mine.map(|(_, _, confirmed)| confirmed)
    }

    /// What is to be done now, if anything: hold what is held if it is to be `kept`, take what is `wanted`, give up what is
    /// neither, and look otherwise.
    pub(super) fn act(
        &mut self,
        wanted: bool,
        kept: bool,
        own: Holder,
        now: Duration,
    ) -> Option<LeaseAction> {
        if !self.asked.is_empty() {
            return None;
        }
        let over = match (self.mine, &self.seen) {
            (Some((revision, ..)), _) => Some(revision),
            (None, Seen::Held { revision, .. }) => Some(*revision),
            _ => None,
        };
        let due = now >= self.next;
        let action = match self.says(now) {
            Says::Mine if !kept => return None,
            Says::Mine if due => LeaseAction::Take { over, holder: own },
            Says::Free(_) | Says::Stale(_) if wanted => LeaseAction::Take { over, holder: own },
            // Written by a renewal that was under way when the lease was given up.
            Says::Free(_) if self.is_in_own_name() => LeaseAction::Release { revision: over? },
            _ if due => LeaseAction::Look,
            _ => return None,
        };
        self.asked.push_back((action.clone(), now));
        Some(action)
    }

    /// Gives it up, at whatever time. If a renewal is under way this fails, and the others wait until it is stale.
    pub(super) fn release(&mut self, now: Duration) -> Option<LeaseAction> {
        let (revision, ..) = self.mine.take()?;
        let action = LeaseAction::Release { revision };
        self.asked.push_back((action.clone(), now));
        Some(action)
    }

    /// When something changes by time alone.
    pub(super) fn wake(&self) -> impl Iterator<Item = Duration> {
        let due = self.asked.is_empty().then_some(self.next);
        let mine = self.mine.map(|(_, sent, _)| sent + patience(self.interval, true));
        let seen = match &self.seen {
            Seen::Nothing(since) | Seen::Free(since) => Some(*since + silence(self.interval)),
            Seen::Held { holder, since, .. } => {
                Some(*since + lease_silence(Duration::from_millis(holder.interval_ms)))
            }
            Seen::Unavailable => None,
        };
        [due, mine, seen].into_iter().flatten()
    }
}
