//! Servers and what they run out of.

use crate::check::Entry;

mod server_011;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[Entry::of::<server_011::ConnectionCountHigh>()];
