//! Where clients and traffic are, against where they should be.

use crate::check::Entry;

mod opt_place_003;
mod opt_place_004;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] =
    &[Entry::of::<opt_place_003::HighGatewayTraffic>(), Entry::of::<opt_place_004::OptimisticGateway>()];
