//! Accounts and their limits.

use crate::check::Entry;

mod accounts_001;
mod accounts_002;
mod accounts_006;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<accounts_001::ConnectionLimit>(),
    Entry::of::<accounts_002::AccountSlowConsumers>(),
    Entry::of::<accounts_006::SubscriptionLimit>(),
];

/// The optimizations among them, in order.
pub const OPTIMIZATIONS: &[Entry] = &[];
