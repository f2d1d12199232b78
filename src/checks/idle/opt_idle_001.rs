//! OPT_IDLE_001: a server that has next to nothing to do.

use crate::check::{
    Category, Context, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, at_least, count, percent, seconds,
};
use crate::checks::as_text;
use crate::checks::evidence::in_words;
use crate::snapshot::{Endpoint, Series, Server, ServerVars, Track};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct UnderutilizedServer;

/// Epochs of one process that must have been seen.
const SAMPLES: usize = 5;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the process never used this share of its processors, in percent.
    cpu_percent: f64,
    /// Fire when it never had this many client connections.
    connections: u64,
    /// Say nothing before the process has been watched for this long, e.g. `5m`, in at least 5 epochs; at least `1s`, and of use
    /// up to an hour, for which values are remembered.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    watched_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_percent: 5.0, connections: 10, watched_for: Duration::from_secs(300) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("watched_for", self.watched_for)?;
        percent("cpu_percent", self.cpu_percent)?;
        at_least("connections", self.connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The most that it used of all its processors within the last hour, as far as it was seen, in percent.
    most_cpu_percent: f64,
    /// The most client connections that it had within the last hour, as far as it was seen, without this agent's own.
    most_connections: u64,
    /// Epochs that were looked at: of more than 60 within the hour about 60 are kept, the highest of each value among them.
    epochs: u64,
    /// Seconds from the first to the last epoch that was looked at; about an hour at most.
    seconds: u64,
    /// Servers of its cluster, this one included; none for a server without a cluster.
    cluster_servers: Option<u64>,
    /// How many of those are as idle.
    cluster_idle: u64,
    /// Processors of the server.
    cores: u64,
    /// Resident memory in bytes.
    memory: u64,
}

impl Rule for UnderutilizedServer {
    const META: Meta = Meta {
        id: "OPT_IDLE_001",
        name: "Underutilized Server",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("idle"),
        since: "2.9",
        differs: Some(
            "A server with leafnodes, or one that stores JetStream data, is left out, because it does work that neither its \
             clients nor an idle second's processor time show. Nothing is said before it was watched for 5 minutes and 5 epochs, \
             and one busy moment within an hour is enough to be silent.",
        ),
        rule: "Within the last hour, watched for 5 minutes and 5 epochs at least, a server never used 5 % of its processors and never had 10 client \
               connections.",
        why: "A server that nobody uses costs a machine, and an upgrade like any other. Most often clients were \
              never told of it, or a cluster was planned for more than came.\n\n\
              Both values are the highest of the last hour that this agent saw of the same process: after a restart \
              five minutes and five epochs pass before anything is said. Servers with leafnodes, and those whose JetStream holds data or \
              has promised room to streams, are not looked at. This agent's own connection does not count.\n\n\
              A cluster needs three servers to survive the loss of one, however little they have to do: it is for an \
              operator to say that a server is idle on purpose, by disabling the check for it.",
        remedy: &[
            "Give clients the URLs of all servers of the cluster, so that they spread.",
            "Take the server away if the cluster keeps at least three without it.",
            "Disable the check for servers that stand by on purpose.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const SERIES: &'static [Series] = &[Series::ServerCpu, Series::ServerConnections];
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let window = Window::of(context);
        let servers = context.now.servers.values();
        let idle = servers.filter_map(|server| {
            let entity = Entity::of_server(server);
            let limits = thresholds.of(&entity);
            let most = window.look(server).filter(|most| most.is_low(limits))?;
            if most.is_seen_enough(limits) {
                return Some(verdict(context, thresholds, &window, server, &most));
            }
            let seconds = most.seconds as u64;
            let reason = format!(
                "server {} has been watched for {} and {}, of {} and {SAMPLES}",
                server.name,
                in_words(seconds),
                count(most.epochs as u64, "epoch"),
                in_words(limits.watched_for.as_secs()),
            );
            Some(Verdict::not_yet(entity, reason))
        });
        idle.collect()
    }
}

/// The highest values of a server.
struct Most {
    /// In tenths of a percent of all processors.
    cpu: u64,
    connections: u64,
    epochs: usize,
    seconds: f64,
}

impl Most {
    fn is_low(&self, limits: &Limits) -> bool {
        (self.cpu as f64) < limits.cpu_percent * 10.0 && self.connections < limits.connections
    }

