//! OPT_IDLE_007: client connections that never carried a message.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, seconds,
};
use crate::checks::evidence::{in_words, rfc3339, sweep_gaps};
use crate::checks::roll_up::{MOST, Of, by_user, connections};
use crate::snapshot::{Account, Endpoint, SilentConnection, Snapshot, UserFold};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct IdleClientConnections;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Count a connection that never carried a message once it has been idle for longer than this, e.g. `5m`; at
    /// least `1s`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(300) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("idle", self.idle)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Connections of this user that have been idle for longer and never carried a message.
    idle: u64,
    /// All client connections of this user.
    connections: u64,
    /// How long a connection had to be idle, in seconds.
    idle_after_seconds: u64,
    /// The ones that have been idle for longest, at most 5.
    longest_idle: Vec<Row>,
    /// Of how many of the idle connections these are the longest idle; left out where it is of all. Where very many
    /// users have some, there is not room to keep all of them apart; the counts are exact nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_idle_of: Option<u64>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// The connection's id there.
    cid: u64,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    name: Option<Name>,
    /// Its address, without the port.
    #[schemars(with = "String")]
    address: Name,
    /// When it connected.
    start: Option<String>,
    /// Seconds since its last activity, by the server's clock.
    idle_seconds: u64,
}

impl Row {
    fn of(snapshot: &Snapshot, silent: &SilentConnection) -> Self {
        Self {
            server: snapshot.server_name(&silent.server),
            cid: silent.cid,
            name: silent.name.clone(),
            address: silent.address.clone(),
            start: silent.start.and_then(rfc3339),
            idle_seconds: silent.idle_seconds,
        }
    }
}

