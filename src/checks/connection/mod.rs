//! Client connections, rolled up by account and user.

use crate::check::Entry;

mod conn_001;
mod conn_002;
mod offenders;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] =
    &[Entry::of::<conn_001::SlowConnections>(), Entry::of::<conn_002::OutboundBacklog>()];
