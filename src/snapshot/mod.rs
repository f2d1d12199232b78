//! What one epoch learnt about the system; immutable once the gather has ended.

mod account;
mod boot;
#[cfg(test)]
pub(crate) mod build;
mod closed;
mod connections;
mod counter;
mod coverage;
mod departure;
mod details;
mod event;
mod events;
mod follow_up;
mod health;
mod history;
mod interest;
mod known;
mod links;
mod look_back;
mod missing;
mod pace;
mod series;
mod server;
mod services;
mod slow;
mod subject;
mod texts;
mod unloaded;
mod unseen;
mod vars;

pub use account::{Account, AccountLimits, Limits, OnServer, Traffic};
pub use boot::{Boot, Counters, Deaf, Ends, HeardBoot};
pub use closed::{
    CLOSED_GROUPS, Closed, ClosedConnection, ClosedFold, ClosedGroup, ClosedSource, ORDINARY_ENDS,
    is_before_login,
};
pub use connections::{
    AccountFold, Budget, ClientKind, ConnectionFold, FoldRules, FoldThresholds, Folded, Kinds, Login,
    Offence, Offender, OwnLimit, Owner, PageSource, PerLogin, ServerFold, ShareDetails, SilentConnection,
    StalledReader, StalledReaders, TopConnection, UserDetails, UserFold, Users,
};
pub(crate) use connections::{HIDDEN, TOKEN, UNAUTHENTICATED, share_of, shared};
pub use counter::{Counted, TopCounter};
pub use coverage::{Answer, Coverage, Denied, Endpoint, Gap, Requests, Shortfall};
pub use departure::{Departure, Leaving};
pub use details::{
    AccountDetails, Claims, Export, Import, ImportState, SHARES, ShareKind, Token, TokenClaims,
};
pub use event::Event;
pub use events::{AccountEvents, Events};
pub use follow_up::{
    BusyConnection, ConnectionSubscriptions, FollowUp, FollowUpResults, Order, SubscriptionShape,
};
pub use health::{Health, Problem, ProblemKind};
pub use history::{History, Sample, Trend, difference};
pub use interest::Interest;
pub use known::{Known, KnownAccount};
pub use links::{Gateway, Gateways, INTEREST_ONLY, Leaf, Route, gateways, leafs, routes};
pub use look_back::{Gone, LookBack, Quiet};
pub use missing::Missing;
pub use pace::Pace;
pub use series::{
    Kind as SeriesKind, Point, Reading, Series, Track, WINDOW as SERIES_WINDOW, gateway_link, lagging_asset,
};
pub use server::{Server, Version};
pub use services::{Library, OldestList, Service, ServiceConnection, ServiceLists, Services, service_of};
pub use slow::SlowCounts;
pub use subject::{covers, overlaps};
pub use unloaded::{Unloaded, UnloadedImport, UnloadedImports};
pub use vars::{ByKind, JetStreamVars, ServerVars};

use crate::text::Name;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// What one epoch learnt.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Unix time in seconds at which the epoch was scheduled to start.
    pub epoch: u64,
    /// When the gather began, by the agent's clock.
    pub taken_at: OffsetDateTime,
    /// The system account's name or public key; `$SYS` until a server has told it.
    pub system_account: Name,
    /// The servers that answered, by their id (new at every boot).
    pub servers: BTreeMap<Name, Server>,
    /// Every account that a server has loaded, by name or public key.
    pub accounts: BTreeMap<Name, Account>,
    /// Whether servers were asked only for accounts that have clients, because there are too many: then accounts come and
    /// go with their clients.
    pub only_used_accounts: bool,
    /// Services by account and name.
    pub services: Services,
    /// From when they are.
    pub service_lists: ServiceLists,
    /// Whether anybody listens to an imported stream, by the importing account and the local subject.
    pub interest: BTreeMap<(Name, Name), Interest>,
    /// The accounts that the servers' resolver keeps and no server has loaded; none where nobody lists them.
    pub unloaded: Option<Unloaded>,
    /// The answers to targeted requests.
    pub follow_ups: FollowUpResults,
    /// Which server answered what.
    pub coverage: Coverage,
    /// Servers that announced that they leave, within the last day; by name.
    pub departures: Vec<Departure>,
    /// Which boots announced their end.
    pub ends: Ends,
    /// What the gather cost.
    pub cost: Cost,
    /// Whether the gather was ended by its deadline, so that something is missing for want of time.
    pub cut: bool,
    /// Whether the agent keeps up.
    pub pace: Pace,
}

/// What a gather cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// Requests sent.
    pub requests: u64,
    /// Answers used.
    pub responses: u64,
    /// Bytes of those answers as they came over the network.
    pub bytes: u64,
    /// Longest time from a request to the answer of one server, in milliseconds.
    pub slowest_server_ms: u64,
    /// The longest time to an answer of each server, by its id, in milliseconds.
    pub slowest: BTreeMap<Name, u64>,
    /// Answers dropped because the same server had answered already.
    pub duplicates: u64,
    /// Messages to the inbox that belong to no open request.
    pub strangers: u64,
}

