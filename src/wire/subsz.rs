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

/// Local subscriptions, where they were asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubscriptionList {
    /// Those that match what was asked, all pages together; before 2.11.6 those of the page.
    pub total: u64,
    /// The most that are listed.
    pub limit: u64,
    /// Those of the page, in no order.
    pub subscriptions_list: Option<Vec<Subscription>>,
}

/// A subscription of a client of this server, or of the server itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subscription {
    /// Name or public key of its account.
    pub account: String,
    /// The subject, with its wildcards.
    pub subject: String,
    /// The id of the connection.
    pub cid: u64,
}
