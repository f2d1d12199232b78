//! What connects a server with others: routes, gateways and leafnodes.

use super::Version;
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::gatewayz::{GatewayAccount, Gatewayz, RemoteGateway};
use crate::wire::leafz::Leafz;
use crate::wire::routez::Routez;
use crate::wire::time::duration;
use std::collections::BTreeMap;
use std::time::Duration;

/// All route connections of a server to one peer: a pool of three by default since 2.10, and one for the system account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The peer's id.
    pub peer: Name,
    /// The peer's name, where the server tells it (2.9.16) .
    pub peer_name: Option<Name>,
    /// Connections of the pool.
    pub connections: u64,
    /// The longest round trip of them; none before the first has been measured.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be sent, over all of them.
    pub pending: u64,
    /// The same on the connection with most, and the account that has that connection to itself.
    pub most_pending: (u64, Option<Name>),
}

/// The routes of an answer, one for each peer.
pub fn routes(routez: &Routez) -> Vec<Route> {
    let mut routes: BTreeMap<Name, Route> = BTreeMap::new();
    for info in routez.routes.iter().flatten() {
        let peer = bounded(&info.remote_id, NAME_BYTES);
        let route = routes.entry(peer.clone()).or_insert_with(|| Route {
            peer,
            peer_name: None,
            connections: 0,
            rtt: None,
            pending: 0,
            most_pending: (0, None),
        });
        let pending = u64::try_from(info.pending_size).unwrap_or(0);
        route.connections += 1;
        route.rtt = route.rtt.max(measured(&info.rtt));
        route.pending = route.pending.saturating_add(pending);
        if pending > route.most_pending.0 {
            route.most_pending = (pending, name(info.account.as_deref()));
        }
        route.peer_name = route.peer_name.take().or_else(|| name(info.remote_name.as_deref()));
    }
    routes.into_values().collect()
}

/// What a server says of its gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gateways {
    /// The name of its own; none where it has no gateway.
    pub name: Option<Name>,
    /// The one connection to each remote cluster, by the cluster's name.
    pub outbound: BTreeMap<Name, Gateway>,
    /// How many connections come from each remote cluster; they move between its members, and may be none.
    pub inbound: BTreeMap<Name, u64>,
}

/// A connection to a remote cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gateway {
    /// The id of the server at its other end.
    pub peer: Name,
    /// Whether the server's configuration names the cluster; otherwise it learnt of it.
    pub configured: bool,
    /// Round trip; none before it has been measured.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be sent.
    pub pending: u64,
    /// Accounts whose messages are sent without knowing of interest in them, a thousand of them at most. From the last
    /// answer with accounts, which is asked for rarely.
    pub optimistic: Vec<Name>,
    /// How many such accounts there are.
    pub optimistic_in_all: u64,
}

/// From this version on a server wants to be sent only what it has asked for, for every account (server source).
pub const INTEREST_ONLY: Version = Version(2, 9, 0);

/// Accounts in optimistic mode that are kept of a gateway.
const OPTIMISTIC: usize = 1000;

/// The gateways of an answer.
pub fn gateways(gatewayz: &Gatewayz) -> Gateways {
    let outbound = gatewayz.outbound_gateways.iter().flatten();
    let inbound = gatewayz.inbound_gateways.iter().flatten();
    Gateways {
        name: name(gatewayz.name.as_deref()),
        outbound: outbound.map(|(to, gateway)| (bounded(to, NAME_BYTES), outbound_of(gateway))).collect(),
        inbound: inbound.map(|(from, list)| (bounded(from, NAME_BYTES), list.len() as u64)).collect(),
    }
}

fn outbound_of(gateway: &RemoteGateway) -> Gateway {
    let accounts = || gateway.accounts.iter().flatten();
    let optimistic = || accounts().filter(|account| is_optimistic(account));
    let connection = gateway.connection.clone().unwrap_or_default();
    Gateway {
        peer: bounded(&connection.name, NAME_BYTES),
        configured: gateway.configured,
        rtt: measured(&connection.rtt),
        pending: u64::try_from(connection.pending_bytes).unwrap_or(0),
        optimistic: first(optimistic().map(|account| account.name.as_str())),
        optimistic_in_all: optimistic().count() as u64,
    }
}

