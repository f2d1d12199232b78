//! Servers and what they run out of.

use crate::check::Entry;

mod server_010;
mod server_011;
mod server_018;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<server_010::HighRouteRtt>(),
    Entry::of::<server_011::ConnectionCountHigh>(),
    Entry::of::<server_018::HighGatewayRtt>(),
];
