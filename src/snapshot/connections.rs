//! Connections, folded one by one as they are parsed: counts, top lists and extremes stay, connections do not.
//!
//! What is exact, however large the system: connections by kind, silent, unnamed and opened ones of every account; its
//! clients, leafnodes and subscriptions on every server (16 bytes for each pair); connections, silent, slow, backed-up and
//! bearer ones of every user, by its name and not by a hash of it (less than 150 bytes a user); the five connections of an
//! account and of a server with most subscriptions, and the one nearest its own limit; the median of subscriptions, to two
//! digits; all of a server.
//!
//! What is bounded, by [`Budget`]: how many names, libraries and addresses a counter tells apart (a count is then too low
//! by at most `n / (k + 1)`, which [`crate::snapshot::TopCounter::loss`] tells); of how many users, and of how many pairs
//! of account and server, details are kept. They go to those with most connections, and one whose details began late
//! tells how many connections had passed before. While a system is smaller than the budget, nothing is lost.

mod account;
mod budget;
mod fold;
mod keep;
mod offender;
mod owner;
mod stalled;
mod user;
mod users;

pub(crate) use account::share_of;
pub use account::{AccountFold, OwnLimit, ShareDetails, TopConnection};
pub use budget::Budget;
pub use fold::{ConnectionFold, Folded};
pub use offender::{ClientKind, Offence, Offender};
pub use owner::Owner;
pub use stalled::{StalledReader, StalledReaders};
pub(crate) use user::{HIDDEN, TOKEN, UNAUTHENTICATED};
pub use user::{SilentConnection, UserDetails};
pub(crate) use users::shared;
pub use users::{UserFold, Users};

use super::{Counted, TopCounter};
use crate::text::Name;
use std::time::Duration;
use time::OffsetDateTime;

/// Who has logged in, by all the names that the configuration may use.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// Name or public key of the account.
    pub account: &'a str,
    /// The account's readable name, where connections tell it: from 2.11.0 on, in operator mode.
    pub account_name: Option<&'a str>,
    /// The user's identity.
    pub user: &'a str,
    /// The user's readable name.
    pub user_name: Option<&'a str>,
}

/// From when on the connections of a user are counted as something. What is beyond it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldThresholds {
    /// How long a connection that never carried a message may be idle before it counts as silent.
    pub idle_after: Duration,
    /// How long a round trip may be before the connection counts as slow; at least a millisecond.
    pub rtt_above: Duration,
    /// How many bytes may wait to be sent to a connection before it counts as backed up.
    pub pending_above: u64,
}

impl FoldThresholds {
    /// Nothing is counted.
    pub const NONE: Self = Self::silent_after(Duration::MAX);

    /// Only silent connections are counted.
    pub const fn silent_after(idle_after: Duration) -> Self {
        Self { idle_after, rtt_above: Duration::MAX, pending_above: u64::MAX }
    }
}

/// How the fold depends on the configuration. It is asked once for every user.
pub type PerLogin = Box<dyn Fn(Login<'_>) -> FoldThresholds + Send + Sync>;

/// What the fold must know before it starts.
pub struct FoldRules {
    /// See [`PerLogin`].
    pub thresholds: PerLogin,
    /// The agent's own connections (server id, cid): that over which it looks, that of its sink, which is in another
    /// account, and those of other agents. They are in nothing that is drawn from a sweep over connections. What servers
    /// count themselves (STATZ, VARZ) has them in it: what is compared with a limit keeps them, as the server does, and
    /// what looks for uneven load leaves out as many as the sweep found.
    pub own: Vec<(Name, u64)>,
}

impl FoldRules {
    /// Rules under which nothing is counted as anything and no connection is the agent's own.
    pub fn none() -> Self {
        Self::uniform(FoldThresholds::NONE)
    }

    /// The same thresholds for every user, and no connection is the agent's own.
    pub fn uniform(thresholds: FoldThresholds) -> Self {
        Self { thresholds: Box::new(move |_| thresholds), own: Vec::new() }
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
}

/// The connections on one server.
#[derive(Debug, Clone, Default)]
pub struct ServerFold {
    /// Its number in this fold.
    slot: u32,
    /// Client connections.
    pub clients: u64,
    /// Leafnode connections (listed from 2.11.5 on).
    pub leafnodes: u64,
    /// Clients that were idle for long and never carried a message.
    pub silent: u64,
    /// Subscriptions of these clients.
    pub subscriptions: u64,
    /// The accounts with most clients here, the most first, at most 5.
    pub accounts: Vec<Counted>,
    /// How many accounts have clients here.
    pub distinct_accounts: u64,
    /// The accounts with most subscriptions of clients here, the most first, at most 5.
    pub accounts_by_subscriptions: Vec<Counted>,
    /// The clients here with most subscriptions, the most first, at most 5, each with its account.
    pub top_subscriptions: Vec<(Name, TopConnection)>,
    /// By client name.
    pub names: TopCounter,
    /// By address.
    pub addresses: TopCounter,
    /// The agent's own connections here, which are in none of the numbers above but in those of VARZ and STATZ.
    pub own: u64,
    /// The account of each of them.
    own_accounts: Vec<Name>,
    /// The readers that publishers had to wait for most often.
    pub stalled: StalledReaders,
    /// The server's clock when it wrote the last page.
    pub now: Option<OffsetDateTime>,
}

/// Accounts, and connections, that are named per server.
const TOP: usize = 5;

impl ServerFold {
    /// The account of each of the agent's own connections here.
    pub fn own_accounts(&self) -> &[Name] {
        &self.own_accounts
    }

    fn offer_account(&mut self, name: &Name, clients: u64, subscriptions: u64) {
        self.distinct_accounts += 1;
        offer(&mut self.accounts, name, clients);
        if subscriptions > 0 {
            offer(&mut self.accounts_by_subscriptions, name, subscriptions);
        }
    }

    /// Keeps a client if it has more subscriptions than another that is kept.
    fn offer_client(&mut self, subscriptions: u64, cid: u64, keep: impl FnOnce() -> (Name, TopConnection)) {
        let largest = &mut self.top_subscriptions;
        let least = largest.last().map_or(0, |(_, last)| last.subscriptions);
        if subscriptions > least || (largest.len() < TOP && subscriptions > 0) {
            let before = |(_, other): &(Name, TopConnection)| {
                other.subscriptions > subscriptions
                    || (other.subscriptions == subscriptions && other.cid < cid)
            };
            let at = largest.partition_point(before);
            largest.truncate(TOP - 1);
            largest.insert(at, keep());
        }
    }
}

fn offer(list: &mut Vec<Counted>, name: &Name, count: u64) {
    let before = |a: &Counted| a.count > count || (a.count == count && a.name < *name);
    let at = list.partition_point(before);
    if at < TOP {
        list.truncate(TOP - 1);
        list.insert(at, Counted { name: name.clone(), count });
    }
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
    /// Its `max_subscriptions` by VARZ: what one of its connections may have; 0 and less, and none, are no limit.
    pub max_subscriptions: Option<i64>,
}

#[cfg(test)]
mod beyond;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod tests;
