//! An account, summed from what each server says of it.

use super::{AccountDetails, AccountEvents, AccountFold};
use crate::text::Name;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What one server counts for an account (ACCOUNT STATZ).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnServer {
    /// Open client connections here: NATS, WebSocket, MQTT; not leafnodes.
    pub connections: u64,
    /// Open leafnode connections here.
    pub leafnodes: u64,
    /// The account's interest as this server sees it: local and routed together, so the members of a cluster show
    /// the same. None before 2.10.
    pub subscriptions: Option<u64>,
}

/// What one server counts of an account's messages since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent and received, those through gateways, routes and leafnodes included.
    pub bytes: u64,
    /// Those of them that went through gateways (2.11).
    pub gateway_bytes: u64,
}

/// Limits of an account's JWT. -1 is unlimited; the server leaves out zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Client connections.
    pub connections: i64,
    /// Subscriptions of one connection.
    pub subscriptions: i64,
    /// Leafnode connections.
    pub leafnodes: i64,
}

/// What is known of an account's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limits {
    /// Read from its JWT.
    Jwt(AccountLimits),
    /// The global account `$G`: no configuration can give it limits, its name is reserved (server source).
    None,
    /// An account of a configuration file: no answer of any endpoint shows its limits (measured, 2.9.10 to 2.15.1).
    NotVisible,
    /// They could be read, but were not, and why.
    Unread(String),
}

/// An account of the system.
#[derive(Debug, Clone)]
pub struct Account {
    /// Public key in operator mode, its name otherwise.
    pub id: Name,
    /// Readable name, in operator mode.
    pub name: Option<Name>,
    /// Per server id; servers on which it has no connection are left out.
    pub servers: BTreeMap<Name, OnServer>,
    /// The largest interest that any server shows, one without connections included; none if no server shows one.
    pub interest: Option<u64>,
    /// Slow consumers since the start of each server, by its id; servers without any are left out. One client may be
    /// counted more than once (measured).
    pub slow_consumers: BTreeMap<Name, u64>,
    /// By server id; only of servers through whose gateways something of the account went.
    pub traffic: BTreeMap<Name, Traffic>,
    /// Bytes sent and received, by all servers that listed it.
    pub bytes: u64,
    /// A digest of which boots of which servers listed it: sums over servers are compared only where it is the same.
    pub told_by: u64,
    /// Its limits.
    pub limits: Limits,
    /// What it imports and exports, where that was read in this epoch or before.
    pub details: Option<Arc<AccountDetails>>,
    /// From the sweep over connections; empty where it has none.
    pub fold: AccountFold,
    /// From events since the previous epoch.
    pub events: AccountEvents,
    /// Its connections, once the servers they were on have been forgotten.
    pub(super) remembered: Option<u64>,
}

impl Account {
    /// An account of which only the id is known.
    pub fn new(id: Name) -> Self {
        let limits = Limits::Unread("no server described the account".into());
        Self {
            id,
            name: None,
            servers: BTreeMap::new(),
            interest: None,
            slow_consumers: BTreeMap::new(),
            traffic: BTreeMap::new(),
            bytes: 0,
            told_by: 0,
            limits,
            details: None,
            fold: AccountFold::default(),
            events: AccountEvents::default(),
            remembered: None,
        }
    }

    /// Keeps of an earlier epoch what later ones compare with: how many connections it had. Which servers they were on is by
    /// far the largest part of a large system.
    pub(super) fn forget_connections(&mut self) {
        self.remembered = Some(self.connections());
        self.servers = BTreeMap::new();
        self.details = None;
        self.fold = AccountFold::default();
    }

    /// Bytes that went through gateways, by all servers that listed it and tell them (2.11).
    pub fn gateway_bytes(&self) -> u64 {
        self.traffic.values().fold(0, |sum, traffic| sum.saturating_add(traffic.gateway_bytes))
    }

    /// Notes that a server listed it.
    pub fn note_told(&mut self, server: &Name) {
        let mut hasher = DefaultHasher::new();
        server.hash(&mut hasher);
        // The order in which servers answer must not matter.
        self.told_by = self.told_by.wrapping_add(hasher.finish());
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// Client connections over all servers: the limit is enforced across the system (measured).
    pub fn connections(&self) -> u64 {
        self.remembered
            .unwrap_or_else(|| self.servers.values().fold(0, |sum, on| sum.saturating_add(on.connections)))
    }

    /// Leafnode connections over all servers.
    pub fn leafnodes(&self) -> u64 {
        self.servers.values().fold(0, |sum, on| sum.saturating_add(on.leafnodes))
    }

    /// Leafnodes on the server that has most: they count towards the connection limit there only (measured).
    pub fn leafnodes_on_fullest(&self) -> u64 {
        self.servers.values().map(|on| on.leafnodes).max().unwrap_or(0)
    }

    /// The largest interest that any server shows; none if no server shows one.
    pub fn subscriptions(&self) -> Option<u64> {
        self.servers.values().map(|on| on.subscriptions).fold(self.interest, Option::max)
    }
}
