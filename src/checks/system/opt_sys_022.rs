//! OPT_SYS_022: the clients of a server have ever more subscriptions, though they are not more.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, above, at_least, percent, percent_of, rounded,
};
use crate::checks::evidence::{SubscribersOn, TOP, in_words};
use crate::snapshot::{Account, Endpoint, Point, Sample, Series, Server, Track};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct SubscriptionGrowth;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when subscriptions grew by more than this over the window, in percent.
    growth_percent: f64,
    /// Only if the number of connections changed by less than this meanwhile, in percent.
    connections_percent: f64,
    /// Only if so many of the epochs of the window, in percent, did not have fewer subscriptions than the one before.
    rising_percent: f64,
    /// Leave out servers with fewer subscriptions than this.
    min_subscriptions: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { growth_percent: 20.0, connections_percent: 5.0, rising_percent: 80.0, min_subscriptions: 100 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        above("growth_percent", self.growth_percent, 0)?;
        percent("connections_percent", self.connections_percent)?;
        percent("rising_percent", self.rising_percent)?;
        at_least("min_subscriptions", self.min_subscriptions, 1)
    }
}

/// Epochs from which growth is told, the present one included.
const EPOCHS: usize = 10;

/// The most that one epoch may bring of the growth. A deployment brings all of its subscriptions at once, a leak does not.
const STEP: f64 = 0.5;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Subscriptions of the server's clients at the beginning of the window.
    from: u64,
    /// Subscriptions of the server's clients now.
    to: u64,
    /// Subscriptions gained per hour, at the pace of the window.
    per_hour: f64,
    /// Length of the window in seconds, at most an hour.
    over_seconds: u64,
    /// Epochs that were compared.
    epochs: u64,
    /// Epochs with no fewer subscriptions than the one before, in percent.
    rising_percent: f64,
    /// Client connections at the beginning of the window.
    connections_from: u64,
    /// Client connections now.
    connections_to: u64,
    /// Accounts whose subscriptions grew by most over the last epochs, on all servers of a cluster together; at most 5.
    accounts: Vec<Grown>,
    /// Who has most subscriptions on this server.
    top: SubscribersOn,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Grown {
    /// The account, by the name that people know.
    #[schemars(with = "String")]
    account: Name,
    /// Subscriptions gained.
    subscriptions: i64,
    /// Connections gained, or lost.
    connections: i64,
    /// In how many seconds.
    over_seconds: u64,
}

impl Rule for SubscriptionGrowth {
    const META: Meta = Meta {
        id: "OPT_SYS_022",
        name: "Growing Number of Subscriptions",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("system"),
        since: "2.9",
        differs: Some(
            "It follows the subscriptions of the server's own clients, added up from the list of connections, since the number \
             that servers report contains what routes brought and grows on every member; and growth of which one epoch brings \
             more than half is a deployment. Servers whose clients have fewer than 100 subscriptions are left out.",
        ),
        rule: "The subscriptions of a server's clients grew by more than 20 % over at least 10 epochs, rising in 80 % of them, \
               while its connections changed by less than 5 %.",
        why: "Clients that subscribe and do not unsubscribe leak: an inbox for each request, a subscription for each session \
              or order. Each one costs memory on every server of the cluster, makes matching slower, and one day the \
              connection meets the limit of its account, user or server, from where on its subscriptions are refused \
              (ACCOUNTS_006).\n\n\
              The window is the last hour, or as much of it as this agent has watched, and at least 10 epochs. A server that \
              was started anew, or whose connections were not all listed in an epoch, begins again. Growth that comes \
              with connections is growth of use, and is not reported; servers whose clients have fewer than 100 \
              subscriptions are left out.",
        remedy: &[
            "Find the client: its number of subscriptions grows from look to look (`nats server report connections --sort \
             subs`).",
            "Unsubscribe from what is done with, or let a subscription end by itself after so many messages.",
            "Use one inbox for all requests of a connection (`_INBOX.<id>.*`), as current client libraries do.",
            "Bound it by a limit of subscriptions of the user or the account, so that a leak shows itself early.",
        ],
        needs: &[Endpoint::Connz, Endpoint::Varz],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // As the window passes on, growth that has ended sinks below the threshold once; a pause of an epoch is no end.
    const KEEP: u64 = 2;
    const SERIES: &'static [Series] = &[Series::ServerSubscriptions, Series::ServerConnections];
    // Clients of a server that leaves come to the others, though with their connections.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let by_boot = |series| -> BTreeMap<Name, Track> {
            context.tracks(series).into_iter().map(|track| (track.boot.clone(), track)).collect()
        };
        let (subscriptions, connections) =
            (by_boot(Series::ServerSubscriptions), by_boot(Series::ServerConnections));
        let servers = context.now.servers.values().filter_map(|server| {
            // One whose connections were not listed has a gap, which the framework tells.
            let points = &subscriptions.get(&server.id)?.points;
            let connections = connections.get(&server.id).map(|track| &track.points[..]);
            match connections.and_then(|connections| Window::of(points, connections)) {
                Some(window) if window.epochs >= EPOCHS => judge_server(context, thresholds, server, &window),
                // Also after a gap: the growth that was found may go on.
                _ => Some(Verdict::not_yet(
                    Entity::of_server(server),
                    format!("it looks at {EPOCHS} epochs in a row, of which {} have been seen", points.len()),
                )),
            }
        });
        servers.collect()
    }
}

