//! CLUSTER_001: a server that uses far more memory than the others of its cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, rounded,
};
use crate::checks::busiest::{self, BusyRow, busiest};
use crate::snapshot::{Endpoint, FollowUp, Order, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct MemoryOutlier;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when a server uses more than this many times its cluster's average.
    ratio: f64,
    /// Leave out servers that use less than this many bytes: small processes differ by chance.
    min_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 1.5, min_bytes: 256 << 20 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        if !(self.ratio > 1.0 && self.ratio.is_finite()) {
            // A ratio of 1 or less would name a server of every cluster.
            let value = self.ratio.to_string();
            return Err(OutOfRange { key: "ratio", value, expected: "a number above 1" });
        }
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's memory as a multiple of the average.
    times_average: f64,
    /// Average bytes of the cluster's servers, this one included.
    average: u64,
    /// All servers of the cluster, the largest first.
    servers: Vec<Row>,
    /// The connections for which most bytes wait to be sent, at most 5; none where the server did not tell.
    most_pending: Option<Vec<BusyRow>>,
    /// Those with most subscriptions.
    most_subscriptions: Option<Vec<BusyRow>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Resident memory in bytes.
    memory: u64,
    /// Its client connections.
    connections: u64,
    /// What its streams use in memory, in bytes; none where JetStream is off.
    streams_in_memory: Option<u64>,
    /// Seconds since it was started; none where it does not tell.
    running_seconds: Option<u64>,
}

impl Rule for MemoryOutlier {
    const META: Meta = Meta {
        id: "CLUSTER_001",
        name: "Memory Outlier",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        group: None,
        since: "2.9",
        aliases: &[],
        docs_url: None,
        differs: Some(
            "A server must use 256 MiB at least, in two epochs in a row, because processes of a few dozen megabytes differ by \
             half as much again without any reason.",
        ),
        rule: "A server uses more than 1.5 times the average memory of its cluster's servers, and at least 256 MiB, in two \
               epochs in a row.",
        why: "Members of a cluster hold the same interest, so that their memory differs by what only one of them has: more \
              connections, clients that do not read what is sent to them, streams in memory, or a leak.\n\n\
              What is compared is the resident memory of the process. The average is over all servers of the cluster, this one \
              included: with two servers one must use more than three times as much as the other, and a server alone in its \
              cluster is never named. A process gives memory back late: after a burst it may stay large for minutes.",
        remedy: &[
            "Look for clients that do not keep up: bytes wait for each of them in the server's memory.",
            "Look for connections with very many subscriptions, and spread clients over all servers.",
            "Move streams that are kept in memory to other servers, or to files.",
            "Take a heap profile of the server if none of that explains it, before it is restarted.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
    };
    // Memory is given back late.
    const FOR: u64 = 2;
    // A server that comes back is small, and its clients are with the others.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let large = outliers(context, thresholds);
        large
            .iter()
            .flat_map(|one| busiest::ask(one.server, &[Order::Pending, Order::Subscriptions]))
            .collect()
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let large = outliers(context, thresholds);
        large.into_iter().map(|one| verdict(context, one)).collect()
    }
}

struct Outlier<'a> {
    server: &'a Server,
    cluster: &'a Name,
    entity: Entity,
    memory: u64,
    average: f64,
    ratio: f64,
}

fn memory(server: &Server) -> Option<u64> {
    // No process takes nothing: a server that cannot measure it tells 0.
    server.vars.as_ref().map(|vars| vars.memory).filter(|memory| *memory > 0)
}

fn outliers<'a>(context: &Context<'a>, thresholds: &Thresholds<Limits>) -> Vec<Outlier<'a>> {
    let mut outliers = Vec::new();
    for (cluster, servers) in context.now.clusters() {
        let sizes: Vec<(&Server, u64)> =
            servers.iter().filter_map(|server| Some((*server, memory(server)?))).collect();
        let average = sizes.iter().map(|(_, memory)| *memory as f64).sum::<f64>() / sizes.len() as f64;
        for (server, memory) in sizes {
            let entity = Entity::server(&server.name, Some(cluster));
            let Limits { ratio, min_bytes } = *thresholds.of(&entity);
            if memory >= min_bytes && memory as f64 > ratio * average {
                outliers.push(Outlier { server, cluster, entity, memory, average, ratio });
            }
        }
    }
    outliers
}

