//! Optimizations of servers and of what connects them.

use crate::check::Entry;

mod opt_sys_005;
mod opt_sys_006;
mod opt_sys_011;
mod opt_sys_012;
mod opt_sys_014;
mod opt_sys_017;
mod opt_sys_022;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<opt_sys_005::RoutePending>(),
    Entry::of::<opt_sys_006::LeafCompressionOff>(),
    Entry::of::<opt_sys_011::FanOutAnomaly>(),
    Entry::of::<opt_sys_012::SubscriptionChurn>(),
    Entry::of::<opt_sys_014::GatewayPending>(),
    Entry::of::<opt_sys_017::LeafAutoCompression>(),
    Entry::of::<opt_sys_022::SubscriptionGrowth>(),
];
