//! Arbitrary systems: what any number of servers might say, as far as checks read it.

use super::blindness::{Blindness, any_blindness};
use super::clients::{Client, Interest, any_client, any_interest};
use super::health::{AnyHealth, any_health};
use super::links::{Links, any_links};
use super::servers::{Servers, any_servers};
use super::tenants::{Tenants, any_tenants};
use super::*;
use crate::snapshot::{AccountLimits, ConnectionSubscriptions, Counted, Limits, SubscriptionShape, Version};
use crate::text::digest_hex;
use data_encoding::BASE64URL_NOPAD;

pub(super) const ASKED: [Endpoint; 15] = [
    Endpoint::Varz,
    Endpoint::Connz,
    Endpoint::AccountStatz,
    Endpoint::Accountz,
    Endpoint::Events,
    Endpoint::Subsz,
    Endpoint::AccountDetails,
    Endpoint::Services,
    Endpoint::Interest,
    Endpoint::Healthz,
    Endpoint::Closed,
    Endpoint::Routez,
    Endpoint::Gatewayz,
    Endpoint::GatewayAccounts,
    Endpoint::Leafz,
];
pub(super) const SERVERS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
pub(super) const MANY: u64 = 1 << 62;

#[derive(Debug, Clone)]
struct AnyServer {
    name: String,
    cluster: Option<&'static str>,
    version: Option<Version>,
    max_connections: i64,
    max_subscriptions: Option<i64>,
    more_connections: u64,
    rejected: Option<u64>,
}

#[derive(Debug, Clone)]
struct AnyGroup {
    server: usize,
    account: usize,
    user: String,
    n: u64,
    kind: &'static str,
    name: String,
    ip: String,
    last_activity: &'static str,
    in_msgs: i64,
    subscriptions: u64,
    user_limit: Option<i64>,
    client: Client,
}

#[derive(Debug, Clone)]
struct AnyAccount {
    id: String,
    limits: Limits,
    subscriptions: Option<u64>,
    refused: u64,
}

/// What any number of servers might say.
#[derive(Debug, Clone)]
pub(super) struct World {
    second: i64,
    servers: Vec<AnyServer>,
    accounts: Vec<AnyAccount>,
    groups: Vec<AnyGroup>,
    gone: Vec<bool>,
    system_account: usize,
    blindness: Blindness,
    told: Servers,
    tenants: Tenants,
    health: (Vec<AnyHealth>, bool),
    interest: Interest,
    links: Links,
}

pub(super) fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["APP", "u", "n1", "a.b c*>", "", "[token]", "[hidden]", "[REDACTED]", "%", "\u{0}\n\"", "ü/ö"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,20}",
        1 => Just("long ".repeat(300)),
    ]
}

pub(super) fn any_limit() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![-1, 0, 1, 10, 100, 120, i64::MAX, i64::MIN])
}

prop_compose! {
    fn any_server()(
        name in prop::option::of(any_name()),
        cluster in prop::sample::select(vec![Some("east"), Some("east"), Some("west"), Some(""), None]),
        version in prop::sample::select(vec![
            None, Some(Version(2, 9, 10)), Some(Version(2, 10, 26)), Some(Version(2, 12, 5)), Some(Version(2, 15, 1)),
        ]),
        max_connections in any_limit(),
        max_subscriptions in prop::option::of(any_limit()),
        more_connections in prop::sample::select(vec![0, 0, 1, 500, MANY]),
        rejected in prop::option::of(any::<u64>()),
    ) -> AnyServer {
        let name = name.unwrap_or_default();
        AnyServer { name, cluster, version, max_connections, max_subscriptions, more_connections, rejected }
    }
}

