//! Client connections, rolled up by account and user.

use crate::check::Entry;

mod conn_003;
mod reasons;

/// The checks of this family, in order.
pub const CHECKS: &[Entry] = &[Entry::of::<conn_003::AbnormalDisconnects>()];
