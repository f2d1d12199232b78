//! Connections, folded one by one as they are parsed: counts, top lists and extremes stay, connections do not.
//!
//! What is exact, however large the system: connections by kind, silent, unnamed and opened ones of every account; its
//! clients and leafnodes on every server (12 bytes for each pair); connections and silent ones of every user, by its
//! name and not by a hash of it (less than 150 bytes a user); the five connections of an account with most subscriptions
//! and the one nearest its own limit; the median of subscriptions, to two digits; all of a server.
//!
//! What is bounded, by [`Budget`]: how many names, libraries and addresses a counter tells apart (a count is then too low
//! by at most `n / (k + 1)`, which [`crate::snapshot::TopCounter::loss`] tells); of how many users, and of how many pairs
//! of account and server, details are kept. They go to those with most connections, and one whose details began late
//! tells how many connections had passed before. While a system is smaller than the budget, nothing is lost.

mod account;
mod budget;
mod fold;
mod keep;
mod stalled;
mod user;
mod users;

pub(crate) use account::share_of;
pub use account::{AccountFold, OwnLimit, ShareDetails, TopConnection};
pub use budget::Budget;
pub use fold::{ConnectionFold, Folded, Owner};
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

/// How the fold depends on the configuration: how long a connection of this user that never carried a message may be idle
/// before it counts as silent.
pub type IdleAfter = Box<dyn Fn(Login<'_>) -> Duration + Send + Sync>;

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
        Self { idle_after: Box::new(|_| Duration::MAX), own: Vec::new() }
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
    /// By client name.
    pub names: TopCounter,
    /// By address.
    pub addresses: TopCounter,
    /// The agent's own connections here, which are in none of the numbers above but in those of VARZ and STATZ.
    pub own: u64,
    /// The readers that publishers had to wait for most often.
    pub stalled: StalledReaders,
    /// The server's clock when it wrote the last page.
    pub now: Option<OffsetDateTime>,
}

/// Accounts that are named per server.
const TOP_ACCOUNTS: usize = 5;

impl ServerFold {
    fn offer_account(&mut self, name: &Name, count: u64) {
        self.distinct_accounts += 1;
        let before = |a: &Counted| a.count > count || (a.count == count && a.name < *name);
        let at = self.accounts.partition_point(before);
        if at < TOP_ACCOUNTS {
            self.accounts.truncate(TOP_ACCOUNTS - 1);
            self.accounts.insert(at, Counted { name: name.clone(), count });
        }
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
mod bounds;
#[cfg(test)]
mod tests;
