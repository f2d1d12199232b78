//! SUBSZ: statistics of a server's interest graph.

use serde::Deserialize;

/// Statistics over all accounts; routed interest and the server's own subscriptions are in them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subsz {
    /// Subscriptions now.
    pub num_subscriptions: u64,
    /// Subscriptions added since the start.
    pub num_inserts: u64,
    /// Subscriptions removed since the start.
    pub num_removes: u64,
    /// Subjects in the match cache.
    pub num_cache: u64,
    /// Most subscriptions that one cached subject matches.
    pub max_fanout: u64,
    /// Subscriptions that a cached subject matches on average.
    pub avg_fanout: f64,
}
