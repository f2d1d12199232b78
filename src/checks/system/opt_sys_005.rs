//! OPT_SYS_005: bytes pile up at a server for another one of its cluster.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::links::{RouteOf, mebibytes, routes};
use crate::snapshot::{Endpoint, difference};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct RoutePending;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when more bytes than this wait to be sent on one connection of a route.
    pending_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending_bytes: 1 << 20 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("pending_bytes", self.pending_bytes, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server at the other end.
    #[schemars(with = "String")]
    peer: Name,
    /// Whether that server answered the roll call of this epoch.
    peer_answers: bool,
    /// Bytes that wait on all connections of the route.
    pending_bytes: u64,
    /// Connections of the route: a pool since 2.10, and one of the system account.
    connections: u64,
    /// The account that has the connection with most to itself; none where accounts share it.
    #[schemars(with = "Option<String>")]
    account: Option<Name>,
    /// How many more bytes wait on that connection than in the epoch before; none where the route was not there then.
    grown_since_previous: Option<i64>,
    /// Routes of this server.
    routes: u64,
    /// Routes of this server with more than the threshold.
    pending_routes: u64,
}

impl Rule for RoutePending {
    const META: Meta = Meta {
        id: "OPT_SYS_005",
        name: "Route Pending High",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Route,
        group: Some("system"),
        since: "2.9",
        differs: Some(
            "It must be seen in two epochs in a row, since a burst is sent within a moment. A peer that reads nothing at all is cut \
             off after `write_deadline`, which is shorter than two epochs of a minute: it shows itself by its absence.",
        ),
        rule: "More than 1 MiB waits to be sent on a connection between two servers of a cluster.",
        why: "A healthy route sends what it has at once. Bytes wait where the other server does not read fast enough, or \
              the line between the two carries less than is published: messages arrive late, acknowledgements of \
              JetStream among them.\n\n\
              `max_pending` closes clients that are too slow; it closes no routes. What waits there grows until nothing \
              at all could be written within `write_deadline` (10 seconds unless it is set), or until memory is short: \
              then the route is made anew and what waited is lost.\n\n\
              It is what waits when the server is asked, in two epochs in a row; peaks in between are not seen, nor is a server \
              that has stopped altogether: after `write_deadline` its routes are closed, and what is found is that it does not \
              answer (AGENT_001) and that routes are missing (CLUSTER_005). With `write_timeout: close` in the cluster block \
              (2.12.2) a route is closed as soon as one write takes that long. A route is \
              a pool of connections since 2.10: the one with most counts.",
        remedy: &[
            "Look at the server at the other end: processor use, memory and disk of a server that does not read.",
            "Compare the traffic with the bandwidth between the two hosts.",
            "Raise `pool_size` of the cluster, or give an account with much traffic a route of its own (`accounts` in the \
             cluster block, 2.10).",
            "Move clients to the server where the subscribers are.",
        ],
        needs: &[Endpoint::Routez],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // A burst that is sent within a second may be seen by chance.
    const FOR: u64 = 2;
    // A server that leaves or comes back does not read for a while.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let full = routes(context.now).filter_map(|of| {
            let most = thresholds.of(&of.entity).pending_bytes;
            (of.route.most_pending.0 > most).then(|| verdict(context, of, most))
        });
        full.collect()
    }
}