    fn is_seen_enough(&self, limits: &Limits) -> bool {
        self.epochs >= SAMPLES && self.seconds >= limits.watched_for.as_secs_f64()
    }
}

/// The tracks of the window by boot.
struct Window {
    cpu: BTreeMap<Name, Track>,
    connections: BTreeMap<Name, Track>,
}

impl Window {
    fn of(context: &Context<'_>) -> Self {
        let by_boot = |series| {
            let tracks = context.tracks(series).into_iter();
            tracks.map(|track: Track| (track.boot.clone(), track)).collect()
        };
        Self { cpu: by_boot(Series::ServerCpu), connections: by_boot(Series::ServerConnections) }
    }

    /// None of a server that has work which the values do not show, and of one that did not tell.
    fn look(&self, server: &Server) -> Option<Most> {
        server.vars.as_ref().filter(|vars| vars.cores > 0 && !works_otherwise(vars))?;
        let (cpu, connections) = (self.cpu.get(&server.id)?, self.connections.get(&server.id)?);
        let highest = |track: &Track| track.points.iter().map(|point| point.value).max().unwrap_or(0);
        let own = server.own_connections();
        Some(Most {
            cpu: highest(cpu),
            connections: highest(connections).saturating_sub(own),
            epochs: cpu.points.len().min(connections.points.len()),
            seconds: cpu.seconds().min(connections.seconds()),
        })
    }
}

/// Leafnodes, or data of JetStream.
fn works_otherwise(vars: &ServerVars) -> bool {
    let stores = vars.jetstream.as_ref().is_some_and(|jetstream| {
        let held =
            [jetstream.memory, jetstream.storage, jetstream.reserved_memory, jetstream.reserved_storage];
        held.into_iter().any(|bytes| bytes > 0)
    });
    stores || vars.leafnodes > 0
}

fn verdict(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    window: &Window,
    server: &Server,
    most: &Most,
) -> Verdict {
    let members = context.now.cluster_of(server);
    let idle = members.clone().filter(|other| {
        let limits = thresholds.of(&Entity::of_server(other));
        window.look(other).is_some_and(|most| most.is_low(limits) && most.is_seen_enough(limits))
    });
    let (of_cluster, cluster_idle) = (members.clone().count() as u64, idle.count() as u64);
    let evidence = Evidence {
        most_cpu_percent: most.cpu as f64 / 10.0,
        most_connections: most.connections,
        epochs: most.epochs as u64,
        seconds: most.seconds as u64,
        cluster_servers: server.cluster.as_ref().map(|_| of_cluster),
        cluster_idle,
        cores: server.vars.as_ref().map_or(0, |vars| vars.cores),
        memory: server.vars.as_ref().map_or(0, |vars| vars.memory),
    };
    let limits = thresholds.of(&Entity::of_server(server));
    let summary = format!(
        "server {} had at most {} client connections and used at most {:.1} % of its processors within {}",
        server.name,
        most.connections,
        evidence.most_cpu_percent,
        in_words(evidence.seconds),
    );
    let observed = Observed::count(most.connections, limits.connections, "connections");
    let mut steps = Vec::new();
    if of_cluster > cluster_idle {
        steps.push("Other servers of the cluster have work: give clients the URLs of all of them, so that they spread.".into());
    }
    if of_cluster > 3 {
        steps.push(format!(
            "The cluster has {of_cluster} servers: take server {} away if its load and the loss of another one allow that.",
            server.name
        ));
    }
    steps.push("If it stands by on purpose, disable this check for it by an override.".into());
    Verdict::firing(Entity::of_server(server), summary, observed, &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge_last, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{JetStreamVars, Snapshot};
    use serde_json::json;

    type Check = UnderutilizedServer;

    /// Epochs of two servers, of which n2 is busy and n1 is as it is told.
    fn epochs(n: i64, n1: impl Fn(i64, &mut ServerVars)) -> Vec<Snapshot> {
        let epoch = |number: i64| {
            System::of(2)
                .at(number * 75)
                .vars("n1", |vars| {
                    (vars.cpu, vars.connections) = (19.0, 9);
                    n1(number, vars);
                })
                .vars("n2", |vars| vars.connections = 1000)
                .done()
        };
        (0..n).map(epoch).collect()
    }

    fn n1() -> Entity {
        Entity::server(&"n1".into(), Some(&"east".into()))
    }

    #[test]
    fn the_highest_of_five_epochs_counts() {
        let judgement = judge_last::<Check>(&epochs(5, |_, _| ()));
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &n1());
        assert_eq!(
            firing.summary,
            "server n1 had at most 9 client connections and used at most 4.7 % of its processors within 5m"
        );
        assert_eq!(
            firing.evidence,
            json!({"most_cpu_percent": 4.7, "most_connections": 9, "epochs": 5, "seconds": 300, "cluster_servers": 2,
                   "cluster_idle": 1, "cores": 4, "memory": 67_108_864})
        );
        let four = judge_last::<Check>(&epochs(4, |_, _| ()));
        assert!(four.firing.is_empty() && matches!(four.standing(&n1()), Standing::Unknown(_)));
        // Five epochs of a minute are not five minutes from the first to the last.
        let mut short = epochs(5, |_, _| ());
        short[0].taken_at = crate::snapshot::build::at(1);
        let judgement = judge_last::<Check>(&short);
        assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
        assert!(matches!(judgement.standing(&n1()), Standing::Unknown(_)));
        // One busy moment within the hour.
        assert!(
            judge_last::<Check>(&epochs(5, |at, vars| vars.connections = if at == 1 { 10 } else { 0 }))
                .firing
                .is_empty()
        );
        assert!(
            judge_last::<Check>(&epochs(5, |at, vars| vars.cpu = if at == 0 { 20.0 } else { 0.0 }))
                .firing
                .is_empty()
        );
        for cores in [0, u64::MAX] {
            judge_last::<Check>(&epochs(5, |_, vars| vars.cores = cores));
        }
    }

    #[test]
    fn a_busy_moment_is_remembered_for_an_hour_however_short_epochs_are() {
        let judged = |busy: i64| {
            let epoch = |number: i64| {
                let connections = if number == busy { 10 } else { 3 };
                System::of(1).at(number * 10).vars("n1", |vars| vars.connections = connections).done()
            };
            judge_last::<Check>(&(0..=500).map(epoch).collect::<Vec<_>>()).firing.len()
        };
        assert_eq!((judged(141), judged(300), judged(499), judged(100)), (0, 0, 0, 1));
    }

    #[test]
    fn leafnodes_and_stored_data_are_work() {
        let holding =
            |jetstream: JetStreamVars| epochs(5, move |_, vars| vars.jetstream = Some(jetstream.clone()));
        assert!(judge_last::<Check>(&epochs(5, |_, vars| vars.leafnodes = 1)).firing.is_empty());
        for jetstream in [
            JetStreamVars { storage: 1, ..Default::default() },
            JetStreamVars { memory: 1, ..Default::default() },
            JetStreamVars { reserved_storage: 1, ..Default::default() },
        ] {
            assert!(judge_last::<Check>(&holding(jetstream)).firing.is_empty());
        }
        assert_eq!(judge_last::<Check>(&holding(JetStreamVars::default())).firing.len(), 1);
    }

    #[test]
    fn a_restart_begins_anew_and_the_agents_own_connection_does_not_count() {
        let mut restarted = epochs(5, |_, _| ());
        let last = restarted.last_mut().unwrap();
        let server = last.servers.remove("ID-n1").unwrap();
        last.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        let judgement = judge_last::<Check>(&restarted);
        assert!(judgement.firing.is_empty());
        assert_eq!(
            judgement.standing(&n1()),
            Standing::Unknown("server n1 has been watched for 0s and 1 epoch, of 5m and 5".into())
        );
        let own = |number: i64| {
            System::of(1)
                .at(number * 75)
                .vars("n1", |vars| vars.connections = 9)
                .own_next("n1")
                .connect("n1", "SYS", "agent", 1, |_, _| {})
                .done()
        };
        let mut epochs: Vec<Snapshot> = (0..5).map(own).collect();
        assert_eq!(only(&judge_last::<Check>(&epochs)).1.evidence["most_connections"], 9);
        // Nobody listed the connections.
        for epoch in &mut epochs {
            let server = epoch.servers.get_mut("ID-n1").unwrap();
            (server.fold, server.own) = (None, 1);
        }
        assert_eq!(only(&judge_last::<Check>(&epochs)).1.evidence["most_connections"], 9);
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let mut epochs = epochs(5, |_, _| ());
        epochs[4] = System::of(2).at(300).gone("n1").done();
        let judgement = judge_last::<Check>(&epochs);
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&n1()), Standing::Unknown("server n1 did not answer VARZ".into()));
    }
}
