//! ACCOUNTS_006: subscriptions come near the most that an account allows.

use crate::check::{
    AccountLimit, Category, Context, Disturbed, Entity, EntityType, EventsSeen, Kind, LimitView, Meta,
    Observed, OutOfRange, Partial, Rule, Scope, Severity, Thresholds, Validate, Verdict, count, percent,
    percent_of,
};
use crate::checks::evidence::{ConnectionRow, DOMINANT, Subjects, in_brackets, raised, sweep_gaps};
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
        since: "2.9",
        differs: Some(
            "It compares the largest connection, for which servers enforce the limit, and of the account as a whole what the server \
             with most of it shows: every server counts what routes bring as well, so that a sum over them grows with the \
             cluster.",
        ),
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
        ..Meta::PLAIN
    };
    // Subscriptions go with their connection: no restart adds to them.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let firing = context.now.accounts.values().filter(|account| {
            let warn_percent = thresholds.of(&Entity::of_account(account)).warn_percent;
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
    let entity = Entity::of_account(account);
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
        let name = in_brackets(top.name.as_ref());
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
mod tests;