fn verdict(context: &Context<'_>, of: RouteOf<'_>, most: u64) -> Verdict {
    let RouteOf { server, route, beside: routes, peer, entity } = of;
    let (pending, account) = &route.most_pending;
    let label = account.as_ref().map(|account| context.now.account_label(account));
    let before = context.same_boot(server).and_then(|before| before.routes.as_ref());
    let before = before.and_then(|routes| routes.iter().find(|before| before.peer == route.peer));
    let evidence = Evidence {
        peer_answers: context.now.servers.contains_key(&route.peer),
        pending_bytes: route.pending,
        connections: route.connections,
        account: label.clone(),
        grown_since_previous: before.map(|before| difference(*pending, before.most_pending.0)),
        routes: routes.len() as u64,
        pending_routes: routes.iter().filter(|route| route.most_pending.0 > most).count() as u64,
        peer: peer.clone(),
    };
    let name = &server.name;
    let summary = format!("{} wait at server {name} to be sent to {peer}", mebibytes(*pending));
    let mut steps = Vec::new();
    if !evidence.peer_answers {
        steps.push(format!(
            "Server {peer} did not answer either: it may hang or be stopped; look at its process first."
        ));
    }
    if evidence.routes > 1 && evidence.pending_routes == evidence.routes {
        steps.push(format!(
            "All {} routes of server {name} are full: its own line may be too small for what its clients publish.",
            evidence.routes
        ));
    }
    if let Some(account) = label.filter(|_| evidence.connections > 1) {
        steps.push(format!(
            "They wait on the connection that account {account} has to itself: look who publishes there."
        ));
    }
    steps.push(format!(
        "Look at processor, memory and disk of server {peer}, and compare the traffic with the bandwidth between the two \
         hosts."
    ));
    steps.push(
        "If the traffic is meant, raise `pool_size` of the cluster, or give the account with most of it a route of its own \
         (`accounts` in the cluster block)."
            .into(),
    );
    Verdict::firing(entity, summary, Observed::count(*pending, most, "bytes"), &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Standing};
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = RoutePending;

    /// At n1 for n2: on the fullest connection, and over all.
    fn with(most: u64, account: Option<&str>, pending: u64) -> System {
        let mut system = System::of(3);
        let routes = system.server_mut("n1").routes.as_mut().unwrap();
        let route = routes.iter_mut().find(|route| &*route.peer == "ID-n2").unwrap();
        (route.most_pending, route.pending) = ((most, account.map(Name::from)), pending);
        system
    }

    fn entity() -> Entity {
        Entity::route(&"n1".into(), Some(&"east".into()), &"n2".into())
    }

    #[test]
    fn fires_above_the_threshold_of_one_connection() {
        for (most, pending) in [(0, 0), (1 << 20, 9 << 20)] {
            let judgement = judge::<Check>(&with(most, None, pending).done());
            assert!(judgement.firing.is_empty(), "{most}");
            assert_eq!(judgement.standing(&entity()), Standing::Clear);
        }
        let before = with(1 << 20, None, 1 << 20).done();
        let judgement = judge_with::<Check>(&with(3 << 20, None, 4 << 20).at(60).done(), Some(&before), &[]);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity());
        assert_eq!(firing.summary, "3.0 MiB wait at server n1 to be sent to n2");
        assert_eq!(json!(firing.observed), json!({"value": 3 << 20, "threshold": 1 << 20, "unit": "bytes"}));
        assert_eq!(
            firing.evidence,
            json!({"peer": "n2", "peer_answers": true, "pending_bytes": 4 << 20, "connections": 4, "account": null,
                   "grown_since_previous": 2 << 20, "routes": 2, "pending_routes": 1})
        );
        assert_eq!(judge::<Check>(&with(u64::MAX, None, u64::MAX).done()).firing.len(), 1);
    }

    #[test]
    fn a_peer_that_is_silent_is_looked_at_first_and_an_account_is_named() {
        let judgement = judge::<Check>(&with(2 << 20, Some("BULK"), 2 << 20).gone("n2").done());
        let firing = only(&judgement).1;
        assert_eq!(firing.evidence["account"], "BULK");
        assert!(firing.remediation[0].starts_with("Server n2 did not answer either"), "{firing:?}");
        assert!(firing.remediation[1].contains("account BULK has to itself"), "{firing:?}");
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let judgement = judge::<Check>(&with(2 << 20, None, 0).silent("n1", Endpoint::Routez).done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity()), Standing::Unknown(_)));
    }
}
