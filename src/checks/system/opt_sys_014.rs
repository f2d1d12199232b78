//! OPT_SYS_014: bytes pile up at a server for another cluster.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::links::{GatewayOf, gateways, mebibytes, name_of};
use crate::snapshot::{Endpoint, Server, difference};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct GatewayPending;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when more bytes than this wait to be sent through a gateway.
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
    /// The cluster at the other end.
    #[schemars(with = "String")]
    remote: Name,
    /// The server there that the gateway ends at; none where nobody tells its name.
    #[schemars(with = "Option<String>")]
    peer: Option<Name>,
    /// Whether that server answered the roll call of this epoch.
    peer_answers: bool,
    /// How many more bytes wait than in the epoch before; none where the gateway was not there then.
    grown_since_previous: Option<i64>,
    /// Servers of this cluster with a gateway to the same remote cluster.
    gateways: u64,
    /// Those of them with more than the threshold.
    pending_gateways: u64,
}

impl Rule for GatewayPending {
    const META: Meta = Meta {
        id: "OPT_SYS_014",
        name: "Gateway Pending High",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Gateway,
        group: Some("system"),
        since: "2.9",
        differs: Some(
            "It must be seen in two epochs in a row, since a burst is sent within a moment. A peer that reads nothing at all is cut \
             off after `write_deadline`, which is shorter than two epochs of a minute: it shows itself by its absence.",
        ),
        rule: "More than 1 MiB waits to be sent on the gateway of a server to another cluster.",
        why: "Everything that a server sends to another cluster goes through one connection. Bytes wait on it where the \
              server at the other end does not read fast enough, or where the line between the clusters carries less than \
              is published: messages arrive late there.\n\n\
              `max_pending` closes clients that are too slow; it closes no gateways. What waits grows until nothing at all \
              could be written within `write_deadline` (10 seconds unless it is set), or until memory is short: then the \
              gateway is made anew and what waited is lost.\n\n\
              It is what waits when the server is asked, in two epochs in a row; peaks in between are not seen, nor is a server \
              that has stopped altogether: after `write_deadline` the gateway is closed, and what is found is that it does not \
              answer (AGENT_001). With `write_timeout: close` in the gateway block (2.12.2) a gateway is closed as soon as one \
              write takes that long.",
        remedy: &[
            "Look at the server at the other end: processor use, memory and disk of a server that does not read.",
            "Compare the traffic with the bandwidth between the clusters.",
            "Send less across: subscribe, or keep mirrors, near those who publish most.",
            "Spread publishers over the servers of the cluster: each has a gateway of its own.",
        ],
        needs: &[Endpoint::Gatewayz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // A burst that is sent within a second may be seen by chance.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let full = gateways(context.now).filter_map(|of| {
            let most = thresholds.of(&of.entity).pending_bytes;
            (of.gateway.pending > most).then(|| verdict(context, of, most))
        });
        full.collect()
    }
}

fn verdict(context: &Context<'_>, of: GatewayOf<'_>, most: u64) -> Verdict {
    let GatewayOf { server, remote, gateway, entity } = of;
    let to_remote = |server: &Server| Some(server.gateways.as_ref()?.outbound.get(remote)?.pending);
    let same: Vec<u64> = context.now.cluster_of(server).filter_map(to_remote).collect();
    let before = context.same_boot(server).and_then(to_remote);
    let peer = name_of(context.now, &gateway.peer, None);
    let evidence = Evidence {
        remote: remote.clone(),
        peer: peer.clone(),
        peer_answers: context.now.servers.contains_key(&gateway.peer),
        grown_since_previous: before.map(|before| difference(gateway.pending, before)),
        gateways: same.len() as u64,
        pending_gateways: same.iter().filter(|pending| **pending > most).count() as u64,
    };
    let (name, pending) = (&server.name, mebibytes(gateway.pending));
    let summary = format!("{pending} wait at server {name} to be sent to cluster {remote}");
    let at = peer
        .map_or_else(|| format!("the server of {remote} that it ends at"), |peer| format!("server {peer}"));
    let mut steps = Vec::new();
    if !evidence.peer_answers {
        steps.push(format!("Look at {at} first: it did not answer this agent, and may hang or be stopped."));
    }
    if evidence.gateways > 1 {
        steps.push(if evidence.pending_gateways == evidence.gateways {
            format!("All {} gateways of this cluster to {remote} are full: begin with the line in between.", evidence.gateways)
        } else {
            format!(
                "Other servers of this cluster have room in their gateways to {remote}: spread those who publish over them."
            )
        });
    }
    steps.push(format!(
        "Look at processor, memory and disk of {at}, and compare the traffic with the bandwidth between the clusters."
    ));
    steps.push("Send less across: subscribe, or keep mirrors, near those who publish most.".into());
    Verdict::firing(entity, summary, Observed::count(gateway.pending, most, "bytes"), &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Standing};
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::Gateway;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = GatewayPending;

    fn with(pending: &[(&str, u64)]) -> System {
        let mut system = System::of(2);
        system.add_server("w1", Some("west"));
        for (server, pending) in pending {
            let gateway = Gateway { peer: "ID-w1".into(), pending: *pending, ..Gateway::default() };
            let gateways = system.server_mut(server).gateways.as_mut().unwrap();
            gateways.outbound.insert("west".into(), gateway);
        }
        system
    }

    fn n1() -> Entity {
        Entity::gateway(&"n1".into(), Some(&"east".into()), &"west".into())
    }

    #[test]
    fn fires_above_the_threshold_beside_the_others_of_the_cluster() {
        for pending in [0, 1 << 20] {
            let judgement = judge::<Check>(&with(&[("n1", pending)]).done());
            assert!(judgement.firing.is_empty(), "{pending}");
            assert_eq!(judgement.standing(&n1()), Standing::Clear);
        }
        let before = with(&[("n1", 5 << 20)]).done();
        let now = with(&[("n1", 3 << 20), ("n2", 9)]).at(60).done();
        let judgement = judge_with::<Check>(&now, Some(&before), &[]);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &n1());
        assert_eq!(firing.summary, "3.0 MiB wait at server n1 to be sent to cluster west");
        assert_eq!(
            firing.evidence,
            json!({"remote": "west", "peer": "w1", "peer_answers": true, "grown_since_previous": -(2 << 20),
                   "gateways": 2, "pending_gateways": 1})
        );
        assert!(firing.remediation[0].starts_with("Other servers of this cluster have room"), "{firing:?}");
        assert_eq!(judge::<Check>(&with(&[("n1", u64::MAX), ("n2", u64::MAX)]).done()).firing.len(), 2);
    }

    #[test]
    fn a_server_beyond_that_is_silent_is_looked_at_first() {
        let judgement = judge::<Check>(&with(&[("n1", 2 << 20)]).gone("w1").done());
        assert!(only(&judgement).1.remediation[0].starts_with("Look at server w1 first"));
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let judgement = judge::<Check>(&with(&[("n1", 2 << 20)]).silent("n1", Endpoint::Gatewayz).done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&n1()), Standing::Unknown(_)));
    }
}
