//! SERVER_018: a long way between a server and another cluster.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict,
};
use crate::checks::as_text;
use crate::checks::evidence::TOP;
use crate::checks::links::{GatewayOf, gateways, milliseconds, name_of, observed_rtt, round_trip};
use crate::snapshot::{Endpoint, Gateway, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct HighGatewayRtt;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the round trip of a gateway is longer than this, e.g. `50ms`.
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
    /// The cluster at the other end.
    #[schemars(with = "String")]
    remote: Name,
    /// The server there that the gateway ends at; none where nobody tells its name.
    #[schemars(with = "Option<String>")]
    peer: Option<Name>,
    /// The servers of this cluster and their round trip to the same remote cluster, the fastest first, at most 5.
    same_remote: Vec<Row>,
    /// How many servers of this cluster tell one.
    measured: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// The server there that its gateway ends at.
    #[schemars(with = "Option<String>")]
    peer: Option<Name>,
    /// In milliseconds.
    rtt_ms: f64,
}

impl Rule for HighGatewayRtt {
    const META: Meta = Meta {
        id: "SERVER_018",
        name: "High Gateway Round Trip",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Gateway,
        since: "2.9",
        rule: "The round trip between a server and the remote cluster that its gateway leads to takes more than 50 ms.",
        why: "Requests from one cluster to a service in another take at least this long, and so does everything that \
              mirrors or sources a stream across.\n\n\
              Between distant regions more than 50 ms is natural: raise the threshold there, so that what remains is a \
              line that is full, loses packets or goes a longer way than it should.\n\n\
              A server has one outbound gateway to each remote cluster, to any of its servers. It measures the round trip \
              with pings that it sends every 15 seconds or more often. A ping also waits behind what is sent before it.",
        remedy: &[
            "Compare with `ping` between the hosts: if that is as slow it is the network, otherwise one of the servers is \
             too busy to answer.",
            "Where the distance is meant, raise `rtt` for the cluster or the server in a \
             `[[checks.SERVER_018.override]]`, which holds for all its remote clusters.",
            "Put services and streams near their users, so that fewer requests cross.",
        ],
        needs: &[Endpoint::Gatewayz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One ping may have waited behind a large message.
    const FOR: u64 = 2;
    // One line may be behind all of them.
    const MOST: usize = 100;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let slow = gateways(context.now).filter_map(|of| {
            let most = thresholds.of(&of.entity).rtt;
            let rtt = of.gateway.rtt.filter(|rtt| *rtt > most)?;
            Some(verdict(context.now, of, rtt, most))
        });
        slow.collect()
    }
}

fn verdict(now: &Snapshot, of: GatewayOf<'_>, rtt: Duration, most: Duration) -> Verdict {
    let GatewayOf { server, remote, gateway, entity } = of;
    let mut same: Vec<(Duration, &Server, &Gateway)> = now
        .cluster_of(server)
        .filter_map(|other| {
            let gateway = other.gateways.as_ref()?.outbound.get(remote)?;
            Some((gateway.rtt?, other, gateway))
        })
        .collect();
    same.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let fast = same.iter().filter(|(rtt, ..)| *rtt <= most).count();
    let row = |(rtt, other, gateway): &(Duration, &Server, &Gateway)| Row {
        server: other.name.clone(),
        peer: name_of(now, &gateway.peer, None),
        rtt_ms: milliseconds(*rtt),
    };
    let evidence = Evidence {
        remote: remote.clone(),
        peer: name_of(now, &gateway.peer, None),
        same_remote: same.iter().take(TOP).map(row).collect(),
        measured: same.len() as u64,
    };
    let (name, ms) = (&server.name, milliseconds(rtt));
    let summary = format!("the gateway of server {name} to cluster {remote} has a round trip of {ms:.1} ms");
    let mut steps = Vec::new();
    if fast > 0 {
        steps.push(format!(
            "Other servers of its cluster are nearer to {remote}: begin with the host and the line of server {name}, and \
             with the server there that its gateway ends at."
        ));
    } else if same.len() > 1 {
        steps.push(format!(
            "All servers of its cluster are as far from {remote}: begin with the line in between."
        ));
    }
    if gateway.pending > 0 {
        steps.push(format!(
            "{} bytes wait to be sent on this gateway: it may be full, and the pings wait with them.",
            gateway.pending
        ));
    }
    steps.push(
        "Compare with `ping` between the hosts: if that is as slow it is the network, otherwise one of the servers is too \
         busy to answer at once."
            .into(),
    );
    steps.push(format!(
        "If the two clusters are meant to be that far from each other, raise `rtt` for this cluster in a \
         `[[checks.SERVER_018.override]]`, which holds for all its remote clusters; {ms:.0} ms is what is measured."
    ));
    Verdict::firing(entity, summary, observed_rtt(rtt, most), &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = HighGatewayRtt;

    fn link(system: &mut System, server: &str, ms: u64) {
        let rtt = (ms > 0).then(|| Duration::from_millis(ms));
        let gateway = Gateway { peer: "ID-w1".into(), configured: true, rtt, ..Gateway::default() };
        let gateways = system.server_mut(server).gateways.as_mut().unwrap();
        gateways.name = Some("east".into());
        gateways.outbound.insert("west".into(), gateway);
    }

    fn with(rtts: &[(&str, u64)]) -> System {
        let mut system = System::of(2);
        system.add_server("w1", Some("west"));
        for (server, ms) in rtts {
            link(&mut system, server, *ms);
        }
        system
    }

    fn entity(server: &str) -> Entity {
        Entity::gateway(&server.into(), Some(&"east".into()), &"west".into())
    }

    #[test]
    fn fires_above_the_threshold_beside_the_others_of_the_cluster() {
        for ms in [0, 1, 50] {
            assert!(judge::<Check>(&with(&[("n1", ms)]).done()).firing.is_empty(), "{ms}");
        }
        let judgement = judge::<Check>(&with(&[("n1", 162), ("n2", 3)]).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("n1"));
        assert_eq!(firing.summary, "the gateway of server n1 to cluster west has a round trip of 162.0 ms");
        assert_eq!(
            firing.evidence,
            json!({"remote": "west", "peer": "w1", "measured": 2, "same_remote": [
                {"server": "n2", "peer": "w1", "rtt_ms": 3.0}, {"server": "n1", "peer": "w1", "rtt_ms": 162.0}]})
        );
        assert!(firing.remediation[0].starts_with("Other servers of its cluster are nearer"), "{firing:?}");
        let judgement = judge::<Check>(&with(&[("n1", 162), ("n2", 170)]).done());
        assert_eq!(judgement.firing.len(), 2);
        assert!(judgement.firing[0].1.remediation[0].starts_with("All servers of its cluster"));
    }

    #[test]
    fn a_silent_server_is_unknown_and_one_beyond_goes_without_a_name() {
        let slow = || with(&[("n1", 162)]);
        let judgement = judge::<Check>(&slow().silent("n1", Endpoint::Gatewayz).done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity("n1")), Standing::Unknown(_)));
        let unheard = slow().with(|snapshot| {
            snapshot.servers.remove("ID-w1");
        });
        assert_eq!(only(&judge::<Check>(&unheard.done())).1.evidence["peer"], json!(null));
    }
}
