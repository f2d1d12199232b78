//! Servers and what they run out of.

use crate::check::Entry;

mod server_001;
mod server_004;
mod server_011;
mod server_012;
mod server_013;
mod server_014;
mod server_015;
mod server_016;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<server_001::NotReady>(),
    Entry::of::<server_004::SlowConsumers>(),
    Entry::of::<server_011::ConnectionCountHigh>(),
    Entry::of::<server_012::StaleConnections>(),
    Entry::of::<server_013::StalledPublishers>(),
    Entry::of::<server_014::JetStreamUnhealthy>(),
    Entry::of::<server_015::StreamsUnhealthy>(),
    Entry::of::<server_016::AccountsUnresolved>(),
];
