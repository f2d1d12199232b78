//! CONN_003: connections that ended and should not have.

use super::reasons::{is_normal, reason};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::evidence::closed::{Ended, closed_gaps};
use crate::checks::evidence::since::per_minute;
use crate::checks::evidence::{ServerShare, TOP, by_server};
use crate::snapshot::{ClosedGroup, Endpoint, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct AbnormalDisconnects;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when at least so many connections of an account ended for one reason since the previous epoch.
    min_count: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_count: 1 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("min_count", self.min_count, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server's words for why they ended.
    #[schemars(with = "String")]
    reason: Name,
    /// What it means.
    meaning: &'static str,
    /// How many ended a minute.
    per_minute: Option<f64>,
    /// On which servers, those with most first, at most 5.
    servers: Vec<ServerShare>,
    /// Who they were.
    closed: Ended,
    /// What servers told only in part, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed_incomplete: Vec<String>,
}

impl Rule for AbnormalDisconnects {
    const META: Meta = Meta {
        id: "CONN_003",
        name: "Abnormal Disconnects",
        severity: Severity::Info,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Connection,
        group: None,
        since: "2.9",
        aliases: &[],
        docs_url: None,
        differs: Some(
            "Only abnormal ends of the last epoch count, rolled up by account and reason: servers give every end a reason, \
             `Client Closed` being the ordinary one, and list the last 10,000 of them for as long as they run.",
        ),
        rule: "Since the previous epoch at least 1 connection of an account ended for one and the same abnormal reason.",
        why: "A client whose connection breaks reconnects, so that nobody notices until it happens often. The reasons tell \
              what is wrong: credentials that do not work, processes that are killed, readers that are too slow, networks \
              that drop idle connections, limits that are reached.\n\n\
              Ordinary ends do not count: `Client Closed`, `Server Shutdown`, and `Kicked`, which an operator asked for. \
              Neither do broken connections that never logged in: a probe that opens the port and closes it again leaves \
              such a one each time.\n\n\
              Every client begins in the global account, and servers print no account for one that failed to log in. So ends \
              before a login belong to no account; what stands there as user is what the client called itself. Servers \
              before 2.10.28, 2.11.0 and 2.11.1 print tokens in that place, which is then left out.\n\n\
              A server is asked for at most 1,600 ends an epoch, those of leafnodes included: beyond that counts are lower \
              bounds, and say so.",
        remedy: &[
            "Begin with what the evidence says the reason means, and with the client name, user or address that stands out.",
            "Raise `min_count` for accounts whose clients come and go without care, such as those of browsers or devices.",
        ],
        needs: &[Endpoint::Closed],
        evidence_from: &[Endpoint::Varz, Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CanFire,
    };
    // Who reconnects with many others may be too slow to log in.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let mut counts: BTreeMap<Key<'_>, Vec<(&Server, u64)>> = BTreeMap::new();
        for server in context.now.servers.values() {
            for group in server.closed.iter().flat_map(|closed| &closed.groups) {
                if !is_normal(&group.reason, group.account.is_some()) {
                    counts.entry(key(group)).or_default().push((server, group.count()));
                }
            }
        }
        let each = counts.into_iter();
        each.filter_map(|(key, servers)| judge_reason(context, thresholds, key, &servers)).collect()
    }
}

type Key<'a> = (Option<&'a Name>, &'a Name);

fn key(group: &ClosedGroup) -> Key<'_> {
    (group.account.as_ref(), &group.reason)
}

fn entity(now: &Snapshot, (account, reason): Key<'_>) -> Entity {
    match account {
        Some(id) => {
            let name = now.accounts.get(id).and_then(|account| account.name.as_ref());
            Entity::connections_by(id, name, reason)
        }
        None => Entity::connections_of_nobody(reason),
    }
}

