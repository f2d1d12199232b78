//! What keeps the agent from seeing: servers that do not answer, subjects that are denied, epochs that are too short.

use crate::check::Entry;

mod agent_001;
mod agent_002;
mod agent_003;

/// In the order of their ids.
pub const CHECKS: &[Entry] = &[
    Entry::of::<agent_001::ServerNotAnswering>(),
    Entry::of::<agent_002::DeniedSubject>(),
    Entry::of::<agent_003::EpochOverrun>(),
];
