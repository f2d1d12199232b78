//! OPT_SYS_017: a hub that lets every leafnode choose its compression.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::snapshot::{Counted, Endpoint, Leaf, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct LeafAutoCompression;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Leave out servers with this number of leafnode connections, or fewer.
    leafnodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { leafnodes: 20 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("leafnodes", self.leafnodes, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Leafnode connections by what was negotiated, the most frequent first.
    levels: Vec<Counted>,
    /// What tells that the level is chosen by round trip: `uncompressed` (the level of links below 10 ms, which only
    /// `s2_auto` chooses by itself) or `several_levels`.
    sign: &'static str,
    /// Accounts of these leafnodes.
    accounts: u64,
}

/// The level of links with a round trip below 10 ms: the framing of S2 without compression.
const UNCOMPRESSED: &str = "s2_uncompressed";

/// Kinds of compression that are listed; servers know fewer.
const KINDS: usize = 10;

impl Rule for LeafAutoCompression {
    const META: Meta = Meta {
        id: "OPT_SYS_017",
        name: "Leafnode Compression by Round Trip",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("system"),
        since: "2.10",
        differs: Some(
            "The public catalogue looks for leafnodes with the compression `s2_auto`, which no server ever tells: from 2.10 \
             to 2.15 LEAFZ shows what was negotiated, so that more than 20 connections with `s2_uncompressed`, or with \
             several levels of S2, among them are taken for it.",
        ),
        rule: "A server has more than 20 leafnode connections, and what they negotiated looks like `s2_auto`: \
               `s2_uncompressed`, or several levels of S2.",
        why: "With `s2_auto`, the default for leafnodes since 2.10, each link takes a level by its round trip: \
              `s2_uncompressed` below 10 ms, `s2_fast` to 50 ms, `s2_better` to 100 ms, `s2_best` above. The farthest \
              leafnodes cost the hub most processor time for each byte, and a level changes while it is in use when the \
              round trip does. `s2_uncompressed` frames and checks all data without making it smaller.\n\n\
              With a few leafnodes that is convenient. With many, one level that was chosen makes the hub's load \
              predictable. Each end chooses the level of what it sends, whatever the other one is configured to: what a hub \
              tells is its own choice.\n\n\
              What is configured cannot be seen from outside: a configuration that names `s2_uncompressed`, or one with \
              `accept`, which follows what each leafnode names, looks the same.",
        remedy: &[
            "Set `compression: s2_fast` in the `leafnodes` block of the hub, or `off` where all leafnodes are near, and \
             watch its processor use.",
            "If the levels are configured as they are, disable this check for the server.",
        ],
        needs: &[Endpoint::Leafz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The leafnodes of a server that leaves come to the others.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(thresholds, server)).collect()
    }
}

fn judge_server(thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let entity = Entity::of_server(server);
    let most = thresholds.of(&entity).leafnodes;
    // The hub's side: a leaf has one remote or two.
    let leafs: Vec<&Leaf> =
        server.leafs.as_ref()?.iter().filter(|leaf| leaf.is_spoke != Some(true)).collect();
    let connections = leafs.len() as u64;
    if connections <= most {
        return None;
    }
    let mut levels: BTreeMap<&Name, u64> = BTreeMap::new();
    for level in leafs.iter().filter_map(|leaf| leaf.compression.as_ref()) {
        *levels.entry(level).or_default() += 1;
    }
    let s2 = levels.keys().filter(|level| level.starts_with("s2_")).count();
    let sign = match (levels.contains_key(&Name::from(UNCOMPRESSED)), s2) {
        (true, _) => "uncompressed",
        (false, 2..) => "several_levels",
        (false, _) => return None,
    };
    let accounts: std::collections::BTreeSet<&Name> = leafs.iter().map(|leaf| &leaf.account).collect();
    let mut levels: Vec<Counted> =
        levels.into_iter().map(|(name, count)| Counted { name: name.clone(), count }).collect();
    levels.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    levels.truncate(KINDS);
    let words: Vec<String> = levels.iter().map(|level| format!("{} {}", level.count, level.name)).collect();
    let name = &server.name;
    let summary = format!(
        "server {name} has {connections} leafnode connections whose compression looks chosen by round trip ({})",
        words.join(", ")
    );
    let near = levels.first().is_some_and(|level| &*level.name == UNCOMPRESSED);
    let mut steps = Vec::new();
    if near {
        steps.push(format!(
            "Most links of server {name} are shorter than 10 ms and not made smaller: set `compression: off` in its \
             `leafnodes` block, or `s2_fast` where bytes matter."
        ));
    } else {
        steps.push(format!("Set `compression: s2_fast` in the `leafnodes` block of server {name}, and watch its processor use."));
    }
    steps.push("If the levels are configured as they are, disable this check for the server.".into());
    let evidence = Evidence { levels, sign, accounts: accounts.len() as u64 };
    Some(Verdict::firing(entity, summary, Observed::count(connections, most, "leafnodes"), &evidence, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = LeafAutoCompression;

    fn with(levels: &[(u64, Option<&str>)], is_spoke: bool) -> System {
        let leaf = |compression: Option<&str>| Leaf {
            account: "EDGE".into(),
            is_spoke: Some(is_spoke),
            compression: compression.map(Into::into),
            ..Leaf::default()
        };
        let mut system = System::of(1);
        let leafs = levels.iter().flat_map(|(n, level)| (0..*n).map(move |_| leaf(*level)));
        system.server_mut("n1").leafs = Some(leafs.collect());
        system
    }

    fn n1() -> Entity {
        Entity::server(&"n1".into(), Some(&"east".into()))
    }

    #[test]
    fn many_leafnodes_with_the_traces_of_auto_fire() {
        for silent in [
            vec![],
            vec![(20, Some("s2_uncompressed"))],
            vec![(500, Some("s2_fast"))],
            vec![(10, Some("s2_fast")), (30, Some("off")), (5, Some("not supported"))],
            vec![(50, None)],
        ] {
            let judgement = judge::<Check>(&with(&silent, false).done());
            assert!(judgement.firing.is_empty(), "{silent:?}");
            assert_eq!(judgement.standing(&n1()), Standing::Clear);
        }
        // The leaf's own side does not count.
        assert!(judge::<Check>(&with(&[(40, Some("s2_uncompressed"))], true).done()).firing.is_empty());

        let judgement = judge::<Check>(&with(&[(1, None), (20, Some("s2_uncompressed"))], false).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &n1());
        assert_eq!(
            firing.summary,
            "server n1 has 21 leafnode connections whose compression looks chosen by round trip (20 s2_uncompressed)"
        );
        assert_eq!(json!(firing.observed), json!({"value": 21, "threshold": 20, "unit": "leafnodes"}));
        assert_eq!(
            firing.evidence,
            json!({"levels": [{"name": "s2_uncompressed", "count": 20}], "sign": "uncompressed", "accounts": 1})
        );
        assert!(firing.remediation[0].contains("`compression: off`"), "{firing:?}");
        let judgement = judge::<Check>(&with(&[(1, Some("s2_best")), (20, Some("s2_better"))], false).done());
        let firing = only(&judgement).1;
        assert_eq!(firing.evidence["sign"], "several_levels");
        assert!(firing.remediation[0].contains("`compression: s2_fast`"), "{firing:?}");
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let system = with(&[(30, Some("s2_uncompressed"))], false).silent("n1", Endpoint::Leafz);
        let judgement = judge::<Check>(&system.done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&n1()), Standing::Unknown(_)));
    }
}
