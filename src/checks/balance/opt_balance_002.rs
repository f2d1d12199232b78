//! OPT_BALANCE_002: a server with far more connections than the others of its cluster.

use super::hotspot::{Hot, Load};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, above, at_least,
};
use crate::checks::evidence::{DOMINANT, OnServer, ServerShare, by_server, sweep_gaps_at};
use crate::snapshot::{Endpoint, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ConnectionHotspot;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when a server has more than this many times its cluster's average.
    ratio: f64,
    /// Leave out servers with fewer connections than this.
    min_connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 2.0, min_connections: 100 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        above("ratio", self.ratio, 1)?;
        at_least("min_connections", self.min_connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's connections as a multiple of the average.
    times_average: f64,
    /// Average connections of the cluster's servers, this one included.
    average: f64,
    /// All servers of the cluster, those without connections included, the fullest first.
    servers: Vec<ServerShare>,
    /// Who has most connections on the hot server.
    top: OnServer,
    /// What the sweep over the hot server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

impl Rule for ConnectionHotspot {
    const META: Meta = Meta {
        id: "OPT_BALANCE_002",
        name: "Connection Hotspot",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("balance"),
        since: "2.9",
        rule: "A server has more than 2 times the average connections of its cluster's servers, and at least 100.",
        why: "A hot server reaches its limits first while the others idle, and when it goes down most clients \
              reconnect at once.\n\n\
              The average is over all servers of the cluster, the hot one and empty ones included. With two servers \
              the ratio cannot exceed 2, so that a cluster of two never fires by default.\n\n\
              What is compared is the number of client connections that the servers themselves report (VARZ), without \
              this agent's own. It does not depend on the sweep over connections, which only fills the evidence. \
              Leafnodes, routes and gateways do not count.",
        remedy: &[
            "Give clients the URLs of all servers of the cluster; libraries pick one at random.",
            "Let DNS answer with all addresses and a short TTL, and do not use a sticky load balancer.",
            "Once clients know all servers, put the hot one into lame-duck mode: its clients move to the others.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The clients of a server that leaves come to the others, and one that comes back is empty at first.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let limits = |entity: &Entity| {
            let limits = thresholds.of(entity);
            (limits.ratio, limits.min_connections)
        };
        let clusters = Load::of_clusters(context.now, connections);
        let each =
            clusters.iter().flat_map(|load| load.hot("connections", limits).map(move |hot| (load, hot)));
        each.map(|(load, hot)| verdict(context, load, hot)).collect()
    }
}

/// The number that the server reports, without the agent's own connections.
fn connections(server: &Server) -> Option<u64> {
    Some(server.vars.as_ref()?.connections.saturating_sub(server.own_connections()))
}

fn verdict(context: &Context<'_>, load: &Load<'_>, hot: Hot<'_>) -> Verdict {
    let Hot { server, count, times_average, average, .. } = hot;
    let summary = format!(
        "server {} has {count} client connections, {times_average:.1} times the average of cluster {} ({average:.1})",
        server.name, load.cluster,
    );
    let counts = load.counts.iter().map(|(server, count)| (server.id.clone(), *count));
    let evidence = Evidence {
        times_average,
        average,
        servers: by_server(context.now, counts),
        top: OnServer::of(context.now, server),
        sweep_incomplete: sweep_gaps_at(context.now, &server.name),
    };
    let remediation = remediation(server, &evidence);
    Verdict::firing(hot.entity, summary, hot.observed, &evidence, remediation)
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let clients = server.fold.as_ref().map_or(0, |fold| fold.clients);
    let mut steps = Vec::new();
    let dominant = |list: &crate::checks::evidence::TopList| {
        list.leading(clients)
            .filter(|(_, share)| *share >= DOMINANT)
            .map(|(name, share)| (name.clone(), share))
    };
    if let Some((account, share)) = dominant(&evidence.top.accounts) {
        steps.push(format!(
            "{share:.1} % of the connections here belong to account {account}: begin with its clients."
        ));
    }
    if let Some((address, share)) = dominant(&evidence.top.addresses) {
        steps.push(format!(
            "{share:.1} % come from the address {address}: one host, or a proxy that always picks this server."
        ));
    }
    steps.push("Give clients the URLs of all servers of the cluster.".into());
    steps.push(
        "Let DNS answer with all addresses and a short TTL, and do not use a sticky load balancer.".into(),
    );
    steps.push(format!(
        "Once clients know all servers, put server {} into lame-duck mode: its clients move to the others.",
        server.name
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = ConnectionHotspot;

    fn plain(_: &mut crate::wire::connz::Connection<'_>, _: u64) {}

    fn system(counts: [u64; 3]) -> System {
        let mut system = System::of(3);
        for (name, count) in ["n1", "n2", "n3"].into_iter().zip(counts) {
            system = system.connect(name, "APP", "u", count, plain);
        }
        system
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn fires_over_twice_the_average_and_not_at_it() {
        // 200 of 300: exactly twice the average of 100.
        let judgement = judge::<Check>(&system([200, 50, 50]).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
        let judgement = judge::<Check>(&system([201, 50, 49]).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "server n1 has 201 client connections, 2.0 times the average of cluster east (100.0)"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 201, "percent": 67.0, "threshold": 200.0, "unit": "connections"})
        );
        assert_eq!(
            firing.evidence["servers"],
            json!([{"server": "n1", "connections": 201, "percent": 67.0},
                   {"server": "n2", "connections": 50, "percent": 16.7},
                   {"server": "n3", "connections": 49, "percent": 16.3}])
        );
        assert!(firing.remediation[0].starts_with("100.0 % of the connections here belong to account APP"));
    }

    #[test]
    fn empty_servers_count_and_small_numbers_do_not() {
        let judgement = judge::<Check>(&system([100, 0, 0]).done());
        assert_eq!(only(&judgement).1.evidence["times_average"], 3.0);
        assert!(judge::<Check>(&system([99, 0, 0]).done()).firing.is_empty());
        assert!(judge::<Check>(&system([0, 0, 0]).done()).firing.is_empty());
    }

    #[test]
    fn two_servers_one_server_and_none_of_a_cluster_never_fire() {
        let two = System::of(2).connect("n1", "APP", "u", 500, plain);
        assert!(judge::<Check>(&two.done()).firing.is_empty());
        assert!(
            judge::<Check>(&System::of(1).connect("n1", "APP", "u", 500, plain).done()).firing.is_empty()
        );
        let mut apart = System::of(0);
        for name in ["a", "b", "c"] {
            apart.add_server(name, None);
        }
        assert!(judge::<Check>(&apart.connect("a", "APP", "u", 500, plain).done()).firing.is_empty());
    }

    #[test]
    fn clusters_are_judged_apart() {
        let mut system = system([150, 10, 10]);
        system.add_server("w1", Some("west"));
        system = system.connect("w1", "APP", "u", 1000, plain);
        assert_eq!(only(&judge::<Check>(&system.done())).0, &server("n1"));
    }

    #[test]
    fn the_agents_own_connection_does_not_matter() {
        let system = system([200, 50, 50]).own_next("n1").connect("n1", "SYS", "agent", 1, plain);
        let snapshot = system.done();
        assert_eq!(snapshot.servers["ID-n1"].vars.as_ref().unwrap().connections, 201);
        assert!(judge::<Check>(&snapshot).firing.is_empty());
    }

    #[test]
    fn a_missing_server_of_the_cluster_makes_it_unknown() {
        for judgement in [
            judge::<Check>(&system([300, 0, 0]).silent("n3", Endpoint::Varz).done()),
            judge::<Check>(&system([300, 0, 0]).gone("n3").done()),
        ] {
            assert!(judgement.firing.is_empty());
            assert_eq!(
                judgement.standing(&server("n1")),
                Standing::Unknown("server n3 did not answer VARZ".into())
            );
            assert_eq!(&*judgement.unknown_rows()[0].entity, "*/east");
        }
        // The sweep only fills the evidence.
        let judgement = judge::<Check>(&system([300, 0, 0]).silent("n1", Endpoint::Connz).done());
        assert_eq!(
            only(&judgement).1.evidence["sweep_incomplete"],
            json!(["server n1 did not answer CONNZ"])
        );
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for (key, bad) in
            [("ratio", json!(1)), ("ratio", json!(0)), ("ratio", json!(-2)), ("min_connections", json!(0))]
        {
            let base = [(key.to_owned(), bad)].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
        }
        let base = json!({"ratio": 1.5, "min_connections": 10}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let judgement = judge_set::<Check>(&system([11, 5, 5]).done(), None, &[], &settings);
        assert_eq!(only(&judgement).0, &server("n1"));
    }
}
