//! Client connections, rolled up by account and user.

use crate::check::Entry;

mod conn_001;
mod conn_002;
mod conn_003;
mod offenders;
mod reasons;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<conn_001::SlowConnections>(),
    Entry::of::<conn_002::OutboundBacklog>(),
    Entry::of::<conn_003::AbnormalDisconnects>(),
];
