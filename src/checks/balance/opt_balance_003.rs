//! OPT_BALANCE_003: a server whose clients have far more subscriptions than those of the others of its cluster.

use super::hotspot::{Hot, Load};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, above, at_least, percent_of,
};
use crate::checks::evidence::{DOMINANT, SubscribersOn};
use crate::snapshot::{Endpoint, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct SubscriptionHotspot;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the clients of a server have more than this many times the subscriptions of its cluster's average.
    ratio: f64,
    /// Leave out servers with fewer subscriptions than this.
    min_subscriptions: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 2.0, min_subscriptions: 100 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        above("ratio", self.ratio, 1)?;
        at_least("min_subscriptions", self.min_subscriptions, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's subscriptions as a multiple of the average.
    times_average: f64,
    /// Average subscriptions of the cluster's servers, this one included.
    average: f64,
    /// Client connections of the hot server.
    connections: u64,
    /// All servers of the cluster, those without subscriptions included, the one with most first.
    servers: Vec<Share>,
    /// Who has most subscriptions on the hot server.
    top: SubscribersOn,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Share {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Subscriptions of its clients.
    subscriptions: u64,
    /// In percent of all servers together.
    percent: f64,
}

impl Rule for SubscriptionHotspot {
    const META: Meta = Meta {
        id: "OPT_BALANCE_003",
        name: "Subscription Hotspot",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("balance"),
        since: "2.9",
        differs: Some(
            "What is compared is the subscriptions of each server's own clients, added up from the list of connections: the \
             number that servers report (VARZ) contains what routes brought, so that all members of a cluster show the same.",
        ),
        rule: "The clients of a server have more than 2 times the average subscriptions of its cluster's servers, and at \
               least 100.",
        why: "Messages for a subscription are written by the server that its client is connected to: a server that holds most \
              subscriptions does most of the delivering, while the others pass messages on to it over routes. When it goes \
              down, all of these subscriptions come to the others at once.\n\n\
              The average is over all servers of the cluster, the hot one and those without any included. With two servers \
              the ratio cannot exceed 2, so that a cluster of two never fires by default.\n\n\
              Subscriptions are those of client connections, as servers list them (CONNZ), without this agent's own. All \
              servers of the cluster must have listed theirs.",
        remedy: &[
            "Spread the clients with many subscriptions over the servers: give them the URLs of all of them.",
            "Let a client subscribe to a wildcard instead of to many subjects.",
            "Use one inbox for all requests of a connection, as current client libraries do.",
            "Once clients know all servers, put the hot one into lame-duck mode: its clients move to the others.",
        ],
        needs: &[Endpoint::Connz],
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
            (limits.ratio, limits.min_subscriptions)
        };
        let clusters = Load::of_clusters(context.now, |server| Some(server.fold.as_ref()?.subscriptions));
        let each =
            clusters.iter().flat_map(|load| load.hot("subscriptions", limits).map(move |hot| (load, hot)));
        each.map(|(load, hot)| verdict(context, load, hot)).collect()
    }
}

fn verdict(context: &Context<'_>, load: &Load<'_>, hot: Hot<'_>) -> Verdict {
    let Hot { server, count, times_average, average, .. } = hot;
    let summary = format!(
        "clients of server {} have {count} subscriptions, {times_average:.1} times the average of cluster {} ({average:.1})",
        server.name, load.cluster,
    );
    let evidence = Evidence {
        times_average,
        average,
        connections: server.fold.as_ref().map_or(0, |fold| fold.clients),
        servers: shares(&load.counts, load.whole),
        top: SubscribersOn::of(context.now, server),
    };
    let remediation = remediation(server, count, &evidence);
    Verdict::firing(hot.entity, summary, hot.observed, &evidence, remediation)
}

fn shares(counts: &[(&Server, u64)], whole: u64) -> Vec<Share> {
    let mut counts = counts.to_vec();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.name.cmp(&b.0.name)));
    let share = |(server, subscriptions): (&Server, u64)| {
        let percent = percent_of(subscriptions, whole).unwrap_or(0.0);
        Share { server: server.name.clone(), subscriptions, percent }
    };
    counts.into_iter().map(share).collect()
}

