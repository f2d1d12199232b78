//! CLUSTER_001: a server that uses far more memory than the others of its cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, above, count, rounded,
};
use crate::checks::busiest::{self, BusyRow, busiest};
use crate::checks::evidence::TOP;
use crate::snapshot::{Endpoint, FollowUp, Order, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::Duration;

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
        above("ratio", self.ratio, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's memory as a multiple of the average.
    times_average: f64,
    /// Average bytes of the cluster's servers, this one included.
    average: u64,
    /// How many servers the average is of.
    compared: u64,
    /// Servers that were started so short a time ago that they are left out of it.
    left_out: u64,
    /// This server and the largest others of the cluster, at most 5 in all, the largest first.
    servers: Vec<Row>,
    /// How many servers the cluster has that answered.
    servers_in_all: u64,
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
    /// Resident memory in bytes; none where the server cannot measure it.
    memory: Option<u64>,
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
        since: "2.9",
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
              cluster is never named. A process gives memory back late: after a burst it may stay large for minutes.\n\n\
              A server that has just been started is small until clients have come to it. While it has been running for less than \
              an hour, and for less than a tenth of the time of the server it is compared with, it is left out of the average; \
              what only such servers make large is unknown until then. So is what depends on a server that cannot measure \
              its memory and tells 0.",
        remedy: &[
            "Look for clients that do not keep up: bytes wait for each of them in the server's memory.",
            "Look for connections with very many subscriptions, and spread clients over all servers.",
            "Move streams that are kept in memory to other servers, or to files.",
            "Take a heap profile of the server if none of that explains it, before it is restarted.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Memory is given back late.
    const FOR: u64 = 2;
    // A server that comes back is small, and its clients are with the others.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let candidates = candidates(context, thresholds);
        candidates
            .iter()
            .filter(|one| one.stands_out().is_ok())
            .flat_map(|one| busiest::ask(one.server, &[Order::Pending, Order::Subscriptions]))
            .collect()
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let candidates = candidates(context, thresholds);
        candidates
            .into_iter()
            .map(|one| match one.stands_out() {
                Ok(()) => verdict(context, one),
                Err(Unsure::Unmeasured(other)) => {
                    let why = format!("server {other} does not tell how much memory it uses");
                    Verdict::unknown(one.entity, why)
                }
                Err(Unsure::Young(others)) => {
                    let why = format!(
                        "it is large only beside {} of its cluster that started less than an hour ago",
                        count(others, "server")
                    );
                    Verdict::not_yet(one.entity, why)
                }
            })
            .collect()
    }
}

/// A member of a cluster that has been running for less than this, and for less than a tenth of the time of another one, is not
/// yet as large as it will be.
const GROWS: Duration = Duration::hours(1);

/// A server that is large beside the average of its cluster, whoever is in that.
struct Candidate<'a> {
    server: &'a Server,
    cluster: &'a Name,
    entity: Entity,
    memory: u64,
    /// The average of those that it is compared with.
    average: f64,
    ratio: f64,
    compared: u64,
    left_out: u64,
    /// One of them whose memory is not known.
    unmeasured: Option<&'a Name>,
}

/// Why it cannot be said that a server stands out.
enum Unsure<'a> {
    /// This server does not tell its memory.
    Unmeasured(&'a Name),
    /// It does only beside so many servers that have just been started.
    Young(u64),
}

impl<'a> Candidate<'a> {
    fn stands_out(&self) -> Result<(), Unsure<'a>> {
        if let Some(name) = self.unmeasured {
            return Err(Unsure::Unmeasured(name));
        }
        match self.memory as f64 > self.ratio * self.average {
            true => Ok(()),
            false => Err(Unsure::Young(self.left_out)),
        }
    }
}

fn memory(server: &Server) -> Option<u64> {
    // No process takes nothing: a server that cannot measure it tells 0.
    server.vars.as_ref().map(|vars| vars.memory).filter(|memory| *memory > 0)
}

fn age(server: &Server) -> Option<Duration> {
    Some(server.now? - server.start?).filter(|age| !age.is_negative())
}

/// Whether a server has grown to its size, compared with one of this age.
fn has_grown(server: &Server, beside: Option<Duration>) -> bool {
    let (Some(age), Some(beside)) = (age(server), beside) else {
        return true;
    };
    age >= GROWS || age.saturating_mul(10) >= beside
}

fn average(servers: &[&Server]) -> f64 {
    let sum: f64 = servers.iter().filter_map(|server| memory(server)).map(|memory| memory as f64).sum();
    sum / servers.len() as f64
}

