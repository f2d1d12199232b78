//! Services that answer `$SRV.PING`.

use crate::check::Entry;

mod row;
mod service_001;
mod service_002;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] =
    &[Entry::of::<service_001::LibraryMismatch>(), Entry::of::<service_002::ServiceDown>()];
