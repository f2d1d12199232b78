//! Shapes of evidence that several checks share.

pub(super) mod closed;
pub(super) mod since;

use crate::check::percent_of;
use crate::snapshot::{
    AccountFold, Counted, Endpoint, Gap, Server, Snapshot, SubscriptionShape, TopConnection, TopCounter,
    Trend, UserFold,
};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Length of top lists.
pub(super) const TOP: usize = 5;

/// The most frequent names of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct TopList {
    /// The most frequent ones, at most 5.
    pub(super) top: Vec<Counted>,
    /// How many distinct ones there are.
    pub(super) distinct: u64,
    /// False where there were so many distinct names that counts are lower bounds.
    pub(super) exact: bool,
}

impl Default for TopList {
    fn default() -> Self {
        Self { top: Vec::new(), distinct: 0, exact: true }
    }
}

impl TopList {
    pub(super) fn of(counter: &TopCounter) -> Self {
        Self { top: counter.top(TOP), distinct: counter.distinct(), exact: counter.is_exact() }
    }

    /// The share of the most frequent one, in percent of `whole`.
    pub(super) fn leading(&self, whole: u64) -> Option<(&Name, f64)> {
        let first = self.top.first()?;
        Some((&first.name, percent_of(first.count, whole)?))
    }
}

/// One server's part of a count.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct ServerShare {
    /// The server's name.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// Its connections.
    pub(super) connections: u64,
    /// In percent of all servers together.
    pub(super) percent: f64,
}

/// Connections by server, the fullest first; every server that is named in `counts` has a row.
pub(super) fn by_server(snapshot: &Snapshot, counts: impl Iterator<Item = (Name, u64)>) -> Vec<ServerShare> {
    let mut rows: Vec<_> = counts.map(|(id, count)| (snapshot.server_name(&id), count)).collect();
    let whole = rows.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.into_iter()
        .map(|(server, connections)| {
            let percent = percent_of(connections, whole).unwrap_or(0.0);
            ServerShare { server, connections, percent }
        })
        .collect()
}

/// Connections that have been idle for long and never carried a message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct Silent {
    /// How many.
    pub(super) connections: u64,
    /// In percent of the connections that were looked at.
    pub(super) percent: f64,
}

impl Silent {
    pub(super) fn of(silent: u64, whole: u64) -> Self {
        Self { connections: silent, percent: percent_of(silent, whole).unwrap_or(0.0) }
    }
}

/// A connection that stands out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct ConnectionRow {
    /// The server's name.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// The connection's id there.
    pub(super) cid: u64,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Name>,
    /// The user.
    #[schemars(with = "String")]
    pub(super) user: Name,
    /// Its subscriptions.
    pub(super) subscriptions: u64,
}

impl ConnectionRow {
    /// The user stands by the name that people know.
    pub(super) fn of(snapshot: &Snapshot, fold: &AccountFold, connection: &TopConnection) -> Self {
        let user = fold.users.at(connection.user).map_or("", UserFold::label);
        Self {
            server: snapshot.server_name(&connection.server),
            cid: connection.cid,
            name: connection.name.clone(),
            user: Name::from(user),
            subscriptions: connection.subscriptions,
        }
    }
}

/// A connection that stands out on its server, with its account.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct AccountConnectionRow {
    /// The account, by the name that people know.
    #[schemars(with = "String")]
    pub(super) account: Name,
    #[serde(flatten)]
    pub(super) connection: ConnectionRow,
}

/// Who has most subscriptions on one server, from the sweep; empty where there was none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct SubscribersOn {
    /// Accounts whose clients have most subscriptions here.
    pub(super) accounts: Vec<Counted>,
    /// Clients with most subscriptions here.
    pub(super) connections: Vec<AccountConnectionRow>,
}

impl SubscribersOn {
    pub(super) fn of(snapshot: &Snapshot, server: &Server) -> Self {
        let Some(fold) = &server.fold else {
            return Self::default();
        };
        let label = |id: &Name| {
            let account = snapshot.accounts.get(id);
            account.and_then(|account| account.name.clone()).unwrap_or_else(|| id.clone())
        };
        let mut accounts = fold.accounts_by_subscriptions.clone();
        for row in &mut accounts {
            row.name = label(&row.name);
        }
        let nothing = AccountFold::default();
        let rows = fold.top_subscriptions.iter().map(|(id, top)| {
            let fold = snapshot.accounts.get(id).map_or(&nothing, |account| &account.fold);
            AccountConnectionRow { account: label(id), connection: ConnectionRow::of(snapshot, fold, top) }
        });
        Self { accounts, connections: rows.collect() }
    }

    /// The client to begin with.
    pub(super) fn begin(&self) -> Option<String> {
        let AccountConnectionRow { account, connection } = self.connections.first()?;
        let ConnectionRow { server, cid, name, user, subscriptions } = connection;
        let name = name.as_ref().map_or_else(String::new, |name| format!(" (`{name}`)"));
        Some(format!(
            "Begin with connection {cid} of user {user} in account {account} on server {server}{name}, which has \
             {subscriptions} subscriptions."
        ))
    }
}

