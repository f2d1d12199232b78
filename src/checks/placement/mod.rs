//! Where clients and traffic are, against where they should be.

use crate::check::Entry;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[];
