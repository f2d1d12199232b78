//! Connections, folded one by one as they are parsed: counts, top lists and extremes stay, connections do not.

mod user;

pub(crate) use user::{HIDDEN, TOKEN, UNAUTHENTICATED};
pub use user::{SilentConnection, UserFold};

use super::TopCounter;
use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::connz::{Connection, PageHead};
use crate::wire::time::timestamp;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use time::OffsetDateTime;

/// Connections with most subscriptions that are kept per account.
const TOP_CONNECTIONS: usize = 5;

/// How the fold depends on the configuration. Given (account, its user, the user's readable name): how long a
/// connection that never carried a message may be idle before it counts as silent.
pub type IdleAfter = Box<dyn Fn(&str, &str, Option<&Name>) -> Duration + Send + Sync>;

/// What the fold must know before it starts.
pub struct FoldRules {
    /// See [`IdleAfter`].
    pub idle_after: IdleAfter,
    /// The agent's own connections (server id, cid), which must not appear in any finding.
    pub own: Vec<(Name, u64)>,
}

impl FoldRules {
    /// Rules under which nothing is silent and no connection is the agent's own.
    pub fn none() -> Self {
        Self { idle_after: Box::new(|_, _, _| Duration::MAX), own: Vec::new() }
    }
}

impl std::fmt::Debug for FoldRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoldRules").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Connections by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Kinds {
    /// Plain or TLS NATS clients.
    pub nats: u64,
    /// WebSocket clients.
    pub websocket: u64,
    /// MQTT clients.
    pub mqtt: u64,
    /// Leafnode connections, which are not clients.
    pub leafnode: u64,
}

impl Kinds {
    /// Clients of every kind, without leafnodes.
    pub const fn clients(&self) -> u64 {
        self.nats + self.websocket + self.mqtt
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.nats += other.nats;
        self.websocket += other.websocket;
        self.mqtt += other.mqtt;
        self.leafnode += other.leafnode;
    }
}

/// The connections of an account on one server.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// How many of which kind.
    pub kinds: Kinds,
    /// Client names; unnamed ones are not in it.
    pub names: TopCounter,
    /// Client libraries with their versions, e.g. `go 1.34.0`.
    pub libraries: TopCounter,
    /// Addresses without ports.
    pub addresses: TopCounter,
}

/// A connection that stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopConnection {
    /// The server's id.
    pub server: Name,
    /// The connection's id there.
    pub cid: u64,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// The user identity.
    pub user: Name,
    /// Its subscriptions.
    pub subscriptions: u64,
}

/// The connections of an account on all servers.
#[derive(Debug, Clone, Default)]
pub struct AccountFold {
    /// By server id.
    pub servers: BTreeMap<Name, Share>,
    /// By user identity.
    pub users: HashMap<Name, UserFold>,
    /// Clients that were idle for long and never carried a message.
    pub silent: u64,
    /// Clients without a name.
    pub unnamed: u64,
    /// Open clients that started since the previous epoch.
    pub opened: u64,
    /// Clients by their number of subscriptions; numbers from 100 on are rounded down to two digits.
    pub subscriptions: BTreeMap<u64, u64>,
    /// The clients with most subscriptions, the most first.
    pub top_subscriptions: Vec<TopConnection>,
}

impl AccountFold {
    /// Connections by kind, over all servers.
    pub fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        for share in self.servers.values() {
            kinds.add(&share.kinds);
        }
        kinds
    }

    /// One counter of the shares of all servers.
    pub fn over_servers(&self, which: fn(&Share) -> &TopCounter) -> TopCounter {
        let mut sum = TopCounter::default();
        for share in self.servers.values() {
            sum.merge(which(share));
        }
        sum
    }

    /// The median number of subscriptions of a client; exact below 100, else rounded down to two digits.
    pub fn median_subscriptions(&self) -> Option<u64> {
        let clients: u64 = self.subscriptions.values().sum();
        let mut before = 0;
        self.subscriptions.iter().find_map(|(value, count)| {
            before += count;
            (clients > 0 && before * 2 >= clients).then_some(*value)
        })
    }
}

/// The connections on one server.
#[derive(Debug, Clone, Default)]
pub struct ServerFold {
    /// Client connections.
    pub clients: u64,
    /// Leafnode connections (listed from 2.11.5 on).
    pub leafnodes: u64,
    /// Clients that were idle for long and never carried a message.
    pub silent: u64,
    /// By account.
    pub accounts: TopCounter,
    /// By client name.
    pub names: TopCounter,
    /// By address.
    pub addresses: TopCounter,
    /// The agent's own connections here, which are in none of the numbers above but in those of VARZ and STATZ.
    pub own: u64,
    /// The server's clock when it wrote the last page.
    pub now: Option<OffsetDateTime>,
}

