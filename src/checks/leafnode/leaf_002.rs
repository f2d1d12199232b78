//! LEAF_002: a long way between a leafnode and its hub.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict,
};
use crate::checks::links::{LeafRows, Leafnode, leafnodes, milliseconds, named, observed_rtt, round_trip};
use crate::snapshot::{Endpoint, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct HighLeafRtt;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the round trip between a leafnode and its hub is longer than this, e.g. `100ms`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    rtt: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rtt: Duration::from_millis(100) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        round_trip("rtt", self.rtt)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The connections of the leafnode, the slowest first.
    connections: LeafRows,
    /// How many of them are slower than the threshold.
    slow_connections: u64,
    /// Leafnodes of this account that are as slow; at most 20 of them are reported.
    such_leafnodes: u64,
}

impl Rule for HighLeafRtt {
    const META: Meta = Meta {
        id: "LEAF_002",
        name: "High Leafnode Round Trip",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Leafnode,
        since: "2.9",
        rule: "The round trip between a leafnode and its hub takes more than 100 ms.",
        why: "Every request across the link takes at least a round trip, and one to JetStream in the hub several. A long \
              way is natural where the leafnode is far away; on a short way it tells of a line that is full or loses \
              packets, or of a server that is too busy to answer.\n\n\
              A hub measures the round trip when the leafnode connects, and then once an hour as long as it hears the \
              leafnode's own pings: the value may be that old, and a line that has become fast again shows so after a \
              reconnect. What the leafnode measures is newer, but most often only its hub belongs to this system; where \
              both do, what the hub tells is taken. 0 stands for what has not been measured.",
        remedy: &[
            "Compare with `ping` between the two hosts: if that is as slow it is the network, otherwise one of the servers.",
            "Connect the leafnode to the hub that is nearest to it.",
            "Where the distance is meant, raise `rtt` for the account in a `[[checks.LEAF_002.override]]`.",
        ],
        needs: &[Endpoint::Leafz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // One ping may have waited behind a large message.
    const FOR: u64 = 2;
    // A hub that comes back has all its leafnodes at its door, and so do those that take its leafnodes meanwhile.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let slow = leafnodes(now).into_iter().filter_map(|mut leafnode| {
            let most = thresholds.of(&leafnode.entity(now)).rtt;
            leafnode.connections.sort_by_key(|connection| Reverse(connection.leaf.rtt));
            let rtt = leafnode.connections.first()?.leaf.rtt.filter(|rtt| *rtt > most)?;
            Some((leafnode, (rtt, most)))
        });
        named(now, &slow.collect::<Vec<_>>(), |leafnode, (rtt, most), all| {
            verdict(now, leafnode, *rtt, *most, all)
        })
    }
}

