//! What the checks of routes, gateways and leafnodes have in common.

use super::evidence::TOP;
use crate::check::{Entity, Observed, OutOfRange, Verdict, no_shorter, rounded};
use crate::snapshot::{Gateway, Leaf, Missing, Route, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A round trip of at least a tenth of a millisecond: less would name every link.
pub(super) fn round_trip(key: &'static str, value: Duration) -> Result<(), OutOfRange> {
    no_shorter(key, value, Duration::from_micros(100), "at least 100us")
}

/// A duration in milliseconds, to three decimals.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1000.0
}

/// A round trip against the longest that is accepted.
pub(super) fn observed_rtt(rtt: Duration, most: Duration) -> Observed {
    Observed {
        value: rounded(milliseconds(rtt)),
        ..Observed::count(0, rounded(milliseconds(most)), "milliseconds")
    }
}

/// Bytes in words: `3.5 MiB`.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A server that did not answer the roll call, by the id or the name that a route or a gateway tells.
pub(super) fn missing<'a>(snapshot: &'a Snapshot, id: &Name, name: Option<&Name>) -> Option<&'a Missing> {
    let is = |missing: &&Missing| {
        missing.id.as_ref() == Some(id) || missing.name == *id || name == Some(&missing.name)
    };
    snapshot.coverage.missing.iter().find(is)
}

/// What people call the server with this id, as far as anybody tells: its own answer, the one who has a link to it, or an
/// earlier epoch. An id is new after every restart and no name.
pub(super) fn name_of(snapshot: &Snapshot, id: &Name, told: Option<&Name>) -> Option<Name> {
    let own = snapshot.servers.get(id).map(|server| server.name.clone());
    own.or_else(|| told.cloned()).or_else(|| missing(snapshot, id, None).map(|missing| missing.name.clone()))
}

/// Every route that servers tell of, by the name of its other end; those of which nobody knows that name are left out.
pub(super) fn routes(snapshot: &Snapshot) -> impl Iterator<Item = RouteOf<'_>> {
    let told = snapshot.servers.values().filter_map(|server| Some((server, server.routes.as_deref()?)));
    let all = told.flat_map(|(server, beside)| beside.iter().map(move |route| (server, beside, route)));
    all.filter_map(|(server, beside, route)| {
        let peer = name_of(snapshot, &route.peer, route.peer_name.as_ref())?;
        let entity = Entity::route(&server.name, server.cluster.as_ref(), &peer);
        Some(RouteOf { server, route, beside, peer, entity })
    })
}

/// A route, as the server at one end tells of it.
pub(super) struct RouteOf<'a> {
    pub(super) server: &'a Server,
    pub(super) route: &'a Route,
    /// All routes of the server, this one included.
    pub(super) beside: &'a [Route],
    /// What people call the server at the other end.
    pub(super) peer: Name,
    pub(super) entity: Entity,
}

/// Every outbound gateway that servers tell of.
pub(super) fn gateways(snapshot: &Snapshot) -> impl Iterator<Item = GatewayOf<'_>> {
    let told = snapshot.servers.values().filter_map(|server| Some((server, server.gateways.as_ref()?)));
    let all = told.flat_map(|(server, own)| own.outbound.iter().map(move |outbound| (server, outbound)));
    all.map(|(server, (remote, gateway))| {
        let entity = Entity::gateway(&server.name, server.cluster.as_ref(), remote);
        GatewayOf { server, remote, gateway, entity }
    })
}

/// The outbound gateway of a server to a cluster.
pub(super) struct GatewayOf<'a> {
    pub(super) server: &'a Server,
    pub(super) remote: &'a Name,
    pub(super) gateway: &'a Gateway,
    pub(super) entity: Entity,
}

/// A leafnode of an account, with all connections that the servers of the system list for it.
pub(super) struct Leafnode<'a> {
    /// The account at the end that tells of it.
    pub(super) account: Name,
    /// The leaf's name, or its address where it has none that lasts.
    pub(super) label: Name,
    /// Never empty.
    pub(super) connections: Vec<Connection<'a>>,
}

/// A leafnode connection, and who tells of it.
#[derive(Clone, Copy)]
pub(super) struct Connection<'a> {
    pub(super) server: &'a Server,
    pub(super) leaf: &'a Leaf,
}

impl Leafnode<'_> {
    /// What a finding about it is about.
    pub(super) fn entity(&self, snapshot: &Snapshot) -> Entity {
        Entity::leafnode(&self.account, snapshot.account_name(&self.account), &self.label)
    }
}

/// Servers of the system, as the hubs of leafnodes.
struct Hubs<'a> {
    /// Names of those that do not tell of their leafnodes.
    silent: BTreeSet<&'a Name>,
    /// Of each name the leafs that dialled it; none stands for one whose name is not told.
    leafs: BTreeSet<(&'a Name, Option<&'a Name>)>,
}

