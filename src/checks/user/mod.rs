//! Users: the identities that connections log in with.

use crate::check::Entry;

mod user_001;
mod user_002;

/// In the order of their ids.
pub const CHECKS: &[Entry] =
    &[Entry::of::<user_001::BearerUser>(), Entry::of::<user_002::ExcessiveUserConnections>()];