/// What the subscriptions of several connections look like, taken together.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct Subjects {
    /// Subscriptions that were listed.
    pub(super) listed: u64,
    /// Those below `_INBOX.`.
    pub(super) inbox: u64,
    /// Their share in percent.
    pub(super) inbox_percent: f64,
    /// The most common first tokens, `_INBOX` included.
    pub(super) first_tokens: Vec<Counted>,
}

impl Subjects {
    /// None where no subscription was listed.
    pub(super) fn together<'a>(shapes: impl Iterator<Item = &'a SubscriptionShape>) -> Option<Self> {
        let (mut listed, mut inbox, mut tokens) = (0u64, 0u64, BTreeMap::<&Name, u64>::new());
        for shape in shapes {
            listed = listed.saturating_add(shape.listed);
            inbox = inbox.saturating_add(shape.inbox);
            for token in &shape.first_tokens {
                let sum = tokens.entry(&token.name).or_default();
                *sum = sum.saturating_add(token.count);
            }
        }
        let mut first_tokens: Vec<_> =
            tokens.into_iter().map(|(name, count)| Counted { name: name.clone(), count }).collect();
        first_tokens.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        first_tokens.truncate(TOP);
        Some(Self { listed, inbox, inbox_percent: percent_of(inbox, listed)?, first_tokens })
    }
}

/// The users of an account with most connections, by the name people know.
pub(super) fn top_users(fold: &AccountFold) -> TopList {
    let mut users: Vec<_> = fold.users.iter().map(|user| (user.connections(), user.label())).collect();
    users.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let top = users.into_iter().take(TOP).map(|(count, name)| Counted { name: Name::from(name), count });
    TopList { top: top.collect(), distinct: fold.users.len() as u64, exact: true }
}

/// Who has most of the connections of one server, from the sweep; empty where there was none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct OnServer {
    /// Accounts with most connections here.
    pub(super) accounts: TopList,
    /// Client names with most connections here.
    pub(super) client_names: TopList,
    /// Addresses with most connections here.
    pub(super) addresses: TopList,
}

impl OnServer {
    pub(super) fn of(snapshot: &Snapshot, server: &Server) -> Self {
        let Some(fold) = &server.fold else {
            return Self::default();
        };
        let (top, distinct) = (fold.accounts.clone(), fold.distinct_accounts);
        let mut accounts = TopList { top, distinct, exact: true };
        for row in &mut accounts.top {
            if let Some(name) = snapshot.accounts.get(&row.name).and_then(|account| account.name.as_ref()) {
                row.name = name.clone();
            }
        }
        Self { accounts, client_names: TopList::of(&fold.names), addresses: TopList::of(&fold.addresses) }
    }
}

/// What the sweep over connections did not bring, so that evidence drawn from it is a lower bound.
pub(super) fn sweep_gaps(snapshot: &Snapshot) -> Vec<String> {
    gaps_where(snapshot, |_| true)
}

/// The same for evidence that is drawn from the connections of one server alone.
pub(super) fn sweep_gaps_at(snapshot: &Snapshot, server: &Name) -> Vec<String> {
    gaps_where(snapshot, |gap| gap.server == *server)
}

fn gaps_where(snapshot: &Snapshot, wanted: impl Fn(&Gap) -> bool) -> Vec<String> {
    let gaps = snapshot.coverage.gaps(Endpoint::Connz).into_iter().filter(wanted);
    let mut reasons: Vec<String> = gaps.map(|gap| gap.reason).collect();
    // A sweep that was not made at all has one reason for all servers.
    reasons.dedup();
    reasons.truncate(TOP);
    reasons
}

/// In percent of the connections: from here on, a cause is likely enough to be named first.
pub(super) const LIKELY: f64 = 20.0;
/// One name holding this share of the connections, in percent, looks like a process that opens many.
pub(super) const DOMINANT: f64 = 50.0;

/// How connections grew over the last epochs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct Growth {
    /// Connections gained over the window.
    pub(super) connections: i64,
    /// Length of the window in seconds.
    pub(super) over_seconds: u64,
    /// Seconds until the limit is reached; only when every epoch of the window grew.
    pub(super) seconds_to_limit: Option<u64>,
}

impl Growth {
    /// `room`: how many connections more there may be, where there is a limit that is not reached.
    pub(super) fn of(trend: &Trend, room: Option<u64>) -> Self {
        let seconds =
            room.zip(trend.steady_connections_per_second).map(|(room, rate)| (room as f64 / rate).round());
        Self {
            connections: trend.connections,
            over_seconds: trend.seconds as u64,
            seconds_to_limit: seconds.map(|seconds| seconds as u64),
        }
    }
}

/// A new limit to suggest: half as much again, rounded up to a round number.
pub(super) const fn raised(limit: u64) -> u64 {
    let more = limit.saturating_add(limit / 2).saturating_add(1);
    if more < 100 { more.div_ceil(10) * 10 } else { more.div_ceil(100).saturating_mul(100) }
}

/// A time as the published JSON writes it, in UTC.
pub(super) fn rfc3339(time: OffsetDateTime) -> Option<String> {
    time.checked_to_offset(UtcOffset::UTC)?.format(&Rfc3339).ok()
}

/// A duration in words: `9h 5m`.
pub(super) fn in_words(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}
