//! Servers and what they run out of.

use crate::check::Entry;

mod reserve;
mod server_001;
mod server_002;
mod server_003;
mod server_004;
mod server_005;
mod server_007;
mod server_008;
mod server_009;
mod server_010;
mod server_011;
mod server_012;
mod server_013;
mod server_014;
mod server_015;
mod server_016;
mod server_017;
mod server_018;
mod server_019;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<server_001::NotReady>(),
    Entry::of::<server_002::VersionMismatch>(),
    Entry::of::<server_003::HighCpu>(),
    Entry::of::<server_004::SlowConsumers>(),
    Entry::of::<server_005::JetStreamMemoryPressure>(),
    Entry::of::<server_007::AuthenticationNotRequired>(),
    Entry::of::<server_008::UnexpectedRestart>(),
    Entry::of::<server_009::CrashLoop>(),
    Entry::of::<server_010::HighRouteRtt>(),
    Entry::of::<server_011::ConnectionCountHigh>(),
    Entry::of::<server_012::StaleConnections>(),
    Entry::of::<server_013::StalledPublishers>(),
    Entry::of::<server_014::JetStreamUnhealthy>(),
    Entry::of::<server_015::StreamsUnhealthy>(),
    Entry::of::<server_016::AccountsUnresolved>(),
    Entry::of::<server_017::JetStreamStoragePressure>(),
    Entry::of::<server_018::HighGatewayRtt>(),
    Entry::of::<server_019::JetStreamStorageNearMaximum>(),
];
