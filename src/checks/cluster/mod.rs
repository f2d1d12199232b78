//! Clusters: their servers side by side, their routes and gateways.

use crate::check::Entry;

mod cluster_005;
mod cluster_007;
mod cluster_008;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<cluster_005::RouteMissing>(),
    Entry::of::<cluster_007::GatewayDisconnected>(),
    Entry::of::<cluster_008::GatewaySetMismatch>(),
];
