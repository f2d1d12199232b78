//! Texts of evidence that repeat from connection to connection, each in memory once.

use crate::text::{Name, TEXT_BYTES, bounded};
use hashbrown::HashSet;
use std::sync::Arc;

/// Texts that are kept before those that nobody counts any more are let go: some 10 MB of names and addresses.
pub(super) const TEXTS: usize = 1 << 17;

/// Client names, libraries and addresses. Equal texts are one allocation for as long as anything else holds it.
#[derive(Debug)]
pub(super) struct Texts {
    known: HashSet<Name>,
    /// Where the next cleaning begins.
    full_at: usize,
    most: usize,
    together: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_room_for(TEXTS)
    }
}

impl Texts {
    pub(super) fn with_room_for(most: usize) -> Self {
        Self { known: HashSet::new(), full_at: most, most, together: String::new() }
    }

    /// The kept form of a text: cut if it is very long.
    pub(super) fn keep(&mut self, text: &str) -> Name {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let kept = bounded(text, TEXT_BYTES);
        if text.len() > TEXT_BYTES
            && let Some(known) = self.known.get(&kept)
        {
            return known.clone();
        }
        self.known.insert(kept.clone());
        kept
    }

    /// The kept form of two words with a space between them.
    pub(super) fn keep_pair(&mut self, first: &str, second: &str) -> Name {
        let mut together = std::mem::take(&mut self.together);
        together.clear();
        together.extend([first, " ", second]);
        let kept = self.keep(&together);
        self.together = together;
        kept
    }

    /// Whether it is time to [`Self::clean`].
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= self.full_at
    }

    /// Lets go what nothing else holds; whether more is held than there should be.
    pub(super) fn clean(&mut self) -> bool {
        self.known.retain(|text| Arc::strong_count(text) > 1);
        // Half of the room must be new before the next time, or cleaning would cost more than it brings.
        self.full_at = self.most.max(self.known.len().saturating_mul(2));
        self.known.len() > self.most / 2
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_what_nobody_holds_is_let_go() {
        let mut texts = Texts::with_room_for(4);
        let held = texts.keep("held");
        assert!(Arc::ptr_eq(&held, &texts.keep("held")));
        assert_eq!(&*texts.keep_pair("go", "1.30.0"), "go 1.30.0");
        let long = "x".repeat(5000);
        assert!(Arc::ptr_eq(&texts.keep(&long), &texts.keep(&long)));
        assert!(!texts.is_full());
        texts.keep("more");
        assert!(texts.is_full() && !texts.clean());
        assert_eq!(texts.len(), 1);
        assert!(Arc::ptr_eq(&held, &texts.keep("held")));
    }

    #[test]
    fn what_is_held_is_never_cleaned_again_and_again() {
        let mut texts = Texts::with_room_for(2);
        let held: Vec<Name> = (0..8).map(|i| texts.keep(&i.to_string())).collect();
        assert!(texts.is_full() && texts.clean());
        assert!(!texts.is_full() && texts.len() == held.len());
    }
}
