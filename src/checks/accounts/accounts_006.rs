//! ACCOUNTS_006: subscriptions come near the most that an account allows.

use crate::check::{
    AccountLimit, Category, Context, Disturbed, Entity, EntityType, EventsSeen, Kind, LimitView, Meta,
    Observed, OutOfRange, Partial, Rule, Scope, Severity, Thresholds, Validate, Verdict, count, percent,
    percent_of,
};
use crate::checks::evidence::{ConnectionRow, DOMINANT, Subjects, raised, sweep_gaps};
use crate::snapshot::{
    Account, Endpoint, FollowUp, Sample, SubscriptionShape, TopConnection, Trend, share_of,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct SubscriptionLimit;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire at this share of the limit, in percent.
    warn_percent: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 90.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The connection that is nearest its limit, which is what the server enforces; none where none has a limit.
    connection: Option<ConnectionUse>,
    /// The account's subscriptions over all connections; none where no server shows them.
    account: Option<AccountUse>,
    /// Connections closed for too many subscriptions since the previous epoch; none where the events are not
    /// available.
    refused: Option<u64>,
    /// Connections with most subscriptions.
    top_connections: Vec<TopRow>,
    /// What the subscriptions of the connections with most of them look like, taken together; none where they were
    /// not listed.
    subjects: Option<Subjects>,
    /// Subscriptions of a connection in the account.
    per_connection: PerConnection,
    /// Growth over the last epochs.
    growth: Option<Growth>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ConnectionUse {
    #[serde(flatten)]
    connection: ConnectionRow,
    /// The smallest of the limits of account, user and server.
    limit: u64,
    /// Whose that is: `jwt` (the account's), `user_jwt`, `server`, `declared`.
    limit_source: &'static str,
    /// In percent of the limit.
    percent: Option<f64>,
    /// Whether it is at the threshold.
    fires: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AccountUse {
    /// The largest number that a server shows. A handful are the server's own imports.
    subscriptions: u64,
    /// The account's limit; none where there is none, or none to be seen.
    limit: Option<u64>,
    /// In percent of the limit.
    percent: Option<f64>,
    /// Whether it is at the threshold.
    fires: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TopRow {
    #[serde(flatten)]
    connection: ConnectionRow,
    /// What its subscriptions look like; none where they were not listed.
    subjects: Option<SubscriptionShape>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PerConnection {
    /// The median; rounded down to two digits from 100 on.
    median: Option<u64>,
    /// The most.
    max: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Growth {
    /// Subscriptions gained over the window.
    subscriptions: i64,
    /// Connections gained over the window.
    connections: i64,
    /// Length of the window in seconds.
    over_seconds: u64,
    /// Subscriptions grow while connections stay flat: they are not given back.
    looks_like_a_leak: bool,
}

impl Rule for SubscriptionLimit {
    const META: Meta = Meta {
        id: "ACCOUNTS_006",
        name: "Account Subscription Limit",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Account,
        group: None,
        since: "2.9",
        aliases: &[],
        docs_url: None,
        differs: None,
        rule: "The subscriptions of an account's largest connection, or of the account as a whole, are at 90 % or more \
               of the most it allows.",
        why: "Servers enforce the subscription limit for each connection on its own: what goes beyond the \
              smallest of its account's limit, its user's limit and the server's `max_subscriptions` is answered with \
              \"maximum subscriptions exceeded\", and the connection stays open without the subscription: its client \
              believes to listen and hears nothing (measured, nats-server 2.10.26 to 2.15.1). Two connections of 90 \
              subscriptions are fine under a limit of 100. When a limit is lowered below what a connection has, that \
              connection is closed with the same reason. This is the scope `connection`.\n\n\
              The scope `account` compares the account's subscriptions as a whole. Nothing is refused there, but the \
              limit is most often meant like that. Every server of a cluster shows the same interest, local and \
              routed together, so the largest number is taken and not the sum; a handful are the server's own \
              imports, and some those of this agent's connection to its sink, which in the scope `connection` is left \
              out. Servers before 2.10 do not show it. Where both scopes fire, the connection is reported.\n\n\
              Members of a queue group count one by one.\n\n\
              The limits of accounts that live in a server's configuration file are shown by no server. Without a \
              declared limit the verdict is unknown for them, unless a connection comes near the limit of its user or \
              server, or connections were closed for this limit since the previous epoch: that is critical.",
        remedy: &[
            "Use one inbox for all requests of a connection (`_INBOX.<id>.*`), as current client libraries do, \
             instead of one for each request.",
            "Subscribe to a wildcard instead of to many subjects.",
            "Unsubscribe from what is no longer needed.",
            "Raise the limit if the use is meant: `nsc edit account NAME --subscriptions N` and push it, or the account's \
             `limits` block in the servers' configuration and a reload.",
            "Bound single users by a subscription limit of their own.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::Connz, Endpoint::Varz],
        evidence_from: &[Endpoint::Accountz, Endpoint::AccountConnz, Endpoint::Events],
        scope: Scope::System,
        partial: Partial::CanFire,
    };
    // Subscriptions go with their connection: no restart adds to them.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let firing = context.now.accounts.values().filter(|account| {
            let warn_percent = thresholds.of(&entity(account)).warn_percent;
            Measured::of(context, account).fires(warn_percent)
        });
        firing.map(|account| FollowUp::TopSubscriptions { account: account.id.clone() }).collect()
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let events = context.events_seen();
        let accounts = context.now.accounts.values();
        accounts.filter_map(|account| judge_account(context, thresholds, account, events)).collect()
    }
}

fn entity(account: &Account) -> Entity {
    Entity::account(&account.id, account.name.as_ref())
}

/// A number of subscriptions against a limit.
#[derive(Debug, Clone, Copy)]
struct Use {
    value: u64,
    limit: u64,
    source: &'static str,
}

impl Use {
    fn fires(&self, warn_percent: f64) -> bool {
        self.value > 0 && self.value as f64 * 100.0 >= warn_percent * self.limit as f64
    }

    /// Beyond any percentage when the limit is 0; nothing when nothing is used.
    fn ratio(&self) -> f64 {
        share_of(self.value, self.limit)
    }
}

/// Both ways of judging an account.
struct Measured<'a> {
    account: Option<Use>,
    connection: Option<(&'a TopConnection, Use)>,
    /// Why the account's limit is not known, and whether nobody can see it at all.
    unseen: Option<(String, bool)>,
    /// Connections closed for too many subscriptions, where the limit that they met is not known.
    refused: u64,
}

impl<'a> Measured<'a> {
    fn of(context: &Context<'a>, account: &'a Account) -> Self {
        let (limit, unseen) = match context.limit(account, AccountLimit::Subscriptions) {
            LimitView::Limited { limit, source } => (Some((limit, source)), None),
            LimitView::Unlimited => (None, None),
            LimitView::NotVisible(reason) => (None, Some((reason, true))),
            LimitView::Unknown(reason) => (None, Some((reason, false))),
        };
        let gauge = account.subscriptions().zip(limit);
        // What a connection uses of the smallest of its limits is the larger of what it uses of its account's limit, which is
        // largest for the one with most subscriptions, and of what it uses of its own.
        let fold = &account.fold;
        let uses = fold.top_subscriptions.first().into_iter().chain(fold.nearest_own_limit.as_deref());
        let uses = uses.filter_map(|top| {
            let (limit, source) = smallest(limit, top)?;
            Some((top, Use { value: top.subscriptions, limit, source }))
        });
        let connection = uses.max_by(|(a, use_a), (b, use_b)| {
            let order = use_a.ratio().total_cmp(&use_b.ratio()).then(use_a.value.cmp(&use_b.value));
            // Of equal connections the first by server and id.
            order.then_with(|| (&b.server, b.cid).cmp(&(&a.server, a.cid)))
        });
        Self {
            account: gauge.map(|(value, (limit, source))| Use { value, limit, source }),
            connection,
            refused: if unseen.is_some() { account.events.refused_subscriptions } else { 0 },
            unseen,
        }
    }

    fn fires(&self, warn_percent: f64) -> bool {
        let uses = self.account.iter().chain(self.connection.as_ref().map(|(_, used)| used));
        self.refused > 0 || uses.into_iter().any(|used| used.fires(warn_percent))
    }
}

/// What the server enforces for a connection: the smallest limit that there is (measured, 2.9.10 to 2.15.1).
fn smallest(account: Option<(u64, &'static str)>, top: &TopConnection) -> Option<(u64, &'static str)> {
    let own = top.own_limit.map(|own| (own.limit, if own.of_user { "user_jwt" } else { "server" }));
    account.into_iter().chain(own).min_by_key(|(limit, _)| *limit)
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    events: EventsSeen,
) -> Option<Verdict> {
    let entity = entity(account);
    let warn_percent = thresholds.of(&entity).warn_percent;
    let measured = Measured::of(context, account);
    if !measured.fires(warn_percent) {
        let (reason, nobody_sees) = measured.unseen?;
        let events_seen = events.of(account);
        // What can be seen of such an account is below its limits, and refusals are seen to be over.
        let over = nobody_sees && events_seen;
        return Some(if over {
            Verdict::unknown_but_over(entity, reason)
        } else {
            Verdict::unknown(entity, reason)
        });
    }
    let label = account.label();
    let connection = measured.connection.filter(|(_, used)| used.fires(warn_percent));
    let (observed, summary) = match (connection, measured.account) {
        (Some((top, used)), _) => {
            let row = ConnectionRow::of(context.now, &account.fold, top);
            let who = format!(
                "account {label}: connection {} of user {} on server {} has {} of {} subscriptions",
                row.cid, row.user, row.server, used.value, used.limit
            );
            against(used, warn_percent, "connection", &who)
        }
        (None, Some(used)) if used.fires(warn_percent) => {
            let who = format!("account {label} has {} of {} subscriptions", used.value, used.limit);
            against(used, warn_percent, "account", &who)
        }
        _ => {
            let observed = Observed {
                scope: Some("refused".into()),
                ..Observed::count(measured.refused, 0, "connections")
            };
            let summary = format!(
                "account {label}: {} closed for too many subscriptions since the previous epoch; the limit itself is \
                 not visible",
                if measured.refused == 1 {
                    "1 connection was".into()
                } else {
                    format!("{} connections were", measured.refused)
                },
            );
            (observed, summary)
        }
    };
    let evidence = evidence(context, account, &measured, warn_percent);
    let remediation = remediation(account, &evidence, &observed);
    let verdict = Verdict::firing(entity, summary, observed, &evidence, remediation);
    Some(if measured.refused > 0 { verdict.with_severity(Severity::Critical) } else { verdict })
}

fn against(used: Use, warn_percent: f64, scope: &'static str, who: &str) -> (Observed, String) {
    let mut observed = Observed::of_limit(used.value, used.limit, warn_percent, "subscriptions", used.source);
    observed.scope = Some(scope.into());
    let share = observed.percent.map_or_else(String::new, |percent| format!(" ({percent:.1} %)"));
    let above = if used.value > used.limit { ", above the limit" } else { "" };
    (observed, format!("{who}{share}{above}"))
}

fn evidence(
    context: &Context<'_>,
    account: &Account,
    measured: &Measured<'_>,
    warn_percent: f64,
) -> Evidence {
    let fold = &account.fold;
    let events_seen = context.events_seen().of(account);
    let listed = context.now.follow_ups.subscriptions.get(&account.id).map_or(&[][..], Vec::as_slice);
    let subjects_of = |top: &TopConnection| {
        let found = listed.iter().find(|other| other.server == top.server && other.cid == top.cid);
        found.map(|found| found.shape.clone())
    };
    let tops = fold.top_subscriptions.iter();
    Evidence {
        connection: measured.connection.map(|(top, used)| ConnectionUse {
            connection: ConnectionRow::of(context.now, &account.fold, top),
            limit: used.limit,
            limit_source: used.source,
            percent: percent_of(used.value, used.limit),
            fires: used.fires(warn_percent),
        }),
        account: account.subscriptions().map(|subscriptions| AccountUse {
            subscriptions,
            limit: measured.account.map(|used| used.limit),
            percent: measured.account.and_then(|used| percent_of(used.value, used.limit)),
            fires: measured.account.is_some_and(|used| used.fires(warn_percent)),
        }),
        refused: events_seen.then_some(account.events.refused_subscriptions),
        top_connections: tops
            .map(|top| TopRow {
                connection: ConnectionRow::of(context.now, &account.fold, top),
                subjects: subjects_of(top),
            })
            .collect(),
        subjects: Subjects::together(listed.iter().map(|connection| &connection.shape)),
        per_connection: PerConnection {
            median: fold.median_subscriptions(),
            max: fold.top_subscriptions.first().map(|top| top.subscriptions),
        },
        growth: trend(context, account).map(|trend| growth(account, &trend)),
        sweep_incomplete: sweep_gaps(context.now),
    }
}

fn trend(context: &Context<'_>, account: &Account) -> Option<Trend> {
    let now = Sample {
        at: context.now.taken_at,
        connections: account.connections(),
        subscriptions: account.subscriptions()?,
    };
    context.history.account(&account.id, now)
}

/// A change of less than one in so many is none.
const FLAT: u64 = 20;

fn growth(account: &Account, trend: &Trend) -> Growth {
    let flat = trend.connections.unsigned_abs().saturating_mul(FLAT) <= account.connections();
    let subscriptions = u64::try_from(trend.subscriptions).unwrap_or(0);
    let grows =
        subscriptions > 0 && subscriptions.saturating_mul(FLAT) >= account.subscriptions().unwrap_or(0);
    Growth {
        subscriptions: trend.subscriptions,
        connections: trend.connections,
        over_seconds: trend.seconds as u64,
        looks_like_a_leak: flat && grows,
    }
}

fn remediation(account: &Account, evidence: &Evidence, observed: &Observed) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(growth) = evidence.growth.as_ref().filter(|growth| growth.looks_like_a_leak) {
        steps.push(format!(
            "Subscriptions grew by {} while connections stayed flat: look for code that subscribes again and again \
             and never unsubscribes.",
            growth.subscriptions
        ));
    }
    if let Some(subjects) = &evidence.subjects {
        if subjects.inbox_percent >= DOMINANT {
            steps.push(format!(
                "{:.1} % of the listed subscriptions are inboxes: use one inbox for all requests of a connection, as \
                 current client libraries do.",
                subjects.inbox_percent
            ));
        }
        let first = subjects.first_tokens.iter().find(|token| &*token.name != "_INBOX");
        let share = first.and_then(|token| Some((token, percent_of(token.count, subjects.listed)?)));
        if let Some((token, share)) = share.filter(|(_, share)| *share >= DOMINANT) {
            steps.push(format!(
                "{share:.1} % of the listed subscriptions begin with `{}`: one wildcard may replace them.",
                token.name
            ));
        }
    }
    if let Some(top) = evidence.top_connections.first().map(|top| &top.connection) {
        let name = top.name.as_ref().map_or_else(String::new, |name| format!(" (`{name}`)"));
        steps.push(format!(
            "Begin with connection {} of user {} on server {}{name}, which has {}.",
            top.cid,
            top.user,
            top.server,
            count(top.subscriptions, "subscription"),
        ));
    }
    let more = observed.limit.as_ref().and_then(serde_json::Number::as_u64).map(raised);
    let (name, user) = (account.label(), evidence.connection.as_ref().map(|used| &used.connection));
    steps.push(match (observed.limit_source.as_deref(), more, user) {
        (Some("jwt"), Some(more), _) => format!(
            "If the use is meant, raise the limit: `nsc edit account --name '{name}' --subscriptions {more}`, then push it."
        ),
        (Some("user_jwt"), Some(more), Some(user)) => format!(
            "If the use is meant, raise the user's limit: `nsc edit user --account '{name}' --name '{}' --subs {more}`, \
             and give the client its new credentials.",
            user.user
        ),
        (Some("server"), Some(more), Some(user)) => format!(
            "If the use is meant, set `max_subscriptions: {more}` in the configuration of server {}.",
            user.server
        ),
        _ => "If the use is meant, raise the account's limit in the `limits` block of every server's configuration, \
              reload the servers, and declare the new limit to this agent."
            .into(),
    });
    steps.push(
        "Unsubscribe from what is no longer needed, and bound single users by a limit of their own.".into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{DeclaredLimits, Settings, Standing};
    use crate::checks::laws::{judge, judge_with, jwt, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{ConnectionSubscriptions, Counted, History};
    use crate::wire::connz::Connection;
    use serde_json::json;

    type Check = SubscriptionLimit;

    fn with(subscriptions: u64) -> impl Fn(&mut Connection<'_>, u64) {
        move |c, _| c.subscriptions = subscriptions
    }

    /// The gauge as every server of a cluster shows it.
    fn gauge(system: System, subscriptions: u64) -> System {
        system.with(move |snapshot| {
            for on in snapshot.accounts.values_mut().flat_map(|account| account.servers.values_mut()) {
                on.subscriptions = Some(subscriptions);
            }
        })
    }

    fn app() -> Entity {
        Entity::account("APP", None)
    }

    #[test]
    fn the_gauge_is_the_largest_and_not_the_sum() {
        let system =
            |n| gauge(System::of(3).account("APP", -1, 200, -1).connect("n1", "APP", "u", 3, with(60)), n);
        let judgement = judge::<Check>(&system(179).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&app()), Standing::Clear);
        let judgement = judge::<Check>(&system(180).done());
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "account APP has 180 of 200 subscriptions (90.0 %)");
        assert_eq!(
            json!(firing.observed),
            json!({"value": 180, "limit": 200, "percent": 90.0, "threshold": 90.0, "unit": "subscriptions",
                   "limit_source": "jwt", "scope": "account"})
        );
        assert_eq!(
            firing.evidence["connection"],
            json!({"server": "n1", "cid": 1, "name": "app", "user": "u", "subscriptions": 60, "limit": 200,
                   "limit_source": "jwt", "percent": 30.0, "fires": false})
        );
        assert_eq!(firing.evidence["per_connection"], json!({"median": 60, "max": 60}));
    }

    #[test]
    fn the_largest_connection_is_what_the_server_enforces() {
        let two = System::of(1).account("APP", -1, 100, -1).connect("n1", "APP", "u", 2, with(89));
        assert!(judge::<Check>(&two.done()).firing.is_empty());
        let one = gauge(System::of(1).account("APP", -1, 100, -1).connect("n1", "APP", "u", 1, with(90)), 95);
        let judgement = judge::<Check>(&one.done());
        let firing = only(&judgement).1;
        assert_eq!(
            firing.summary,
            "account APP: connection 1 of user u on server n1 has 90 of 100 subscriptions (90.0 %)"
        );
        assert_eq!(firing.observed.scope.as_deref(), Some("connection"));
        assert_eq!(
            firing.evidence["account"],
            json!({"subscriptions": 95, "limit": 100, "percent": 95.0, "fires": true})
        );
    }

    #[test]
    fn the_smallest_limit_of_account_user_and_server_counts() {
        let limited_system = |limit: Option<i64>| {
            let system = System::of(2).account("APP", -1, 1000, -1);
            system.connect("n1", "APP", "big", 1, with(500)).connect("n1", "APP", "small", 1, move |c, _| {
                c.subscriptions = 95;
                c.jwt = limit.map_or_else(String::new, |limit| jwt("small", limit)).into();
            })
        };
        let system = || limited_system(None);
        assert!(judge::<Check>(&system().done()).firing.is_empty());
        let limited = |limit| limited_system(Some(limit)).done();
        let judgement = judge::<Check>(&limited(100));
        let firing = only(&judgement).1;
        assert_eq!(firing.observed.limit_source.as_deref(), Some("user_jwt"));
        assert_eq!(firing.evidence["connection"]["user"], "small");
        assert!(firing.remediation.iter().any(|step| step.contains("--name 'small' --subs 200")));
        assert!(judge::<Check>(&limited(-1)).firing.is_empty());

        let judgement =
            judge::<Check>(&system().vars("n1", |vars| vars.max_subscriptions = Some(500)).done());
        let firing = only(&judgement).1;
        assert_eq!(
            (firing.observed.limit_source.as_deref(), firing.observed.percent),
            (Some("server"), Some(100.0))
        );
        let elsewhere = system().vars("n2", |vars| vars.max_subscriptions = Some(500));
        assert!(judge::<Check>(&elsewhere.done()).firing.is_empty());
        for none in [Some(0), Some(-1), None] {
            let unlimited = system().vars("n1", move |vars| vars.max_subscriptions = none);
            assert!(judge::<Check>(&unlimited.done()).firing.is_empty());
        }
    }

    #[test]
    fn a_small_connection_with_a_small_limit_is_found_behind_a_large_one() {
        // Nine on a server that allows one, while another server without a limit has ninety-five of the same user.
        let system = System::of(2)
            .account("APP", -1, 1000, -1)
            .connect("n1", "APP", "u", 1, with(95))
            .connect("n2", "APP", "u", 1, with(9))
            .vars("n2", |vars| vars.max_subscriptions = Some(1));
        let judgement = judge::<Check>(&system.done());
        let firing = only(&judgement).1;
        assert_eq!(
            (firing.observed.limit_source.as_deref(), firing.observed.percent),
            (Some("server"), Some(900.0))
        );
        assert_eq!(
            (&firing.evidence["connection"]["cid"], &firing.evidence["connection"]["server"]),
            (&json!(2), &json!("n2"))
        );
    }

    #[test]
    fn connections_of_one_user_have_the_limits_of_the_jwt_that_each_logged_in_with() {
        let system = |first: i64, second: i64| {
            let limited = |subscriptions, limit| {
                move |c: &mut Connection<'_>, _| {
                    c.subscriptions = subscriptions;
                    c.jwt = jwt("u", limit).into();
                }
            };
            let system = System::of(1).account("APP", -1, -1, -1);
            system.connect("n1", "APP", "u", 1, limited(95, first)).connect(
                "n1",
                "APP",
                "u",
                1,
                limited(9, second),
            )
        };
        assert!(judge::<Check>(&system(1000, 100).done()).firing.is_empty());
        for (first, second, cid) in [(100, 1000, 1), (1000, 10, 2)] {
            let judgement = judge::<Check>(&system(first, second).done());
            assert_eq!(only(&judgement).1.evidence["connection"]["cid"], cid);
        }
    }

    #[test]
    fn unlimited_zero_and_above_the_limit() {
        let system = |limit, n| {
            System::of(1).account("APP", -1, limit, -1).connect("n1", "APP", "u", 1, with(n)).done()
        };
        let judgement = judge::<Check>(&system(-1, 1_000_000));
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&app()), Standing::Clear);
        assert!(judge::<Check>(&system(0, 0)).firing.is_empty());
        assert_eq!(only(&judge::<Check>(&system(0, 1))).1.observed.percent, None);
        assert!(
            only(&judge::<Check>(&system(10, 12)))
                .1
                .summary
                .ends_with("12 of 10 subscriptions (120.0 %), above the limit")
        );
    }

    #[test]
    fn a_limit_that_nobody_sees_is_unknown_until_connections_are_refused() {
        let system = || System::of(1).config_account("APP").connect("n1", "APP", "u", 1, with(95));
        let judgement = judge::<Check>(&system().done());
        assert!(judgement.firing.is_empty());
        let rows = judgement.unknown_rows();
        assert!(rows.len() == 1 && rows[0].reason.contains("declare max_subscriptions"), "{rows:?}");

        let refusing = system().with(|snapshot| {
            snapshot.accounts.values_mut().for_each(|account| account.events.refused_subscriptions = 2);
        });
        let judgement = judge::<Check>(&refusing.done());
        let (entity, firing) = only(&judgement);
        assert_eq!(firing.severity, Some(Severity::Critical));
        assert_eq!(
            firing.summary,
            "account APP: 2 connections were closed for too many subscriptions since the previous epoch; the limit \
             itself is not visible"
        );
        assert_eq!(firing.evidence["refused"], 2);
        assert_eq!(judge::<Check>(&system().done()).standing(entity), Standing::Clear);
        let blind = judge::<Check>(&system().silent("n1", Endpoint::Events).done());
        assert!(matches!(blind.standing(entity), Standing::Unknown(_)));

        let declared = DeclaredLimits { max_subscriptions: Some(100), ..DeclaredLimits::default() };
        let judgement = judge_with::<Check>(&system().done(), None, &[("APP", declared)]);
        assert_eq!(only(&judgement).1.observed.limit_source.as_deref(), Some("declared"));
        let server = judge::<Check>(&system().vars("n1", |vars| vars.max_subscriptions = Some(100)).done());
        assert_eq!(only(&server).1.observed.limit_source.as_deref(), Some("server"));
    }

    #[test]
    fn a_limit_that_was_not_read_this_time_ends_nothing() {
        let unread = System::of(1).connect("n1", "APP", "u", 1, with(95));
        assert!(matches!(judge::<Check>(&unread.done()).standing(&app()), Standing::Unknown(_)));
    }

    #[test]
    fn what_is_over_fires_from_any_answer_and_the_rest_is_unknown() {
        let system = || {
            let system = System::of(2).account("APP", -1, 100, -1).account("FINE", -1, 1000, -1);
            gauge(system.connect("n1", "APP", "u", 1, with(95)), 120)
        };
        let fine = Entity::account("FINE", None);
        for endpoint in [Endpoint::Connz, Endpoint::AccountStatz, Endpoint::Varz] {
            let judgement = judge::<Check>(&system().silent("n2", endpoint).done());
            assert_eq!(only(&judgement).0, &app());
            assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
        }
        let judgement = judge::<Check>(&system().gone("n2").done());
        assert_eq!(judgement.firing.len(), 1);
        assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
        // Without any sweep the gauge is still judged, and nothing is clear.
        let judgement =
            judge::<Check>(&system().silent("n1", Endpoint::Connz).silent("n2", Endpoint::Connz).done());
        assert_eq!(judgement.firing.len(), 1);
        assert!(judgement.evaluated());
        assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
    }

    #[test]
    fn subjects_and_growth_tell_the_cause() {
        let system = |second, subscriptions| {
            let system = System::of(1).at(second).account("APP", -1, 1000, -1);
            gauge(system.connect("n1", "APP", "u", 20, with(subscriptions)), subscriptions)
        };
        let token = |name: &str, count| Counted { name: name.into(), count };
        let listed = |cid, inbox, orders| ConnectionSubscriptions {
            server: "ID-n1".into(),
            cid,
            shape: SubscriptionShape {
                inbox,
                listed: inbox + orders,
                first_tokens: vec![token("_INBOX", inbox), token("orders", orders)],
            },
        };
        let mut history = History::default();
        history.push(&system(0, 500).done());
        let mut now = system(60, 950).done();
        now.follow_ups.subscriptions.insert("APP".into(), vec![listed(1, 700, 250), listed(2, 650, 300)]);
        let context = Context { now: &now, previous: None, history: &history, declared: &Default::default() };
        let rule = crate::check::Entry::of::<Check>().configure(&Settings::default()).unwrap();
        assert_eq!(rule.follow_ups(&context), [FollowUp::TopSubscriptions { account: "APP".into() }]);
        let crate::check::Outcome::Firing(firing) = &rule.judge(&context)[0].outcome else { panic!() };
        assert_eq!(
            firing.evidence["subjects"],
            json!({"listed": 1900, "inbox": 1350, "inbox_percent": 71.1,
                   "first_tokens": [{"name": "_INBOX", "count": 1350}, {"name": "orders", "count": 550}]})
        );
        assert_eq!(firing.evidence["top_connections"].as_array().unwrap().len(), 5);
        assert_eq!(firing.evidence["top_connections"][0]["subjects"]["inbox"], 700);
        assert_eq!(firing.evidence["top_connections"][2]["subjects"], json!(null));
        assert_eq!(
            firing.evidence["growth"],
            json!({"subscriptions": 450, "connections": 0, "over_seconds": 60, "looks_like_a_leak": true})
        );
        assert!(firing.remediation[0].starts_with("Subscriptions grew by 450 while connections stayed flat"));
        assert!(firing.remediation[1].starts_with("71.1 % of the listed subscriptions are inboxes"));
    }
}
