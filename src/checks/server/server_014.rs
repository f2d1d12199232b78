//! SERVER_014: JetStream as a whole does not work on a server.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict,
};
use crate::snapshot::{Endpoint, ProblemKind, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct JetStreamUnhealthy;

/// Nothing can be set: a server calls JetStream healthy or it does not.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's words.
    #[schemars(with = "String")]
    problem: Name,
    /// What they mean.
    cause: Cause,
    /// The other servers of the cluster; none for a server without a cluster.
    cluster: Option<ClusterView>,
}

/// What is wrong, as far as the words of servers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Cause {
    /// There is no meta leader, or this server does not know it.
    NoLeader,
    /// It lags behind the meta leader.
    Behind,
    /// It still reads what it stored.
    Recovering,
    /// It cannot write.
    WriteError,
    /// It was switched off while the server ran.
    Disabled,
    /// Its part of the meta group has ended.
    Stopped,
    /// Words that are not known here.
    Other,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClusterView {
    /// Its name.
    #[schemars(with = "String")]
    name: Name,
    /// Servers with JetStream that answered, this one included.
    answered: u64,
    /// Those of them that report a problem of JetStream, this one included; at most 5 are named.
    unhealthy: u64,
    /// Their names.
    #[schemars(with = "Vec<String>")]
    unhealthy_servers: Vec<Name>,
    /// Servers of the cluster that did not answer: whether they have JetStream is not known.
    silent: u64,
    /// Their names, at most 5.
    #[schemars(with = "Vec<String>")]
    silent_servers: Vec<Name>,
}

/// Servers that are named.
const NAMED: usize = 5;

impl Rule for JetStreamUnhealthy {
    const META: Meta = Meta {
        id: "SERVER_014",
        name: "JetStream Unhealthy",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "A server says for 2 epochs in a row that JetStream as a whole does not work on it.",
        why: "Without a meta leader no stream and no consumer can be created, changed or moved anywhere in the JetStream \
              domain; a server that has lost touch with the leader learns of no change, and one that cannot write keeps \
              nothing.\n\n\
              A server with such a problem says nothing of its streams and consumers: SERVER_015 is silent about it \
              meanwhile, which is no sign of health. The meta group needs more than half of the servers with JetStream. \
              When it loses them by a crash the last leader gives up within 10 to 20 seconds (measured, 2.15.1), and \
              only then do servers say so.\n\n\
              An election takes seconds, and so does recovery after a start: the problem has to be there in 2 epochs.",
        remedy: &[
            "If servers of the cluster are silent, bring them back first: more than half of the servers with JetStream \
             must reach each other for a meta leader.",
            "If only this server is affected, look at its routes, its disk and its log, then restart it.",
            "Remove a server that is gone for good from the group: `nats server raft peer-remove`, which needs a meta \
             leader.",
        ],
        needs: &[Endpoint::Healthz],
        evidence_from: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Elections and recovery take seconds.
    const FOR: u64 = 2;
    // The meta leader may have been on the server that leaves, whatever its cluster: there is one group for all (measured,
    // 2.12.8 and 2.15.1: servers of another cluster said so for more than two epochs of 2 s).
    const DISTURBED: Disturbed = Disturbed::System;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context.now, server)).collect()
    }
}

fn problem(server: &Server) -> Option<&Name> {
    server.health.as_ref()?.of_kind(ProblemKind::JetStream).map(|problem| &problem.text).next()
}

fn judge_server(now: &Snapshot, server: &Server) -> Option<Verdict> {
    let problem = problem(server)?;
    let name = &server.name;
    let evidence =
        Evidence { problem: problem.clone(), cause: cause(problem), cluster: cluster(now, server) };
    let beside = evidence.cluster.as_ref().filter(|cluster| cluster.unhealthy > 1 || cluster.silent > 0);
    let beside = beside.map_or_else(String::new, |view| {
        let ClusterView { name, answered, unhealthy, silent, .. } = view;
        format!("; in cluster {name} {unhealthy} of {answered} servers say so and {silent} are silent")
    });
    let summary = format!("JetStream does not work on server {name}: {problem}{beside}");
    let entity = Entity::of_server(server);
    let observed = Observed::count(1, 1, "problems");
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation(server, &evidence)))
}

