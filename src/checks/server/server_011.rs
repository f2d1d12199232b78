//! SERVER_011: a server's client connections come near the most it accepts.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, percent, percent_of,
};
use crate::checks::evidence::since::{opened, per_minute};
use crate::checks::evidence::{DOMINANT, Growth, LIKELY, OnServer, Silent, raised, sweep_gaps_at};
use crate::snapshot::{Endpoint, FollowUp, Sample, Server, ServerVars, difference};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ConnectionCountHigh;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire at this share of the server's `max_connections`, in percent.
    warn_percent: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 80.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Connections opened since the previous epoch; none in the first epoch and after a restart of the server.
    arrivals: Option<Arrivals>,
    /// Growth over the last epochs, and the time until the limit if it goes on.
    growth: Option<Growth>,
    /// Who has most connections on this server.
    top: OnServer,
    /// Connections here that were idle for long and never carried a message: likely leaked.
    idle_without_messages: Silent,
    /// The servers of the cluster side by side; none for a server without a cluster.
    cluster: Option<ClusterView>,
    /// Clients refused since the previous epoch because the server was full; none where the server does not tell.
    rejected: Option<u64>,
    /// What the sweep over this server's connections did not bring; its figures are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Arrivals {
    /// Connections opened since the previous epoch, those refused because the server was full included.
    opened: u64,
    /// Change of the number of open connections.
    net: i64,
    /// Opened per minute.
    opened_per_minute: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClusterView {
    /// Every server of the cluster that answered, the fullest first.
    servers: Vec<Row>,
    /// Their connections together.
    connections: u64,
    /// Their maxima together; none where one of them has no limit, or one that cannot be told.
    max_connections: Option<u64>,
    /// Whether the cluster as a whole is below the threshold, so that clients are spread unevenly; none while a
    /// server's numbers are missing.
    has_room: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Its client connections.
    connections: u64,
    /// The most it accepts; 0 where it refuses every client, none where it has no limit or one that cannot be told.
    max_connections: Option<u64>,
    /// In percent of the most it accepts.
    percent: Option<f64>,
}

/// What a server's `max_connections` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ceiling {
    At(u64),
    None,
    RefusesAll,
    /// 0 or less, on a version that is not known.
    Untold,
}

impl Ceiling {
    fn of(server: &Server, vars: &ServerVars) -> Self {
        match (u64::try_from(vars.max_connections), server.refuses_all_when_not_positive()) {
            (Ok(limit), _) if limit > 0 => Self::At(limit),
            (_, Some(true)) => Self::RefusesAll,
            (_, Some(false)) => Self::None,
            (_, None) => Self::Untold,
        }
    }

    const fn most(self) -> Option<u64> {
        match self {
            Self::At(limit) => Some(limit),
            Self::RefusesAll => Some(0),
            Self::None | Self::Untold => None,
        }
    }
}

fn reaches(connections: u64, limit: u64, warn_percent: f64) -> bool {
    connections as f64 * 100.0 >= warn_percent * limit as f64
}

fn fires(ceiling: Ceiling, connections: u64, warn_percent: f64) -> bool {
    match ceiling {
        Ceiling::At(limit) => reaches(connections, limit, warn_percent),
        Ceiling::RefusesAll => true,
        Ceiling::None | Ceiling::Untold => false,
    }
}