fn verdict(now: &Snapshot, leafnode: &Leafnode<'_>, rtt: Duration, most: Duration, all: u64) -> Verdict {
    let (label, account) = (&leafnode.label, now.account_label(&leafnode.account));
    let slow = || leafnode.connections.iter().filter(|connection| connection.leaf.rtt > Some(most));
    let evidence = Evidence {
        connections: LeafRows::of(leafnode.connections.iter().copied()),
        slow_connections: slow().count() as u64,
        such_leafnodes: all,
    };
    let ms = milliseconds(rtt);
    let summary = format!("leafnode {label} of account {account} has a round trip of {ms:.1} ms");
    let server = slow().next().map_or_else(String::new, |connection| connection.server.name.to_string());
    let mut steps = Vec::new();
    if all > 1 {
        steps.push(format!(
            "{all} leafnodes of account {account} are as slow: look at what they share first, such as their hub {server} or \
             its line."
        ));
    }
    steps.push(format!(
        "Compare with `ping` between the hosts of {server} and {label}: if that is as slow it is the network, otherwise one \
         of the two servers is too busy to answer at once."
    ));
    steps.push("Connect the leafnode to the hub that is nearest to it.".into());
    steps.push(
        "If the distance is meant, raise `rtt` for this account in a `[[checks.LEAF_002.override]]`.".into(),
    );
    Verdict::firing(leafnode.entity(now), summary, observed_rtt(rtt, most), &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Settings, Standing};
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::Leaf;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = HighLeafRtt;

    fn leaf(name: &str, ms: u64) -> Leaf {
        Leaf {
            name: Some(name.into()),
            is_spoke: Some(false),
            account: "EDGE".into(),
            ip: "10.0.0.9".into(),
            port: 5000,
            rtt: (ms > 0).then(|| Duration::from_millis(ms)),
            ..Leaf::default()
        }
    }

    fn with(leafs: Vec<Leaf>) -> System {
        let mut system = System::of(2);
        system.server_mut("n1").leafs = Some(leafs);
        system
    }

    fn entity(name: &str) -> Entity {
        Entity::leafnode("EDGE", None, &name.into())
    }

    #[test]
    fn fires_above_the_threshold_with_the_slowest_connection() {
        for ms in [0, 1, 100] {
            let judgement = judge::<Check>(&with(vec![leaf("far", ms)]).done());
            assert!(judgement.firing.is_empty(), "{ms}");
            assert_eq!(judgement.standing(&entity("far")), Standing::Clear);
        }
        let mut more = leaf("far", 162);
        more.port = 5001;
        let judgement =
            judge::<Check>(&with(vec![leaf("far", 20), more, leaf("far", 0), leaf("near", 9)]).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("far"));
        assert_eq!(firing.summary, "leafnode far of account EDGE has a round trip of 162.0 ms");
        assert!(firing.remediation.last().unwrap().ends_with("in a `[[checks.LEAF_002.override]]`."));
        assert_eq!(
            json!(firing.observed),
            json!({"value": 162.0, "threshold": 100.0, "unit": "milliseconds"})
        );
        let row = |port: u16, rtt: Option<f64>| {
            json!({"server": "n1", "is_spoke": false, "address": format!("10.0.0.9:{port}"), "rtt_ms": rtt,
                   "subscriptions": 0, "compression": null})
        };
        assert_eq!(
            firing.evidence,
            json!({"slow_connections": 1, "such_leafnodes": 1, "connections": {"connections": 3, "addresses": 1,
                   "top": [row(5001, Some(162.0)), row(5000, Some(20.0)), row(5000, None)]}})
        );
    }

    #[test]
    fn the_leafs_own_row_counts_only_where_no_server_of_the_system_can_be_its_hub() {
        let spoke = |hub: &str| {
            let mut system = with(vec![leaf("edge", 0)]);
            system.add_server("edge", None);
            let own = Leaf {
                name: Some(hub.into()),
                is_spoke: Some(true),
                account: "LOCAL".into(),
                ..leaf("", 300)
            };
            system.server_mut("edge").leafs = Some(vec![own]);
            system
        };
        let judgement = judge::<Check>(&spoke("elsewhere").done());
        assert_eq!(only(&judgement).0, &Entity::leafnode("LOCAL", None, &"edge".into()));
        // The hub tells of it under the account that it has there, or would.
        assert!(judge::<Check>(&spoke("n1").done()).firing.is_empty());
        assert!(judge::<Check>(&spoke("n1").gone("n1").done()).firing.is_empty());
        let mut silent = spoke("n1").silent("n1", Endpoint::Leafz);
        silent.server_mut("n1").leafs = None;
        assert!(judge::<Check>(&silent.done()).firing.is_empty());
        // One before 2.9.15 tells no names.
        let mut old = spoke("n1");
        old.server_mut("n1").leafs = Some(vec![Leaf { name: None, is_spoke: None, ..leaf("", 0) }]);
        assert!(judge::<Check>(&old.done()).firing.is_empty());
    }

    #[test]
    fn a_hub_of_another_system_may_have_the_name_of_a_server_of_this_one() {
        // Leafs n1 to n3, whose hub is a cluster of the same names somewhere else.
        let mut system = System::of(3);
        for (name, hub) in [("n1", "n2"), ("n2", "n3"), ("n3", "n1")] {
            let own = Leaf { is_spoke: Some(true), account: "LOCAL".into(), ..leaf(hub, 300) };
            system.server_mut(name).leafs = Some(vec![own]);
        }
        let judgement = judge::<Check>(&system.done());
        let found: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
        assert_eq!(found, ["n1", "n2", "n3"]);
    }

    #[test]
    fn leafnodes_of_one_name_are_told_by_their_addresses() {
        let site = |ip: &str, ms| Leaf { ip: ip.into(), ..leaf("nats-0", ms) };
        let system = with(vec![site("10.0.0.1", 200), site("10.0.0.1", 200), site("10.0.0.2", 3)]);
        let judgement = judge::<Check>(&system.done());
        let connections = &only(&judgement).1.evidence["connections"];
        assert_eq!((&connections["connections"], &connections["addresses"]), (&json!(3), &json!(2)));
    }

    #[test]
    fn a_leaf_without_a_lasting_name_goes_by_its_address_and_many_are_bounded() {
        let nameless = Leaf { name: None, ..leaf("", 300) };
        let by_id = leaf(&format!("N{}", "A".repeat(55)), 200);
        let judgement = judge::<Check>(&with(vec![nameless, by_id]).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("10.0.0.9"));
        assert_eq!(firing.evidence["slow_connections"], 2);

        let many = (0..500).map(|n| leaf(&format!("leaf{n:03}"), 200)).collect();
        let judgement = judge::<Check>(&with(many).done());
        assert_eq!(judgement.firing.len(), 20);
        assert_eq!(judgement.firing[0].0, entity("leaf000"));
        // Of the others nothing is over.
        let why = "it holds for 500 leafnodes of the account, of which 20 are named";
        for pushed_out in ["leaf020", "leaf499"] {
            assert_eq!(judgement.standing(&entity(pushed_out)), Standing::Unknown(why.into()));
        }
        assert_eq!(judgement.standing(&entity("leaf500")), Standing::Clear);
        assert!(judgement.unknown_rows().is_empty());
        assert_eq!(judgement.firing[0].1.evidence["such_leafnodes"], 500);
        assert!(
            judgement.firing[0].1.remediation[0].starts_with("500 leafnodes of account EDGE are as slow")
        );
    }

    #[test]
    fn the_threshold_can_be_set_within_its_range() {
        let settings = |value: serde_json::Value| Settings {
            base: [("rtt".to_owned(), value)].into_iter().collect(),
            ..Settings::default()
        };
        for bad in [json!("0s"), json!("1ns"), json!(100), json!("fast")] {
            assert!(Thresholds::<Limits>::new(&settings(bad)).is_err());
        }
        let slow = with(vec![leaf("far", 60)]).done();
        assert!(judge_set::<Check>(&slow, None, &[], &settings(json!("60ms"))).firing.is_empty());
        assert_eq!(judge_set::<Check>(&slow, None, &[], &settings(json!("59ms"))).firing.len(), 1);
        let longest = Leaf { rtt: Some(Duration::MAX), ..leaf("far", 1) };
        assert_eq!(judge::<Check>(&with(vec![longest]).done()).firing.len(), 1);
    }
}