/// What a server's hour was like.
struct Window {
    from: u64,
    to: u64,
    connections: (u64, u64),
    seconds: f64,
    epochs: usize,
    rising: usize,
    largest_step: u64,
}

impl Window {
    fn of(subscriptions: &[Point], connections: &[Point]) -> Option<Self> {
        let (first, last) = (subscriptions.first()?, subscriptions.last()?);
        // Connections are told also where they are not listed: from the same time on.
        let connections_from = connections.iter().rev().find(|point| point.at <= first.at)?;
        let pairs = || subscriptions.windows(2).map(|pair| (pair[0].value, pair[1].value));
        Some(Self {
            from: first.value,
            to: last.value,
            connections: (connections_from.value, connections.last()?.value),
            seconds: (last.at - first.at).as_seconds_f64(),
            epochs: subscriptions.len(),
            rising: pairs().filter(|(before, after)| after >= before).count(),
            largest_step: pairs().map(|(before, after)| after.saturating_sub(before)).max().unwrap_or(0),
        })
    }

    const fn gained(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    fn rising_percent(&self) -> f64 {
        percent_of(self.rising as u64, self.epochs.saturating_sub(1) as u64).unwrap_or(0.0)
    }

    /// In percent of what there was: beyond any where there was nothing.
    fn is_growth(&self, limits: &Limits) -> bool {
        let (from, to) = self.connections;
        let (gained, changed) = (self.gained() as f64, from.abs_diff(to) as f64);
        self.seconds > 0.0
            && self.to >= limits.min_subscriptions
            && gained * 100.0 > limits.growth_percent * self.from as f64
            && changed * 100.0 < limits.connections_percent * from as f64
            && self.rising as f64 * 100.0 >= limits.rising_percent * (self.epochs - 1) as f64
            && self.largest_step as f64 <= STEP * gained
    }
}

fn judge_server(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    server: &Server,
    window: &Window,
) -> Option<Verdict> {
    let entity = Entity::of_server(server);
    let limits = thresholds.of(&entity);
    if !window.is_growth(limits) {
        return None;
    }
    let Window { from, to, .. } = *window;
    let share = percent_of(window.gained(), from);
    let by = share.map_or_else(String::new, |share| format!(" ({share:.1} %)"));
    let summary = format!(
        "subscriptions of server {}'s clients grew from {from} to {to}{by} in {}, while it has {} connections as before",
        server.name,
        in_words(window.seconds as u64),
        window.connections.1,
    );
    let observed = Observed {
        percent: share,
        ..Observed::count(window.gained(), rounded(limits.growth_percent), "subscriptions")
    };
    let evidence = Evidence {
        from,
        to,
        per_hour: (window.gained() as f64 * 36_000.0 / window.seconds).round() / 10.0,
        over_seconds: window.seconds as u64,
        epochs: window.epochs as u64,
        rising_percent: window.rising_percent(),
        connections_from: window.connections.0,
        connections_to: window.connections.1,
        accounts: grown(context),
        top: SubscribersOn::of(context.now, server),
    };
    let remediation = remediation(&evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn grown(context: &Context<'_>) -> Vec<Grown> {
    let of = |account: &Account| {
        let now = Sample {
            at: context.now.taken_at,
            connections: account.connections(),
            subscriptions: account.subscriptions()?,
        };
        let trend = context.history.account(&account.id, now)?;
        (trend.subscriptions > 0).then(|| Grown {
            account: Name::from(account.label()),
            subscriptions: trend.subscriptions,
            connections: trend.connections,
            over_seconds: trend.seconds as u64,
        })
    };
    let mut grown: Vec<Grown> = context.now.accounts.values().filter_map(of).collect();
    grown.sort_by(|a, b| b.subscriptions.cmp(&a.subscriptions).then_with(|| a.account.cmp(&b.account)));
    grown.truncate(TOP);
    grown
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(Grown { account, subscriptions, .. }) = evidence.accounts.first() {
        steps.push(format!(
            "Account {account} has gained most subscriptions ({subscriptions}): begin with its clients."
        ));
    }
    steps.extend(evidence.top.begin());
    steps.push(
        "Unsubscribe from what is done with, or let a subscription end by itself after so many messages."
            .into(),
    );
    steps.push("Use one inbox for all requests of a connection, as current client libraries do.".into());
    steps.push(
        "Bound it by a limit of subscriptions of the user or the account, so that a leak shows itself early."
            .into(),
    );
    steps
}

#[cfg(test)]
mod tests;
