//! OPT_SYS_006: a leafnode's link is not compressed.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule, Scope,
    Severity, Thresholds, Verdict,
};
use crate::checks::links::{Connection, LeafRows, Leafnode, leafnodes, named};
use crate::snapshot::{Endpoint, Leaf, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;

/// See [`Rule::META`].
pub(super) struct LeafCompressionOff;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The connections that are not compressed.
    off: LeafRows,
    /// All connections of the leafnode.
    connections: u64,
    /// Leafnode connections of the server that lists the first of them, all accounts together.
    on_server: u64,
    /// Leafnode connections of that server that are not compressed.
    off_on_server: u64,
    /// Leafnodes of this account that are not compressed; at most 20 of them are reported.
    such_leafnodes: u64,
}

impl Rule for LeafCompressionOff {
    const META: Meta = Meta {
        id: "OPT_SYS_006",
        name: "Leafnode Compression Off",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Leafnode,
        group: Some("system"),
        since: "2.10",
        differs: Some(
            "It is one finding for a leafnode, whatever number of connections it has; the first 20 of an account by name are \
             reported.",
        ),
        rule: "A connection between a leafnode and its hub is not compressed, although both could.",
        why: "Leafnodes are often connected by lines that are slow or paid for by the byte. Since 2.10 both ends agree on a \
              compression when they connect, and the default is `s2_auto`: none is in use where one of them says `compression: \
              off`, where both say `accept`, so that each waits for the other to ask for it, and, since 2.12.9 and 2.14.1, where \
              the link is a WebSocket that compresses by itself. These cannot be told apart from outside.\n\n\
              A leafnode or hub older than 2.10 cannot compress; that shows as `not supported` and is not reported.",
        remedy: &[
            "Remove `compression: off` from the `leafnodes` block of the hub, or from the remote of the leafnode, and \
             reload it. Where both say `accept`, remove that from one of them.",
            "If the link is a WebSocket with compression, or both ends are on one host, disable this check for the account.",
        ],
        needs: &[Endpoint::Leafz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // What is agreed on does not depend on who else leaves.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let off = leafnodes(context.now).into_iter().filter_map(|leafnode| {
            let off: Vec<_> = leafnode.connections.iter().copied().filter(|one| is_off(one.leaf)).collect();
            (!off.is_empty()).then_some((leafnode, off))
        });
        named(context.now, &off.collect::<Vec<_>>(), |leafnode, off, all| {
            verdict(context.now, leafnode, off, all)
        })
    }
}

fn is_off(leaf: &Leaf) -> bool {
    leaf.compression.as_deref() == Some("off")
}

fn verdict(now: &Snapshot, leafnode: &Leafnode<'_>, off: &[Connection<'_>], all: u64) -> Verdict {
    let on_server: &[Leaf] = off.first().and_then(|one| one.server.leafs.as_deref()).unwrap_or_default();
    let evidence = Evidence {
        off: LeafRows::of(off.iter().copied()),
        connections: leafnode.connections.len() as u64,
        on_server: on_server.len() as u64,
        off_on_server: on_server.iter().filter(|leaf| is_off(leaf)).count() as u64,
        such_leafnodes: all,
    };
    let (label, account) = (&leafnode.label, now.account_label(&leafnode.account));
    let summary = format!("the link of leafnode {label} of account {account} is not compressed");
    let server = off.first().map_or_else(String::new, |one| one.server.name.to_string());
    let is_spoke = off.first().is_some_and(|one| one.leaf.is_spoke == Some(true));
    let mut steps = Vec::new();
    if !is_spoke && evidence.on_server > 1 && evidence.off_on_server == evidence.on_server {
        steps.push(format!(
            "No leafnode of server {server} is compressed: look for `compression: off` in its own `leafnodes` block first."
        ));
    }
    steps.push(format!(
        "Remove `compression: off` from the remote in the configuration of leafnode {label}, or from the `leafnodes` block \
         of its hub, and reload it; where both say `accept`, remove that from one of them."
    ));
    steps.push(
        "If the link is a WebSocket with compression, or both ends are on one host, disable this check for the account."
            .into(),
    );
    let observed = Observed::count(off.len() as u64, 0, "connections");
    Verdict::firing(leafnode.entity(now), summary, observed, &evidence, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = LeafCompressionOff;

    fn with(leafs: &[(&str, Option<&str>)]) -> Snapshot {
        let leaf = |(name, compression): &(&str, Option<&str>)| Leaf {
            name: Some((*name).into()),
            is_spoke: Some(false),
            account: "EDGE".into(),
            ip: "::1".into(),
            port: 7,
            compression: compression.map(Into::into),
            ..Leaf::default()
        };
        let mut system = System::of(2);
        system.server_mut("n1").leafs = Some(leafs.iter().map(leaf).collect());
        system.done()
    }

    fn entity(name: &str) -> Entity {
        Entity::leafnode("EDGE", None, &name.into())
    }

    #[test]
    fn off_is_found_and_nothing_else() {
        for fine in
            [None, Some(""), Some("not supported"), Some("s2_fast"), Some("s2_uncompressed"), Some("OFF")]
        {
            let judgement = judge::<Check>(&with(&[("edge", fine)]));
            assert!(judgement.firing.is_empty(), "{fine:?}");
            assert_eq!(judgement.standing(&entity("edge")), Standing::Clear);
        }
        let judgement =
            judge::<Check>(&with(&[("edge", Some("s2_fast")), ("edge", Some("off")), ("b", None)]));
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("edge"));
        assert_eq!(firing.summary, "the link of leafnode edge of account EDGE is not compressed");
        assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "connections"}));
        assert_eq!(
            firing.evidence,
            json!({"off": {"connections": 1, "addresses": 1, "top": [{"server": "n1", "is_spoke": false, "address": "[::1]:7",
                                                      "rtt_ms": null, "subscriptions": 0, "compression": "off"}]},
                   "connections": 2, "on_server": 3, "off_on_server": 1, "such_leafnodes": 1})
        );
        assert!(firing.remediation[0].starts_with("Remove `compression: off` from the remote"), "{firing:?}");
    }

    #[test]
    fn where_no_link_of_a_hub_is_compressed_it_is_the_hub() {
        let judgement = judge::<Check>(&with(&[("a", Some("off")), ("b", Some("off"))]));
        assert_eq!(judgement.firing.len(), 2);
        let firing = &judgement.firing[0].1;
        assert!(firing.remediation[0].starts_with("No leafnode of server n1 is compressed"), "{firing:?}");
    }

    #[test]
    fn a_silent_server_is_unknown_and_the_others_are_judged() {
        let mut snapshot = with(&[("edge", Some("off"))]);
        snapshot.coverage.note(Endpoint::Leafz, &"ID-n2".into(), crate::snapshot::Answer::Silent);
        let judgement = judge::<Check>(&snapshot);
        assert_eq!(judgement.firing.len(), 1);
        assert!(matches!(judgement.standing(&entity("b")), Standing::Unknown(_)));
    }
}
