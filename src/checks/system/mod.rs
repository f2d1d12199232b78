//! Optimizations of servers and of what connects them.

use crate::check::Entry;

mod opt_sys_005;
mod opt_sys_006;
mod opt_sys_014;
mod opt_sys_017;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<opt_sys_005::RoutePending>(),
    Entry::of::<opt_sys_006::LeafCompressionOff>(),
    Entry::of::<opt_sys_014::GatewayPending>(),
    Entry::of::<opt_sys_017::LeafAutoCompression>(),
];
