//! Clusters: their servers side by side, their routes and gateways.

use crate::check::Entry;

mod cluster_001;
mod cluster_004;
mod cluster_005;
mod cluster_006;
mod cluster_007;
mod cluster_008;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<cluster_001::MemoryOutlier>(),
    Entry::of::<cluster_004::ClusterNameWhitespace>(),
    Entry::of::<cluster_005::RouteMissing>(),
    Entry::of::<cluster_006::ConnectionCountChange>(),
    Entry::of::<cluster_007::GatewayDisconnected>(),
    Entry::of::<cluster_008::GatewaySetMismatch>(),
];
