//! What is held open without use.

use crate::check::Entry;

mod opt_idle_001;
mod opt_idle_005;
mod opt_idle_006;
mod opt_idle_007;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<opt_idle_001::UnderutilizedServer>(),
    Entry::of::<opt_idle_005::InactiveAccount>(),
    Entry::of::<opt_idle_006::DisconnectedUser>(),
    Entry::of::<opt_idle_007::IdleClientConnections>(),
];
