//! Client connections, rolled up by account and user.

use crate::check::Entry;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[];
