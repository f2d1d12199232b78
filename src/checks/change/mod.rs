//! Something changed that somebody may want to know of.

use crate::check::Entry;

mod change_001;
mod change_002;
mod change_003;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[
    Entry::of::<change_001::ConfigurationReloaded>(),
    Entry::of::<change_002::JetStreamDomainChanged>(),
    Entry::of::<change_003::AccountChange>(),
];
