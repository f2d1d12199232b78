//! Counting by name in bounded memory.

use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Names that one counter keeps apart while there is room for it. Up to this many distinct names every count is exact.
pub(super) const CAPACITY: usize = 256;

/// A name and how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// The name; cut if it is very long.
    #[schemars(with = "String")]
    pub name: Name,
    /// How often.
    pub count: u64,
}

/// Counts by name, with at most `k` names in memory (Misra and Gries, "Finding repeated elements", 1982): 256, or fewer
/// where the whole system needs more counters than there is room for. Exact until more distinct names than that were seen;
/// from then on a count is too low by at most `loss`, which is at most `n / (k + 1)` after `n` names.
///
/// 32 bytes, and 24 for each name that is kept; without a name nothing is allocated.
#[derive(Debug, Clone, Default)]
pub struct TopCounter {
    counts: Vec<(Name, u64)>,
    lost: u64,
}

impl TopCounter {
    /// Counts one more of `name`, of at most 256; `make` makes the kept form of a name seen for the first time.
    pub fn add(&mut self, name: &str, make: impl FnOnce(&str) -> Name) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(kept, _)| **kept == *name) {
            *count += 1;
            return;
        }
        // A cut name differs from its original, so that a long name must be looked up again in its kept form.
        let name = make(name);
        match self.counts.iter_mut().find(|(kept, _)| *kept == name) {
            Some((_, count)) => *count += 1,
            None => self.insert(&name, CAPACITY),
        }
    }

    /// Counts one more of `name`, of at most `most`. All names that it is given must come from one [`super::texts::Texts`],
    /// where equal names are one allocation: only addresses are compared.
    pub(super) fn add_kept(&mut self, name: &Name, most: usize) {
        match self.counts.iter().position(|(kept, _)| Arc::ptr_eq(kept, name)) {
            Some(at) => {
                self.counts[at].1 += 1;
                // What comes often is found sooner.
                self.counts.swap(at, at / 2);
            }
            None => self.insert(name, most),
        }
    }

    fn insert(&mut self, name: &Name, most: usize) {
        if self.counts.len() < most {
            // Most counters hold few names: room for four at once would be wasted on them.
            if self.counts.len() == self.counts.capacity() {
                self.counts.reserve_exact(1 + self.counts.len() / 2);
            }
            self.counts.push((name.clone(), 1));
            return;
        }
        self.take_from_all(1);
    }

    fn take_from_all(&mut self, by: u64) {
        self.lost += by;
        self.counts.retain_mut(|(_, count)| {
            *count = count.saturating_sub(by);
            *count > 0
        });
    }

    /// Gives up names until at most `most` are left, and the room for more.
    pub(super) fn shrink(&mut self, most: usize) {
        if self.counts.len() > most {
            let mut counts: Vec<u64> = self.counts.iter().map(|(_, count)| *count).collect();
            let (_, largest_out, _) = counts.select_nth_unstable_by(most, |a, b| b.cmp(a));
            let by = *largest_out;
            self.take_from_all(by);
        }
        self.counts.shrink_to(most.min(self.counts.len()));
    }

    /// The `n` most frequent names, the most frequent first, equal ones by name.
    pub fn top(&self, n: usize) -> Vec<Counted> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(n);
        all.into_iter().map(|(name, count)| Counted { name: name.clone(), count: *count }).collect()
    }

    /// How many distinct names were seen; a lower bound once counts are not exact.
    pub fn distinct(&self) -> u64 {
        self.counts.len() as u64
    }

    /// Whether every count, and [`Self::distinct`], is exact.
    pub const fn is_exact(&self) -> bool {
        self.lost == 0
    }

    /// By how much a count may be too low.
    pub const fn loss(&self) -> u64 {
        self.lost
    }

    /// How often a name was seen, or less by at most [`Self::loss`].
    pub fn count_of(&self, name: &str) -> u64 {
        self.counts.iter().find(|(kept, _)| **kept == *name).map_or(0, |(_, count)| *count)
    }

    pub(super) const fn names(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::texts::Texts;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn few_names_are_counted_exactly() {
        let mut counter = TopCounter::default();
        for name in ["b", "a", "b", "c", "a", "b"] {
            counter.add(name, |text| Name::from(text));
        }
        let top: Vec<_> = counter.top(2).into_iter().map(|c| (c.name.to_string(), c.count)).collect();
        assert_eq!(top, [("b".into(), 3), ("a".into(), 2)]);
        assert!(counter.is_exact() && counter.distinct() == 3);
    }

    proptest! {
        #[test]
        fn a_count_is_never_too_high_and_too_low_by_at_most_the_loss(
            names in prop::collection::vec(0u32..2000, 0..4000), shrinks in prop::collection::vec(0usize..4000, 0..3), kept in any::<bool>(),
        ) {
            let (mut counter, mut texts, mut most) = (TopCounter::default(), Texts::default(), CAPACITY);
            let mut truth: HashMap<String, u64> = HashMap::new();
            let total = names.len() as u64;
            for (i, name) in names.iter().map(|n| (n % (1 + n % 700)).to_string()).enumerate() {
                match kept {
                    true => counter.add_kept(&texts.keep(&name), most),
                    false => counter.add(&name, |text| Name::from(text)),
                }
                *truth.entry(name).or_default() += 1;
                if kept && shrinks.contains(&i) {
                    most /= 2;
                    counter.shrink(most);
                }
            }
            prop_assert!(counter.names() <= most);
            prop_assert!(counter.loss() <= total / (most as u64 + 1));
            for (name, count) in &truth {
                let found = counter.count_of(name);
                prop_assert!(found <= *count && found + counter.loss() >= *count);
            }
        }
    }
}
