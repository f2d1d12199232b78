//! LEAF_001: the name of a leafnode contains whitespace.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule,
    Scope, Severity, Thresholds, Verdict,
};
use crate::checks::links::{LeafRows, Leafnode, leafnodes, named};
use crate::snapshot::{Endpoint, Server, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;

/// See [`Rule::META`].
pub(super) struct NameWithWhitespace;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The name with whitespace other than spaces written as `\t`, `\n` …
    written: String,
    /// How many characters of it are whitespace.
    whitespace: u64,
    /// Its connections.
    connections: LeafRows,
    /// Leafnodes of this account with such a name; at most 20 of them are reported.
    such_leafnodes: u64,
}

impl Rule for NameWithWhitespace {
    const META: Meta = Meta {
        id: "LEAF_001",
        name: "Whitespace in Leafnode Name",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Leafnode,
        since: "2.9.15",
        rule: "The name of a leafnode's server contains whitespace.",
        why: "The name of a server becomes a token of subjects and a word of the protocol between servers: one with \
              whitespace breaks both, and monitoring by name as well.\n\n\
              From 2.11.0 on a server with a space in its name does not start, so that the leafnode will not come back from an \
              upgrade; with other whitespace, such as a tab, it does. Without a cluster of its own it also gives its name as \
              that of its cluster: hubs from 2.11.0 on refuse a space in it, and hubs from 2.10.19 to the end of 2.10 any \
              whitespace. One with a cluster is accepted by every hub (measured, to 2.15.1).\n\n\
              Servers before 2.9.15 do not tell the names of their leafnodes, which are unknown then.",
        remedy: &[
            "Give the leafnode a `server_name` without whitespace, and restart it; if it has a space, before it is upgraded to \
             2.11 or later.",
        ],
        needs: &[Endpoint::Leafz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A name is no less wrong while its hub restarts.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let bad = leafnodes(context.now).into_iter().filter_map(|leafnode| {
            let whitespace = leafnode.label.chars().filter(|c| c.is_whitespace()).count() as u64;
            (whitespace > 0).then_some((leafnode, whitespace))
        });
        let mut verdicts = named(context.now, &bad.collect::<Vec<_>>(), |leafnode, whitespace, all| {
            verdict(context.now, leafnode, *whitespace, all)
        });
        verdicts.extend(nameless(context.now));
        verdicts
    }
}

/// What is not known where a server lists leafnodes without their names. They are many, and the reason is one.
fn nameless(now: &Snapshot) -> Option<Verdict> {
    let tells_no_names = |server: &&Server| server.leafs.iter().flatten().any(|leaf| leaf.is_spoke.is_none());
    let server = now.servers.values().find(tells_no_names)?;
    let why = format!(
        "server {} does not tell the names of its leafnodes, which servers do from 2.9.15 on",
        server.name
    );
    Some(Verdict::unknown(Entity::leafnode("*", None, &"*".into()), why))
}

fn verdict(now: &Snapshot, leafnode: &Leafnode<'_>, whitespace: u64, all: u64) -> Verdict {
    let entity: Entity = leafnode.entity(now);
    let written = leafnode.label.escape_debug().to_string();
    let summary = format!(
        "the name \"{written}\" of a leafnode of account {} contains whitespace",
        now.account_label(&leafnode.account)
    );
    let mut remediation = vec![format!(
        "Set `server_name` of leafnode \"{written}\" to a name without whitespace and restart it; its hub sees it under the \
         new name at once."
    )];
    // Other whitespace passes.
    if leafnode.label.contains(' ') {
        remediation.push(
            "Do so before the leafnode is upgraded to 2.11 or later: with such a name it does not start there.".into(),
        );
    }
    let evidence = Evidence {
        written,
        whitespace,
        connections: LeafRows::of(leafnode.connections.iter().copied()),
        such_leafnodes: all,
    };
    let observed = Observed::count(whitespace, 0, "characters");
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use crate::snapshot::leafs;
    use crate::wire::envelope;
    use crate::wire::leafz::Leafz;
    use serde_json::json;

    type Check = NameWithWhitespace;

    /// As 2.10.18 answers: later hubs refuse such a leafnode.
    fn told(name: &str) -> Snapshot {
        let leaf = json!({"name": name, "is_spoke": false, "account": "EDGE", "ip": "10.0.0.9", "port": 50_412,
            "rtt": "312µs", "in_msgs": 0, "out_msgs": 0, "in_bytes": 0, "out_bytes": 0, "subscriptions": 7,
            "compression": "s2_uncompressed"});
        let answer = json!({"server": {"name": "n1", "host": "h", "id": "ID-n1", "cluster": "east", "ver": "2.10.18",
            "time": "2023-11-14T22:13:20Z"}, "data": {"server_id": "ID-n1", "leafnodes": 1, "leafs": [leaf]}});
        let leafz = envelope::parse::<Leafz>(answer.to_string().as_bytes()).unwrap().1.unwrap();
        let mut system = System::of(2);
        system.server_mut("n1").leafs = Some(leafs(&leafz));
        system.done()
    }

    fn leaf(name: &str) -> Entity {
        Entity::leafnode("EDGE", None, &name.into())
    }

    #[test]
    fn fires_for_any_whitespace_and_for_nothing_else() {
        let judgement = judge::<Check>(&told("leaf a"));
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &leaf("leaf a"));
        assert_eq!(firing.summary, "the name \"leaf a\" of a leafnode of account EDGE contains whitespace");
        assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "characters"}));
        assert_eq!(
            firing.evidence,
            json!({"written": "leaf a", "whitespace": 1, "such_leafnodes": 1, "connections": {"connections": 1, "addresses": 1,
                "top": [{"server": "n1", "is_spoke": false, "address": "10.0.0.9:50412", "rtt_ms": 0.312,
                         "subscriptions": 7, "compression": "s2_uncompressed"}]}})
        );
        assert_eq!(firing.remediation.len(), 2);
        let judgement = judge::<Check>(&told("a\tb\u{a0}"));
        let firing = only(&judgement).1;
        assert_eq!((&firing.evidence["whitespace"], firing.remediation.len()), (&json!(2), 1));
        assert!(only(&judge::<Check>(&told("a\n"))).1.summary.contains("\"a\\n\""));
        for fine in ["leaf-a", "", "ü.*>"] {
            let judgement = judge::<Check>(&told(fine));
            assert!(judgement.firing.is_empty(), "{fine}");
            assert_eq!(judgement.standing(&leaf("leaf a")), Standing::Clear);
        }
    }

    #[test]
    fn where_names_are_not_told_it_is_unknown() {
        let leaf = json!({"account": "EDGE", "ip": "10.0.0.9", "port": 50_412, "subscriptions": 7});
        let leafz: Leafz = serde_json::from_value(json!({"leafs": [leaf]})).unwrap();
        let mut system = System::of(2);
        system.server_mut("n1").leafs = Some(leafs(&leafz));
        let judgement = judge::<Check>(&system.done());
        assert!(judgement.firing.is_empty());
        let rows = judgement.unknown_rows();
        assert_eq!((rows.len(), &*rows[0].entity), (1, "*"));
        assert_eq!(
            rows[0].reason,
            "server n1 does not tell the names of its leafnodes, which servers do from 2.9.15 on"
        );
        assert!(judge::<Check>(&told("leaf-a")).unknown_rows().is_empty());
    }

    #[test]
    fn a_silent_server_is_unknown_and_does_not_hide_what_others_tell() {
        let mut snapshot = told("leaf a");
        snapshot.coverage.note(Endpoint::Leafz, &"ID-n2".into(), crate::snapshot::Answer::Silent);
        let judgement = judge::<Check>(&snapshot);
        assert_eq!(judgement.firing.len(), 1);
        assert_eq!(
            judgement.standing(&leaf("other")),
            Standing::Unknown("server n2 did not answer LEAFZ".into())
        );
    }
}