impl<'a> Hubs<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let missing = snapshot.coverage.missing.iter().map(|missing| &missing.name);
        let mut hubs = Self { silent: missing.collect(), leafs: BTreeSet::new() };
        for server in snapshot.servers.values() {
            let Some(leafs) = &server.leafs else {
                hubs.silent.insert(&server.name);
                continue;
            };
            let dialled_it = leafs.iter().filter(|leaf| leaf.is_spoke != Some(true));
            hubs.leafs.extend(dialled_it.map(|leaf| (&server.name, leaf.name.as_ref())));
        }
        hubs
    }

    /// Whether a server of the hub's name lists the leaf, or might. The hub may as well be a server of another system that
    /// happens to have the name of one of this: names such as `nats-0` are found everywhere.
    fn tell(&self, hub: &Name, leaf: &Name) -> bool {
        self.silent.contains(hub)
            || self.leafs.contains(&(hub, Some(leaf)))
            || self.leafs.contains(&(hub, None))
    }
}

/// Every leafnode, by account and name. Both ends list a connection where both belong to the system: the row of the hub
/// is taken, and that of the leaf only where no server of the system can be the hub. Whether the hub answers must not matter,
/// for the two ends know different accounts.
pub(super) fn leafnodes(snapshot: &Snapshot) -> Vec<Leafnode<'_>> {
    let hubs = Hubs::of(snapshot);
    let mut leafnodes: BTreeMap<(Name, Name), Vec<Connection<'_>>> = BTreeMap::new();
    for server in snapshot.servers.values() {
        for leaf in server.leafs.iter().flatten() {
            let label = match (leaf.is_spoke, &leaf.name) {
                (Some(true), Some(hub)) if hubs.tell(hub, &server.name) => continue,
                (Some(true), _) => &server.name,
                (Some(false), Some(name)) if !is_id(name) => name,
                _ => &leaf.ip,
            };
            let key = (leaf.account.clone(), label.clone());
            leafnodes.entry(key).or_default().push(Connection { server, leaf });
        }
    }
    leafnodes
        .into_iter()
        .map(|((account, label), connections)| Leafnode { account, label, connections })
        .collect()
}

/// Whether a name is the public key that a server without a configured name goes by, which is new at every boot.
fn is_id(name: &str) -> bool {
    name.len() == 56 && name.starts_with('N') && name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

/// A connection of a leafnode, in evidence.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct LeafRow {
    /// The server that lists it.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// Whether that server is the leaf, which dialled; otherwise it is the hub. None before 2.9.15, which does not tell.
    pub(super) is_spoke: Option<bool>,
    /// The address of the other end.
    #[schemars(with = "String")]
    pub(super) address: Name,
    /// Round trip in milliseconds; none before it has been measured.
    pub(super) rtt_ms: Option<f64>,
    /// Subjects that the other end is interested in.
    pub(super) subscriptions: u64,
    /// The compression that was negotiated (2.10).
    #[schemars(with = "Option<String>")]
    pub(super) compression: Option<Name>,
}

impl LeafRow {
    pub(super) fn of(connection: Connection<'_>) -> Self {
        let Leaf { ip, port, .. } = connection.leaf;
        // Of an IPv6 address the port is told apart by brackets.
        let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        Self {
            server: connection.server.name.clone(),
            is_spoke: connection.leaf.is_spoke,
            address: Name::from(address),
            rtt_ms: connection.leaf.rtt.map(milliseconds),
            subscriptions: connection.leaf.subscriptions,
            compression: connection.leaf.compression.clone(),
        }
    }
}

/// The connections of a leafnode, the worst first, and how many there are. Several leafnodes that log in to one account under
/// one name cannot be told apart but by their addresses.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct LeafRows {
    /// At most 5 of them.
    pub(super) top: Vec<LeafRow>,
    /// How many there are.
    pub(super) connections: u64,
    /// How many addresses the other ends have, without their ports. More than one may be several leafnodes of one name.
    pub(super) addresses: u64,
}

impl LeafRows {
    pub(super) fn of<'a>(connections: impl Iterator<Item = Connection<'a>>) -> Self {
        let mut rows = Self { top: Vec::new(), connections: 0, addresses: 0 };
        let mut addresses = BTreeSet::new();
        for connection in connections {
            rows.connections += 1;
            addresses.insert(&connection.leaf.ip);
            if rows.top.len() < TOP {
                rows.top.push(LeafRow::of(connection));
            }
        }
        rows.addresses = addresses.len() as u64;
        rows
    }
}

/// Leafnodes of one account that a check names. One cause, such as a hub's configuration, may hold for thousands.
const NAMED: usize = 20;

/// The first verdicts of each account by the leaf's name, so that the same ones stay. The evidence of each tells how many
/// there are. What was found of the others holds as well: an earlier finding about one of them is not over.
pub(super) fn named<T>(
    snapshot: &Snapshot,
    found: &[(Leafnode<'_>, T)],
    verdict: impl Fn(&Leafnode<'_>, &T, u64) -> Verdict,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    // They are in the order of their accounts.
    for of_account in found.chunk_by(|(a, _), (b, _)| a.account == b.account) {
        let all = of_account.len() as u64;
        let (first, rest) = of_account.split_at(NAMED.min(of_account.len()));
        verdicts.extend(first.iter().map(|(leafnode, what)| verdict(leafnode, what, all)));
        let unnamed = |(leafnode, _): &(Leafnode<'_>, T)| {
            let reason = format!("it holds for {all} leafnodes of the account, of which {NAMED} are named");
            Verdict::not_yet(leafnode.entity(snapshot), reason)
        };
        verdicts.extend(rest.iter().map(unnamed));
    }
    verdicts
}
