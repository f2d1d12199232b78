//! CONN_001: clients far away from their server.

use super::offenders::{Beyond, Place, beyond, only_address, only_server};
use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, count, no_shorter,
};
use crate::checks::evidence::sweep_gaps;
use crate::checks::roll_up::MOST;
use crate::snapshot::{Endpoint, Offence, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct SlowConnections;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Count a connection whose round trip takes longer than this, e.g. `100ms`; at least `1ms`.
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
        no_shorter("rtt", self.rtt, Duration::from_millis(1), "at least 1ms")
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Connections of this user with a longer round trip.
    slow: u64,
    /// All client connections of this user.
    connections: u64,
    /// The round trip that is too long, in milliseconds.
    rtt_above_ms: f64,
    /// The slowest ones, at most 5.
    slowest: Vec<Row>,
    /// Of how many of the slow connections these are the slowest; left out where it is of all. Where very many users have
    /// some, there is not room to keep all of them apart; the counts are exact nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    slowest_of: Option<u64>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    #[serde(flatten)]
    place: Place,
    /// Its round trip in milliseconds.
    rtt_ms: f64,
}

impl Rule for SlowConnections {
    const META: Meta = Meta {
        id: "CONN_001",
        name: "Long Client Round Trips",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Connection,
        since: "2.9",
        differs: Some(
            "Connections of one account and user are one finding, and leafnodes are left to the checks of leafnodes: \
             servers list them among clients from 2.11.5 on.",
        ),
        rule: "A client's round trip to its server takes longer than 100 ms.",
        why: "Every request of such a client takes at least that long, every acknowledgement of a message as well, and \
              what it may have under way at a time bounds what it can send or receive in a second. Most often it is \
              connected to a server of another region, goes through a proxy or a tunnel, or its process or host is \
              too busy to answer a PING.\n\n\
              What is compared is the server's own measurement: the time from its last PING to the client's PONG, which it \
              takes after the login, then once in every `ping_interval` (2 minutes unless configured) of a client that \
              sends nothing, and once an hour of one that does; a PING of the client's own, which most libraries send by \
              themselves, is enough. So a connection that came while its server or its host was overloaded, as after a \
              restart, may show that moment for up to an hour. One that has not been measured yet is passed over. \
              Connections of the user must be slow in 2 epochs in a row, not necessarily the same ones.\n\n\
              There is one finding per account and user, with the number of connections and the five slowest; at most \
              1,000 users are named.",
        remedy: &[
            "Give the client the URLs of servers of its own region.",
            "Put a cluster into the region and join it by gateways, or a leafnode next to the clients.",
            "Look for a proxy, a VPN or a load balancer between client and server.",
            "Look at the client's process: one that does not read its socket answers late.",
            "Let a client reconnect when you doubt the figure: it is measured anew.",
            "Raise the threshold for users that are far away on purpose, by an override.",
        ],
        needs: &[Endpoint::Connz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // One epoch may meet a client that is about to leave. A measurement that met a pause is not told by this: the server
    // may show it for an hour (client.go, DEFAULT_RTT_MEASUREMENT_INTERVAL, 2.9 to 2.15).
    const FOR: u64 = 2;
    // Clients of a server that leaves may come to one that is farther away.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn rtt_above(thresholds: &Limits) -> Option<Duration> {
        Some(thresholds.rtt)
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        beyond(context, thresholds, Offence::Slow, |slow| report(context.now, slow))
    }
}

/// Microseconds as milliseconds, to a hundredth.
fn milliseconds(micros: u64) -> f64 {
    (micros as f64 / 10.0).round() / 100.0
}

fn report(now: &Snapshot, slow: Beyond<'_>) -> Verdict {
    let above = slow.thresholds.rtt_above;
    let rtt_above_ms = milliseconds(u64::try_from(above.as_micros()).unwrap_or(u64::MAX));
    let row = |one| Row { place: Place::of(now, one), rtt_ms: milliseconds(one.value) };
    let evidence = Evidence {
        slow: slow.count,
        connections: slow.connections,
        rtt_above_ms,
        slowest: slow.worst.iter().map(row).collect(),
        slowest_of: slow.worst_of,
        sweep_incomplete: sweep_gaps(now),
    };
    let observed = slow.observed();
    let Beyond { account, entity, count: number, connections: of, .. } = slow;
    let slowest = evidence.slowest.first();
    let slowest = slowest.map_or_else(String::new, |row| format!(", the slowest one {} ms", row.rtt_ms));
    let summary = format!(
        "{} of user {} in account {} with a round trip of more than {rtt_above_ms} ms, of {of}{slowest}",
        count(number, "connection"),
        entity.label(),
        account.label(),
    );
    let remediation = remediation(&evidence, account.label());
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(evidence: &Evidence, account: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let places = || evidence.slowest.iter().map(|row| &row.place);
    if let Some(address) = only_address(places()) {
        steps.push(format!(
            "The slowest ones come from the address {address}: one host that is far away or busy, or a proxy."
        ));
    } else if let Some(place) = places().next() {
        steps.push(format!("Begin with {}.", place.words()));
    }
    if evidence.slow == evidence.connections {
        let server =
            only_server(places()).map_or_else(String::new, |server| format!(" than server {server}"));
        steps.push(format!(
            "None of this user's connections is fast: give the clients the URLs of servers nearer to them{server}, or put a \
             leafnode next to them."
        ));
    } else {
        steps.push(
            "Others of this user are fast: look at what is between the slow ones and their servers, and whether their \
             processes are busy."
                .into(),
        );
    }
    steps.push(format!(
        "If these clients are far away on purpose, raise `rtt` of this check by an override for account {account} and this \
         user."
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Entry, Match, Override, Settings, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Budget;
    use crate::snapshot::build::System;
    use crate::wire::connz::Connection;
    use serde_json::json;

    type Check = SlowConnections;

    fn entity(user: &str) -> Entity {
        Entity::connections("APP", None, user, None)
    }

    fn rtt(text: &'static str) -> impl Fn(&mut Connection<'_>, u64) {
        move |c, _| c.rtt = text.into()
    }

    #[test]
    fn one_finding_for_a_user_with_the_five_slowest() {
        let system = System::of(2)
            .connect("n1", "APP", "u", 4, rtt("162.06ms"))
            .connect("n2", "APP", "u", 2, |c, i| c.rtt = format!("{}.5s", i + 1).into())
            .connect("n2", "APP", "u", 2, rtt("12ms"))
            .connect("n2", "APP", "v", 9, rtt("219µs"));
        let judgement = judge::<Check>(&system.done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("u"));
        assert_eq!(
            firing.summary,
            "6 connections of user u in account APP with a round trip of more than 100 ms, of 8, the slowest one 2500 ms"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 6, "percent": 75.0, "threshold": 0, "unit": "connections"})
        );
        let rows = firing.evidence["slowest"].as_array().unwrap();
        assert_eq!(
            rows[0],
            json!({"server": "n2", "cid": 6, "name": "app", "address": "10.0.0.1", "kind": "nats", "rtt_ms": 2500.0})
        );
        let of: Vec<_> = rows.iter().map(|row| (row["cid"].as_u64(), row["rtt_ms"].as_f64())).collect();
        let expected = [(6, 2500.0), (5, 1500.0), (1, 162.06), (2, 162.06), (3, 162.06)];
        assert_eq!(of, expected.map(|(cid, ms)| (Some(cid), Some(ms))));
        assert!(firing.remediation[0].contains("10.0.0.1"));
        assert!(firing.remediation[1].starts_with("Others of this user are fast"));
        assert_eq!(judgement.standing(&entity("v")), Standing::Clear);
    }

    #[test]
    fn what_is_not_measured_is_short_or_is_a_leafnode_is_not_slow() {
        let fires = |edit: fn(&mut Connection<'_>)| {
            let system = System::of(1).connect("n1", "APP", "u", 1, |c, _| edit(c));
            !judge::<Check>(&system.done()).firing.is_empty()
        };
        assert!(fires(|c| c.rtt = "100.001ms".into()));
        for rtt in ["", "0s", "100ms", "99.9ms", "950ns", "-1s", "soon"] {
            assert!(
                judge::<Check>(&System::of(1).connect("n1", "APP", "u", 1, |c, _| c.rtt = rtt.into()).done())
                    .firing
                    .is_empty(),
                "{rtt}"
            );
        }
        assert!(!fires(|c| (c.rtt, c.kind) = ("3s".into(), "Leafnode".into())));
    }

    #[test]
    fn a_user_far_away_is_told_from_one_with_a_slow_host() {
        let far = System::of(1).connect("n1", "APP", "u", 2, |c, i| {
            (c.rtt, c.ip) = ("300ms".into(), format!("10.0.1.{i}").into());
        });
        let steps = only(&judge::<Check>(&far.done())).1.remediation.clone();
        assert_eq!(steps[0], "Begin with connection 1 of server n1, from 10.0.1.0 (`app`).");
        assert!(steps[1].contains("nearer to them than server n1"), "{steps:?}");
    }

    #[test]
    fn the_count_is_exact_where_there_is_no_room_for_rows() {
        let budget = Budget { offending_users: 0, ..Budget::default() };
        let system = System::of(1).within(budget).connect("n1", "APP", "u", 7, rtt("300ms"));
        let judgement = judge::<Check>(&system.done());
        let firing = only(&judgement).1;
        assert_eq!((&firing.evidence["slow"], &firing.evidence["slowest_of"]), (&json!(7), &json!(0)));
        assert!(firing.summary.ends_with("of 7"), "{}", firing.summary);
    }

    #[test]
    fn a_missing_sweep_leaves_what_was_seen_firing_and_the_rest_unknown() {
        let system = || System::of(2).connect("n1", "APP", "u", 1, rtt("300ms"));
        let judgement = judge::<Check>(&system().silent("n2", Endpoint::Connz).done());
        assert_eq!(
            only(&judgement).1.evidence["sweep_incomplete"],
            json!(["server n2 did not answer CONNZ"])
        );
        assert!(matches!(judgement.standing(&entity("v")), Standing::Unknown(_)));
    }

    #[test]
    fn the_fold_learns_the_round_trip_of_a_user() {
        let base = json!({"rtt": "50ms"}).as_object().cloned().unwrap();
        let matcher = Match { user: Some("far".into()), ..Match::default() };
        let thresholds = json!({"rtt": "1s"}).as_object().cloned().unwrap();
        let overrides = vec![Override { matcher, thresholds, ..Override::default() }];
        let rule =
            Entry::of::<Check>().configure(&Settings { base, overrides, ..Settings::default() }).unwrap();
        assert_eq!(rule.folds_by(&|| entity("u")).rtt_above, Some(Duration::from_millis(50)));
        assert_eq!(rule.folds_by(&|| entity("far")).rtt_above, Some(Duration::from_secs(1)));
        for bad in [json!("999us"), json!("0s"), json!("5 parsecs"), json!(300), json!("-5m"), json!("")] {
            let base = json!({"rtt": bad}).as_object().cloned().unwrap();
            let error =
                Entry::of::<Check>().configure(&Settings { base, ..Settings::default() }).err().unwrap();
            assert_eq!(error.key.as_deref(), Some("rtt"), "{error}");
        }
    }
}
