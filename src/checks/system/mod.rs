//! Optimizations of servers and of what connects them.

use crate::check::Entry;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[];
