//! CLUSTER_008: a server whose gateways lead elsewhere than those of its cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule,
    Scope, Severity, Thresholds, Verdict,
};
use crate::checks::evidence::TOP;
use crate::snapshot::{Endpoint, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// See [`Rule::META`].
pub(super) struct GatewaySetMismatch;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// What its configuration names, against that of the majority; none where they agree.
    configured: Option<Difference>,
    /// What it is connected to, against the majority; none where they agree.
    connected: Option<Difference>,
    /// Servers of the cluster that answered.
    servers: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Difference {
    /// Remote clusters of the majority that this server does not have, at most 5.
    #[schemars(with = "Vec<String>")]
    lacks: Vec<Name>,
    /// Remote clusters that only this server has, or a minority, at most 5.
    #[schemars(with = "Vec<String>")]
    has_beside: Vec<Name>,
    /// How many they are together.
    differing: u64,
    /// Servers that have the set of the majority.
    majority: u64,
}

/// Servers of a cluster with gateways, below which there is no majority worth the name.
const FEWEST: usize = 3;

impl Rule for GatewaySetMismatch {
    const META: Meta = Meta {
        id: "CLUSTER_008",
        name: "Gateway Set Mismatch",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "The public catalogue compares the connections of servers that have any; servers tell each other of remote \
             clusters and connect to them, which hides an entry that is missing in a configuration file, so that \
             configurations are compared as well here, and servers without any gateway are.",
        ),
        rule: "The remote clusters that a server's gateways name, or are connected to, differ from those of most servers of \
               its cluster, of which at least 3 have gateways.",
        why: "All servers of a cluster are meant to reach the same clusters: a client does not choose its server by that.\n\n\
              A remote cluster that is missing in one configuration file is not seen while all is well, for servers tell \
              each other of clusters. After a restart at a bad time, or with `reject_unknown_cluster`, that server alone \
              does not reach it.\n\n\
              Two sets are compared, each with the set that more than half of the cluster's servers have: what the gateway \
              blocks name (VARZ), and what outbound connections there are (GATEWAYZ). Without such a majority nothing is \
              said.",
        remedy: &[
            "Compare the `gateways` lists of all servers of the cluster, and restart those that are changed one by one: no reload \
             changes such a list.",
            "Where the lists agree, look why the server is not connected: its log names the remote cluster.",
        ],
        needs: &[Endpoint::Gatewayz, Endpoint::Varz],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Configurations are changed server by server, and gateways are made one after the other.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let clusters = context.now.clusters();
        clusters.into_iter().flat_map(|(name, servers)| judge_cluster(name, &servers)).collect()
    }
}

type Set<'a> = BTreeSet<&'a Name>;

fn judge_cluster(cluster: &Name, servers: &[&Server]) -> Vec<Verdict> {
    let told: Vec<(&Server, Set<'_>, Set<'_>)> = servers
        .iter()
        .filter_map(|server| {
            let configured = server.vars.as_ref()?.gateways.iter().flatten().collect();
            let connected = server.gateways.as_ref()?.outbound.keys().collect();
            Some((*server, configured, connected))
        })
        .collect();
    let has_gateways = |server: &Server| server.gateways.as_ref().is_some_and(|own| own.name.is_some());
    if told.iter().filter(|(server, ..)| has_gateways(server)).count() < FEWEST {
        return Vec::new();
    }
    let configured = majority(told.iter().map(|(_, configured, _)| configured));
    let connected = majority(told.iter().map(|(.., connected)| connected));
    let all = told.len() as u64;
    let verdict = |(server, own_configured, own_connected): &(&Server, Set<'_>, Set<'_>)| {
        let evidence = Evidence {
            configured: configured.and_then(|most| difference(own_configured, most)),
            connected: connected.and_then(|most| difference(own_connected, most)),
            servers: all,
        };
        let differing = evidence.configured.iter().chain(&evidence.connected);
        let differing = differing.map(|difference| difference.differing).max()?;
        let name = &server.name;
        let how = match (&evidence.configured, &evidence.connected) {
            (Some(_), Some(_)) => {
                "names other remote clusters in its gateway block, and is connected to others,"
            }
            (Some(_), None) => "names other remote clusters in its gateway block",
            _ => "has gateways to other remote clusters",
        };
        let summary = format!("server {name} {how} than most servers of cluster {cluster}");
        let remediation = remediation(name, &evidence);
        let entity = Entity::of_server(server);
        let observed = Observed::count(differing, 0, "clusters");
        Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
    };
    told.iter().filter_map(verdict).collect()
}

/// The set that more than half of them have, and how many those are.
fn majority<'s, 'a: 's>(sets: impl Iterator<Item = &'s Set<'a>>) -> Option<(&'s Set<'a>, u64)> {
    let (mut counts, mut all) = (BTreeMap::new(), 0u64);
    for set in sets {
        *counts.entry(set).or_insert(0u64) += 1;
        all += 1;
    }
    counts.into_iter().find(|(_, count)| count * 2 > all)
}

fn difference(own: &Set<'_>, (most, majority): (&Set<'_>, u64)) -> Option<Difference> {
    let some = |names: Vec<&Name>| names.into_iter().take(TOP).cloned().collect();
    let lacks: Vec<&Name> = most.difference(own).copied().collect();
    let beside: Vec<&Name> = own.difference(most).copied().collect();
    let differing = (lacks.len() + beside.len()) as u64;
    (differing > 0).then(|| Difference { lacks: some(lacks), has_beside: some(beside), differing, majority })
}

