//! Snapshots for unit tests, made through the real fold.

use super::*;
use crate::wire::connz::{Connection, PageHead};
use crate::wire::subsz::Subsz;

use std::collections::BTreeSet;
use std::time::Duration;

/// A system under construction: every server answers everything unless told otherwise.
pub(crate) struct System {
    pub(crate) snapshot: Snapshot,
    /// The connections that a sweep sees; folded at the end, when the limits of their servers are known.
    listed: Vec<(Name, Connection<'static>)>,
    /// Connections that ended; folded at the end as well.
    ended: Vec<(Name, Connection<'static>)>,
    own: Vec<(Name, u64)>,
    budget: Budget,
    head: PageHead,
    next_cid: u64,
    unswept: BTreeSet<Name>,
}

/// A time for tests.
pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000 + second).unwrap()
}

fn id_of(server: &str) -> Name {
    Name::from(format!("ID-{server}"))
}

const ASKED: [Endpoint; 18] = [
    Endpoint::Statsz,
    Endpoint::Varz,
    Endpoint::Connz,
    Endpoint::AccountStatz,
    Endpoint::Accountz,
    Endpoint::Events,
    Endpoint::Routez,
    Endpoint::Gatewayz,
    Endpoint::GatewayAccounts,
    Endpoint::Leafz,
    Endpoint::Subsz,
    Endpoint::Healthz,
    Endpoint::Closed,
    Endpoint::AccountDetails,
    Endpoint::Services,
    Endpoint::Interest,
    Endpoint::ClaimsList,
    Endpoint::ClaimsLookup,
];

impl System {
    /// `n` servers n1, n2 … in the cluster `east`.
    pub(crate) fn of(n: usize) -> Self {
        let mut system = Self {
            snapshot: Snapshot::empty(1_700_000_000, at(0)),
            listed: Vec::new(),
            ended: Vec::new(),
            own: Vec::new(),
            budget: Budget::default(),
            head: PageHead { now: Some(at(0)), ..PageHead::default() },
            next_cid: 1,
            unswept: BTreeSet::new(),
        };
        for i in 1..=n {
            system.add_server(&format!("n{i}"), Some("east"));
        }
        system
    }

    pub(crate) fn add_server(&mut self, name: &str, cluster: Option<&str>) {
        let (id, name, cluster) = (id_of(name), Name::from(name), cluster.map(Name::from));
        self.snapshot.coverage.present.insert(id.clone(), (name.clone(), cluster.clone()));
        for endpoint in ASKED {
            self.snapshot.coverage.note(endpoint, &id, Answer::Complete);
        }
        let vars = ServerVars {
            max_connections: 65_536,
            memory: 64 << 20,
            cores: 4,
            auth_required: true,
            max_pending: 64 << 20,
            write_deadline: Duration::from_secs(10),
            config_loaded: Some(at(-3600)),
            config_digest: Some("sha256:0".into()),
            cluster_port: i64::from(cluster.is_some()) * 6222,
            stale_connections: Some(0),
            stalled_clients: Some(0),
            slow_by_kind: Some(ByKind::default()),
            stale_by_kind: Some(ByKind::default()),
            subscriptions: 80,
            ..ServerVars::default()
        };
        let server = Server {
            version: Some(Version(2, 15, 1)),
            start: Some(at(-3600)),
            now: Some(at(0)),
            vars: Some(vars),
            gateways: Some(Gateways::default()),
            leafs: Some(Vec::new()),
            interest: Some(Subsz { num_subscriptions: 80, ..Subsz::default() }),
            health: Some(Health { ok: true, ..Health::default() }),
            closed: Some(Closed::default()),
            ..Server::new(id.clone(), name, cluster)
        };
        self.snapshot.servers.insert(id, server);
        self.mesh();
    }

    /// Routes between all servers of each cluster.
    fn mesh(&mut self) {
        let members: Vec<(Name, Name, Option<Name>)> = self
            .snapshot
            .servers
            .values()
            .map(|server| (server.id.clone(), server.name.clone(), server.cluster.clone()))
            .collect();
        for server in self.snapshot.servers.values_mut() {
            let peers =
                members.iter().filter(|(id, _, cluster)| *id != server.id && *cluster == server.cluster);
            let routes = peers.filter(|_| server.cluster.is_some()).map(|(id, name, _)| Route {
                peer: id.clone(),
                peer_name: Some(name.clone()),
                connections: 4,
                rtt: Some(Duration::from_micros(300)),
                pending: 0,
                most_pending: (0, None),
            });
            server.routes = Some(routes.collect());
        }
    }

