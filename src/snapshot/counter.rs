//! Counting by name in bounded memory.

use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// Names that one counter keeps apart. Up to this many distinct names every count is exact.
const CAPACITY: usize = 256;

/// A name and how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// The name; cut if it is very long.
    #[schemars(with = "String")]
    pub name: Name,
    /// How often.
    pub count: u64,
}

/// Counts by name, with at most 256 names in memory (Misra and Gries, "Finding repeated elements", 1982).
/// Exact until more distinct names than that were seen; from then on a count is too low by at most `lost`.
#[derive(Debug, Clone, Default)]
pub struct TopCounter {
    counts: HashMap<Name, u64>,
    lost: u64,
}

impl TopCounter {
    /// Counts one more of `name`; `make` makes the kept form of a name seen for the first time.
    pub fn add(&mut self, name: &str, make: impl FnOnce(&str) -> Name) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        // A cut name differs from its original, so that a long name must be looked up again in its kept form.
        self.add_kept(make(name), 1);
    }

    fn add_kept(&mut self, name: Name, by: u64) {
        if let Some(count) = self.counts.get_mut(&name) {
            *count += by;
            return;
        }
        let mut by = by;
        while self.counts.len() >= CAPACITY {
            let least = self.counts.values().copied().min().unwrap_or(0).min(by);
            self.lost += least;
            by -= least;
            self.counts.retain(|_, count| {
                *count -= least;
                *count > 0
            });
            if by == 0 {
                return;
            }
        }
        self.counts.insert(name, by);
    }

    /// Adds what another counter saw.
    pub fn merge(&mut self, other: &Self) {
        self.lost += other.lost;
        for (name, count) in &other.counts {
            self.add_kept(name.clone(), *count);
        }
    }

    /// The `n` most frequent names, the most frequent first, equal ones by name.
    pub fn top(&self, n: usize) -> Vec<Counted> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn a_count_is_never_too_high_and_too_low_by_at_most_the_loss(names in prop::collection::vec(0u32..2000, 0..4000), split in 0usize..4000) {
            let (mut left, mut right) = (TopCounter::default(), TopCounter::default());
            let mut truth: HashMap<String, u64> = HashMap::new();
            for (i, name) in names.iter().map(|n| (n % (1 + n % 700)).to_string()).enumerate() {
                if i < split { &mut left } else { &mut right }.add(&name, |text| Name::from(text));
                *truth.entry(name).or_default() += 1;
            }
            left.merge(&right);
            prop_assert!(left.counts.len() <= CAPACITY);
            for (name, count) in &truth {
                let kept = left.counts.get(name.as_str()).copied().unwrap_or(0);
                prop_assert!(kept <= *count && kept + left.lost >= *count);
            }
        }
    }
}
