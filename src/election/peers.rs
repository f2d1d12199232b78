//! The other agents, as far as they are heard.

use super::presence::Presence;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Agents that are remembered; of more, the lowest in rank are not. One beside each server of a large system is fewer.
const MAX_PEERS: usize = 256;

/// Agents that have left and are remembered, so that a message that was overtaken does not bring one back.
const MAX_LEFT: usize = 64;

#[derive(Debug, Clone)]
struct Peer {
    told: Presence,
    heard: Duration,
}

/// The agents that were heard and are not gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers {
    by_id: BTreeMap<String, Peer>,
    left: VecDeque<String>,
}

impl Peers {
    /// Takes in what one said.
    pub(super) fn hear(&mut self, told: Presence, now: Duration) {
        if told.leaving {
            self.by_id.remove(&told.id);
            self.left.truncate(MAX_LEFT - 1);
            self.left.push_front(told.id);
            return;
        }
        if self.left.contains(&told.id) {
            return;
        }
        if let Some(known) = self.by_id.get(&told.id) {
            // Two servers may carry messages of one agent that moved between them, the older one last.
            if told.up_ms < known.told.up_ms {
                return;
            }
        } else if self.by_id.len() >= MAX_PEERS {
            let last = self.all().min_by(|one, other| one.rank(other)).cloned();
            match last {
                Some(last) if told.rank(&last) == Ordering::Greater => self.by_id.remove(&last.id),
                _ => return,
            };
        }
        self.by_id.insert(told.id.clone(), Peer { told, heard: now });
    }

    /// Forgets those that are unheard for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        self.by_id.retain(|_, peer| now < peer.heard + peer.told.silence());
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }

    /// When the next one is gone if it stays silent.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.by_id.values().map(|peer| peer.heard + peer.told.silence()).min()
    }

    /// What each said last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Presence> {
        self.by_id.values().map(|peer| &peer.told)
    }

    /// The first in rank.
    pub(super) fn best(&self) -> Option<&Presence> {
        self.all().max_by(|one, other| one.rank(other))
    }

    /// The first in rank of those that say that they lead.
    pub(super) fn leader(&self) -> Option<&Presence> {
        self.best().filter(|best| best.leading)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is heard.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::presence::tests::presence;
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_unheard_for_its_own_epoch_is_gone_and_who_leaves_is_gone_at_once() {
        let mut peers = Peers::default();
        peers.hear(presence("a", 1), s(0));
        peers.hear(Presence { interval_ms: 10_000, leading: true, ..presence("b", 2) }, s(0));
        assert_eq!((peers.next_expiry(), peers.leader().map(|leader| &*leader.id)), (Some(s(2)), Some("b")));
        peers.expire(Duration::from_millis(1999));
        assert_eq!(peers.len(), 2);
        peers.expire(s(2));
        assert_eq!(peers.best().map(|best| &*best.id), Some("b"));
        peers.hear(Presence { leaving: true, ..presence("b", 2) }, s(3));
        assert!(peers.is_empty());
        peers.hear(presence("b", 2), s(3));
        assert!(peers.is_empty(), "a message that was overtaken");
    }

    #[test]
    fn an_older_message_does_not_undo_a_newer_one() {
        let mut peers = Peers::default();
        peers.hear(Presence { up_ms: 500, leading: false, ..presence("a", 1) }, s(0));
        peers.hear(Presence { up_ms: 400, leading: true, ..presence("a", 1) }, s(0));
        assert!(peers.leader().is_none());
    }

    #[test]
    fn they_are_bounded_and_a_leader_is_never_the_one_left_out() {
        let mut peers = Peers::default();
        for n in 0..1000 {
            peers.hear(presence(&format!("{n:04}"), n), s(0));
        }
        peers.hear(Presence { leading: true, ..presence("late", 5000) }, s(0));
        assert_eq!((peers.len(), peers.leader().map(|leader| &*leader.id)), (MAX_PEERS, Some("late")));
        assert_eq!(peers.all().filter(|peer| *peer.id < *"0255").count(), MAX_PEERS - 1);
    }
}
