//! OPT_IDLE_006: users that were connected and are not any more.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, seconds,
};
use crate::checks::evidence::{in_words, rfc3339};
use crate::checks::own::Own;
use crate::checks::roll_up::{MOST, first};
use crate::snapshot::{Account, Endpoint, Gone, LookBack};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct DisconnectedUser;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when a user has been without a connection for this long, e.g. `10m`; at least `1s`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    gone_for: Duration,
    /// Leave out a user that was never seen connected for this long without a break, e.g. `10m`; at least `1s`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    connected_for: Duration,
    /// Forget a user that was last connected longer ago than this, e.g. `1h`; longer than `gone_for`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    remember: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            gone_for: Duration::from_secs(600),
            connected_for: Duration::from_secs(600),
            remember: Duration::from_secs(3600),
        }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("gone_for", self.gone_for)?;
        seconds("connected_for", self.connected_for)?;
        if self.remember > self.gone_for {
            return Ok(());
        }
        Err(OutOfRange::duration("remember", self.remember, "longer than gone_for"))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The last epoch in which the user was connected.
    last_seen: Option<String>,
    /// Seconds since then.
    gone_seconds: u64,
    /// For how many seconds it had been seen connected without a break, the longest time.
    connected_seconds: u64,
    /// Connections that it had in the last epoch in which it was connected.
    connections_before: u64,
    /// Client connections of its account now, over all servers, without this agent's own.
    account_connections: u64,
    /// Users of its account that are gone for as long, this one included. Many at once have one cause.
    gone_of_account: u64,
    /// When the user is forgotten, and this ends, if it does not come back.
    forgotten_at: Option<String>,
}

impl Rule for DisconnectedUser {
    const META: Meta = Meta {
        id: "OPT_IDLE_006",
        name: "Disconnected User",
        severity: Severity::Info,
        category: Category::Change,
        kind: Kind::Optimization,
        entity: EntityType::User,
        group: Some("idle"),
        since: "2.9",
        differs: Some(
            "No server lists the users that exist, only those that are connected: a user is reported if this agent has seen \
             it connected within the last hour and for 10 minutes without a break, and 10 minutes after it was gone.",
        ),
        rule: "A user that had been connected for 10 minutes or more, and was last within the past hour, has had no connection for \
               10 minutes.",
        why: "A service that has crashed, was scaled to nothing or cannot log in any more is missing from its system without \
              any server complaining: nothing is left of it but that it was there before. A user that is not needed any \
              more is worth removing, since its credentials still open the account.\n\n\
              It is remembered who was connected when the agent looked, and since when: who stays for less than `connected_for`, \
              such as somebody at a command line or a short job, is not missed. A user is gone when every server has listed its connections and none was the user's, twice, with \
              `gone_for` between; while a server does not list them the verdict is unknown. After `remember` the user is \
              forgotten and the finding ends, as it does when the agent is started anew or another one takes over.\n\n\
              Where an auth callout names the users, each by itself and anew at every login, a client comes back as somebody \
              else, and whom it was before is missed: switch the check off for such users by an override.\n\n\
              Users of the system account are left out, and so are clients that log in with a token or without \
              authentication: they share one identity. At most 50,000 users are remembered, and at most 1,000 named.",
        remedy: &[
            "See whether the client should be running, and look at its log for why it does not connect.",
            "Look for refused logins of that user: a revoked or expired JWT, a changed password.",
            "Remove users that are not needed any more, or revoke their credentials.",
            "Keep jobs that come and go out of this check by an override for their account or user.",
        ],
        needs: &[Endpoint::Connz],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const EPOCHS: u64 = 2;
    // Clients of a server that leaves are away until they have found another one.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn looks_back(thresholds: &Limits) -> LookBack {
        LookBack { users: Some(thresholds.remember), ..LookBack::default() }
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let mut gone = context.history.gone_users(context.now);
        gone.retain(|gone| {
            let uniform = thresholds.is_uniform().then(|| thresholds.base());
            is_gone(
                gone,
                context.now.taken_at,
                uniform.unwrap_or_else(|| thresholds.of(&entity(context, gone))),
            )
        });
        let own = Own::of(context.now);
        let mut of_account: HashMap<&str, u64> = HashMap::new();
        for gone in &gone {
            *of_account.entry(&**gone.account).or_default() += 1;
        }
        let tell = |gone: &Gone<'_>, entity: Entity| {
            let limits = thresholds.of(&entity);
            let others = of_account.get(&**gone.account).copied().unwrap_or(1);
            report(context, &own, gone, entity, limits, others)
        };
        let entity = |gone: &Gone<'_>| entity(context, gone);
        first(
            MOST,
            gone,
            thresholds,
            |gone| (gone.user, gone.account),
            entity,
            |gone, entity| tell(&gone, entity),
        )
    }
}