impl Cost {
    /// Notes how long a server took for an answer.
    pub fn note_time(&mut self, server: &Name, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let slowest = self.slowest.entry(server.clone()).or_default();
        *slowest = took.max(*slowest);
    }
}

impl Snapshot {
    /// A snapshot in which nothing is known yet.
    pub fn empty(epoch: u64, taken_at: OffsetDateTime) -> Self {
        Self {
            epoch,
            taken_at,
            system_account: Name::from("$SYS"),
            servers: BTreeMap::new(),
            accounts: BTreeMap::new(),
            only_used_accounts: false,
            services: Services::new(),
            service_lists: ServiceLists::default(),
            interest: BTreeMap::new(),
            unloaded: None,
            follow_ups: FollowUpResults::default(),
            coverage: Coverage::default(),
            departures: Vec::new(),
            ends: Ends::default(),
            cost: Cost::default(),
            cut: false,
            pace: Pace::default(),
        }
    }

    /// Takes in the folded connections.
    pub fn take_fold(&mut self, fold: ConnectionFold) {
        let fold = fold.finish();
        for (id, server_fold) in fold.servers {
            if let Some(server) = self.servers.get_mut(&id) {
                server.fold = Some(server_fold);
            }
        }
        for (id, account_fold) in fold.accounts {
            self.accounts.entry(id.clone()).or_insert_with(|| Account::new(id)).fold = account_fold;
        }
    }

    /// Drops what the sweep over connections brought, by far the largest part: the counts of servers, and the sums of accounts,
    /// stay.
    pub fn forget_connections(&mut self) {
        for server in self.servers.values_mut() {
            (server.fold, server.closed) = (None, None);
        }
        self.accounts.values_mut().for_each(Account::forget_connections);
        self.services.values_mut().for_each(Service::forget_connections);
        self.service_lists = ServiceLists::default();
        self.interest = BTreeMap::new();
        self.unloaded = None;
        self.follow_ups = FollowUpResults::default();
    }

    /// The server with this name. Names are unique in a system that uses JetStream; elsewhere the first by id.
    pub fn server_named(&self, name: &str) -> Option<&Server> {
        self.servers.values().find(|server| &*server.name == name)
    }

    /// Servers by cluster; those without a cluster are left out.
    pub fn clusters(&self) -> BTreeMap<&Name, Vec<&Server>> {
        let mut clusters: BTreeMap<&Name, Vec<&Server>> = BTreeMap::new();
        for server in self.servers.values() {
            if let Some(cluster) = &server.cluster {
                clusters.entry(cluster).or_default().push(server);
            }
        }
        clusters
    }

    /// The servers of a cluster.
    pub fn members(&self, cluster: &Name) -> impl Iterator<Item = &Server> {
        self.servers.values().filter(move |server| server.cluster.as_ref() == Some(cluster))
    }

    /// The other servers of a server's cluster; there are none where it has no cluster.
    pub fn beside<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = &'a Server> + Clone {
        let of_cluster = |other: &&Server| server.cluster.is_some() && other.cluster == server.cluster;
        self.servers.values().filter(of_cluster).filter(|other| other.id != server.id)
    }

    /// A server, and with it the others of its cluster.
    pub fn cluster_of<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = &'a Server> + Clone {
        std::iter::once(server).chain(self.beside(server))
    }

    /// The name that people know an account by, where it has one.
    pub fn account_name(&self, id: &Name) -> Option<&Name> {
        self.accounts.get(id)?.name.as_ref()
    }

    /// What people call an account: its name, or else its id.
    pub fn account_label(&self, id: &Name) -> Name {
        self.account_name(id).unwrap_or(id).clone()
    }

    /// The name of a server by its id; the id itself for one that is gone.
    pub fn server_name(&self, id: &Name) -> Name {
        self.servers.get(id).map_or_else(|| id.clone(), |server| server.name.clone())
    }

    /// Client connections that the sweep saw, on all servers.
    pub fn connections_seen(&self) -> u64 {
        self.servers.values().filter_map(|server| server.fold.as_ref()).map(|fold| fold.clients).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::build::System;

    #[test]
    fn a_connection_that_the_agent_lost_is_not_its_own_any_more() {
        let system = System::of(1).own_next("n1");
        // Remembered from before a reconnect, but the server does not list it.
        assert_eq!(system.done().servers["ID-n1"].fold.as_ref().unwrap().own, 0);
        let snapshot = System::of(1).own_next("n1").connect("n1", "SYS", "sys", 1, |_, _| {}).done();
        let fold = snapshot.servers["ID-n1"].fold.as_ref().unwrap();
        assert_eq!((fold.own, fold.clients), (1, 0));
    }
}
