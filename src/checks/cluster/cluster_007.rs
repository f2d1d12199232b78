//! CLUSTER_007: a server has lost its gateway to another cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule,
    Scope, Severity, Thresholds, Verdict,
};
use crate::checks::evidence::{TOP, first_names, rfc3339};
use crate::snapshot::{Endpoint, Event, Gateways, Series, Server, Snapshot, gateway_link};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// See [`Rule::META`].
pub(super) struct GatewayDisconnected;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The cluster at the other end.
    #[schemars(with = "String")]
    remote: Name,
    /// Whether the server's configuration names it; otherwise the server had learnt of it.
    configured: bool,
    /// When this agent last saw the gateway, within the last hour.
    last_seen: Option<String>,
    /// Connections that come from the remote cluster to this server. They may be none in good times.
    inbound: u64,
    /// Servers of this cluster that have a gateway to it, by name, at most 5 of them.
    #[schemars(with = "Vec<String>")]
    connected: Vec<Name>,
    /// How many servers of this cluster that answered have one.
    connected_servers: u64,
    /// How many of those that answered have none, this one included.
    disconnected_servers: u64,
    /// Servers of the remote cluster that answered this agent.
    remote_answered: u64,
    /// Servers of the remote cluster that are silent without having said that they leave.
    remote_silent: u64,
    /// Servers of the remote cluster that left in order and are not back, by name, at most 5 of them.
    #[schemars(with = "Vec<String>")]
    remote_left: Vec<Name>,
    /// Whether all servers of the remote cluster left in order, so that the gateway is gone as planned.
    planned: bool,
}

/// A gateway is made anew within a few seconds of the return of a server; servers that came back so recently are not yet
/// taken for a cluster that is there.
const SETTLES: Duration = Duration::minutes(1);

impl Rule for GatewayDisconnected {
    const META: Meta = Meta {
        id: "CLUSTER_007",
        name: "Gateway Disconnected",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Gateway,
        since: "2.9",
        differs: Some(
            "The public catalogue reports a gateway that existed before and is missing now, which is true for one look only: \
             here the finding lasts as long as the gateway is missing, also one that the configuration names and that never \
             was, and it is only worth knowing where all servers of the remote cluster said that they leave.",
        ),
        rule: "A server has no outbound gateway to a cluster that its configuration names, or to which it had one within the \
               last hour.",
        why: "What is published at this server does not reach the remote cluster: every server of a cluster has an outbound \
              connection of its own to each remote one, and uses no other's. Clients on a server beside it may be \
              fine.\n\n\
              Only outbound connections are looked at. How many come in from a remote cluster depends on where its servers \
              happen to connect to, and may be none. Where a server of the remote cluster ends, those that were connected \
              to it connect to another one within seconds, which is why two epochs in a row must agree.\n\n\
              Where every server of the remote cluster said goodbye (a shutdown in order, or lame-duck mode), the gateway \
              is gone as planned: that is reported as `info`, however long they are away, and becomes critical if it does not come \
              back with them.\n\n\
              A gateway that no configuration names is known from what was seen: it is reported until an hour after it was \
              lost.",
        remedy: &[
            "See whether the servers of the remote cluster run, and whether their gateway ports are reachable from the \
             host of this server.",
            "Look for the remote cluster's name in this server's log: names, users, passwords and certificates of the \
             gateway blocks must fit.",
            "If the remote cluster was retired, remove it from the `gateways` list of every server and restart them one by one: no \
             reload changes that list.",
        ],
        needs: &[Endpoint::Gatewayz, Endpoint::Varz],
        evidence_from_events: &Event::FAREWELLS,
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // It is made anew in seconds when the server at its other end is started anew.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const SERIES: &'static [Series] = &[Series::GatewayLinks];
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let seen = seen(context);
        let servers = context.now.servers.values();
        servers.flat_map(|server| judge_server(context.now, &seen, server)).collect()
    }
}

/// When a gateway was last seen, by its key.
type Seen = BTreeMap<Name, OffsetDateTime>;

/// How long a gateway that no configuration names is missed.
const MISSED: Duration = Duration::hours(1);

/// Over all boots of its server.
fn seen(context: &Context<'_>) -> Seen {
    let mut seen = Seen::new();
    for track in context.tracks(Series::GatewayLinks) {
        let last = track.points.last().filter(|last| context.now.taken_at - last.at < MISSED);
        if let Some(last) = last {
            let at = seen.entry(track.key).or_insert(last.at);
            *at = last.at.max(*at);
        }
    }
    seen
}

fn judge_server(now: &Snapshot, seen: &Seen, server: &Server) -> Vec<Verdict> {
    let (Some(gateways), Some(vars)) = (&server.gateways, &server.vars) else {
        return Vec::new();
    };
    let configured: BTreeSet<&Name> = vars.gateways.iter().flatten().collect();
    let beginning = gateway_link(server, "");
    let keys = seen.range(beginning.clone()..).map_while(|(key, _)| key.strip_prefix(&*beginning));
    let mut wanted: BTreeSet<Name> = keys.map(Name::from).collect();
    wanted.extend(configured.iter().copied().cloned());
    let lost = wanted.iter().filter(|remote| !gateways.outbound.contains_key(*remote));
    lost.map(|remote| {
        let last_seen = seen.get(&gateway_link(server, remote)).copied();
        verdict(now, (server, gateways), remote, configured.contains(remote), last_seen)
    })
    .collect()
}

