//! Clusters: their servers side by side, their routes and gateways.

use crate::check::Entry;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[];