prop_compose! {
    fn any_group()(
        (server, account) in (0..SERVERS.len(), 0usize..3),
        user in any_name(),
        n in prop::sample::select(vec![0u64, 1, 9, 12, 101, 130]),
        kind in prop::sample::select(vec!["", "Client", "Client", "Client", "Leafnode"]),
        (name, ip) in (any_name(), any_name()),
        last_activity in prop::sample::select(vec![
            "", "x", "2023-11-14T22:13:20Z", "2023-11-14T22:08:19Z", "1700-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        ]),
        in_msgs in prop::sample::select(vec![0i64, 0, 1, -1]),
        subscriptions in prop::sample::select(vec![0u64, 9, 95, 110, u64::MAX]),
        user_limit in prop::option::of(any_limit()),
        client in any_client(),
    ) -> AnyGroup {
        AnyGroup { server, account, user, n, kind, name, ip, last_activity, in_msgs, subscriptions, user_limit, client }
    }
}

prop_compose! {
    fn any_account()(
        id in any_name(),
        limits in prop_oneof![
            Just(Limits::NotVisible),
            Just(Limits::None),
            Just(Limits::Unread("no answer".into())),
            (any_limit(), any_limit(), any_limit()).prop_map(|(connections, subscriptions, leafnodes)| {
                Limits::Jwt(AccountLimits { connections, subscriptions, leafnodes })
            }),
        ],
        subscriptions in prop::sample::select(vec![None, Some(0), Some(95), Some(u64::MAX)]),
        refused in 0u64..2,
    ) -> AnyAccount {
        AnyAccount { id, limits, subscriptions, refused }
    }
}

prop_compose! {
    pub(super) fn any_world()(
        second in -100i64..100,
        servers in prop::collection::vec(any_server(), SERVERS.len()),
        accounts in prop::collection::vec(any_account(), 3),
        groups in prop::collection::vec(any_group(), 0..8),
        gone in prop::collection::vec(prop::bool::weighted(0.1), SERVERS.len()),
        system_account in 0usize..6,
        ((blindness, health, interest), told, tenants, links) in (
            (any_blindness(), any_health(), any_interest()), any_servers(), any_tenants(), any_links(),
        ),
    ) -> World {
        World {
            second, servers, accounts, groups, gone, system_account, blindness, told, tenants, health, interest, links,
        }
    }
}

/// A user's JWT. Its signature differs from that of another.
pub(crate) fn jwt(user: &str, subscriptions: i64) -> String {
    let claims = json!({"sub": user, "nats": {"subs": subscriptions}}).to_string();
    let signature = digest_hex(claims.as_bytes(), 16);
    format!("e30.{}.{signature}", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

pub(super) type Loss = (usize, Endpoint);

pub(super) fn any_losses() -> impl Strategy<Value = Vec<Loss>> {
    prop::collection::vec((0..SERVERS.len(), prop::sample::select(ASKED.to_vec())), 0..6)
}

impl World {
    /// The same at another second.
    pub(super) fn at(self, second: i64) -> Self {
        Self { second, ..self }
    }

    /// The snapshot of it, without the answers that were lost.
    pub(super) fn snapshot(&self, lost: &[Loss]) -> Snapshot {
        let mut system = System::of(0).at(self.second);
        for (slot, spec) in SERVERS.iter().zip(&self.servers) {
            system.add_server(slot, spec.cluster);
            let server = system.server_mut(slot);
            server.version = spec.version;
            let vars = server.vars.as_mut().unwrap();
            vars.max_connections = spec.max_connections;
            vars.max_subscriptions = spec.max_subscriptions;
            vars.connections = spec.more_connections;
            vars.total_connections = spec.more_connections;
        }
        self.told.tell(&mut system.snapshot);
        for &(server, endpoint) in lost {
            system = match endpoint {
                Endpoint::Connz => system.without_sweep(SERVERS[server]),
                // VARZ comes before the sweep, which takes a server's limits from it.
                Endpoint::Varz => {
                    system.server_mut(SERVERS[server]).vars = None;
                    system.silent(SERVERS[server], endpoint)
                }
                _ => system.silent(SERVERS[server], endpoint),
            };
        }
        for group in &self.groups {
            let account = &self.accounts[group.account].id;
            system = system.connect(SERVERS[group.server], account, &group.user, group.n, |c, _| {
                c.kind = group.kind.into();
                c.name = group.name.clone().into();
                c.ip = group.ip.clone().into();
                c.last_activity = group.last_activity.into();
                c.in_msgs = group.in_msgs;
                c.subscriptions = group.subscriptions;
                c.jwt = group.user_limit.map_or_else(String::new, |limit| jwt(&group.user, limit)).into();
                group.client.edit(c);
            });
        }
        for account in &self.accounts {
            let entry = system.entry(&account.id);
            entry.limits = account.limits.clone();
            entry.events.refused_connections = account.refused;
            entry.events.refused_subscriptions = account.refused;
            entry.servers.values_mut().for_each(|on| on.subscriptions = account.subscriptions);
        }
        let ids: Vec<String> = self.accounts.iter().map(|account| account.id.clone()).collect();
        system = health::tell(system, &self.health, &ids);
        for (slot, _) in SERVERS.iter().zip(&self.gone).filter(|(_, gone)| **gone) {
            system = system.gone(slot);
        }
        let mut snapshot = system.done();
        if let Some(account) = self.accounts.get(self.system_account) {
            snapshot.system_account = account.id.as_str().into();
        }
        for (slot, spec) in SERVERS.iter().zip(&self.servers) {
            let id: Name = format!("ID-{slot}").into();
            if let Some(server) = snapshot.servers.get_mut(&id) {
                server.name =
                    if spec.name.is_empty() { server.name.clone() } else { spec.name.as_str().into() };
                let cluster = server.cluster.clone();
                snapshot.coverage.present.insert(id.clone(), (server.name.clone(), cluster));
                snapshot.follow_ups.rejected.extend(spec.rejected.map(|rejected| (id, rejected)));
            }
        }
        for account in &self.accounts {
            let first_tokens = vec![Counted { name: account.id.as_str().into(), count: u64::MAX }];
            let shape =
                SubscriptionShape { inbox: account.refused, listed: 1 << account.refused, first_tokens };
            let row = ConnectionSubscriptions { server: "ID-n1".into(), cid: 1, shape };
            snapshot.follow_ups.subscriptions.insert(account.id.as_str().into(), vec![row.clone(), row]);
        }
        for &(server, endpoint) in lost {
            let id: Name = format!("ID-{}", SERVERS[server]).into();
            match endpoint {
                Endpoint::Varz => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.vars = None);
                }
                Endpoint::AccountStatz => snapshot.accounts.values_mut().for_each(|account| {
                    account.servers.remove(&id);
                    account.slow_consumers.remove(&id);
                }),
                Endpoint::Healthz => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.health = None);
                }
                Endpoint::Closed => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.closed = None);
                }
                _ => {}
            }
        }
        self.links.link(&mut snapshot, lost);
        self.told.boot(&mut snapshot);
        let ids: Vec<Name> = self.accounts.iter().map(|account| account.id.as_str().into()).collect();
        self.tenants.settle(&mut snapshot, &ids, lost);
        self.interest.fill(&mut snapshot);
        self.blindness.blind(&mut snapshot);
        snapshot
    }
}
