//! Links of leafnodes.

use crate::check::Entry;

mod leaf_001;
mod leaf_002;
mod leaf_003;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<leaf_001::NameWithWhitespace>(),
    Entry::of::<leaf_002::HighLeafRtt>(),
    Entry::of::<leaf_003::ManyLeafSubscriptions>(),
];