fn entity(context: &Context<'_>, gone: &Gone<'_>) -> Entity {
    Entity::user(gone.account, context.now.account_name(gone.account), gone.user, gone.name)
}

fn is_gone(gone: &Gone<'_>, now: OffsetDateTime, limits: &Limits) -> bool {
    let absent = gone.absent_since.is_some_and(|since| now - since >= limits.gone_for);
    absent && gone.connected >= limits.connected_for && now - gone.last_seen <= limits.remember
}

fn report(
    context: &Context<'_>,
    own: &Own<'_>,
    gone: &Gone<'_>,
    entity: Entity,
    limits: &Limits,
    others: u64,
) -> Verdict {
    let connections = |account: &Account| {
        own.others(account).fold(0u64, |sum, (_, connections)| sum.saturating_add(connections))
    };
    let seconds = u64::try_from((context.now.taken_at - gone.last_seen).whole_seconds()).unwrap_or(0);
    let account = context.now.accounts.get(gone.account);
    let account_label = account.map_or(&**gone.account, |account| account.label());
    let summary = format!(
        "user {} of account {account_label} was connected until {} ago and has no connection any more",
        entity.label(),
        in_words(seconds),
    );
    let observed = Observed::count(seconds, limits.gone_for.as_secs(), "seconds");
    let forgotten_at = time::Duration::try_from(limits.remember).ok();
    let evidence = Evidence {
        last_seen: rfc3339(gone.last_seen),
        gone_seconds: seconds,
        connected_seconds: gone.connected.as_secs(),
        connections_before: gone.connections,
        account_connections: account.map_or(0, connections),
        gone_of_account: others,
        forgotten_at: forgotten_at.and_then(|after| rfc3339(gone.last_seen.checked_add(after)?)),
    };
    let remediation = remediation(&evidence, entity.label(), account_label);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

/// Gone together, users have one cause.
const MANY: u64 = 5;

fn remediation(evidence: &Evidence, user: &str, account: &str) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.account_connections == 0 {
        steps.push(format!(
            "Account {account} has no connection left: look for what its clients have in common, such as a network, a host \
             or a signing key that was revoked."
        ));
    } else if evidence.gone_of_account >= MANY {
        steps.push(format!(
            "{} of account {account} are gone: look for what they have in common before looking at each.",
            count(evidence.gone_of_account, "user"),
        ));
    }
    steps.push(format!("See whether the clients of user {user} should be running, and look at their logs."));
    steps.push(format!("If user {user} is not needed any more, remove it or revoke its credentials."));
    steps.push(format!(
        "If its clients come and go on purpose, leave it out of this check by an override for account {account} and this \
         user."
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Match, Override, Settings, Standing};
    use crate::checks::laws::{judge_last, judge_last_set, only};
    use crate::snapshot::Snapshot;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = DisconnectedUser;

    fn with(second: i64, users: &[&str]) -> System {
        users
            .iter()
            .fold(System::of(2), |system, user| system.connect("n1", "APP", user, 3, |_, _| {}))
            .at(second)
    }

    fn epochs(list: &[(i64, &[&str])]) -> Vec<Snapshot> {
        list.iter().map(|(second, users)| with(*second, users).done()).collect()
    }

    fn entity(user: &str) -> Entity {
        Entity::user("APP", None, user, None)
    }

    #[test]
    fn a_user_that_is_gone_for_ten_minutes_fires_and_is_forgotten_after_an_hour() {
        let judged = |last: i64| {
            judge_last::<Check>(&epochs(&[(-600, &["a"]), (0, &["a", "b"]), (60, &["b"]), (last, &["b"])]))
        };
        assert!(judged(659).firing.is_empty());
        let judgement = judged(660);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("a"));
        assert_eq!(
            firing.summary,
            "user a of account APP was connected until 11m ago and has no connection any more"
        );
        assert_eq!(json!(firing.observed), json!({"value": 660, "threshold": 600, "unit": "seconds"}));
        assert_eq!(
            firing.evidence,
            json!({"last_seen": "2023-11-14T22:13:20Z", "gone_seconds": 660, "connected_seconds": 600,
                   "connections_before": 3, "account_connections": 3, "gone_of_account": 1, "forgotten_at": "2023-11-14T23:13:20Z"})
        );
        assert_eq!(judged(3600).firing.len(), 1);
        let judgement = judged(3601);
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&entity("a")), Standing::Clear);
        let back = epochs(&[(-600, &["a"]), (0, &["a"]), (60, &[]), (660, &["a"])]);
        assert!(judge_last::<Check>(&back).firing.is_empty());
    }

    #[test]
    fn whoever_was_there_for_a_moment_is_not_missed() {
        let list = |list: &[(i64, &[&str])]| judge_last::<Check>(&epochs(list));
        assert!(list(&[(0, &["a"]), (60, &[]), (700, &[])]).firing.is_empty());
        assert!(list(&[(0, &["a"]), (599, &["a"]), (660, &[]), (1300, &[])]).firing.is_empty());
        // The same job again and again.
        let jobs: [(i64, &[&str]); 6] =
            [(0, &["a"]), (60, &[]), (500, &["a"]), (560, &[]), (700, &["a"]), (760, &[])];
        assert!(list(&[&jobs[..], &[(1400, &[])]].concat()).firing.is_empty());
        assert_eq!(list(&[(0, &["a"]), (600, &["a"]), (660, &[]), (1300, &[])]).firing.len(), 1);
        let set = Settings {
            base: json!({"connected_for": "60s"}).as_object().cloned().unwrap(),
            ..Settings::default()
        };
        let short = epochs(&[(0, &["a"]), (60, &["a"]), (120, &[]), (720, &[])]);
        assert_eq!(judge_last_set::<Check>(&short, &set).firing.len(), 1);
    }

    #[test]
    fn the_connection_of_the_agents_sink_does_not_count() {
        let mut last = with(660, &[]).own_next("n2").connect("n2", "APP", "insights", 1, |_, _| {}).done();
        assert_eq!(last.accounts["APP"].connections(), 1);
        last.taken_at = crate::snapshot::build::at(660);
        let mut all = epochs(&[(-600, &["a"]), (0, &["a"]), (60, &[])]);
        all.push(last);
        let judgement = judge_last::<Check>(&all);
        assert_eq!(only(&judgement).1.evidence["account_connections"], 0);
    }

    #[test]
    fn absence_must_have_been_seen_twice_by_whole_sweeps() {
        // Nothing was seen between.
        let was_there = || [with(-600, &["a"]).done(), with(0, &["a"]).done()].into_iter();
        let judged = |then: Vec<Snapshot>| judge_last::<Check>(&was_there().chain(then).collect::<Vec<_>>());
        assert!(judged(vec![with(900, &[]).done()]).firing.is_empty());
        let gap = |second| with(second, &[]).silent("n2", Endpoint::Connz).done();
        assert!(judged(vec![gap(60), with(900, &[]).done()]).firing.is_empty());
        let judgement = judged(vec![with(60, &[]).done(), gap(900)]);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity("a")), Standing::Unknown(_)));
    }

    #[test]
    fn many_of_an_account_are_told_to_have_one_cause_and_no_more_than_a_thousand_are_named() {
        let names: Vec<String> = (0..1200).map(|i| format!("u{i:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let judgement =
            judge_last::<Check>(&epochs(&[(-600, &names), (0, &names), (60, &["other"]), (700, &["other"])]));
        assert_eq!(judgement.firing.len(), 1000);
        assert_eq!(&*judgement.firing[999].0.id, "u0999");
        assert_eq!(judgement.unknown_rows()[0].reason, "200 more fire and are not named");
        assert!(matches!(judgement.standing(&entity("u1000")), Standing::Unknown(_)));
        let firing = &judgement.firing[0].1;
        assert_eq!(firing.evidence["gone_of_account"], 1200);
        assert!(firing.remediation[0].starts_with("1200 users of account APP are gone"));
        let judgement = judge_last::<Check>(&epochs(&[(-600, &["a"]), (0, &["a"]), (60, &[]), (700, &[])]));
        assert!(only(&judgement).1.remediation[0].contains("no connection left"));
    }

    #[test]
    fn jobs_that_come_and_go_can_be_left_out_and_take_nobodys_place() {
        let names: Vec<String> = (0..1000).map(|i| format!("job-{i:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["web"]).collect();
        let matcher = Match { user: Some("job-*".into()), ..Match::default() };
        let policy = crate::check::PolicySetting { enabled: Some(false), ..Default::default() };
        let overrides = vec![Override { matcher, policy, ..Override::default() }];
        let settings = Settings { overrides, ..Settings::default() };
        let all = epochs(&[(-600, &names), (0, &names), (60, &[]), (700, &[])]);
        let judgement = judge_last_set::<Check>(&all, &settings);
        assert_eq!(only(&judgement).0, &entity("web"));
        assert!(judgement.unknown_rows().is_empty());
    }

    #[test]
    fn durations_out_of_range_are_refused() {
        for (key, base) in [
            ("gone_for", json!({"gone_for": "0s"})),
            ("connected_for", json!({"connected_for": "10ms"})),
            ("remember", json!({"remember": "10m"})),
            ("remember", json!({"gone_for": "2h", "remember": "1h"})),
        ] {
            let base = base.as_object().cloned().unwrap();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert!(error.problem.contains(key), "{error}");
        }
    }
}
