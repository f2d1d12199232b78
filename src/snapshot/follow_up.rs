//! Targeted requests that a rule asks for after the first sweep, and what they brought.

use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A targeted request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FollowUp {
    /// The subjects of the account's connections with most subscriptions
    /// (`$SYS.REQ.ACCOUNT.<account>.CONNZ`, sorted by subscriptions, a handful from each server).
    TopSubscriptions {
        /// The account.
        account: Name,
    },
    /// Recently closed connections of one server, to count those refused because it was full.
    ClosedConnections {
        /// The server's id.
        server: Name,
    },
}

/// A first token of subjects and how many of a connection's subscriptions have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SubscriptionShape {
    /// Subscriptions below `_INBOX.`.
    pub inbox: u64,
    /// All subscriptions that were listed.
    pub listed: u64,
    /// The most common first tokens, `_INBOX` included.
    pub first_tokens: Vec<super::Counted>,
}

/// The shape of the subscriptions of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSubscriptions {
    /// The server's id.
    pub server: Name,
    /// The connection's id on that server.
    pub cid: u64,
    /// What its subscriptions look like.
    pub shape: SubscriptionShape,
}

/// Answers to follow-ups.
#[derive(Debug, Clone, Default)]
pub struct FollowUpResults {
    /// By account: its connections with most subscriptions.
    pub subscriptions: BTreeMap<Name, Vec<ConnectionSubscriptions>>,
    /// By server id: clients refused since the previous epoch because the server was full; none where it does not tell.
    pub rejected: BTreeMap<Name, u64>,
}