impl Rule for ConnectionCountHigh {
    const META: Meta = Meta {
        id: "SERVER_011",
        name: "Connection Count High",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "The client connections of a server are at 80 % or more of its `max_connections`.",
        why: "A full server refuses every further client with \"maximum connections exceeded\", and where one server \
              of a cluster is lost its clients move to the others: room is needed for them too.\n\n\
              The maximum is 65,536 unless it is set. NATS, WebSocket and MQTT clients count, those of the system \
              account as well; routes, gateways and leafnodes do not.\n\n\
              A maximum of 0 or -1 meant \"no limit\" before nats-server 2.12.5. In 2.12.5 and later 2.12 versions, \
              and from 2.14.0 on, it means that the server refuses every client: that is critical, and it is found \
              most often after an upgrade.",
        remedy: &[
            "Close connections that are leaked: idle for minutes without a single message in their life.",
            "Give clients the URLs of all servers of the cluster, so that they spread.",
            "Raise `max_connections` if memory allows (10 to 30 KB a connection), and check that the process may \
             have as many open files.",
            "Bound single accounts by a connection limit of their own.",
            "Collect many clients behind leafnodes at the edge; a leafnode is no client connection of this server.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz, Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The clients of a server that leaves come to the others, and go back later.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let firing = context.now.servers.values().filter(|server| {
            let warn_percent = thresholds.of(&Entity::of_server(server)).warn_percent;
            let vars = server.vars.as_ref();
            vars.is_some_and(|vars| fires(Ceiling::of(server, vars), vars.connections, warn_percent))
        });
        firing.map(|server| FollowUp::ClosedConnections { server: server.id.clone() }).collect()
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref()?;
    let entity = Entity::of_server(server);
    let warn_percent = thresholds.of(&entity).warn_percent;
    let ceiling = Ceiling::of(server, vars);
    if ceiling == Ceiling::Untold {
        let reason = format!(
            "max_connections of server {} is {}, which means \"no limit\" or \"refuse every client\" depending on \
             the version, and its version is not known",
            server.name, vars.max_connections
        );
        return Some(Verdict::unknown(entity, reason));
    }
    if !fires(ceiling, vars.connections, warn_percent) {
        return None;
    }
    let limit = ceiling.most()?;
    let evidence = evidence(context, server, vars, limit, warn_percent);
    let mut observed = Observed::of_limit(vars.connections, limit, warn_percent, "connections", "server");
    let remediation = remediation(server, &evidence, ceiling, vars.connections);
    if ceiling == Ceiling::RefusesAll {
        observed.scope = Some("refuses_all".into());
        let summary = format!(
            "server {} refuses every client: its max_connections is 0 or less, which no longer means \"no limit\" \
             in its version; {} open",
            server.name,
            if vars.connections == 1 {
                "1 connection is".into()
            } else {
                format!("{} connections are", vars.connections)
            },
        );
        return Some(
            Verdict::firing(entity, summary, observed, &evidence, remediation)
                .with_severity(Severity::Critical),
        );
    }
    let share = observed.percent.unwrap_or(0.0);
    let mut summary =
        format!("server {} has {} of {limit} connections ({share:.1} %)", server.name, vars.connections);
    if vars.connections > limit {
        summary.push_str(", above its limit");
    }
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn evidence(
    context: &Context<'_>,
    server: &Server,
    vars: &ServerVars,
    limit: u64,
    warn_percent: f64,
) -> Evidence {
    let now = Sample { at: context.now.taken_at, connections: vars.connections, subscriptions: 0 };
    let trend = context.history.server(&server.id, now);
    let (silent, clients) = server.fold.as_ref().map_or((0, 0), |fold| (fold.silent, fold.clients));
    Evidence {
        arrivals: arrivals(context, server, vars),
        growth: trend.map(|trend| Growth::of(&trend, limit.checked_sub(vars.connections))),
        top: OnServer::of(context.now, server),
        idle_without_messages: Silent::of(silent, clients),
        cluster: server.cluster.as_ref().map(|cluster| side_by_side(context, cluster, warn_percent)),
        rejected: context.now.follow_ups.rejected.get(&server.id).copied(),
        sweep_incomplete: sweep_gaps_at(context.now, &server.name),
    }
}

fn arrivals(context: &Context<'_>, server: &Server, vars: &ServerVars) -> Option<Arrivals> {
    let before = context.same_boot(server)?.vars.as_ref()?;
    let opened = opened(context, server)?;
    let net = difference(vars.connections, before.connections);
    Some(Arrivals { opened, net, opened_per_minute: per_minute(context, opened)? })
}

fn side_by_side(context: &Context<'_>, cluster: &Name, warn_percent: f64) -> ClusterView {
    let members = || context.now.members(cluster);
    let known = || members().filter_map(|server| Some((server, server.vars.as_ref()?)));
    let ceilings: Vec<Ceiling> = known().map(|(server, vars)| Ceiling::of(server, vars)).collect();
    let mut servers: Vec<Row> = known()
        .map(|(server, vars)| {
            let most = Ceiling::of(server, vars).most();
            let percent = most.and_then(|most| percent_of(vars.connections, most));
            Row { server: server.name.clone(), connections: vars.connections, max_connections: most, percent }
        })
        .collect();
    servers.sort_by(|a, b| b.connections.cmp(&a.connections).then_with(|| a.server.cmp(&b.server)));
    let connections = servers.iter().fold(0u64, |sum, row| sum.saturating_add(row.connections));
    let most = servers.iter().try_fold(0u64, |sum, row| Some(sum.saturating_add(row.max_connections?)));
    let gaps = context.now.coverage.gaps(Endpoint::Varz);
    let whole = !gaps.iter().any(|gap| gap.may_be_in(Some(cluster))) && !ceilings.contains(&Ceiling::Untold);
    let has_room = whole.then(|| most.is_none_or(|most| !reaches(connections, most, warn_percent)));
    ClusterView { servers, connections, max_connections: most, has_room }
}

fn remediation(server: &Server, evidence: &Evidence, ceiling: Ceiling, connections: u64) -> Vec<String> {
    let name = &server.name;
    let Ceiling::At(limit) = ceiling else {
        return vec![
            format!(
                "Set `max_connections` of server {name} to a positive number, or leave it out for the default of \
                 65,536, and reload it."
            ),
            "If the server is meant to be closed to clients, disable this check for it.".into(),
        ];
    };
    let clients = server.fold.as_ref().map_or(0, |fold| fold.clients);
    let mut steps = Vec::new();
    let silent = &evidence.idle_without_messages;
    if silent.percent >= LIKELY {
        steps.push(format!(
            "{} ({:.1} %) never carried a message and are idle: look for connections that are opened and forgotten, \
             beginning with the client names and addresses in the evidence.",
            count(silent.connections, "connection"),
            silent.percent,
        ));
    }
    if evidence.arrivals.as_ref().is_some_and(|arrivals| arrivals.opened_per_minute >= connections as f64) {
        steps.push(
            "More connections are opened per minute than are open: end the churn before raising limits."
                .into(),
        );
    }
    if evidence
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.servers.len() > 1 && cluster.has_room == Some(true))
    {
        steps.push(
            "The cluster as a whole has room: give clients the URLs of all its servers, so that they spread."
                .into(),
        );
    }
    let leading = evidence.top.accounts.leading(clients).filter(|(_, share)| *share >= DOMINANT);
    if let Some((account, share)) = leading {
        steps.push(format!(
            "{share:.1} % of the connections here belong to account {account}: bound it by a connection limit of its \
             own if that is not meant."
        ));
    }
    if evidence.growth.as_ref().is_some_and(|growth| growth.seconds_to_limit.is_some()) {
        steps.push(
            "The number grows steadily: find out what was scaled up, and plan the limit with it.".into(),
        );
    }
    steps.push(format!(
        "If the use is meant, set `max_connections: {}` in the configuration of server {name} and reload it; count 10 \
         to 30 KB of memory for each connection, and check that the process may have as many open files.",
        raised(limit.max(connections))
    ));
    steps.push("Collect many clients behind leafnodes at the edge.".into());
    steps
}

#[cfg(test)]
mod tests;