fn remediation(name: &Name, evidence: &Evidence) -> Vec<String> {
    let list = |names: &[Name]| names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
    let mut steps = Vec::new();
    if let Some(configured) = &evidence.configured {
        if !configured.lacks.is_empty() {
            steps.push(format!(
                "Add {} to the `gateways` list of server {name}, as the other servers have it, and restart it: no reload changes \
                 that list.",
                list(&configured.lacks)
            ));
        }
        if !configured.has_beside.is_empty() {
            steps.push(format!(
                "Remove {} from the `gateways` list of server {name}, or add it to those of the other servers; a restart \
                 takes it in, and no reload does.",
                list(&configured.has_beside)
            ));
        }
    }
    if let Some(connected) = &evidence.connected {
        if !connected.lacks.is_empty() {
            steps.push(format!(
                "Look in the log of server {name} why it is not connected to {}: the other servers are.",
                list(&connected.lacks)
            ));
        }
        if !connected.has_beside.is_empty() {
            steps.push(format!(
                "Server {name} alone reaches {}: see why the other servers do not.",
                list(&connected.has_beside)
            ));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Gateway;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = GatewaySetMismatch;

    /// Servers by what they configure and what they are connected to.
    fn with(servers: &[(&[&str], &[&str])]) -> System {
        let mut system = System::of(servers.len());
        for (n, (configured, connected)) in servers.iter().enumerate() {
            let server = system.server_mut(&format!("n{}", n + 1));
            let names = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect::<Vec<_>>();
            server.vars.as_mut().unwrap().gateways = Some(names(configured));
            let gateways = server.gateways.as_mut().unwrap();
            gateways.name = Some("east".into());
            gateways.outbound = names(connected).into_iter().map(|to| (to, Gateway::default())).collect();
        }
        system
    }

    const BOTH: &[&str] = &["north", "west"];

    fn entity(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn a_remote_that_one_configuration_lacks_is_found_although_all_are_connected() {
        let judgement = judge::<Check>(&with(&[(BOTH, BOTH), (BOTH, BOTH), (&["north"], BOTH)]).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("n3"));
        assert_eq!(
            firing.summary,
            "server n3 names other remote clusters in its gateway block than most servers of cluster east"
        );
        assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "clusters"}));
        assert_eq!(
            firing.evidence,
            json!({"configured": {"lacks": ["west"], "has_beside": [], "differing": 1, "majority": 2},
                   "connected": null, "servers": 3})
        );
        assert_eq!(
            firing.remediation,
            [
                "Add west to the `gateways` list of server n3, as the other servers have it, and restart it: no reload changes that \
              list."
            ]
        );
        assert_eq!(judgement.standing(&entity("n1")), Standing::Clear);
    }

    #[test]
    fn connections_are_compared_those_of_servers_without_any_as_well() {
        let judgement = judge::<Check>(&with(&[(BOTH, BOTH), (BOTH, &[]), (BOTH, BOTH)]).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("n2"));
        assert_eq!(
            firing.evidence["connected"],
            json!({"lacks": ["north", "west"], "has_beside": [], "differing": 2, "majority": 2})
        );
        let judgement = judge::<Check>(&with(&[(&[], &[]), (&[], &[]), (&["x"], &["x"])]).done());
        assert_eq!(only(&judgement).1.remediation.len(), 2);
        // One without a gateway block in a cluster of others with one.
        let mut system = with(&[(BOTH, BOTH), (BOTH, BOTH), (BOTH, BOTH), (&[], &[])]);
        let server = system.server_mut("n4");
        server.gateways.as_mut().unwrap().name = None;
        server.vars.as_mut().unwrap().gateways = None;
        assert_eq!(only(&judge::<Check>(&system.done())).0, &entity("n4"));
    }

    #[test]
    fn without_a_majority_of_three_nothing_is_said() {
        for servers in [
            &[(BOTH, BOTH), (BOTH, BOTH), (BOTH, BOTH)][..],
            &[(BOTH, BOTH), (&[], &[])],
            &[(BOTH, BOTH), (BOTH, BOTH), (&["a"], &["a"]), (&["a"], &["a"])],
            &[(&["a"], &[]), (&["b"], &[]), (&["c"], &[])],
            &[],
        ] {
            assert!(judge::<Check>(&with(servers).done()).firing.is_empty(), "{servers:?}");
        }
        let mut two = with(&[(BOTH, BOTH), (BOTH, BOTH), (&[], &[])]);
        two.server_mut("n3").gateways.as_mut().unwrap().name = None;
        assert!(judge::<Check>(&two.done()).firing.is_empty());
    }

    #[test]
    fn a_silent_member_makes_the_cluster_unknown() {
        for endpoint in [Endpoint::Gatewayz, Endpoint::Varz] {
            let system = with(&[(BOTH, BOTH), (BOTH, BOTH), (BOTH, BOTH), (&[], &[])]).silent("n1", endpoint);
            let judgement = judge::<Check>(&system.done());
            assert!(judgement.firing.is_empty());
            assert!(matches!(judgement.standing(&entity("n4")), Standing::Unknown(_)));
        }
    }
}
