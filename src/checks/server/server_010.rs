//! SERVER_010: a long way between two servers of a cluster.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict,
};
use crate::checks::as_text;
use crate::checks::links::{RouteOf, milliseconds, observed_rtt, round_trip, routes};
use crate::snapshot::{Endpoint, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct HighRouteRtt;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the round trip of a route is longer than this, e.g. `50ms`.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    rtt: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rtt: Duration::from_millis(50) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        round_trip("rtt", self.rtt)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server at the other end.
    #[schemars(with = "String")]
    peer: Name,
    /// Connections that the route consists of: a pool since 2.10, and one of the system account.
    connections: u64,
    /// What the other end measures, in milliseconds; none where it does not tell.
    rtt_at_peer_ms: Option<f64>,
    /// Routes of this server, this one included.
    routes: u64,
    /// How many of them are slower than the threshold.
    slow_routes: u64,
    /// The shortest round trip of this server's routes, in milliseconds.
    fastest_ms: Option<f64>,
}

impl Rule for HighRouteRtt {
    const META: Meta = Meta {
        id: "SERVER_010",
        name: "High Route Round Trip",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Route,
        since: "2.9",
        rule: "The round trip between two servers of a cluster takes more than 50 ms.",
        why: "The servers of a cluster are made to be near each other: every replicated write to JetStream waits for the \
              answers of a majority, elections have timeouts of a few seconds, and a full mesh sends each message over \
              one route only. Where servers are far apart, clusters joined by gateways are meant.\n\n\
              Each end measures the round trip with pings that it sends every 30 seconds or more often, so that the value \
              may be that old, and the two ends may differ. A route is a pool of connections since 2.10: the longest of \
              them counts. A ping also waits behind what is sent before it, so that a route that is full looks slow.",
        remedy: &[
            "Compare with `ping` between the two hosts: if that is as slow it is the network, otherwise one of the servers \
             is too busy to answer.",
            "Put servers that are far from each other into clusters of their own, and join those by gateways.",
            "Look whether the route has bytes pending: a full route is slow.",
            "Where the distance is meant for now, raise `rtt` for the cluster or the server in a \
             `[[checks.SERVER_010.override]]`.",
        ],
        needs: &[Endpoint::Routez],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One ping may have waited behind a large message.
    const FOR: u64 = 2;
    // One host may be behind all of them, and a mesh has as many routes as pairs.
    const MOST: usize = 100;
    // A server that starts or ends answers late, also to those that do not.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let slow = routes(context.now).filter_map(|of| {
            let most = thresholds.of(&of.entity).rtt;
            let rtt = of.route.rtt.filter(|rtt| *rtt > most)?;
            Some(verdict(context.now, of, rtt, most))
        });
        slow.collect()
    }
}