fn verdict(context: &Context<'_>, one: Outlier<'_>) -> Verdict {
    let Outlier { server, cluster, entity, memory, average, ratio } = one;
    let members = context.now.servers.values().filter(|other| other.cluster.as_ref() == Some(cluster));
    let mut servers: Vec<Row> = members.filter_map(row).collect();
    servers.sort_by(|a, b| b.memory.cmp(&a.memory).then_with(|| a.server.cmp(&b.server)));
    let times = memory as f64 / average;
    let evidence = Evidence {
        times_average: (times * 10.0).round() / 10.0,
        average: average as u64,
        servers,
        most_pending: busiest(context.now, server, Order::Pending),
        most_subscriptions: busiest(context.now, server, Order::Subscriptions),
    };
    let mib = |bytes: f64| (bytes / f64::from(1 << 20)).round();
    let summary = format!(
        "server {} uses {} MiB of memory, {times:.1} times the average of cluster {cluster} ({} MiB)",
        server.name,
        mib(memory as f64),
        mib(average),
    );
    let observed = Observed::count(memory, rounded((ratio * average).round()), "bytes");
    let remediation = remediation(server, &evidence, memory);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn row(server: &Server) -> Option<Row> {
    let vars = server.vars.as_ref()?;
    let running = server.now.zip(server.start).map(|(now, start)| (now - start).whole_seconds());
    Some(Row {
        server: server.name.clone(),
        memory: vars.memory,
        connections: vars.connections,
        streams_in_memory: vars.jetstream.as_ref().map(|jetstream| jetstream.memory),
        running_seconds: running.and_then(|seconds| u64::try_from(seconds).ok()),
    })
}

/// From here on a part of the memory explains why there is so much of it, in percent.
const EXPLAINS: u64 = 20;

fn remediation(server: &Server, evidence: &Evidence, memory: u64) -> Vec<String> {
    let mut steps = Vec::new();
    let explains = |part: u64| part >= memory / 100 * EXPLAINS;
    let pending = evidence.most_pending.iter().flatten();
    let waiting = pending.clone().fold(0u64, |sum, row| sum.saturating_add(row.pending_bytes));
    if let Some(first) = pending.max_by_key(|row| row.pending_bytes).filter(|_| explains(waiting)) {
        steps.push(format!(
            "{waiting} bytes wait for {} clients that do not keep up: begin with {}.",
            evidence.most_pending.as_ref().map_or(0, Vec::len),
            first.label()
        ));
    }
    let own = evidence.servers.iter().find(|row| row.server == server.name);
    if let Some(streams) = own.and_then(|row| row.streams_in_memory).filter(|streams| explains(*streams)) {
        steps.push(format!(
            "Streams in memory take {streams} bytes of it: move some to other servers, or to files."
        ));
    }
    let most = evidence.servers.iter().map(|row| row.connections).max();
    if evidence.servers.len() > 1
        && own.is_some_and(|row| row.connections >= 100 && Some(row.connections) == most)
    {
        steps.push("It has most clients of the cluster: spread them over all its servers.".into());
    }
    steps.push("Look at the connections with most subscriptions, and at clients that do not read.".into());
    steps.push(format!(
        "If nothing of that explains it, take a heap profile of server {} before it is restarted.",
        server.name
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{BusyConnection, JetStreamVars};
    use serde_json::json;

    type Check = MemoryOutlier;

    const MIB: u64 = 1 << 20;

    fn system(memory: &[u64]) -> System {
        let mut system = System::of(memory.len());
        for (index, memory) in memory.iter().enumerate() {
            system = system.vars(&format!("n{}", index + 1), |vars| vars.memory = *memory);
        }
        system
    }

    #[test]
    fn fires_above_the_ratio_and_the_floor() {
        // Exactly 1.5 times the average of 400.
        assert!(judge::<Check>(&system(&[600 * MIB, 300 * MIB, 300 * MIB]).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(&[600 * MIB + 3, 300 * MIB, 300 * MIB]).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(&*entity.id, "n1");
        assert_eq!(
            firing.summary,
            "server n1 uses 600 MiB of memory, 1.5 times the average of cluster east (400 MiB)"
        );
        assert_eq!(firing.evidence["servers"].as_array().unwrap().len(), 3);
        assert_eq!(
            firing.evidence["servers"][1],
            json!({"server": "n2", "memory": 300 * MIB, "connections": 0, "streams_in_memory": null,
                   "running_seconds": 3600})
        );
        // Small processes differ by chance.
        assert!(judge::<Check>(&system(&[256 * MIB - 1, 0, 1]).done()).firing.is_empty());
        assert_eq!(judge::<Check>(&system(&[256 * MIB, 1, 1]).done()).firing.len(), 1);
        for memory in [&[u64::MAX, 1][..], &[u64::MAX], &[0], &[u64::MAX, u64::MAX]] {
            assert!(judge::<Check>(&system(memory).done()).firing.len() <= 1, "{memory:?}");
        }
        assert!(judge::<Check>(&system(&[900 * MIB]).done()).firing.is_empty());
        // Of a server that tells nothing nothing is known: it does not lower the average.
        assert!(judge::<Check>(&system(&[600 * MIB, 0, 500 * MIB]).done()).firing.is_empty());
    }

    #[test]
    fn a_silent_member_makes_the_average_unknown() {
        let judgement = judge::<Check>(&system(&[900 * MIB, MIB, MIB]).gone("n3").done());
        let n1 = Entity::server(&"n1".into(), Some(&"east".into()));
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&n1), Standing::Unknown("server n3 did not answer VARZ".into()));
    }

    #[test]
    fn what_explains_it_comes_first() {
        let busy = BusyConnection {
            cid: 3,
            account: "APP".into(),
            user: "u".into(),
            pending: 300 * MIB,
            ..BusyConnection::default()
        };
        let now = system(&[900 * MIB, MIB, MIB])
            .vars("n1", |vars| {
                vars.connections = 500;
                vars.jetstream = Some(JetStreamVars { memory: 400 * MIB, ..JetStreamVars::default() });
            })
            .with(|snapshot| {
                snapshot.follow_ups.busiest.insert(("ID-n1".into(), Order::Pending), vec![busy]);
            });
        let judgement = judge::<Check>(&now.done());
        let steps = &only(&judgement).1.remediation;
        assert!(
            steps[0]
                .ends_with("clients that do not keep up: begin with connection 3 (user u of account APP)."),
            "{steps:?}"
        );
        assert!(
            steps[1].starts_with("Streams in memory take") && steps[2].starts_with("It has most clients"),
            "{steps:?}"
        );
        let now = system(&[900 * MIB, MIB, MIB]).done();
        let history = crate::snapshot::History::default();
        let context = Context { now: &now, previous: None, history: &history, declared: &Default::default() };
        let of = |by| FollowUp::BusiestConnections { server: "ID-n1".into(), by };
        assert_eq!(
            Check::follow_ups(&context, &Thresholds::default()),
            [of(Order::Pending), of(Order::Subscriptions)]
        );
    }
}
