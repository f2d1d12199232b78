//! Something changed that somebody may want to know of.

use crate::check::Entry;

mod change_003;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[Entry::of::<change_003::AccountChange>()];