fn verdict(now: &Snapshot, of: RouteOf<'_>, rtt: Duration, most: Duration) -> Verdict {
    let RouteOf { server, route, beside: routes, peer, entity } = of;
    let at_peer = now.servers.get(&route.peer).and_then(|other| other.routes.as_ref());
    let back = at_peer.and_then(|routes| routes.iter().find(|back| back.peer == server.id));
    let slow = routes.iter().filter(|route| route.rtt > Some(most)).count() as u64;
    let evidence = Evidence {
        peer: peer.clone(),
        connections: route.connections,
        rtt_at_peer_ms: back.and_then(|back| back.rtt).map(milliseconds),
        routes: routes.len() as u64,
        slow_routes: slow,
        fastest_ms: routes.iter().filter_map(|route| route.rtt).min().map(milliseconds),
    };
    let (name, ms) = (&server.name, milliseconds(rtt));
    let summary = format!("the route of server {name} to {peer} has a round trip of {ms:.1} ms");
    let mut steps = Vec::new();
    if evidence.routes > 1 && slow == evidence.routes {
        steps.push(format!(
            "All {slow} routes of server {name} are slow: begin with its host and its line, and whether it is overloaded."
        ));
    }
    if route.pending > 0 {
        steps.push(format!(
            "{} bytes wait to be sent on this route: it may be full, and the pings wait with them.",
            route.pending
        ));
    }
    steps.push(format!(
        "Compare with `ping` between the hosts of {name} and {peer}: if that is as slow it is the network, otherwise one \
         of the two servers is too busy to answer at once."
    ));
    steps.push(
        "If the two are meant to be far from each other, make two clusters of them that gateways join."
            .into(),
    );
    Verdict::firing(entity, summary, observed_rtt(rtt, most), &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Settings, Standing};
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = HighRouteRtt;

    /// n1 measures this to n2.
    fn with(rtt: Option<Duration>) -> System {
        let mut system = System::of(3);
        let routes = system.server_mut("n1").routes.as_mut().unwrap();
        routes.iter_mut().find(|route| &*route.peer == "ID-n2").unwrap().rtt = rtt;
        system
    }

    fn entity(peer: &str) -> Entity {
        Entity::route(&"n1".into(), Some(&"east".into()), &peer.into())
    }

    #[test]
    fn fires_above_the_threshold_at_the_end_that_measures_it() {
        for rtt in [None, Some(Duration::ZERO), Some(Duration::from_millis(50))] {
            let judgement = judge::<Check>(&with(rtt).done());
            assert!(judgement.firing.is_empty(), "{rtt:?}");
            assert_eq!(judgement.standing(&entity("n2")), Standing::Clear);
        }
        let judgement = judge::<Check>(&with(Some(Duration::from_micros(50_100))).done());
        let (found, firing) = only(&judgement);
        assert_eq!((found, &*found.id), (&entity("n2"), "n1/n2"));
        assert_eq!(firing.summary, "the route of server n1 to n2 has a round trip of 50.1 ms");
        assert_eq!(json!(firing.observed), json!({"value": 50.1, "threshold": 50.0, "unit": "milliseconds"}));
        assert_eq!(
            firing.evidence,
            json!({"peer": "n2", "connections": 4, "rtt_at_peer_ms": 0.3, "routes": 2, "slow_routes": 1,
                   "fastest_ms": 0.3})
        );
        assert_eq!(judge::<Check>(&with(Some(Duration::MAX)).done()).firing.len(), 1);
    }

    #[test]
    fn where_all_routes_are_slow_it_is_the_server() {
        let mut system = System::of(3);
        for route in system.server_mut("n1").routes.as_mut().unwrap() {
            (route.rtt, route.pending) = (Some(Duration::from_millis(80)), 7);
        }
        let judgement = judge::<Check>(&system.done());
        assert_eq!(judgement.firing.len(), 2);
        let steps = &judgement.firing[0].1.remediation;
        assert!(steps[0].starts_with("All 2 routes of server n1 are slow"), "{steps:?}");
        assert!(steps[1].starts_with("7 bytes wait"), "{steps:?}");
    }

    #[test]
    fn a_peer_is_called_by_its_name_or_not_at_all() {
        let nameless = |system: &mut System| {
            for route in system.server_mut("n1").routes.as_mut().unwrap() {
                route.peer_name = None;
            }
        };
        // Before 2.9.16 routes have no names: the peer's own answer has, or had.
        let mut system = with(Some(Duration::from_millis(80)));
        nameless(&mut system);
        assert_eq!(only(&judge::<Check>(&system.gone("n2").done())).0, &entity("n2"));
        let mut system = with(Some(Duration::from_millis(80)));
        nameless(&mut system);
        let system = system.with(|snapshot| {
            snapshot.servers.remove("ID-n2");
        });
        assert!(judge::<Check>(&system.done()).firing.is_empty());
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let judgement =
            judge::<Check>(&with(Some(Duration::from_secs(1))).silent("n1", Endpoint::Routez).done());
        assert!(judgement.firing.is_empty());
        let expected = Standing::Unknown("server n1 did not answer ROUTEZ".into());
        assert_eq!(judgement.standing(&entity("n2")), expected);
    }

    #[test]
    fn the_threshold_can_be_set() {
        let base = [("rtt".to_owned(), json!("10ms"))].into_iter().collect();
        let settings = Settings { base, ..Settings::default() };
        let slow = with(Some(Duration::from_millis(11))).done();
        assert_eq!(judge_set::<Check>(&slow, None, &[], &settings).firing.len(), 1);
    }
}