    /// A later time of the same system.
    pub(crate) fn at(mut self, second: i64) -> Self {
        self.snapshot.taken_at = at(second);
        self.head.now = Some(at(second));
        self
    }

    /// An account with limits of a JWT (-1 unlimited), loaded on every server.
    pub(crate) fn account(mut self, id: &str, connections: i64, subscriptions: i64, leafnodes: i64) -> Self {
        let limits = Limits::Jwt(AccountLimits { connections, subscriptions, leafnodes });
        self.entry(id).limits = limits;
        self
    }

    /// An account of a configuration file.
    pub(crate) fn config_account(mut self, id: &str) -> Self {
        self.entry(id).limits = Limits::NotVisible;
        self
    }

    pub(crate) fn entry(&mut self, id: &str) -> &mut Account {
        let loaded = self.snapshot.servers.keys().map(|id| (id.clone(), OnServer::default())).collect();
        let id = Name::from(id);
        self.snapshot
            .accounts
            .entry(id.clone())
            .or_insert_with(|| Account { servers: loaded, ..Account::new(id) })
    }

    /// With other bounds of the fold than the usual ones.
    pub(crate) fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The agent's own connection, by the id that [`Self::connect`] gives next.
    pub(crate) fn own_next(mut self, server: &str) -> Self {
        self.own.push((id_of(server), self.next_cid));
        self
    }

