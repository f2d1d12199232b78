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
    /// The connections of one server that come first in an order, a handful of them.
    BusiestConnections {
        /// The server's id.
        server: Name,
        /// In which order.
        by: Order,
    },
}

/// An order of connections that servers know; the largest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Bytes sent to the client since it connected.
    BytesTo,
    /// Bytes that came from it.
    BytesFrom,
    /// Bytes that wait to be sent to it.
    Pending,
    /// Subscriptions.
    Subscriptions,
}

/// A connection of a server, without any secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusyConnection {
    /// Its id on that server.
    pub cid: u64,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// The account, by the name that people know where connections tell it.
    pub account: Name,
    /// The user, by the name that people know.
    pub user: Name,
    /// Its address without the port.
    pub address: Name,
    /// Bytes sent to it.
    pub bytes_to: u64,
    /// Bytes that came from it.
    pub bytes_from: u64,
    /// Seconds since it connected, by the server's clock.
    pub seconds: Option<u64>,
    /// Bytes that wait to be sent to it.
    pub pending: u64,
    /// Its subscriptions.
    pub subscriptions: u64,
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
    /// By server id and order: the first connections, without the agent's own.
    pub busiest: BTreeMap<(Name, Order), Vec<BusyConnection>>,
}