fn verdict(
    now: &Snapshot,
    (server, gateways): (&Server, &Gateways),
    remote: &Name,
    configured: bool,
    last_seen: Option<OffsetDateTime>,
) -> Verdict {
    let told: Vec<(&Server, bool)> = now
        .cluster_of(server)
        .filter_map(|other| Some((other, other.gateways.as_ref()?.outbound.contains_key(remote))))
        .collect();
    let connected = told.iter().filter(|(_, has)| *has).map(|(other, _)| other.name.clone());
    let (connected, connected_servers) = first_names(connected);
    let beyond = Beyond::of(now, remote);
    let evidence = Evidence {
        remote: remote.clone(),
        configured,
        last_seen: last_seen.and_then(rfc3339),
        inbound: gateways.inbound.get(remote).copied().unwrap_or(0),
        connected,
        connected_servers,
        disconnected_servers: told.len() as u64 - connected_servers,
        remote_answered: beyond.answered,
        remote_silent: beyond.silent,
        planned: beyond.planned(),
        remote_left: beyond.left.into_iter().take(TOP).collect(),
    };
    let name = &server.name;
    let mut summary = format!("server {name} has no gateway to cluster {remote}");
    if evidence.planned {
        summary.push_str(", whose servers have all left in order");
    }
    let remediation = remediation(server, &evidence);
    let entity = Entity::gateway(name, server.cluster.as_ref(), remote);
    let observed = Observed::count(0, 1, "connections");
    let verdict = Verdict::firing(entity, summary, observed, &evidence, remediation);
    if evidence.planned { verdict.with_severity(Severity::Info) } else { verdict }
}

/// The servers of a remote cluster.
struct Beyond {
    answered: u64,
    silent: u64,
    /// Those that left in order and are not back, by name.
    left: BTreeSet<Name>,
    /// Whether any is there that did not come back just now.
    settled: bool,
    /// Whether any came back just now.
    returned: bool,
}

impl Beyond {
    fn of(now: &Snapshot, remote: &Name) -> Self {
        let is = |cluster: &Option<Name>| cluster.as_ref() == Some(remote);
        let departures: Vec<_> = now.departures.iter().filter(|one| is(&one.cluster)).collect();
        let returned = |name: &Name| {
            departures.iter().any(|one| {
                one.server == *name && one.back_at.is_some_and(|back| now.taken_at - back < SETTLES)
            })
        };
        let there: Vec<&Server> = now.servers.values().filter(|server| is(&server.cluster)).collect();
        let silent = now
            .coverage
            .missing
            .iter()
            .filter(|missing| is(&missing.cluster) && !missing.lame_duck && !missing.is_cluster());
        Self {
            answered: there.len() as u64,
            silent: silent.count() as u64,
            left: departures
                .iter()
                .filter(|one| one.back_at.is_none())
                .map(|one| one.server.clone())
                .collect(),
            settled: there.iter().any(|server| !returned(&server.name)),
            returned: there.iter().any(|server| returned(&server.name)),
        }
    }

    /// Whether all of them said that they leave.
    fn planned(&self) -> bool {
        self.silent == 0 && !self.settled && (self.returned || !self.left.is_empty())
    }
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let (name, remote) = (&server.name, &evidence.remote);
    let mut steps = Vec::new();
    if evidence.planned {
        steps.push(format!("Nothing is to be done while the servers of {remote} are meant to be down: the gateway comes back with them."));
        steps.push(format!(
            "If {remote} was retired, remove it from the `gateways` list of every server and restart them one by one: no reload \
             changes that list."
        ));
        return steps;
    }
    if evidence.remote_answered > 0 {
        steps.push(format!(
            "Servers of {remote} run and answer this agent: look at the way from the host of {name} to their gateway ports."
        ));
    } else {
        steps.push(format!(
            "No server of {remote} answers this agent: see whether they run, and whether the line to them is cut."
        ));
    }
    if evidence.connected_servers > 0 {
        let others = evidence.connected.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        steps.push(format!(
            "Other servers of its cluster are connected to {remote} ({others}): compare their gateway blocks, certificates \
             and network with those of {name}; until it is back, clients of {name} may use those servers."
        ));
    } else if evidence.disconnected_servers > 1 {
        steps.push(format!(
            "No server of its cluster is connected to {remote}: begin with what they share, the line or the remote cluster."
        ));
    }
    if evidence.inbound > 0 {
        steps.push(format!(
            "Servers of {remote} are connected to {name}, so that only the other direction fails: look at the address and port \
             that {remote} advertises, and at firewalls."
        ));
    }
    steps.push(format!(
        "Look for {remote} in the log of {name}: names, users, passwords and certificates of the gateway blocks must fit."
    ));
    if evidence.last_seen.is_none() {
        steps.push(format!(
            "It was not seen within the last hour: if {remote} does not exist (any longer), remove it from the `gateways` list of \
             {name} and restart it: no reload changes that list."
        ));
    }
    steps
}

#[cfg(test)]
mod tests;