impl Rule for IdleClientConnections {
    const META: Meta = Meta {
        id: "OPT_IDLE_007",
        name: "Idle Client Connections",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Connection,
        group: Some("idle"),
        since: "2.9",
        rule: "A client connection has been idle for more than 5 minutes and never carried a message in or out.",
        why: "Such a connection holds a socket, buffers and 10 to 30 KB of memory on its server, counts towards the \
              limits of server and account, and does nothing. Most often code opened it and forgot it, or a pool is \
              larger than its load.\n\n\
              Activity is a message or a change of subscriptions; the PINGs of a client's keep-alive are not \
              (measured with nats-server 2.15.1). A subscriber to which nothing was ever published is a legitimate \
              hit: raise `idle` for its account or user by an override.\n\n\
              There is one finding per account and user, with the number of connections and the five that have been \
              idle for longest; at most 1,000 users are named. Users of the system account are left out: they are the tools that watch the system, \
              this agent among them.",
        remedy: &[
            "Find where the client opens these connections, by the client name and address, and close them after use.",
            "Share one connection per process instead of keeping a pool.",
            "Name connections in the client's options, so that their owner can be found.",
            "Raise the threshold for users that only wait, such as alert receivers, by an override.",
        ],
        needs: &[Endpoint::Connz],
        evidence_from: &[Endpoint::AccountStatz, Endpoint::Accountz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // Whoever reconnects begins to be idle anew.
    const DISTURBED: Disturbed = Disturbed::Never;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn idle_after(thresholds: &Limits) -> Option<Duration> {
        Some(thresholds.idle)
    }

    /// The thresholds were applied by the fold, connection by connection: it asks for them as it meets a user.
    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let is_tenant = |account: &Account| account.id != context.now.system_account;
        let fires = |(account, user): &Of<'_>| user.silent() > 0 && is_tenant(account);
        by_user(context, thresholds, fires, connections, |of, entity| report(context, of, entity))
    }
}

fn report(context: &Context<'_>, (account, user): Of<'_>, entity: Entity) -> Verdict {
    let (silent, of) = (user.silent(), user.connections());
    let idle_after_seconds = account.fold.users.thresholds(user).idle_after.as_secs();
    let idle_after = in_words(idle_after_seconds);
    let (longest_idle, looked_at) = user.silent_oldest();
    let summary = format!(
        "{} of user {} in account {} idle for more than {idle_after} without a single message, of {}",
        count(silent, "connection"),
        entity.label(),
        account.label(),
        of,
    );
    let observed = Observed::count(silent, 0, "connections").part_of(of);
    let evidence = Evidence {
        idle: silent,
        connections: of,
        idle_after_seconds,
        longest_idle: longest_idle.iter().map(|silent| Row::of(context.now, silent)).collect(),
        longest_idle_of: (looked_at < silent).then_some(looked_at),
        sweep_incomplete: sweep_gaps(context.now),
    };
    let remediation = remediation(account, user, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(account: &Account, user: &UserFold, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    match evidence.longest_idle.first() {
        Some(Row { name: Some(name), address, .. }) => steps.push(format!(
            "Find where `{name}` at {address} opens connections that it does not use, and close them after use."
        )),
        Some(Row { name: None, address, server, cid, .. }) => steps.push(format!(
            "Find the process at {address} that holds connection {cid} of server {server}, and name connections in the \
             client's options, so that the next one is found by its name."
        )),
        None => {}
    }
    if user.silent() == user.connections() && user.silent() > 1 {
        steps.push(
            "None of this user's connections has ever been used: stop the client, or share one connection."
                .into(),
        );
    } else {
        steps.push("Share one connection per process instead of keeping a pool.".into());
    }
    steps.push(format!(
        "If the client only waits for rare messages, raise `idle` of this check by an override for account {} and this \
         user.",
        account.label(),
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entry, Match, Override, Settings, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Budget;
    use crate::snapshot::build::System;
    use crate::wire::connz::Connection;
    use serde_json::json;

    type Check = IdleClientConnections;

    fn entity(user: &str) -> Entity {
        Entity::connections("APP", None, user, None)
    }

    /// The clock of the systems under test says 22:13:20.
    fn idle_since(time: &'static str) -> impl Fn(&mut Connection<'_>, u64) {
        move |c, _| {
            c.in_msgs = 0;
            c.last_activity = format!("2023-11-14T{time}Z").into();
        }
    }

    #[test]
    fn one_finding_for_a_user_with_the_five_that_are_idle_for_longest() {
        let system = System::of(2)
            .connect("n1", "APP", "u", 3, idle_since("22:00:00"))
            .connect("n2", "APP", "u", 3, idle_since("21:50:00"))
            .connect("n2", "APP", "u", 2, |_, _| {})
            .connect("n2", "APP", "v", 9, |_, _| {});
        let judgement = judge::<Check>(&system.done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("u"));
        assert_eq!(
            firing.summary,
            "6 connections of user u in account APP idle for more than 5m without a single message, of 8"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 6, "percent": 75.0, "threshold": 0, "unit": "connections"})
        );
        let rows = firing.evidence["longest_idle"].as_array().unwrap();
        let cids: Vec<_> =
            rows.iter().map(|row| (row["cid"].as_u64(), row["idle_seconds"].as_u64())).collect();
        assert_eq!(cids, [4, 5, 6, 1, 2].map(|cid| (Some(cid), Some(if cid > 3 { 1400 } else { 800 }))));
        assert_eq!(
            rows[0],
            json!({"server": "n2", "cid": 4, "name": "app", "address": "10.0.0.1", "start": "2023-11-14T21:13:20Z",
                   "idle_seconds": 1400})
        );
        assert_eq!(firing.evidence["idle_after_seconds"], 300);
        assert_eq!(judgement.standing(&entity("v")), Standing::Clear);
    }

    #[test]
    fn exactly_five_minutes_is_not_idle_and_a_single_message_is_use() {
        let fires = |edit: fn(&mut Connection<'_>, u64)| {
            !judge::<Check>(&System::of(1).connect("n1", "APP", "u", 1, edit).done()).firing.is_empty()
        };
        assert!(!fires(|c, i| idle_since("22:08:20")(c, i)));
        assert!(fires(|c, i| idle_since("22:08:19")(c, i)));
        assert!(!fires(|c, i| {
            idle_since("20:00:00")(c, i);
            c.out_msgs = 1;
        }));
        assert!(!fires(|c, i| {
            idle_since("20:00:00")(c, i);
            c.last_activity = "".into();
        }));
        assert!(!fires(|c, i| {
            idle_since("20:00:00")(c, i);
            c.kind = "Leafnode".into();
        }));
    }

    #[test]
    fn the_count_is_exact_where_there_is_no_room_to_keep_connections_apart() {
        let system = |silent_users| {
            let budget = Budget { silent_users, ..Budget::default() };
            System::of(1)
                .within(budget)
                .connect("n1", "APP", "v", 2, idle_since("21:00:00"))
                .connect("n1", "APP", "u", 8, idle_since("20:00:00"))
                .done()
        };
        let of_u = |silent_users| {
            let judgement = judge::<Check>(&system(silent_users));
            let found = judgement.firing.into_iter().find(|(found, _)| *found == entity("u"));
            found.unwrap().1.evidence
        };
        for (silent_users, rows, of) in [(0, 0, Some(0)), (1, 5, Some(6)), (2, 5, None)] {
            let evidence = of_u(silent_users);
            assert_eq!(
                (&evidence["idle"], evidence["longest_idle"].as_array().unwrap().len()),
                (&json!(8), rows)
            );
            assert_eq!(evidence.get("longest_idle_of").and_then(serde_json::Value::as_u64), of);
        }
    }

    #[test]
    fn users_of_the_system_account_are_left_out() {
        let system = System::of(1)
            .connect("n1", "SYS", "monitor", 1, idle_since("20:00:00"))
            .with(|snapshot| snapshot.system_account = "SYS".into());
        assert!(judge::<Check>(&system.done()).firing.is_empty());
    }

    #[test]
    fn a_missing_sweep_leaves_what_was_seen_firing_and_the_rest_unknown() {
        let system = || System::of(2).connect("n1", "APP", "u", 1, idle_since("20:00:00"));
        let judgement = judge::<Check>(&system().silent("n2", Endpoint::Connz).done());
        assert_eq!(
            only(&judgement).1.summary,
            "1 connection of user u in account APP idle for more than 5m without a single message, of 1"
        );
        assert!(matches!(judgement.standing(&entity("v")), Standing::Unknown(_)));
        let judgement = judge::<Check>(&system().gone("n2").done());
        assert!(matches!(judgement.standing(&entity("v")), Standing::Unknown(_)));
        let judgement =
            judge::<Check>(&system().silent("n1", Endpoint::Connz).silent("n2", Endpoint::Connz).done());
        assert_eq!(
            judgement.nothing.as_deref(),
            Some("server n1 did not answer CONNZ, nor did 1 other server")
        );
    }

    #[test]
    fn the_fold_learns_the_duration_of_a_user() {
        let base = json!({"idle": "2m"}).as_object().cloned().unwrap();
        let matcher = Match { user: Some("alerts".into()), ..Match::default() };
        let patch = json!({"idle": "1h 30m"}).as_object().cloned().unwrap();
        let narrowed = Override { matcher, thresholds: patch, ..Override::default() };
        let settings = Settings { base, overrides: vec![narrowed], ..Settings::default() };
        let rule = Entry::of::<Check>().configure(&settings).unwrap();
        assert_eq!(rule.folds_by(&|| entity("u")).idle_after, Some(Duration::from_secs(120)));
        assert_eq!(rule.folds_by(&|| entity("alerts")).idle_after, Some(Duration::from_secs(5400)));
        for bad in [json!("999ms"), json!("0s"), json!("5 parsecs"), json!(300), json!("-5m"), json!("")] {
            let base = json!({"idle": bad}).as_object().cloned().unwrap();
            let error =
                Entry::of::<Check>().configure(&Settings { base, ..Settings::default() }).err().unwrap();
            assert_eq!(error.key.as_deref(), Some("idle"), "{error}");
        }
    }
}
