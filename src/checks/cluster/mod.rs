//! Clusters: their servers side by side, their routes and gateways.

use crate::check::Entry;

mod cluster_001;
mod cluster_004;
mod cluster_006;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<cluster_001::MemoryOutlier>(),
    Entry::of::<cluster_004::ClusterNameWhitespace>(),
    Entry::of::<cluster_006::ConnectionCountChange>(),
];