fn candidates<'a>(context: &Context<'a>, thresholds: &Thresholds<Limits>) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (cluster, servers) in context.now.clusters() {
        // The least that it can be: who does not tell is taken for nothing.
        let of_all = average(&servers);
        for server in &servers {
            let Some(memory) = memory(server) else { continue };
            let entity = Entity::of_server(server);
            let Limits { ratio, min_bytes } = *thresholds.of(&entity);
            if memory < min_bytes {
                continue;
            }
            let own_age = age(server);
            let grown: Vec<&Server> =
                servers.iter().copied().filter(|other| has_grown(other, own_age)).collect();
            let average = average(&grown);
            if memory as f64 <= ratio * average.min(of_all) {
                continue;
            }
            let unmeasured = grown.iter().find(|other| self::memory(other).is_none());
            candidates.push(Candidate {
                server,
                cluster,
                entity,
                memory,
                average,
                ratio,
                compared: grown.len() as u64,
                left_out: (servers.len() - grown.len()) as u64,
                unmeasured: unmeasured.map(|other| &other.name),
            });
        }
    }
    candidates
}

fn verdict(context: &Context<'_>, one: Candidate<'_>) -> Verdict {
    let Candidate { server, cluster, entity, memory, average, ratio, compared, left_out, .. } = one;
    let members: Vec<&Server> = context.now.members(cluster).collect();
    let times = memory as f64 / average;
    let evidence = Evidence {
        times_average: (times * 10.0).round() / 10.0,
        average: average as u64,
        compared,
        left_out,
        servers: rows(server, &members),
        servers_in_all: members.len() as u64,
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
    let remediation = remediation(server, &members, &evidence, memory);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

/// The server and the largest others.
fn rows(server: &Server, members: &[&Server]) -> Vec<Row> {
    let by_size = |a: &Row, b: &Row| b.memory.cmp(&a.memory).then_with(|| a.server.cmp(&b.server));
    let others = members.iter().filter(|other| other.id != server.id);
    let mut rows: Vec<Row> = others.filter_map(|other| row(other)).collect();
    rows.sort_by(by_size);
    rows.truncate(TOP - 1);
    rows.extend(row(server));
    rows.sort_by(by_size);
    rows
}

fn row(server: &Server) -> Option<Row> {
    let vars = server.vars.as_ref()?;
    Some(Row {
        server: server.name.clone(),
        memory: memory(server),
        connections: vars.connections,
        streams_in_memory: vars.jetstream.as_ref().map(|jetstream| jetstream.memory),
        running_seconds: age(server).and_then(|age| u64::try_from(age.whole_seconds()).ok()),
    })
}

/// From here on a part of the memory explains why there is so much of it, in percent.
const EXPLAINS: u64 = 20;

fn remediation(server: &Server, members: &[&Server], evidence: &Evidence, memory: u64) -> Vec<String> {
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
    let own = row(server);
    let streams = own.as_ref().and_then(|row| row.streams_in_memory);
    if let Some(streams) = streams.filter(|streams| explains(*streams)) {
        steps.push(format!(
            "Streams in memory take {streams} bytes of it: move some to other servers, or to files."
        ));
    }
    let others = members.iter().filter(|other| other.id != server.id);
    let most = others.filter_map(|other| other.vars.as_ref()).map(|vars| vars.connections).max();
    if own.is_some_and(|row| row.connections >= 100 && most.is_some_and(|most| row.connections > most)) {
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
    use crate::snapshot::build::{System, at};
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
        let evidence = &firing.evidence;
        assert_eq!((&evidence["compared"], &evidence["left_out"]), (&json!(3), &json!(0)));
        // Small processes differ by chance.
        assert!(judge::<Check>(&system(&[256 * MIB - 1, 0, 1]).done()).firing.is_empty());
        assert_eq!(judge::<Check>(&system(&[256 * MIB, 1, 1]).done()).firing.len(), 1);
        for memory in [&[u64::MAX, 1][..], &[u64::MAX], &[0], &[u64::MAX, u64::MAX]] {
            assert!(judge::<Check>(&system(memory).done()).firing.len() <= 1, "{memory:?}");
        }
        assert!(judge::<Check>(&system(&[900 * MIB]).done()).firing.is_empty());
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn a_member_that_cannot_measure_itself_makes_unknown_what_depends_on_it() {
        for sizes in [[600 * MIB, 0, 500 * MIB], [2000 * MIB, 0, 300 * MIB]] {
            let judgement = judge::<Check>(&system(&sizes).done());
            assert!(judgement.firing.is_empty(), "{sizes:?}");
            let why = "server n2 does not tell how much memory it uses";
            assert_eq!(judgement.standing(&server("n1")), Standing::Unknown(why.into()));
        }
        // Whatever it uses, nobody else is large, or far above the others.
        let judgement = judge::<Check>(&system(&[200 * MIB, 0, 100 * MIB]).done());
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
        let judgement = judge::<Check>(&system(&[300 * MIB, 300 * MIB, 300 * MIB, 0]).done());
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
    }

    /// Servers with so much memory (MiB) that run for so many seconds.
    fn aged(members: &[(u64, i64)]) -> System {
        let sizes: Vec<u64> = members.iter().map(|(memory, _)| memory * MIB).collect();
        let mut system = system(&sizes);
        for (index, (_, seconds)) in members.iter().enumerate() {
            system.server_mut(&format!("n{}", index + 1)).start = Some(at(-seconds));
        }
        system
    }

    const DAY: i64 = 86_400;

    #[test]
    fn members_that_were_just_started_do_not_make_the_others_large() {
        // Scaled out from three to five.
        let scaled = |seconds| {
            let old = (1000, DAY);
            judge::<Check>(&aged(&[old, old, old, (50, seconds), (50, seconds)]).done())
        };
        let judgement = scaled(3599);
        assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
        let why = "it is large only beside 2 servers of its cluster that started less than an hour ago";
        assert_eq!(judgement.standing(&server("n1")), Standing::Unknown(why.into()));
        assert_eq!(judgement.standing(&server("n4")), Standing::Clear);
        assert_eq!(scaled(3600).firing.len(), 3);
        // Two of three were upgraded.
        assert!(judge::<Check>(&aged(&[(1000, DAY), (300, 60), (300, 600)]).done()).firing.is_empty());
        // All three were started together, one after the other.
        let judgement = judge::<Check>(&aged(&[(1000, 40), (200, 5), (200, 4)]).done());
        assert_eq!(&*only(&judgement).0.id, "n1");
        // Without them it still stands out, and they are counted.
        let judgement = judge::<Check>(&aged(&[(1000, DAY), (300, DAY), (300, DAY), (900, 60)]).done());
        let evidence = &only(&judgement).1.evidence;
        assert_eq!((&evidence["compared"], &evidence["left_out"]), (&json!(3), &json!(1)));
        assert_eq!(evidence["servers_in_all"], 4);
        // A young one that is large is compared with all.
        let judgement = judge::<Check>(&aged(&[(300, DAY), (300, DAY), (1000, 60)]).done());
        assert_eq!(&*only(&judgement).0.id, "n3");
    }

    #[test]
    fn of_many_servers_the_largest_are_shown_and_the_one_that_is_meant() {
        let mut sizes = vec![10 * MIB; 40];
        sizes[..7].copy_from_slice(&[900 * MIB; 7]);
        sizes[6] = 800 * MIB;
        let judgement = judge::<Check>(&system(&sizes).done());
        let seventh = judgement.firing.iter().find(|(entity, _)| *entity == server("n7")).unwrap();
        let evidence = &seventh.1.evidence;
        let names: Vec<&str> = evidence["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["server"].as_str().unwrap())
            .collect();
        assert_eq!((names, &evidence["servers_in_all"]), (vec!["n1", "n2", "n3", "n4", "n7"], &json!(40)));
    }

    #[test]
    fn it_has_most_clients_only_if_it_has_more_than_each_other() {
        for (others, expected) in [(499, true), (500, false), (501, false)] {
            let mut now = system(&[900 * MIB, MIB, MIB]).vars("n1", |vars| vars.connections = 500);
            now = now.vars("n2", |vars| vars.connections = others);
            let judgement = judge::<Check>(&now.done());
            let steps = &only(&judgement).1.remediation;
            let told = steps.iter().any(|step| step.starts_with("It has most clients"));
            assert_eq!(told, expected, "{others}");
        }
    }

    #[test]
    fn a_silent_member_makes_the_average_unknown() {
        let judgement = judge::<Check>(&system(&[900 * MIB, MIB, MIB]).gone("n3").done());
        assert!(judgement.firing.is_empty());
        assert_eq!(
            judgement.standing(&server("n1")),
            Standing::Unknown("server n3 did not answer VARZ".into())
        );
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
