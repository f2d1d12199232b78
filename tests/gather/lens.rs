//! A gather of the test's own, as the least-privilege user.

use std::time::Duration;

use insights_agent::connection::ConnectionOptions;
use insights_agent::nats::connect::{Connection, connect};
use insights_agent::nats::events::ClientEvents;
use insights_agent::nats::gather::{Gatherer, Plan, Sweep};
use insights_agent::snapshot::{
    Account, AccountLimits, Answer, Endpoint, FoldRules, FollowUp, Server, Snapshot,
};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::support::Cluster;

pub(crate) const ENDPOINTS: [Endpoint; 6] = [
    Endpoint::Statsz,
    Endpoint::Varz,
    Endpoint::Connz,
    Endpoint::AccountStatz,
    Endpoint::Accountz,
    Endpoint::Events,
];

pub(crate) struct Lens {
    pub(crate) connection: Connection,
    gatherer: Gatherer,
    epoch: u64,
    /// Which connections are listed.
    pub(crate) sweep: Sweep,
    /// How long one answer may take.
    pub(crate) patience: Duration,
    /// How long a sweep may take.
    pub(crate) within: Duration,
}

impl Lens {
    /// Connected to server 0.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        Self::at(cluster, &[0]).await
    }

    /// Connected to one of these servers, and to another if that one is lost.
    pub(crate) async fn at(cluster: &Cluster, servers: &[usize]) -> Self {
        let mut options = ConnectionOptions {
            servers: servers.iter().map(|server| cluster.url(*server)).collect(),
            timeout: Some(Duration::from_secs(10)),
            ..ConnectionOptions::default()
        };
        if cluster.account_id("SYS") == "SYS" {
            let (user, password) = cluster.password("SYS/insights");
            (options.user, options.password) = (Some(user), Some(password.as_str().into()));
        } else {
            options.creds = Some(cluster.creds("SYS/insights"));
        }
        let connection = connect(&options, ClientEvents::new()).await.unwrap();
        let gatherer = Gatherer::start(&connection, None).await.unwrap();
        // What happens from now on is heard.
        connection.client().flush().await.unwrap();
        Self {
            connection,
            gatherer,
            epoch: 0,
            sweep: Sweep::Whole,
            patience: Duration::from_secs(10),
            within: Duration::from_secs(40),
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            epoch: self.epoch,
            taken_at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(self.epoch),
            deadline: Instant::now() + self.within,
            patience: self.patience,
            connections: self.sweep,
            accounts: true,
            requests: insights_agent::snapshot::Requests::all(),
            page: 64,
            spread: Duration::ZERO,
            period: Duration::ZERO,
        }
    }

    pub(crate) async fn sweep(&mut self) -> Snapshot {
        self.epoch += 1;
        self.gatherer.sweep(&self.plan(), FoldRules::none()).await
    }

    /// Limits that the operator declares.
    pub(crate) fn declare(&mut self, account: &str, limits: AccountLimits) {
        self.gatherer.declare([(account.into(), limits)].into());
    }

    pub(crate) async fn follow_up(&mut self, snapshot: &mut Snapshot, wanted: &[FollowUp]) {
        let plan = self.plan();
        self.gatherer.follow_up(&plan, snapshot, wanted).await;
    }
}

pub(crate) fn named<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Server {
    snapshot.server_named(name).unwrap_or_else(|| panic!("no server {name}: {:?}", snapshot.coverage))
}

pub(crate) fn account<'a>(snapshot: &'a Snapshot, id: &str) -> &'a Account {
    snapshot
        .accounts
        .get(id)
        .unwrap_or_else(|| panic!("no account {id}; there are {:?}", snapshot.accounts.keys()))
}

pub(crate) fn answer<'a>(snapshot: &'a Snapshot, endpoint: Endpoint, server: &str) -> &'a Answer {
    let id = &named(snapshot, server).id;
    snapshot.coverage.answer(endpoint, id).unwrap()
}

/// Names of the servers that are known and did not answer.
pub(crate) fn missing(snapshot: &Snapshot) -> Vec<&str> {
    let missing = snapshot.coverage.missing.iter();
    missing.map(|missing| &*missing.name).collect()
}

/// Nothing at all is missing.
pub(crate) fn assert_whole(snapshot: &Snapshot) {
    assert!(!snapshot.servers.is_empty());
    for endpoint in ENDPOINTS {
        assert_eq!(snapshot.coverage.gaps(endpoint), [], "{endpoint:?}");
    }
    assert_eq!(snapshot.coverage.notes, [""; 0]);
    assert_eq!(snapshot.cost.duplicates, 0);
    // Servers that nobody knew may answer the roll call late, and what they answered before that belongs to no request: to
    // VARZ, ACCOUNT STATZ, ROUTEZ, GATEWAYZ, LEAFZ, SUBSZ and HEALTHZ.
    assert!(snapshot.cost.strangers <= 7 * snapshot.servers.len() as u64, "{:?}", snapshot.cost);
}

/// Every server but those named answered everything.
pub(crate) fn assert_whole_but(snapshot: &Snapshot, absent: &[&str]) {
    assert_eq!(missing(snapshot), absent);
    for endpoint in ENDPOINTS {
        let gaps = snapshot.coverage.gaps(endpoint);
        let servers: Vec<&str> = gaps.iter().map(|gap| &*gap.server).collect();
        assert_eq!(servers, absent, "{endpoint:?}: {gaps:?}");
    }
}
