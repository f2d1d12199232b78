//! CLUSTER_004: the name of a cluster contains whitespace.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count,
};
use crate::snapshot::{Endpoint, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ClusterNameWhitespace;

/// It has nothing to set.
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
    /// The name of the cluster.
    #[schemars(with = "String")]
    cluster: Name,
    /// The version of the server; none where it is not known.
    version: Option<String>,
    /// How many servers have the same cluster's name.
    servers: u64,
}

impl Rule for ClusterNameWhitespace {
    const META: Meta = Meta {
        id: "CLUSTER_004",
        name: "Cluster Name Contains Whitespace",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "A server is configured with a cluster name that contains whitespace.",
        why: "Cluster names are part of subjects between gateways and of what routes and leafnodes tell each other, where \
              whitespace ends a word. From 2.11.0 on a server refuses to start with a space in the name, so that the next \
              upgrade fails, and hubs refuse leafnodes whose cluster is named so; other whitespace, such as a tab, passes. Hubs \
              from 2.10.19 to the end of 2.10 refuse any whitespace.\n\n\
              A cluster cannot be renamed one server after another: a server with another cluster name does not join the \
              old one. Plan it with the upgrade, while the old version still starts.",
        remedy: &[
            "Choose a name without whitespace and set it in the `cluster` block, and in the `gateway` block, of every server.",
            "Rename all servers of the cluster in one maintenance: servers of different names do not form one cluster.",
            "If the old name has a space, do that before the upgrade to 2.11 or later, which does not start with it.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One cause may be behind all of them.
    const MOST: usize = 100;
    // A name stands in a file.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, server: &Server) -> Option<Verdict> {
    // Without VARZ a leaf server cannot be told from one of a cluster: it gives its own name as that of its cluster.
    server.vars.as_ref()?;
    let cluster = server.cluster.as_ref().filter(|cluster| cluster.contains(char::is_whitespace))?;
    let servers = context.now.members(cluster).count();
    let evidence = Evidence {
        cluster: cluster.clone(),
        version: server.version.map(|version| version.to_string()),
        servers: servers as u64,
    };
    let summary = format!(
        "server {} is configured for cluster {cluster:?}, whose name contains whitespace",
        server.name
    );
    let mut steps = vec![
        format!(
            "Rename the cluster on {} in one maintenance: servers of different cluster names do not form one cluster.",
            if servers == 1 {
                "its server".into()
            } else {
                format!("all its {}", count(servers as u64, "server"))
            }
        ),
        "Rename it in the `gateway` blocks as well, also in those of other clusters.".into(),
    ];
    // Other whitespace passes.
    if cluster.contains(' ') {
        steps.push(
            "Do that before the upgrade to 2.11 or later, which does not start with the old name.".into(),
        );
    }
    let entity = Entity::of_server(server);
    let spaces = cluster.chars().filter(|c| c.is_whitespace()).count() as u64;
    let observed = Observed::count(spaces, 0u64, "whitespace characters");
    Some(Verdict::firing(entity, summary, observed, &evidence, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = ClusterNameWhitespace;

    fn of_cluster(cluster: Option<&str>) -> System {
        let mut system = System::of(1);
        system.add_server("x", cluster);
        system
    }

    #[test]
    fn fires_by_any_whitespace_in_the_name_of_a_cluster() {
        for name in ["my cluster", " east", "east\t", "a\u{a0}b", " "] {
            let judgement = judge::<Check>(&of_cluster(Some(name)).done());
            let (entity, firing) = only(&judgement);
            assert_eq!((&*entity.id, entity.cluster.as_deref()), ("x", Some(name)));
            assert_eq!(firing.evidence, json!({"cluster": name, "version": "2.15.1", "servers": 1}));
            // A later version starts with any whitespace but a space.
            let refused = firing.remediation.iter().any(|step| step.contains("does not start"));
            assert_eq!(refused, name.contains(' '), "{name:?}");
        }
        for name in [None, Some(""), Some("my-cluster")] {
            assert!(judge::<Check>(&of_cluster(name).done()).firing.is_empty());
        }
        let judgement = judge::<Check>(&of_cluster(Some("my cluster")).done());
        assert_eq!(
            only(&judgement).1.summary,
            "server x is configured for cluster \"my cluster\", whose name contains whitespace"
        );
    }

    #[test]
    fn without_varz_it_may_be_the_name_of_a_leaf_server() {
        let mut system = of_cluster(Some("my leaf")).silent("x", Endpoint::Varz);
        system.server_mut("x").vars = None;
        let judgement = judge::<Check>(&system.done());
        assert!(judgement.firing.is_empty());
        let x = Entity::server(&"x".into(), Some(&"my leaf".into()));
        assert_eq!(judgement.standing(&x), Standing::Unknown("server x did not answer VARZ".into()));
    }
}
