//! LEAF_003: a leafnode that is interested in very many subjects.

use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, percent_of,
};
use crate::checks::links::{LeafRows, Leafnode, leafnodes, named};
use crate::snapshot::{Account, Endpoint, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct ManyLeafSubscriptions;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire as a warning above this number of subscriptions of one leafnode connection.
    warn: u64,
    /// Fire as critical above this number.
    critical: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn: 20_000, critical: 50_000 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("warn", self.warn, 1)?;
        if self.critical >= self.warn {
            return Ok(());
        }
        let value = self.critical.to_string();
        Err(OutOfRange { key: "critical", value, expected: "at least warn" })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The connections of the leafnode, the one with most subscriptions first.
    connections: LeafRows,
    /// All that its account is interested in, as the server shows it that shows most; none before 2.10.
    account_subscriptions: Option<u64>,
    /// The leafnode's subscriptions in percent of that.
    percent_of_account: Option<f64>,
    /// How many more they are than in the epoch before, on the connection with most.
    grown_since_previous: Option<i64>,
    /// Leafnodes of this account with as many; at most 20 of them are reported.
    such_leafnodes: u64,
}

impl Rule for ManyLeafSubscriptions {
    const META: Meta = Meta {
        id: "LEAF_003",
        name: "Many Leafnode Subscriptions",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Leafnode,
        since: "2.9",
        rule: "One connection of a leafnode has more than 20,000 subscriptions; critical above 50,000.",
        why: "A leafnode tells its hub every distinct subject that its clients subscribe to, and the hub tells it the other \
              servers of its cluster. All of them are sent again whenever the link comes back: with tens of thousands \
              that takes seconds, in which messages are not delivered, and every server keeps and matches them.\n\n\
              Most often clients subscribe to a subject each, for instance one inbox for every request, where one \
              wildcard would do.\n\n\
              The number is that of one connection. Subscriptions to the same subject count once. Where both ends belong \
              to this system, what the hub tells is taken: what the leafnode wants to hear.",
        remedy: &[
            "Let clients use one wildcard subscription, such as the shared inbox of newer libraries, in place of one for \
             each request.",
            "Restrict what crosses the link by `deny_imports` and `deny_exports` of the leafnode's remote.",
            "Spread the clients over several leafnodes or accounts.",
        ],
        needs: &[Endpoint::Leafz],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let crowded = leafnodes(now).into_iter().filter_map(|mut leafnode| {
            let limits = thresholds.of(&leafnode.entity(now));
            leafnode.connections.sort_by_key(|connection| Reverse(connection.leaf.subscriptions));
            let most = leafnode.connections.first()?.leaf.subscriptions;
            let limit = if most > limits.critical { limits.critical } else { limits.warn };
            (most > limit).then_some((leafnode, (most, limit, most > limits.critical)))
        });
        let crowded: Vec<_> = crowded.collect();
        let before = context.previous.filter(|_| !crowded.is_empty()).map(most_before).unwrap_or_default();
        named(now, &crowded, |leafnode, found, all| {
            let before = before.get(&(leafnode.account.clone(), leafnode.label.clone())).copied();
            verdict(now, leafnode, *found, before, all)
        })
    }
}

fn verdict(
    now: &Snapshot,
    leafnode: &Leafnode<'_>,
    (most, limit, critical): (u64, u64, bool),
    before: Option<u64>,
    all: u64,
) -> Verdict {
    let (label, account) = (&leafnode.label, now.account_label(&leafnode.account));
    let interest = now.accounts.get(&leafnode.account).and_then(Account::subscriptions);
    let evidence = Evidence {
        connections: LeafRows::of(leafnode.connections.iter().copied()),
        account_subscriptions: interest,
        percent_of_account: interest.and_then(|interest| percent_of(most, interest)),
        grown_since_previous: before.map(|before| crate::snapshot::difference(most, before)),
        such_leafnodes: all,
    };
    let summary = format!("leafnode {label} of account {account} has {most} subscriptions on one connection");
    let mut steps = Vec::new();
    if evidence.grown_since_previous.is_some_and(|grown| grown > 0) {
        steps.push(
            "The number still grows: look for clients behind the leafnode that subscribe and never unsubscribe.".into(),
        );
    }
    steps.push(format!(
        "See which subjects these are with `LEAFZ` and `subscriptions` for account {account}: one wildcard subscription in \
         place of many of a pattern is enough."
    ));
    steps.push(
        "Restrict what crosses the link by `deny_imports` and `deny_exports` of the leafnode's remote."
            .into(),
    );
    steps.push("Spread the clients over several leafnodes or accounts.".into());
    let observed = Observed::count(most, limit, "subscriptions");
    let verdict = Verdict::firing(leafnode.entity(now), summary, observed, &evidence, steps);
    if critical { verdict.with_severity(Severity::Critical) } else { verdict }
}

