//! CONN_003: connections that ended and should not have.

use super::reasons::{is_normal, reason};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::evidence::closed::{Ended, closed_gaps};
use crate::checks::evidence::since::per_minute;
use crate::checks::evidence::{ServerShare, TOP, by_server};
use crate::checks::roll_up::{MOST, first};
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
    /// Fire when at least so many connections that never logged in ended for one reason since the previous epoch, on all
    /// servers together.
    min_before_login: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_count: 1, min_before_login: 1 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("min_count", self.min_count, 1)?;
        at_least("min_before_login", self.min_before_login, 1)
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
        since: "2.9",
        differs: Some(
            "Only abnormal ends of the last epoch count, rolled up by account and reason: servers give every end a reason, \
             `Client Closed` being the ordinary one, and list the last 10,000 of them for as long as they run.",
        ),
        rule: "Since the previous epoch at least 1 connection of an account, or 1 that never logged in, ended for one and \
               the same abnormal reason.",
        why: "A client whose connection breaks reconnects, so that nobody notices until it happens often. The reasons tell \
              what is wrong: credentials that do not work, processes that are killed, readers that are too slow, networks \
              that drop idle connections, limits that are reached.\n\n\
              Ordinary ends do not count: `Client Closed`, `Server Shutdown`, and `Kicked`, which an operator asked for. \
              Neither do broken connections that never logged in: a probe that opens the port and closes it again leaves \
              such a one each time. Where the port takes TLS, a server tells such a probe as `TLS Handshake Failure`, like \
              one that does not trust its certificate: there probes fire in every epoch.\n\n\
              Every client begins in the global account, and servers print no account for one that failed to log in. So ends \
              before a login belong to no account; what stands there as user is what the client called itself. Servers \
              before 2.10.28, 2.11.0 and 2.11.1 print tokens in that place, which is then left out.\n\n\
              A server is asked for at most 1,600 ends an epoch, ordinary ones and those of leafnodes included: beyond that \
              counts are lower bounds, and say so, and what did not fire is unknown.\n\n\
              A finding lasts one epoch, and is not held back while a server leaves: then it would never be told. Clients \
              that a server sends away as it stops end in an ordinary way.",
        remedy: &[
            "Begin with what the evidence says the reason means, and with the client name, user or address that stands out.",
            "Raise `min_count` for accounts whose clients come and go without care, such as those of browsers or devices.",
            "Let probes ask `/healthz` of the monitoring port instead of opening one with TLS; or raise `min_before_login` \
             above what they leave in an epoch.",
        ],
        needs: &[Endpoint::Closed],
        evidence_from: &[Endpoint::Varz, Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // It lasts one epoch: held back, it would never be told, by a server of whatever cluster that leaves. What the leaving
    // itself ends is ordinary.
    const DISTURBED: Disturbed = Disturbed::Never;
    const MOST: usize = MOST;
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
        let all =
            counts.into_iter().map(|(which, servers)| Ends::of(context.now, thresholds, which, servers));
        let all: Vec<Ends<'_>> = all.filter(|ends| ends.count >= ends.least).collect();
        let of = |ends: &&Ends<'_>| entity(context.now, ends.which);
        first(MOST, all.iter().collect(), thresholds, Ends::key, of, |ends, entity| {
            report(context, ends, entity)
        })
    }
}

type Key<'a> = (Option<&'a Name>, &'a Name);

/// Connections of one account, or of none, that ended for one reason.
struct Ends<'a> {
    which: Key<'a>,
    servers: Vec<(&'a Server, u64)>,
    count: u64,
    /// How many it takes to fire.
    least: u64,
}

impl<'a> Ends<'a> {
    fn of(
        now: &Snapshot,
        thresholds: &Thresholds<Limits>,
        which: Key<'a>,
        servers: Vec<(&'a Server, u64)>,
    ) -> Self {
        let count = servers.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        let limits = thresholds.of(&entity(now, which));
        let least = if which.0.is_some() { limits.min_count } else { limits.min_before_login };
        Self { which, servers, count, least }
    }

    /// The entity's id and account.
    fn key<'b>(this: &'b &Self) -> (&'b str, &'b str) {
        let (account, reason) = this.which;
        (reason, account.map_or("", |account| account))
    }
}