/// Where a page comes from.
#[derive(Debug, Clone, Default)]
pub struct PageSource {
    /// The server's id.
    pub server: Name,
    /// Its version.
    pub version: Option<super::Version>,
    /// Its clock when it wrote its last page in the previous epoch.
    pub since: Option<OffsetDateTime>,
}

/// The running fold of an epoch.
#[derive(Debug)]
pub struct ConnectionFold {
    rules: FoldRules,
    /// By server id.
    pub servers: BTreeMap<Name, ServerFold>,
    /// By account; `$G` where the server names none.
    pub accounts: HashMap<Name, AccountFold>,
}

impl ConnectionFold {
    /// An empty fold.
    pub fn new(rules: FoldRules) -> Self {
        Self { rules, servers: BTreeMap::new(), accounts: HashMap::new() }
    }

    /// Makes the server known even if it has no connections.
    pub fn server(&mut self, id: &Name) -> &mut ServerFold {
        self.servers.entry(id.clone()).or_default()
    }

    /// Takes in one connection.
    pub fn add(&mut self, source: &PageSource, head: &PageHead, connection: &Connection<'_>) {
        let Self { rules, servers, accounts } = self;
        if rules.own.iter().any(|(id, cid)| *cid == connection.cid && *id == source.server) {
            // Only one that is listed: the rules also remember those that were lost.
            servers.entry(source.server.clone()).or_default().own += 1;
            return;
        }
        let on_server = servers.entry(source.server.clone()).or_default();
        on_server.now = head.now.or(on_server.now);
        // The global account is left out of the answer by every version.
        let account_id = if connection.account.is_empty() { "$G" } else { &*connection.account };
        let account = entry(accounts, account_id);
        let share = account.servers.entry(source.server.clone()).or_default();
        if connection.kind == "Leafnode" {
            on_server.leafnodes += 1;
            share.kinds.leafnode += 1;
            return;
        }
        match &*connection.client_type {
            "websocket" => share.kinds.websocket += 1,
            "mqtt" => share.kinds.mqtt += 1,
            _ => share.kinds.nats += 1,
        }
        on_server.clients += 1;
        on_server.accounts.add(account_id, name);
        let start = timestamp(&connection.start);
        if let (Some(start), Some(since)) = (start, source.since) {
            account.opened += u64::from(start > since);
        }
        if connection.name.is_empty() {
            account.unnamed += 1;
        } else {
            on_server.names.add(&connection.name, text);
            share.names.add(&connection.name, text);
        }
        if !connection.ip.is_empty() {
            on_server.addresses.add(&connection.ip, text);
            share.addresses.add(&connection.ip, text);
        }
        if !connection.lang.is_empty() {
            share.libraries.add(&format!("{} {}", connection.lang, connection.version), text);
        }

        let user_id = name(&user::identity(connection, source.version));
        let user = account.users.entry(user_id.clone()).or_insert_with(|| {
            UserFold::new(connection, source.version, |name| (rules.idle_after)(account_id, &user_id, name))
        });
        let silent = user.add((&source.server, &user_id), connection, start, head.now);
        account.silent += u64::from(silent);
        on_server.silent += u64::from(silent);
        *account.subscriptions.entry(two_digits(connection.subscriptions)).or_default() += 1;
        let least = account.top_subscriptions.last().map_or(0, |last| last.subscriptions);
        if account.top_subscriptions.len() < TOP_CONNECTIONS || connection.subscriptions > least {
            let top = TopConnection {
                server: source.server.clone(),
                cid: connection.cid,
                name: (!connection.name.is_empty()).then(|| text(&connection.name)),
                user: user_id.clone(),
                subscriptions: connection.subscriptions,
            };
            let at =
                account.top_subscriptions.partition_point(|other| other.subscriptions >= top.subscriptions);
            account.top_subscriptions.insert(at, top);
            account.top_subscriptions.truncate(TOP_CONNECTIONS);
        }
    }
}

fn entry<'a>(accounts: &'a mut HashMap<Name, AccountFold>, id: &str) -> &'a mut AccountFold {
    accounts.entry(name(id)).or_default()
}

fn name(text: &str) -> Name {
    bounded(text, NAME_BYTES)
}

pub(crate) fn text(text: &str) -> Name {
    bounded(text, TEXT_BYTES)
}

/// The number itself below 100, else rounded down to its first two digits: at most 90 buckets per power of ten.
const fn two_digits(value: u64) -> u64 {
    let mut scale = 1;
    while value / scale >= 100 {
        scale *= 10;
    }
    value / scale * scale
}

#[cfg(test)]
mod tests;
