//! ACCOUNTS_001: an account's connections come near the most it may have.

use crate::check::{
    AccountLimit, Category, Context, Disturbed, Entity, EntityType, EventsSeen, Kind, LimitView, Meta,
    Observed, OutOfRange, Partial, Rule, Scope, Severity, Thresholds, Validate, Verdict, count, percent,
    percent_of,
};
use crate::checks::evidence::{
    DOMINANT, Growth, LIKELY, ServerShare, Silent, TopList, by_server, raised, sweep_gaps, top_users,
};
use crate::snapshot::{Account, Endpoint, Kinds, Sample, Trend, difference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ConnectionLimit;

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
    /// Which limit it is: `connections` or `leafnodes`.
    limit_kind: &'static str,
    /// Client connections by server.
    by_server: Vec<ServerShare>,
    /// Open connections by kind.
    kinds: Kinds,
    /// Connections opened and closed since the previous epoch; none in the first epoch.
    churn: Option<Churn>,
    /// Connections that were idle for long and never carried a message: likely leaked.
    idle_without_messages: Silent,
    /// Users with most connections.
    users: TopList,
    /// Client names with most connections.
    client_names: TopList,
    /// Addresses with most connections.
    addresses: TopList,
    /// Connections without a client name.
    unnamed: u64,
    /// Clients refused for this limit since the previous epoch; none where the events are not available.
    refused: Option<u64>,
    /// Growth over the last epochs, and the time until the limit if it goes on.
    growth: Option<Growth>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Churn {
    /// Connections opened since the previous epoch.
    opened: u64,
    /// Connections closed since; none where the events are not available, and `opened` is a lower bound then.
    closed: Option<u64>,
    /// Change of the number of connections.
    net: i64,
    /// Opened per minute.
    opened_per_minute: f64,
}

/// One of the two limits with what is used of it.
struct Use {
    which: AccountLimit,
    value: u64,
    /// The value that the fullest server compares.
    on_fullest: Option<u64>,
    limit: u64,
    source: &'static str,
}

impl Use {
    fn worst(&self) -> u64 {
        self.value.max(self.on_fullest.unwrap_or(0))
    }

    fn fires(&self, warn_percent: f64) -> bool {
        self.worst() > 0 && self.worst() as f64 * 100.0 >= warn_percent * self.limit as f64
    }

    /// For choosing the worse of two: beyond any percentage when the limit is 0.
    fn ratio(&self) -> f64 {
        self.worst() as f64 / self.limit as f64
    }
}

impl Rule for ConnectionLimit {
    const META: Meta = Meta {
        id: "ACCOUNTS_001",
        name: "Account Connection Limit",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Account,
        since: "2.9",
        differs: Some(
            "It adds up the connections of all servers, since servers enforce the limit over the whole system and not each by \
             itself.",
        ),
        rule: "The active connections of an account are at 90 % or more of the most it may have, over all servers.",
        why: "At the limit every further client is refused with \"maximum account active connections exceeded\": a \
              deployment that starts new instances before the old ones stop then fails half-way.\n\n\
              The limit is enforced over the whole system, not per server: connections are summed over all servers, \
              and MQTT and WebSocket clients count like any other. Leafnodes have a limit of their own, which is \
              judged the same way; they also count towards the connection limit, but only on the server they are \
              connected to, so the larger of the two percentages decides. The connection that this agent keeps to its \
              sink counts as well, since the server counts it.\n\n\
              A server that did not know the account yet accepts clients beyond the limit for a moment, and then all \
              servers disconnect their newest clients of the account, also some that were fine. Users report that \
              as flaky connectivity.\n\n\
              The limits of accounts that live in a server's configuration file are shown by no server. Without a \
              declared limit the verdict is unknown for them, unless clients were refused for this limit since the \
              previous epoch: that is critical.",
        remedy: &[
            "Close connections that are leaked: idle for minutes without a single message in their life.",
            "Use one connection per process; a NATS connection is made to be shared by all its threads.",
            "End churn: keep connections open instead of opening one per request, and drain on shutdown.",
            "Raise the limit if the growth is meant: `nsc edit account NAME --conns N` and push it, or the account's \
             `limits` block in the servers' configuration and a reload.",
        ],
        needs: &[Endpoint::AccountStatz],
        evidence_from: &[Endpoint::Accountz, Endpoint::Connz, Endpoint::Events],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A restart moves connections and opens none: an account is as near its limit as before.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let events = context.events_seen();
        let accounts = context.now.accounts.values();
        accounts.filter_map(|account| judge_account(context, thresholds, account, events)).collect()
    }
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    events: EventsSeen,
) -> Option<Verdict> {
    let entity = Entity::account(&account.id, account.name.as_ref());
    let warn_percent = thresholds.of(&entity).warn_percent;
    let clients = context.limit(account, AccountLimit::Connections);
    let leafs = context.limit(account, AccountLimit::Leafnodes);
    let mut uses = Vec::new();
    if let LimitView::Limited { limit, source } = clients {
        let value = account.connections();
        let leafnodes = account.leafnodes_on_fullest();
        let on_fullest = (leafnodes > 0).then_some(value.saturating_add(leafnodes));
        uses.push(Use { which: AccountLimit::Connections, value, on_fullest, limit, source });
    }
    if let LimitView::Limited { limit, source } = leafs {
        let value = account.leafnodes();
        uses.push(Use { which: AccountLimit::Leafnodes, value, on_fullest: None, limit, source });
    }
    let worst = uses
        .into_iter()
        .filter(|used| used.fires(warn_percent))
        .max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    if let Some(used) = worst {
        return Some(over(context, entity, account, &used, warn_percent));
    }
    // Nothing is within any limit.
    let unused =
        account.connections() == 0 && account.leafnodes() == 0 && account.events.refused_connections == 0;
    let nobody_sees = matches!(clients, LimitView::NotVisible(_));
    match clients {
        _ if unused => None,
        LimitView::NotVisible(reason) | LimitView::Unknown(reason) => {
            let refused = account.events.refused_connections;
            if refused > 0 {
                return Some(refusing(context, entity, account, refused));
            }
            let events_seen = events.of(account);
            // Only of a limit that nobody can see, a finding is one of refusals, which are seen to be over; a limit
            // that was not read this time may be what an earlier finding was judged by.
            let over = events_seen && nobody_sees;
            Some(if over {
                Verdict::unknown_but_over(entity, reason)
            } else {
                Verdict::unknown(entity, reason)
            })
        }
        LimitView::Limited { .. } | LimitView::Unlimited => None,
    }
}

fn over(context: &Context<'_>, entity: Entity, account: &Account, used: &Use, warn_percent: f64) -> Verdict {
    let (unit, noun) = match used.which {
        AccountLimit::Leafnodes => ("leafnodes", "leafnode connections"),
        _ => ("connections", "connections"),
    };
    let mut observed = Observed::of_limit(used.value, used.limit, warn_percent, unit, used.source);
    observed.scope = Some(unit.into());
    observed.value_on_fullest_server = used.on_fullest;
    observed.percent = percent_of(used.worst(), used.limit);
    let share = observed.percent.map_or_else(String::new, |percent| format!(" ({percent:.1} %)"));
    let mut summary =
        format!("account {} uses {} of {} {noun}{share}", account.label(), used.value, used.limit);
    if let Some(on_fullest) = used.on_fullest {
        summary.push_str(&format!("; {on_fullest} with the leafnodes of its fullest server"));
    }
    if used.worst() > used.limit {
        summary.push_str(", above its limit");
    }
    let evidence = evidence(context, account, Some(used), unit);
    let remediation = remediation(account, &evidence, Some(used));
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn refusing(context: &Context<'_>, entity: Entity, account: &Account, refused: u64) -> Verdict {
    let summary = format!(
        "account {} refused {} at its connection limit since the previous epoch; the limit itself is not visible",
        account.label(),
        count(refused, "client"),
    );
    let observed = Observed::count(account.connections(), 0, "connections");
    let observed = Observed { scope: Some("refused".into()), ..observed };
    let evidence = evidence(context, account, None, "connections");
    let remediation = remediation(account, &evidence, None);
    Verdict::firing(entity, summary, observed, &evidence, remediation).with_severity(Severity::Critical)
}

fn evidence(
    context: &Context<'_>,
    account: &Account,
    used: Option<&Use>,
    limit_kind: &'static str,
) -> Evidence {
    let fold = &account.fold;
    let clients = fold.kinds().clients();
    let events_seen = context.events_seen().of(account);
    Evidence {
        limit_kind,
        by_server: by_server(
            context.now,
            account.servers.iter().map(|(id, on)| (id.clone(), on.connections)),
        ),
        // Before 2.11 leafnodes are counted, and are not in the list of connections.
        kinds: Kinds { leafnode: fold.kinds().leafnode.max(account.leafnodes()), ..fold.kinds() },
        churn: churn(context, account, events_seen),
        idle_without_messages: Silent::of(fold.silent, clients),
        users: top_users(fold),
        client_names: TopList::of(&fold.names),
        addresses: TopList::of(&fold.addresses),
        unnamed: fold.unnamed,
        refused: events_seen.then_some(account.events.refused_connections),
        growth: trend(context, account).map(|trend| growth(&trend, used)),
        sweep_incomplete: sweep_gaps(context.now),
    }
}

fn churn(context: &Context<'_>, account: &Account, events_seen: bool) -> Option<Churn> {
    let seconds = context.seconds_since_previous()?;
    let before = context.previous?.accounts.get(&account.id)?.connections();
    let net = difference(account.connections(), before);
    let closed = events_seen.then_some(account.events.closed);
    // The server's `total_conns` is no counter but connections plus leafnodes (every recorded answer, 2.9.10 to 2.15.1), so
    // what was opened is told by what was closed, and by the starts of what is still open.
    let by_balance = u64::try_from(net.saturating_add_unsigned(closed.unwrap_or(0))).unwrap_or(0);
    let opened = by_balance.max(account.fold.opened);
    Some(Churn { opened, closed, net, opened_per_minute: (opened as f64 * 600.0 / seconds).round() / 10.0 })
}

fn trend(context: &Context<'_>, account: &Account) -> Option<Trend> {
    let subscriptions = account.subscriptions().unwrap_or(0);
    let now = Sample { at: context.now.taken_at, connections: account.connections(), subscriptions };
    context.history.account(&account.id, now)
}

fn growth(trend: &Trend, used: Option<&Use>) -> Growth {
    let used = used.filter(|used| used.which == AccountLimit::Connections);
    Growth::of(trend, used.and_then(|used| used.limit.checked_sub(used.worst())))
}

fn remediation(account: &Account, evidence: &Evidence, used: Option<&Use>) -> Vec<String> {
    let clients = account.fold.kinds().clients();
    let mut steps = Vec::new();
    let silent = &evidence.idle_without_messages;
    if silent.percent >= LIKELY {
        steps.push(format!(
            "{} ({:.1} %) never carried a message and are idle: look for connections that are opened and forgotten, \
             beginning with the users and client names in the evidence.",
            count(silent.connections, "connection"),
            silent.percent,
        ));
    }
    let many_from_one = [("client name", &evidence.client_names), ("address", &evidence.addresses)];
    for (what, list) in many_from_one {
        if let Some((name, share)) = list.leading(clients).filter(|(_, share)| *share >= DOMINANT) {
            steps.push(format!(
                "{share:.1} % of the connections come from the {what} `{name}`: use one connection per process and \
                 share it between its threads."
            ));
            break;
        }
    }
    if let Some(churn) =
        evidence.churn.as_ref().filter(|churn| churn.opened_per_minute >= account.connections() as f64)
    {
        steps.push(format!(
            "{:.1} connections are opened per minute: keep connections open instead of one per request, and drain on \
             shutdown.",
            churn.opened_per_minute
        ));
    }
    if evidence.growth.as_ref().is_some_and(|growth| growth.seconds_to_limit.is_some()) {
        steps.push(
            "The number grows steadily: find out what was scaled up, and plan a new limit with it.".into(),
        );
    }
    let name = account.label();
    steps.push(match used {
        Some(Use { which: AccountLimit::Leafnodes, limit, source: "jwt", .. }) => {
            let more = raised(*limit);
            format!("If the use is meant, raise the limit: `nsc edit account --name '{name}' --leaf-conns {more}`, then push it.")
        }
        Some(Use { limit, source: "jwt", .. }) => {
            let more = raised(*limit);
            format!("If the use is meant, raise the limit: `nsc edit account --name '{name}' --conns {more}`, then push it.")
        }
        _ => "If the use is meant, raise the account's limit in the `limits` block of every server's configuration, \
              reload the servers, and declare the new limit to this agent."
            .into(),
    });
    steps.push("Use one connection per process, and drain it on shutdown.".into());
    steps
}

#[cfg(test)]
mod tests;
