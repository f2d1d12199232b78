//! What the fold may keep beside its exact counts, over all accounts, users and servers together.

/// The bounds of a fold. What is kept for every account, server and user comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Users of which more than their counts is kept: servers, addresses, names, times. 0.2 KB each, 8 bytes for each server
    /// that one is on, and what is counted.
    pub users: usize,
    /// Users of which the connections that are silent for longest are kept: at most 0.6 KB each.
    pub silent_users: usize,
    /// Users of which the slowest connections are kept, and as many again of those that are most backed up: at most 0.6 KB each.
    pub offending_users: usize,
    /// Pairs of an account and a server of which names, libraries and addresses are kept: 0.1 KB each and what is counted.
    pub shares: usize,
    /// Names in all counters together, at 24 bytes. Where there are more, all counters are halved, and again, from 256
    /// names each down to 8 (those of whole servers to 32), which is not halved any more.
    pub counted: usize,
    /// Distinct texts in all counters together; the same is done where there are more. Some 80 bytes each.
    pub texts: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            users: 8192,
            silent_users: 4096,
            offending_users: 4096,
            shares: 8192,
            counted: 1 << 19,
            texts: crate::snapshot::texts::TEXTS,
        }
    }
}

/// Names that one counter of an account, a user or a pair keeps when everything has been halved.
pub(super) const FEWEST: usize = 8;

/// Who has details. When there are more than there may be, the half with the smallest counts loses them, and from then on
/// nobody begins to have them before its count is above the largest of those.
///
/// So at most `2 n / budget` of `n` connections pass before the details of someone with many of them begin: half of the
/// budget had at least as many at that moment.
#[derive(Debug)]
pub(super) struct Holders<K> {
    held: Vec<K>,
    most: usize,
    above: u64,
}

impl<K: Copy + Ord> Holders<K> {
    pub(super) const fn new(most: usize) -> Self {
        Self { held: Vec::new(), most, above: 0 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = K> + '_ {
        self.held.iter().copied()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.held.len() >= self.most
    }

    /// Whether someone with this count may begin to have details.
    pub(super) const fn admits(&self, count: u64) -> bool {
        count > self.above && self.most > 0
    }

    /// Notes that someone has details from now on.
    pub(super) fn note(&mut self, who: K) {
        self.held.push(who);
    }

    /// Those that lose their details, so that there is room for others.
    pub(super) fn give_up_half(&mut self, count: impl Fn(K) -> u64) -> Vec<K> {
        let mut counted: Vec<(u64, K)> = self.held.iter().map(|who| (count(*who), *who)).collect();
        let half = counted.len().div_ceil(2);
        if half < counted.len() {
            counted.select_nth_unstable(half);
        }
        self.held = counted.split_off(half).into_iter().map(|(_, who)| who).collect();
        let largest = counted.iter().map(|(count, _)| *count).max().unwrap_or(0);
        self.above = self.above.max(largest);
        counted.into_iter().map(|(_, who)| who).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_half_makes_room_and_sets_the_mark() {
        let counts = [5, 1, 9, 1, 7];
        let mut holders = Holders::new(5);
        (0..5).for_each(|who| holders.note(who));
        assert!(holders.is_full() && holders.admits(1));
        let mut lost = holders.give_up_half(|who| counts[who]);
        lost.sort_unstable();
        assert_eq!(lost, [0, 1, 3]);
        assert!(!holders.is_full() && !holders.admits(5) && holders.admits(6));
    }

    #[test]
    fn without_a_budget_nobody_is_admitted() {
        assert!(!Holders::<usize>::new(0).admits(u64::MAX));
    }
}
