//! CLUSTER_005: a server has no route to another one of its cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule,
    Scope, Severity, Thresholds, Verdict, count,
};
use crate::checks::links;
use crate::snapshot::{Endpoint, Event, Route, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::Duration;

/// See [`Rule::META`].
pub(super) struct RouteMissing;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The servers that it has no route to, by name, at most 20 of them.
    no_route_to: Vec<Absent>,
    /// How many they are.
    missing: u64,
    /// Servers that it has a route to, by name, at most 20 of them.
    #[schemars(with = "Vec<String>")]
    routes_to: Vec<Name>,
    /// How many other servers the cluster has, as far as anybody tells.
    expected: u64,
    /// Servers of this cluster without a route to all others, this one included.
    such_servers: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Absent {
    /// The server at the other end.
    #[schemars(with = "String")]
    server: Name,
    /// Whether it has no route to this one either; none where it does not tell.
    missing_there_too: Option<bool>,
    /// Whether this server tells of a route to it, which the other end does not know.
    one_sided: bool,
    /// Servers with a route to it, by name, at most 5 of them.
    #[schemars(with = "Vec<String>")]
    reached_by: Vec<Name>,
}

/// Servers that are named.
const NAMED: usize = 20;
/// Servers that are named as those with a route to another.
const REACHED_BY: usize = 5;

/// Servers notice that another one is gone up to 90 s after each other: they send pings over routes every 30 s and wait for
/// two answers. After this time a route to a silent server is one.
const LINGER: Duration = Duration::minutes(5);

impl Rule for RouteMissing {
    const META: Meta = Meta {
        id: "CLUSTER_005",
        name: "Route Missing",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "The public catalogue compares the number of route connections with the number of servers, but since 2.10 a \
             healthy peer has four of them (a pool of three, and one of the system account), so that distinct peers are \
             counted here, against all servers that anybody names.",
        ),
        rule: "A server has routes to fewer servers than its cluster has others.",
        why: "Messages travel one route only: in a cluster without a full mesh, clients of two servers without a route to \
              each other do not hear each other at all, and JetStream cannot form a quorum across. Nothing in the logs of \
              the other servers tells of it.\n\n\
              A route counts if both ends tell of it, as far as both answer: a server lists one that it tries, while the other \
              refuses it.\n\n\
              The members of the cluster are the servers that answer, and those that members have routes to: where the \
              agent is connected to a server without a route to another one, its requests do not reach that one, but the \
              routes of the server in between name it. A server that has fallen silent is expected again once others \
              have kept their routes to it for 5 minutes; one that nobody has a route to is AGENT_001's.",
        remedy: &[
            "Compare user and password of the cluster block on all servers: who learns of another server by gossip uses its \
             own.",
            "See whether the route port of each server is reachable from all others, at the address that it advertises \
             (`cluster.advertise`).",
            "Give every server the route URLs of all others, and reload it.",
            "Compare the TLS settings of the routes: certificates must be valid for both directions.",
        ],
        needs: &[Endpoint::Routez],
        evidence_from_events: &Event::FAREWELLS,
        scope: Scope::Cluster,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A server that has just come has its routes a moment later.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let now = context.now;
        now.clusters().into_iter().flat_map(|(name, servers)| judge_cluster(now, name, &servers)).collect()
    }
}

/// A server of the cluster, and which servers that answered have a route to it.
type Members = BTreeMap<Name, (Name, Vec<Name>)>;

/// Who belongs to the cluster, by id.
fn members(now: &Snapshot, servers: &[&Server]) -> Members {
    let mut members: Members =
        servers.iter().map(|server| (server.id.clone(), (server.name.clone(), Vec::new()))).collect();
    for server in servers {
        for route in server.routes.iter().flatten().filter(|route| stands(now, server, route)) {
            if let Some((_, reached_by)) = members.get_mut(&route.peer) {
                reached_by.push(server.name.clone());
            } else if let Some(name) = hidden(now, route) {
                members.insert(route.peer.clone(), (name, vec![server.name.clone()]));
            }
        }
    }
    members
}

/// Whether the other end knows the route as well, as far as it tells. A server lists a connection that it has just opened, and
/// that the other one is about to refuse, and tries again every second (seen on 2.10.26): it looks like a route for all but
/// the other end.
fn stands(now: &Snapshot, server: &Server, route: &Route) -> bool {
    let there = now.servers.get(&route.peer).and_then(|other| other.routes.as_ref());
    there.is_none_or(|routes| routes.iter().any(|back| back.peer == server.id))
}