/// An entry without any number is most often of an account that the remote cluster does not have: a server tells no difference
/// to one that has been told of no subject yet, or no longer is.
fn is_optimistic(account: &GatewayAccount) -> bool {
    let knows = [account.no_interest_count, account.num_subs, account.num_queue_subs];
    account.interest_mode == "Optimistic" && knows.into_iter().any(|count| count != 0)
}

/// The first of them by name: the server lists accounts in another order each time.
fn first<'a>(accounts: impl Iterator<Item = &'a str>) -> Vec<Name> {
    let mut accounts: Vec<&str> = accounts.collect();
    accounts.sort_unstable();
    accounts.truncate(OPTIMISTIC);
    accounts.into_iter().map(|account| bounded(account, NAME_BYTES)).collect()
}

/// A leafnode connection, as one of its ends tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaf {
    /// The other server's name, where it is told (2.9.15).
    pub name: Option<Name>,
    /// Whether this end dialled: it is the leaf, and the other one the hub. None where it is not told (before 2.9.15).
    pub is_spoke: Option<bool>,
    /// The account that it is bound to at this end.
    pub account: Name,
    /// The other end's address.
    pub ip: Name,
    /// Its port.
    pub port: u16,
    /// Round trip; none before it has been measured.
    pub rtt: Option<Duration>,
    /// Subjects that the other end is interested in.
    pub subscriptions: u64,
    /// What was negotiated (2.10).
    pub compression: Option<Name>,
}

/// The leafnode connections of an answer.
pub fn leafs(leafz: &Leafz) -> Vec<Leaf> {
    let leafs = leafz.leafs.iter().flatten();
    leafs
        .map(|info| Leaf {
            name: name(info.name.as_deref()),
            is_spoke: info.is_spoke,
            account: name(Some(&info.account)).unwrap_or_else(|| "$G".into()),
            ip: bounded(&info.ip, NAME_BYTES),
            port: info.port,
            rtt: measured(&info.rtt),
            subscriptions: info.subscriptions,
            compression: name(info.compression.as_deref()),
        })
        .collect()
}

fn name(text: Option<&str>) -> Option<Name> {
    text.filter(|text| !text.is_empty()).map(|text| bounded(text, NAME_BYTES))
}

/// A server writes 0 until the first answer to a ping.
fn measured(rtt: &str) -> Option<Duration> {
    duration(rtt).filter(|rtt| !rtt.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::routez::RouteInfo;

    #[test]
    fn an_account_that_the_remote_cluster_does_not_have_is_not_optimistic() {
        let account = |name: &str, mode: &str, numbers: [i64; 3]| GatewayAccount {
            name: name.into(),
            interest_mode: mode.into(),
            no_interest_count: numbers[0],
            num_subs: numbers[1],
            num_queue_subs: numbers[2],
        };
        let accounts = vec![
            account("GONE", "Optimistic", [0, 0, 0]),
            account("C", "Optimistic", [1, 0, 0]),
            account("A", "Optimistic", [0, 1, 0]),
            account("B", "Optimistic", [0, 1, 1]),
            account("FINE", "Interest-Only", [0, 7, 1]),
        ];
        let gateway = outbound_of(&RemoteGateway { accounts: Some(accounts), ..RemoteGateway::default() });
        let names: Vec<&str> = gateway.optimistic.iter().map(|name| &**name).collect();
        assert_eq!((names, gateway.optimistic_in_all), (vec!["A", "B", "C"], 3));
    }

    #[test]
    fn a_pool_is_one_route() {
        let info = |rtt: &str, pending_size, account: Option<&str>| RouteInfo {
            remote_id: "B".into(),
            remote_name: Some("n2".into()),
            rtt: rtt.into(),
            pending_size,
            account: account.map(Into::into),
        };
        let pool = vec![info("0s", 5, None), info("3ms", 70, Some("SYS")), info("2ms", -1, None)];
        let routes = routes(&Routez { routes: Some(pool) });
        assert_eq!(routes.len(), 1);
        assert_eq!((routes[0].connections, routes[0].pending), (3, 75));
        assert_eq!(routes[0].most_pending, (70, Some("SYS".into())));
        assert_eq!(routes[0].rtt, Some(Duration::from_millis(3)));
        assert_eq!(routes[0].peer_name.as_deref(), Some("n2"));
    }
}
