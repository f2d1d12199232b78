//! Optimizations of servers and of what connects them.

use crate::check::Entry;

mod opt_sys_011;
mod opt_sys_012;
mod opt_sys_022;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<opt_sys_011::FanOutAnomaly>(),
    Entry::of::<opt_sys_012::SubscriptionChurn>(),
    Entry::of::<opt_sys_022::SubscriptionGrowth>(),
];
