//! Accounts, their limits, and what they import and export.

use crate::check::Entry;

mod accounts_001;
mod accounts_002;
mod accounts_003;
mod accounts_004;
mod accounts_005;
mod accounts_006;
mod opt_acct_002;
mod shares;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<accounts_001::ConnectionLimit>(),
    Entry::of::<accounts_002::AccountSlowConsumers>(),
    Entry::of::<accounts_003::InactiveImport>(),
    Entry::of::<accounts_004::OrphanedExport>(),
    Entry::of::<accounts_005::NoInterest>(),
    Entry::of::<accounts_006::SubscriptionLimit>(),
];

/// The optimizations among them, in order.
pub const OPTIMIZATIONS: &[Entry] = &[Entry::of::<opt_acct_002::LargeJwt>()];