/// The name of a server that only routes tell of, if it is one that should have routes to all.
fn hidden(now: &Snapshot, route: &Route) -> Option<Name> {
    // A server that answered is of another cluster, or is none by its own account: a leaf.
    if now.servers.contains_key(&route.peer) {
        return None;
    }
    let missing = links::missing(now, &route.peer, route.peer_name.as_ref())?;
    let silent = missing.last_at.is_none_or(|last| now.taken_at - last > LINGER);
    (!missing.lame_duck && silent).then(|| missing.name.clone())
}

fn judge_cluster(now: &Snapshot, cluster: &Name, servers: &[&Server]) -> Vec<Verdict> {
    let members = members(now, servers);
    let mut found = Vec::new();
    for server in servers {
        let Some(routes) = &server.routes else { continue };
        let standing = routes.iter().filter(|route| stands(now, server, route));
        let peers: BTreeSet<&Name> = standing.map(|route| &route.peer).collect();
        let absent: Vec<&Name> =
            members.keys().filter(|id| **id != server.id && !peers.contains(*id)).collect();
        if !absent.is_empty() {
            found.push((*server, peers, absent));
        }
    }
    let such_servers = found.len() as u64;
    let expected = (members.len() as u64).saturating_sub(1);
    let verdict = |(server, peers, absent): (&Server, BTreeSet<&Name>, Vec<&Name>)| {
        let name_of = |id: &Name| members.get(id).map(|(name, _)| name.clone());
        let mut routes_to: Vec<Name> = peers.iter().filter_map(|id| name_of(id)).collect();
        routes_to.sort();
        let has = expected.saturating_sub(absent.len() as u64);
        let mut rows: Vec<Absent> = absent.iter().filter_map(|id| row(now, &members, server, id)).collect();
        rows.sort_by(|a, b| a.server.cmp(&b.server));
        let missing = rows.len() as u64;
        rows.truncate(NAMED);
        routes_to.truncate(NAMED);
        let summary = format!(
            "server {} of cluster {cluster} has routes to {has} of {}",
            server.name,
            count(expected, "other server")
        );
        let evidence = Evidence { no_route_to: rows, missing, routes_to, expected, such_servers };
        let remediation = remediation(server, &evidence);
        let entity = Entity::of_server(server);
        let observed = Observed::count(has, expected, "servers");
        Verdict::firing(entity, summary, observed, &evidence, remediation)
    };
    found.into_iter().map(verdict).collect()
}

fn row(now: &Snapshot, members: &Members, server: &Server, id: &Name) -> Option<Absent> {
    let (name, reached_by) = members.get(id)?;
    let there = now.servers.get(id).and_then(|other| other.routes.as_ref());
    let missing_there_too = there.map(|routes| routes.iter().all(|route| route.peer != server.id));
    let one_sided = server.routes.iter().flatten().any(|route| route.peer == *id);
    let mut reached_by = reached_by.clone();
    reached_by.sort();
    reached_by.truncate(REACHED_BY);
    Some(Absent { server: name.clone(), missing_there_too, one_sided, reached_by })
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    if evidence.routes_to.is_empty() {
        steps.push(format!(
            "Server {name} has no route at all: begin with its own cluster block (name, port, user and password, TLS) and its \
             host's firewall."
        ));
    }
    if evidence.no_route_to.iter().any(|row| row.one_sided || row.missing_there_too == Some(false)) {
        steps.push(
            "One end tells of a route that the other does not know: it is opened and refused again and again, or it is dead and \
             only one end has noticed. Look for refused logins, \"Duplicate Route\" and stale connections in both logs."
                .into(),
        );
    }
    let others: Vec<&str> = evidence.no_route_to.iter().take(REACHED_BY).map(|row| &*row.server).collect();
    let others = others.join(", ");
    steps.push(format!(
        "See in the logs of {name} and {others} why they refuse each other: who learns of another server by gossip logs in \
         with its own route user and password, which must be the same on all servers."
    ));
    steps.push(format!(
        "Try the route ports of {others} from the host of {name} and the other way round, at the addresses that they \
         advertise (`cluster.advertise`)."
    ));
    steps.push(format!("Add the route URLs of {others} to the cluster block of {name}, and reload it."));
    steps
}

#[cfg(test)]
mod tests;