/// The most subscriptions that a connection of each leafnode had.
fn most_before(previous: &Snapshot) -> BTreeMap<(Name, Name), u64> {
    let most = |leafnode: &Leafnode<'_>| leafnode.connections.iter().map(|one| one.leaf.subscriptions).max();
    let all = leafnodes(previous).into_iter();
    all.filter_map(|leafnode| Some((most(&leafnode)?, leafnode)))
        .map(|(most, leafnode)| ((leafnode.account, leafnode.label), most))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Settings, Standing};
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::Leaf;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = ManyLeafSubscriptions;

    fn with(subscriptions: &[u64]) -> System {
        let mut system = System::of(2).account("EDGE", -1, -1, -1);
        system.entry("EDGE").interest = Some(60_000);
        let leaf = |count: &u64| Leaf {
            name: Some("edge".into()),
            is_spoke: Some(false),
            account: "EDGE".into(),
            subscriptions: *count,
            ..Leaf::default()
        };
        system.server_mut("n2").leafs = Some(subscriptions.iter().map(leaf).collect());
        system
    }

    fn edge() -> Entity {
        Entity::leafnode("EDGE", None, &"edge".into())
    }

    #[test]
    fn fires_above_the_thresholds_by_the_connection_with_most() {
        for (counts, expected) in [
            (vec![], None),
            (vec![0], None),
            (vec![20_000, 20_000], None),
            (vec![1, 20_001], Some((20_001, 20_000, None))),
            (vec![50_000], Some((50_000, 20_000, None))),
            (vec![50_001, 3], Some((50_001, 50_000, Some(Severity::Critical)))),
            (vec![u64::MAX, u64::MAX], Some((u64::MAX, 50_000, Some(Severity::Critical)))),
        ] {
            let judgement = judge::<Check>(&with(&counts).done());
            let Some((value, threshold, severity)) = expected else {
                assert!(judgement.firing.is_empty(), "{counts:?}");
                assert_eq!(judgement.standing(&edge()), Standing::Clear);
                continue;
            };
            let (entity, firing) = only(&judgement);
            assert_eq!((entity, firing.severity), (&edge(), severity));
            assert_eq!(
                json!(firing.observed),
                json!({"value": value, "threshold": threshold, "unit": "subscriptions"})
            );
            assert_eq!(firing.evidence["connections"]["connections"], counts.len());
        }
    }

    #[test]
    fn the_evidence_compares_with_the_account_and_the_epoch_before() {
        let (before, now) = (with(&[25_000]).done(), with(&[30_000]).at(60).done());
        let judgement = judge_with::<Check>(&now, Some(&before), &[]);
        let evidence = &only(&judgement).1.evidence;
        assert_eq!(evidence["account_subscriptions"], 60_000);
        assert_eq!(evidence["percent_of_account"], 50.0);
        assert_eq!(evidence["grown_since_previous"], 5000);
        assert!(only(&judgement).1.remediation[0].starts_with("The number still grows"));
        assert_eq!(only(&judge::<Check>(&now)).1.evidence["grown_since_previous"], json!(null));
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let judgement = judge::<Check>(&with(&[30_000]).silent("n1", Endpoint::Leafz).done());
        assert_eq!(judgement.firing.len(), 1);
        let other = Entity::leafnode("EDGE", None, &"other".into());
        assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
    }

    #[test]
    fn the_critical_threshold_is_not_below_the_other() {
        let base = json!({"warn": 10, "critical": 9}).as_object().cloned().unwrap();
        let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("critical"));
    }
}