fn key(group: &ClosedGroup) -> Key<'_> {
    (group.account.as_ref(), &group.reason)
}

fn entity(now: &Snapshot, (account, reason): Key<'_>) -> Entity {
    match account {
        Some(id) => Entity::connections_by(id, now.account_name(id), reason),
        None => Entity::connections_of_nobody(reason),
    }
}

fn report(context: &Context<'_>, ends: &Ends<'_>, entity: Entity) -> Verdict {
    let Ends { which, ref servers, count: ended, least } = *ends;
    let now = context.now;
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
    let observed = Observed::count(ended, least, "connections");
    let remediation = remediation(&evidence, known.step);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
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
    use crate::check::{Entry, Settings, Standing};
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
        // Among those that were not listed may be any account's.
        let other = Entity::connections_by("B", None, &"Read Error".into());
        assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
        let judgement = judge_last::<Check>(&after(now().silent("n2", Endpoint::Closed)));
        let (_, firing) = only(&judgement);
        assert_eq!(
            firing.evidence["closed_incomplete"],
            json!(["server n2 did not answer CONNZ of closed connections"])
        );
        assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
    }

    #[test]
    fn the_least_count_is_of_the_account() {
        let base = json!({"min_count": 3}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let now = |n| System::of(1).end("n1", ("APP", "u"), "Read Error", n, |_, _| {});
        assert!(judge_last_set::<Check>(&after(now(2)), &settings).firing.is_empty());
        assert_eq!(judge_last_set::<Check>(&after(now(3)), &settings).firing.len(), 1);
    }

    #[test]
    fn probes_of_a_port_with_tls_have_a_least_count_of_their_own() {
        let base = json!({"min_before_login": 6}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let now = |n| {
            System::of(2)
                .end("n1", ("", ""), "TLS Handshake Failure", 3, |_, _| {})
                .end("n2", ("", ""), "TLS Handshake Failure", n, |_, _| {})
                .end("n1", ("APP", "u"), "Read Error", 1, |_, _| {})
        };
        let judgement = judge_last_set::<Check>(&after(now(2)), &settings);
        assert_eq!(only(&judgement).0.account.as_deref(), Some("APP"));
        let nobody = Entity::connections_of_nobody(&"TLS Handshake Failure".into());
        assert_eq!(judgement.standing(&nobody), Standing::Clear);
        let judgement = judge_last_set::<Check>(&after(now(3)), &settings);
        let (_, firing) = judgement.firing.iter().find(|(entity, _)| *entity == nobody).unwrap();
        assert_eq!(json!(firing.observed), json!({"value": 6, "threshold": 6, "unit": "connections"}));
    }

    #[test]
    fn what_lasts_one_epoch_is_not_held_back() {
        let entry = Entry::of::<Check>();
        assert_eq!((entry.keep, entry.disturbed), (1, Disturbed::Never));
    }

    #[test]
    fn no_least_count_is_zero() {
        for key in ["min_count", "min_before_login"] {
            let base = [(key.to_owned(), json!(0))].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
        }
    }

    #[test]
    fn of_very_many_accounts_the_first_are_named() {
        // A server keeps 256 of them apart.
        let mut now = System::of(5);
        for account in 0..1005 {
            let server = format!("n{}", 1 + account / 250);
            now = now.end(&server, (&format!("A{account:04}"), "u"), "Read Error", 1, |_, _| {});
        }
        let judgement = judge_last::<Check>(&[System::of(5).done(), now.at(60).done()]);
        assert_eq!(judgement.firing.len(), MOST);
        assert_eq!(judgement.unknown_rows()[0].reason, "5 more fire and are not named");
        let of = |account| Entity::connections_by(account, None, &"Read Error".into());
        assert!(matches!(judgement.standing(&of("A1000")), Standing::Unknown(_)));
        assert_eq!(judgement.standing(&of("A")), Standing::Clear);
    }
}
