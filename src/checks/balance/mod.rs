//! Load that is spread unevenly.

use crate::check::Entry;

mod hotspot;
mod opt_balance_002;
mod opt_balance_003;
mod opt_balance_006;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<opt_balance_002::ConnectionHotspot>(),
    Entry::of::<opt_balance_003::SubscriptionHotspot>(),
    Entry::of::<opt_balance_006::AccountConcentration>(),
];