fn judge_reason(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    which: Key<'_>,
    servers: &[(&Server, u64)],
) -> Option<Verdict> {
    let now = context.now;
    let entity = entity(now, which);
    let ended = servers.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
    let min_count = thresholds.of(&entity).min_count;
    if ended < min_count {
        return None;
    }
    let closed = Ended::of(now, servers.iter().map(|(server, _)| *server), |group| key(group) == which);
    let known = reason(which.1);
    let mut shares = by_server(now, servers.iter().map(|(server, count)| (server.id.clone(), *count)));
    shares.truncate(TOP);
    let evidence = Evidence {
        reason: which.1.clone(),
        meaning: known.meaning,
        per_minute: per_minute(context, ended),
        servers: shares,
        closed,
        closed_incomplete: closed_gaps(now, None),
    };
    let whose = match (&entity.account, &entity.account_name) {
        (Some(id), name) => format!("of account {} ", name.as_ref().unwrap_or(id)),
        (None, _) => "that never logged in ".into(),
    };
    let at_least = if evidence.closed.at_least { "at least " } else { "" };
    let connections = if ended == 1 { "connection" } else { "connections" };
    let last =
        evidence.closed.newest.first().map_or_else(String::new, |row| format!(", the last {}", row.label()));
    let summary = format!(
        "{at_least}{ended} {connections} {whose}ended with `{}` since the previous epoch{last}",
        which.1
    );
    let observed = Observed::count(ended, min_count, "connections");
    let remediation = remediation(&evidence, known.step);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn remediation(evidence: &Evidence, step: &str) -> Vec<String> {
    let closed = &evidence.closed;
    let mut steps = Vec::new();
    if closed.connections > 1 {
        let alone = |list: &crate::checks::evidence::TopList| {
            list.top.first().filter(|_| list.distinct == 1).map(|first| first.name.clone())
        };
        if let Some(name) = alone(&closed.client_names) {
            steps.push(format!("All that have a name call themselves `{name}`: begin with that program."));
        }
        if let Some(address) = alone(&closed.addresses) {
            steps.push(format!("All came from {address}: begin with that host, or with the proxy there."));
        }
    }
    steps.push(step.to_owned());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge_last, judge_last_set, judge_with, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = AbnormalDisconnects;

    fn after(now: System) -> [Snapshot; 2] {
        [System::of(2).done(), now.at(60).done()]
    }

    #[test]
    fn ends_are_rolled_up_by_account_and_reason() {
        let now = System::of(2)
            .account("APP", -1, -1, -1)
            .end("n1", ("APP", "u"), "Read Error", 3, |_, _| {})
            .end("n2", ("APP", "v"), "Read Error", 1, |c, _| c.kind = "Leafnode".into())
            .end("n1", ("APP", "u"), "Client Closed", 50, |_, _| {})
            .end("n1", ("B", "u"), "Stale Connection", 1, |_, _| {});
        let judgement = judge_last::<Check>(&after(now));
        assert_eq!(judgement.firing.len(), 2);
        let (entity, firing) = &judgement.firing[0];
        assert_eq!(entity, &Entity::connections_by("APP", None, &"Read Error".into()));
        assert_eq!(
            firing.summary,
            "4 connections of account APP ended with `Read Error` since the previous epoch, the last `app` (user v, \
             10.0.0.1)"
        );
        assert_eq!(json!(firing.observed), json!({"value": 4, "threshold": 1, "unit": "connections"}));
        let evidence = &firing.evidence;
        assert_eq!(
            evidence["servers"],
            json!([{"server": "n1", "connections": 3, "percent": 75.0},
                   {"server": "n2", "connections": 1, "percent": 25.0}])
        );
        assert_eq!((&evidence["per_minute"], &evidence["closed"]["leafnodes"]), (&json!(4.0), &json!(1)));
        assert_eq!(evidence["closed"]["newest"].as_array().unwrap().len(), 4);
        assert!(
            evidence["meaning"].as_str().unwrap().starts_with("The connection broke while the server read")
        );
        assert!(firing.remediation[0].contains("`app`") && firing.remediation[1].contains("10.0.0.1"));
        assert_eq!(judgement.firing[1].0.account.as_deref(), Some("B"));
    }

    #[test]
    fn who_never_logged_in_belongs_to_no_tenant() {
        let now = System::of(2)
            .end("n1", ("", "bob"), "Authentication Failure", 1, |_, _| {})
            .end("n1", ("", ""), "Read Error", 4, |_, _| {})
            .end("n1", ("", ""), "Client Closed", 4, |_, _| {});
        let judgement = judge_last::<Check>(&after(now));
        let (entity, firing) = only(&judgement);
        assert_eq!((&entity.account, &*entity.id), (&None, "Authentication Failure"));
        assert_eq!(
            firing.summary,
            "1 connection that never logged in ended with `Authentication Failure` since the previous epoch, the last \
             `app` (user bob, 10.0.0.1)"
        );
        assert_eq!(firing.evidence["closed"]["newest"][0]["account"], json!(null));
        assert_eq!(firing.remediation.len(), 1);
    }

    #[test]
    fn ordinary_ends_are_silent_and_the_first_epoch_unknown() {
        let now = System::of(1)
            .end("n1", ("APP", "u"), "Client Closed", 9, |_, _| {})
            .end("n1", ("APP", "u"), "Server Shutdown", 9, |_, _| {})
            .end("n1", ("APP", "u"), "Kicked", 9, |_, _| {});
        let epochs = after(now);
        assert!(judge_last::<Check>(&epochs).firing.is_empty());
        assert!(judge_with::<Check>(&epochs[1], None, &[]).nothing.is_some());
    }

    #[test]
    fn what_was_not_told_is_a_lower_bound_or_unknown() {
        let now = || System::of(2).end("n1", ("APP", "u"), "Read Error", 2, |_, _| {});
        let judgement = judge_last::<Check>(&after(now().ended_more("n1")));
        let (_, firing) = only(&judgement);
        assert!(firing.summary.starts_with("at least 2 connections of account APP"), "{}", firing.summary);
        assert_eq!(firing.evidence["closed"]["at_least"], true);
        let judgement = judge_last::<Check>(&after(now().silent("n2", Endpoint::Closed)));
        let (_, firing) = only(&judgement);
        assert_eq!(
            firing.evidence["closed_incomplete"],
            json!(["server n2 did not answer CONNZ of closed connections"])
        );
        let other = Entity::connections_by("B", None, &"Read Error".into());
        assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
    }

    #[test]
    fn the_least_count_is_of_the_account() {
        let base = json!({"min_count": 3}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let now = |n| System::of(1).end("n1", ("APP", "u"), "Read Error", n, |_, _| {});
        assert!(judge_last_set::<Check>(&after(now(2)), &settings).firing.is_empty());
        assert_eq!(judge_last_set::<Check>(&after(now(3)), &settings).firing.len(), 1);
        let base = [("min_count".to_owned(), json!(0))].into_iter().collect();
        Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
    }
}
