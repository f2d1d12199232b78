//! Services that answer `$SRV.PING`.

use crate::check::Entry;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[];