fn remediation(server: &Server, count: u64, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let share = |part: u64| percent_of(part, count).filter(|share| *share >= DOMINANT);
    let first = evidence.top.connections.first();
    if first.is_some_and(|first| share(first.connection.subscriptions).is_some()) {
        steps.extend(evidence.top.begin());
        steps.push(
            "A wildcard, or one inbox for all requests, may do for that client's many subjects.".into(),
        );
    } else if let Some((account, share)) =
        evidence.top.accounts.first().and_then(|row| Some((&row.name, share(row.count)?)))
    {
        steps.push(format!("{share:.1} % of them are of account {account}: begin with its clients."));
    }
    steps.push("Give the clients with many subscriptions the URLs of all servers of the cluster.".into());
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

    type Check = SubscriptionHotspot;

    /// One client with so many subscriptions on each server.
    fn system(counts: &[u64]) -> System {
        let mut system = System::of(counts.len());
        for (number, count) in (1..).zip(counts) {
            system = system.connect(&format!("n{number}"), "APP", "u", 1, |c, _| c.subscriptions = *count);
        }
        system
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn fires_over_twice_the_average_and_not_at_it() {
        let judgement = judge::<Check>(&system(&[200, 50, 50]).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
        let judgement = judge::<Check>(&system(&[201, 50, 49]).connect("n3", "B", "v", 1, |_, _| {}).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "clients of server n1 have 201 subscriptions, 2.0 times the average of cluster east (100.0)"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 201, "percent": 67.0, "threshold": 200.0, "unit": "subscriptions"})
        );
        assert_eq!(
            firing.evidence,
            json!({"times_average": 2.0, "average": 100.0, "connections": 1,
                   "servers": [{"server": "n1", "subscriptions": 201, "percent": 67.0},
                               {"server": "n2", "subscriptions": 50, "percent": 16.7},
                               {"server": "n3", "subscriptions": 49, "percent": 16.3}],
                   "top": {"accounts": [{"name": "APP", "count": 201}],
                           "connections": [{"account": "APP", "server": "n1", "cid": 1, "name": "app", "user": "u",
                                            "subscriptions": 201}]}})
        );
        assert_eq!(
            firing.remediation[0],
            "Begin with connection 1 of user u in account APP on server n1 (`app`), which has 201 subscriptions."
        );
    }

    #[test]
    fn many_clients_of_one_account_are_named_by_the_account() {
        let spread = system(&[0, 0, 0]).connect("n1", "BATCH", "w", 50, |c, _| c.subscriptions = 10);
        let steps = only(&judge::<Check>(&spread.done())).1.remediation.clone();
        assert_eq!(steps[0], "100.0 % of them are of account BATCH: begin with its clients.");
    }

    #[test]
    fn small_numbers_clusters_of_two_and_none_never_fire() {
        for counts in [&[99, 0, 0][..], &[0, 0, 0], &[100, 0], &[5000, 0], &[100]] {
            assert!(judge::<Check>(&system(counts).done()).firing.is_empty(), "{counts:?}");
        }
        assert_eq!(only(&judge::<Check>(&system(&[100, 0, 0]).done())).1.evidence["times_average"], 3.0);
        let largest = judge::<Check>(&system(&[u64::MAX, u64::MAX, 0, 0, 0, 0]).done());
        assert_eq!(largest.firing.len(), 2);
    }

    #[test]
    fn the_agents_own_connection_does_not_matter() {
        let own = system(&[10, 10, 10])
            .own_next("n1")
            .connect("n1", "SINK", "agent", 1, |c, _| c.subscriptions = 500);
        assert!(judge::<Check>(&own.done()).firing.is_empty());
    }

    #[test]
    fn a_missing_server_of_the_cluster_makes_it_unknown() {
        for system in [system(&[300, 0, 0]).silent("n3", Endpoint::Connz), system(&[300, 0, 0]).gone("n3")] {
            let judgement = judge::<Check>(&system.done());
            assert!(judgement.firing.is_empty());
            assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
        }
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for (key, bad) in [("ratio", json!(1)), ("ratio", json!(-2)), ("min_subscriptions", json!(0))] {
            let base = [(key.to_owned(), bad)].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
        }
        let base = json!({"ratio": 1.5, "min_subscriptions": 10}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        assert_eq!(
            only(&judge_set::<Check>(&system(&[11, 5, 5]).done(), None, &[], &settings)).0,
            &server("n1")
        );
    }
}