/// Texts as servers of 2.9 to 2.14 write them (server source).
fn cause(text: &str) -> Cause {
    let says = |part: &str| text.contains(part);
    match () {
        () if says("write error") || says("apply error") => Cause::WriteError,
        () if says("established contact with a meta leader") => Cause::NoLeader,
        () if says("not current with the meta leader") => Cause::Behind,
        () if says("still recovering") => Cause::Recovering,
        () if says("not running") => Cause::Stopped,
        () if says("not enabled") => Cause::Disabled,
        () => Cause::Other,
    }
}

fn cluster(now: &Snapshot, server: &Server) -> Option<ClusterView> {
    let cluster = server.cluster.as_ref()?;
    let with_jetstream = now.members(cluster).filter(|other| {
        other.vars.as_ref().is_some_and(|vars| vars.jetstream.is_some()) || problem(other).is_some()
    });
    let with_jetstream: Vec<&Server> = with_jetstream.collect();
    let unhealthy: Vec<Name> = with_jetstream
        .iter()
        .filter(|other| problem(other).is_some())
        .map(|other| other.name.clone())
        .collect();
    let missing = now.coverage.missing.iter().filter(|other| other.cluster.as_ref() == Some(cluster));
    let silent: Vec<Name> = missing.map(|other| other.name.clone()).collect();
    Some(ClusterView {
        name: cluster.clone(),
        answered: with_jetstream.len() as u64,
        unhealthy: unhealthy.len() as u64,
        unhealthy_servers: unhealthy.into_iter().take(NAMED).collect(),
        silent: silent.len() as u64,
        silent_servers: silent.into_iter().take(NAMED).collect(),
    })
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    let silent = evidence.cluster.as_ref().filter(|cluster| cluster.silent > 0);
    let all = evidence.cluster.as_ref().is_some_and(|cluster| cluster.unhealthy == cluster.answered);
    match evidence.cause {
        Cause::WriteError => steps.push(format!(
            "Look at the disk of server {name}: space, permissions and errors of the file system; restart the server once \
             it can write again."
        )),
        Cause::Recovering => steps.push(format!(
            "Give server {name} time to read its store, and look at its disk and log if it does not end."
        )),
        Cause::Disabled => steps.push(format!(
            "Look in the log of server {name} for why JetStream was switched off while it ran (mostly: no space left), \
             mend that and restart it."
        )),
        Cause::NoLeader | Cause::Behind | Cause::Stopped | Cause::Other => {}
    }
    if let Some(cluster) = silent {
        let names: Vec<&str> = cluster.silent_servers.iter().map(|name| &**name).collect();
        steps.push(format!(
            "Bring back the servers of cluster {} that do not answer ({}): more than half of the servers with JetStream \
             must reach each other for a meta leader.",
            cluster.name,
            names.join(", ")
        ));
    } else if evidence.cause == Cause::NoLeader && all {
        steps.push(
            "No server that answers has a meta leader: see with `nats server report jetstream` which members of the meta \
             group they expect, and bring back those that are not there."
                .into(),
        );
    }
    if evidence.cluster.is_none() {
        // It has no routes, and no meta group whose members could be removed.
        steps.push(format!(
            "Look at the log and the disk of server {name}, and restart it once the cause is mended."
        ));
        return steps;
    }
    if !all || steps.is_empty() {
        steps.push(format!(
            "Look at the routes, the clock and the log of server {name}; if others have a meta leader and it does not \
             find it, restart it."
        ));
    }
    steps.push(
        "Once there is a meta leader, remove a server that is gone for good: `nats server raft peer-remove NAME`."
            .into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{Health, JetStreamVars, Problem};
    use serde_json::json;

    type Check = JetStreamUnhealthy;
    const NO_LEADER: &str = "JetStream has not established contact with a meta leader";

    fn unhealthy(mut system: System, server: &str, text: &str) -> System {
        let problem = Problem {
            kind: ProblemKind::JetStream,
            account: None,
            stream: None,
            consumer: None,
            text: text.into(),
        };
        system.server_mut(server).health = Some(Health { ok: false, problems: vec![problem], omitted: 0 });
        system
    }

    fn three() -> System {
        let on = |vars: &mut crate::snapshot::ServerVars| vars.jetstream = Some(JetStreamVars::default());
        System::of(3).vars("n1", on).vars("n2", on).vars("n3", on)
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn the_last_of_three_names_those_that_are_silent() {
        let judgement = judge::<Check>(&unhealthy(three(), "n1", NO_LEADER).gone("n2").gone("n3").done());
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "JetStream does not work on server n1: JetStream has not established contact with a meta leader; in cluster \
             east 1 of 1 servers say so and 2 are silent"
        );
        assert_eq!(
            firing.evidence,
            json!({"problem": NO_LEADER, "cause": "no_leader", "cluster": {"name": "east", "answered": 1,
                "unhealthy": 1, "unhealthy_servers": ["n1"], "silent": 2, "silent_servers": ["n2", "n3"]}})
        );
        assert!(
            firing.remediation[0]
                .starts_with("Bring back the servers of cluster east that do not answer (n2, n3)")
        );
    }

    #[test]
    fn one_server_alone_is_told_from_a_group_without_a_leader() {
        let judgement = judge::<Check>(&unhealthy(three(), "n2", NO_LEADER).done());
        let (_, firing) = only(&judgement);
        assert_eq!(firing.evidence["cluster"]["answered"], 3);
        assert!(firing.remediation[0].starts_with("Look at the routes, the clock and the log of server n2"));
        let all = unhealthy(unhealthy(unhealthy(three(), "n1", NO_LEADER), "n2", NO_LEADER), "n3", NO_LEADER);
        let judgement = judge::<Check>(&all.done());
        assert_eq!(judgement.firing.len(), 3);
        assert!(judgement.firing[0].1.remediation[0].starts_with("No server that answers has a meta leader"));
    }

    #[test]
    fn a_server_without_a_cluster_has_no_routes_and_no_peers() {
        let mut system = System::of(1);
        system.add_server("alone", None);
        let text = "JetStream not enabled (10076)";
        let judgement = judge::<Check>(&unhealthy(system, "alone", text).done());
        let steps = &only(&judgement).1.remediation;
        assert_eq!(steps.len(), 2);
        assert!(
            !steps.iter().any(|step| step.contains("peer-remove") || step.contains("routes")),
            "{steps:?}"
        );
    }

    #[test]
    fn texts_of_every_version_have_a_cause() {
        for (text, cause) in [
            (NO_LEADER, "no_leader"),
            ("JetStream is not current with the meta leader", "behind"),
            ("JetStream is still recovering meta layer", "recovering"),
            ("JetStream meta layer is not running", "stopped"),
            ("JetStream meta layer write error: no space left on device", "write_error"),
            ("JetStream not enabled (10076)", "disabled"),
            ("JetStream meta layer apply error: x", "write_error"),
            ("", "other"),
        ] {
            let judgement = judge::<Check>(&unhealthy(System::of(1), "n1", text).done());
            let (_, firing) = only(&judgement);
            assert_eq!(firing.evidence["cause"], cause, "{text}");
            assert!(firing.remediation.len() > 1, "{text}");
        }
    }

    #[test]
    fn healthy_ones_are_silent_and_silent_ones_unknown() {
        assert!(judge::<Check>(&three().done()).firing.is_empty());
        let judgement =
            judge::<Check>(&unhealthy(three(), "n1", NO_LEADER).silent("n1", Endpoint::Healthz).done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
        assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
    }
}