    /// `n` connections of a user on a server; `edit` changes each before it is taken in.
    pub(crate) fn connect(
        mut self,
        server: &str,
        account: &str,
        user: &str,
        n: u64,
        edit: impl Fn(&mut Connection<'_>, u64),
    ) -> Self {
        let id = id_of(server);
        for i in 0..n {
            let mut connection = Connection {
                cid: self.next_cid,
                kind: "Client".into(),
                client_type: "nats".into(),
                ip: "10.0.0.1".into(),
                start: "2023-11-14T21:13:20Z".into(),
                last_activity: "2023-11-14T22:13:20Z".into(),
                in_msgs: 1,
                name: "app".into(),
                lang: "go".into(),
                version: "1.30.0".into(),
                authorized_user: user.to_owned().into(),
                account: account.to_owned().into(),
                ..Connection::default()
            };
            self.next_cid += 1;
            edit(&mut connection, i);
            let leaf = connection.kind == "Leafnode";
            if !self.unswept.contains(&id) {
                self.listed.push((id.clone(), connection));
            }
            let on = self.entry(account).servers.entry(id.clone()).or_default();
            if leaf {
                on.leafnodes += 1;
                continue;
            }
            on.connections += 1;
            if let Some(vars) = self.snapshot.servers.get_mut(&id).and_then(|server| server.vars.as_mut()) {
                vars.connections += 1;
                vars.total_connections += 1;
            }
        }
        self
    }

    /// `n` connections of a user on a server that ended for this reason, one a second; `edit` changes each before it is
    /// taken in. Without an account they are of the global one, or never logged in.
    pub(crate) fn end(
        mut self,
        server: &str,
        (account, user): (&str, &str),
        reason: &str,
        n: u64,
        edit: impl Fn(&mut Connection<'_>, u64),
    ) -> Self {
        for i in 0..n {
            let mut connection = Connection {
                cid: self.next_cid,
                kind: "Client".into(),
                client_type: "nats".into(),
                ip: "10.0.0.1".into(),
                start: "2023-11-14T21:13:20Z".into(),
                name: "app".into(),
                authorized_user: user.to_owned().into(),
                account: account.to_owned().into(),
                reason: reason.to_owned().into(),
                ..Connection::default()
            };
            self.next_cid += 1;
            edit(&mut connection, i);
            self.ended.push((id_of(server), connection));
        }
        self
    }

    /// `n` connections of this agent on a server that ended for this reason.
    pub(crate) fn end_own(mut self, server: &str, reason: &str, n: u64) -> Self {
        self.server_mut(server).closed.get_or_insert_default().own.insert(reason.into(), n);
        self
    }

    /// A server on which more connections ended than it was asked for.
    pub(crate) fn ended_more(mut self, server: &str) -> Self {
        self.server_mut(server).closed.get_or_insert_default().at_least = true;
        let answer = Answer::Partial("more ended".into());
        self.snapshot.coverage.note(Endpoint::Closed, &id_of(server), answer);
        self
    }

    /// Any other change, by a function.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        change(&mut self.snapshot);
        self
    }

    pub(crate) fn server_mut(&mut self, name: &str) -> &mut Server {
        self.snapshot.servers.get_mut(&id_of(name)).unwrap()
    }

    /// The server's VARZ, to change.
    pub(crate) fn vars(mut self, server: &str, change: impl FnOnce(&mut ServerVars)) -> Self {
        change(self.server_mut(server).vars.as_mut().unwrap());
        self
    }

    /// A server that does not answer one endpoint.
    pub(crate) fn silent(mut self, server: &str, endpoint: Endpoint) -> Self {
        self.snapshot.coverage.note(endpoint, &id_of(server), Answer::Silent);
        self
    }

    /// A server whose connections from here on no sweep sees.
    pub(crate) fn without_sweep(mut self, server: &str) -> Self {
        self.unswept.insert(id_of(server));
        self.silent(server, Endpoint::Connz)
    }

    /// A server that stopped answering altogether: it is known from before and gone from this snapshot.
    pub(crate) fn gone(mut self, server: &str) -> Self {
        let id = id_of(server);
        let server = self.snapshot.servers.remove(&id).unwrap();
        self.snapshot.coverage.present.remove(&id);
        for account in self.snapshot.accounts.values_mut() {
            account.servers.remove(&id);
        }
        self.listed.retain(|(server, _)| *server != id);
        self.ended.retain(|(server, _)| *server != id);
        self.snapshot.coverage.missing.push(Missing {
            name: server.name,
            id: Some(id),
            cluster: server.cluster,
            version: server.version,
            last_epoch: Some(0),
            last_at: Some(at(-60)),
            silent_epochs: 1,
            ..Missing::default()
        });
        self
    }

    /// The snapshot.
    pub(crate) fn done(self) -> Snapshot {
        let Self { mut snapshot, listed, ended, own, budget, head, .. } = self;
        let (idle_after, rtt_above) = (Duration::from_secs(300), Duration::from_millis(100));
        let thresholds = FoldThresholds { idle_after, rtt_above, pending_above: 1 << 20 };
        let rules = FoldRules { own, ..FoldRules::uniform(thresholds) };
        let mut fold = ConnectionFold::within(rules, budget);
        for id in snapshot.servers.keys() {
            fold.server(id);
        }
        for (id, connection) in &listed {
            let server = &snapshot.servers[id];
            let max_subscriptions = server.vars.as_ref().and_then(|vars| vars.max_subscriptions);
            let source =
                PageSource { server: id.clone(), version: server.version, since: None, max_subscriptions };
            fold.add(&source, &head, connection);
        }
        snapshot.take_fold(fold);
        let mut folds: BTreeMap<Name, ClosedFold> = BTreeMap::new();
        for ((id, connection), second) in ended.iter().zip(0..) {
            let server = &snapshot.servers[id];
            let source = ClosedSource {
                server: id.clone(),
                version: server.version,
                auth_required: server.vars.as_ref().map(|vars| vars.auth_required),
            };
            folds.entry(id.clone()).or_default().add(&source, connection, at(second));
        }
        for (id, fold) in folds {
            let closed = &mut snapshot.servers.get_mut(&id).unwrap().closed;
            *closed = closed.take().map(|before| Closed { own: before.own, ..fold.finish(before.at_least) });
            if closed.as_ref().is_some_and(|closed| closed.unsure > 0) {
                let answer = Answer::Partial("of some it is not known whose they were".into());
                snapshot.coverage.note(Endpoint::Closed, &id, answer);
            }
        }
        snapshot
    }
}
