//! SERVER_015: streams and consumers that do not work on a server.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, seconds,
};
use crate::checks::as_text;
use crate::checks::evidence::{in_words, most_frequent};
use crate::snapshot::{
    Counted, Endpoint, Health, Problem, ProblemKind, Series, Server, Snapshot, lagging_asset,
};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct StreamsUnhealthy;

/// When a replica that only lags is as bad as one that is broken.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// A stream or a consumer that has been lagging on its server for this long without a break, e.g. `15m`, is no warning
    /// any longer; at least `1s`, and of use up to an hour.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    lagging_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lagging_for: Duration::from_secs(900) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("lagging_for", self.lagging_for)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Streams.
    streams: Counts,
    /// Consumers. Those of a stream with a problem are not looked at by the server.
    consumers: Counts,
    /// Accounts with most problems, by the name that people know, at most 5.
    accounts: Vec<Counted>,
    /// What is wrong, in the words of the server, the most frequent first, at most 5.
    causes: Vec<Counted>,
    /// The first problems by account, stream and consumer, at most 5; broken ones before those that lag, streams before
    /// consumers.
    first: Vec<Row>,
    /// For how many seconds the same stream or consumer has been lagging without a break, the longest of the first hundred;
    /// none where nothing lags.
    longest_lag_seconds: Option<u64>,
    /// Problems that the server told beyond those that were counted.
    omitted: u64,
    /// Whether the server tells one problem only, whatever there is (before 2.10): counts are lower bounds.
    one_of_many: bool,
}

#[derive(Debug, Default, Clone, Copy, Serialize, JsonSchema)]
struct Counts {
    /// Not there, not recovered, or not able to write.
    broken: u64,
    /// Behind their leader, or without contact to one. Their part of the group may also have ended, for which servers have
    /// the same words.
    lagging: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
struct Row {
    /// See [`State`].
    state: State,
    /// The account, by the name that people know.
    #[schemars(with = "Option<String>")]
    account: Option<Name>,
    /// The stream.
    #[schemars(with = "Option<String>")]
    stream: Option<Name>,
    /// The consumer; none for a stream.
    #[schemars(with = "Option<String>")]
    consumer: Option<Name>,
    /// The server's words.
    #[schemars(with = "String")]
    problem: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It does not end by itself.
    Broken,
    /// It may end by itself.
    Lagging,
}

/// Rows of every list.
const NAMED: usize = 5;

impl Rule for StreamsUnhealthy {
    const META: Meta = Meta {
        id: "SERVER_015",
        name: "Streams or Consumers Unhealthy",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "There is one finding for each server with counts and the first five assets, and it is a warning while replicas \
             lag for less than 15 minutes: a server reports every replica that has not caught up, tens of thousands after a \
             restart, in the same way as one that is lost.",
        ),
        rule: "A server says for 2 epochs in a row that streams or consumers on it do not work; a warning as long as they \
               only lag behind, and none of them for 15 minutes.",
        why: "A stream that could not be recovered is not there: on a single server it takes no messages and gives none, \
              and of a replicated one this copy is lost until it is made anew. A write error stops it as well.\n\n\
              A replica that is not current lags behind its leader, or its group has no leader. After a restart that is \
              ordinary, until every group has more than half of its replicas. What lags for long lacks a server, or disk \
              and network to catch up with, or its part of the group has ended, which servers call `group node unhealthy` \
              as well and which nothing but a restart of the server mends.\n\n\
              A server without a cluster looks at the streams of its store and at no consumers; one of a cluster at those \
              that are assigned to it, and at the consumers of the streams that are well. It says nothing of either while \
              JetStream as a whole has a problem (SERVER_014). Before 2.10 it tells the first problem alone.",
        remedy: &[
            "For what could not be recovered look into the log of the server at its start: a damaged `meta.inf`, a missing \
             key for encryption, or files that cannot be read. Mend that and restart the server; what is lost for good is \
             restored from a backup.",
            "For what is missing or stands still in a cluster look into the log of the server and at the limits of account \
             and server, let the group elect another leader (`nats stream cluster step-down`), and restart the server if \
             that does not help.",
            "For what lags see whether all servers of the group are there, then give it time; one that does not get on can \
             elect another leader.",
            "Look at the disk of the server: space, errors and latency.",
        ],
        needs: &[Endpoint::Healthz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Streams are read from disk after a start, elect leaders and catch up.
    const FOR: u64 = 2;
    // Groups that lose a member elect, and one that comes back has to catch up.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const SERIES: &'static [Series] = &[Series::LaggingAssets];
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let tracks = context.tracks(Series::LaggingAssets);
        let lags: BTreeMap<&Name, u64> =
            tracks.iter().map(|track| (&track.key, track.seconds() as u64)).collect();
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context.now, thresholds, &lags, server)).collect()
    }
}

fn judge_server(
    now: &Snapshot,
    thresholds: &Thresholds<Limits>,
    lags: &BTreeMap<&Name, u64>,
    server: &Server,
) -> Option<Verdict> {
    let health = server.health.as_ref()?;
    let is_asset = |problem: &&Problem| matches!(problem.kind, ProblemKind::Stream | ProblemKind::Consumer);
    let problems: Vec<&Problem> = health.problems.iter().filter(is_asset).collect();
    if problems.is_empty() {
        return None;
    }
    let lag = |problem: &&Problem| lags.get(&lagging_asset(server, problem.asset())).copied();
    let longest =
        problems.iter().copied().filter(|problem| problem.lags()).filter_map(|problem| lag(&problem));
    let evidence = Evidence { longest_lag_seconds: longest.max(), ..evidence(now, health, &problems) };
    let Evidence { streams, consumers, .. } = &evidence;
    let name = &server.name;
    let mut parts = Vec::new();
    for (counts, what) in [(streams, "stream"), (consumers, "consumer")] {
        if counts.broken > 0 {
            parts.push(format!("{} broken", count(counts.broken, what)));
        }
        if counts.lagging > 0 {
            parts.push(format!("{} not current", count(counts.lagging, what)));
        }
    }
    let first = evidence.first.first().map_or("", |row| &*row.problem);
    let entity = Entity::of_server(server);
    let lagging_for = thresholds.of(&entity).lagging_for.as_secs();
    let lasting = evidence.longest_lag_seconds.filter(|seconds| *seconds >= lagging_for);
    let since =
        lasting.map_or_else(String::new, |seconds| format!(" (for {} without a break)", in_words(seconds)));
    let summary = format!("server {name} reports {}{since}: {first}", parts.join(", "));
    let total = (problems.len() as u64).saturating_add(evidence.omitted);
    let observed = Observed::count(total, 1, "problems");
    let broken = streams.broken > 0 || consumers.broken > 0 || lasting.is_some();
    let remediation = remediation(server, &evidence);
    let verdict = Verdict::firing(entity, summary, observed, &evidence, remediation);
    Some(if broken { verdict } else { verdict.with_severity(Severity::Warning) })
}

fn evidence(now: &Snapshot, health: &Health, problems: &[&Problem]) -> Evidence {
    let (mut streams, mut consumers) = (Counts::default(), Counts::default());
    let mut accounts: BTreeMap<Name, u64> = BTreeMap::new();
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::with_capacity(problems.len());
    for problem in problems {
        let (lags, cause) = problem.cause();
        let state = if lags { State::Lagging } else { State::Broken };
        let counts = if problem.kind == ProblemKind::Stream { &mut streams } else { &mut consumers };
        match state {
            State::Broken => counts.broken += 1,
            State::Lagging => counts.lagging += 1,
        }
        *causes.entry(cause).or_default() += 1;
        let row = row(now, problem, state);
        if let Some(account) = &row.account {
            *accounts.entry(account.clone()).or_default() += 1;
        }
        rows.push(row);
    }
    // Streams come before consumers: what is wrong with those mostly follows from them.
    rows.sort_by(|a, b| {
        let key = |row: &Row| (row.state, row.consumer.is_some());
        key(a).cmp(&key(b)).then_with(|| a.cmp(b))
    });
    rows.truncate(NAMED);
    let one_of_many = problems.iter().all(|problem| problem.account.is_none()) && problems.len() == 1;
    Evidence {
        streams,
        consumers,
        accounts: most_frequent(accounts.into_iter()),
        causes: most_frequent(causes.into_iter().map(|(cause, count)| (Name::from(cause), count))),
        first: rows,
        longest_lag_seconds: None,
        omitted: health.omitted,
        one_of_many,
    }
}

fn row(now: &Snapshot, problem: &Problem, state: State) -> Row {
    let Problem { account, stream, consumer, text, kind } = problem;
    // Before 2.10 the names stand in the text alone: `JetStream consumer 'ACCOUNT > STREAM > CONSUMER' is not current`.
    let quoted = text.split_once('\'').and_then(|(_, rest)| rest.rsplit_once('\''));
    let mut named = quoted.map(|(names, _)| names.splitn(3, " > ")).into_iter().flatten();
    let mut next = |told: &Option<Name>| {
        let named = named.next().map(Name::from);
        told.clone().or(named)
    };
    let (account, stream) = (next(account), next(stream));
    let consumer = if *kind == ProblemKind::Consumer { next(consumer) } else { None };
    let account = account.map(|account| now.account_label(&account));
    Row { state, account, stream, consumer, problem: text.clone() }
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let broken = || evidence.first.iter().filter(|row| row.state == State::Broken);
    let stream = |row: &Row| row.stream.clone().unwrap_or_else(|| "?".into());
    let writes = |row: &&Row| row.problem.contains("write error");
    let unrecovered = |row: &&Row| row.problem.contains("could not be recovered");
    let mut steps = Vec::new();
    if let Some(row) = broken().find(writes) {
        steps.push(format!(
            "Look at the disk of server {name}: stream {} cannot be written; free space or mend it, then restart the server.",
            stream(row)
        ));
    }
    // Only a server without a cluster says so: it has no other replica to copy from.
    if let Some(row) = broken().find(unrecovered) {
        steps.push(format!(
            "Look into the log of server {name} at its start for stream {}: a damaged `meta.inf`, a missing key for \
             encryption, or files that cannot be read; mend that and restart the server.",
            stream(row)
        ));
        steps.push(
            "If it is lost, keep a copy of its directory, remove it from the store and restore the stream from a backup \
             (`nats stream restore`)."
                .into(),
        );
    }
    let others = || broken().filter(|row| !writes(row) && !unrecovered(row));
    if let Some(row) = others().find(|row| row.consumer.is_none()) {
        let stream = stream(row);
        steps.push(format!(
            "Look into the log of server {name} for stream {stream}, and whether a limit keeps it from being made there \
             (storage of the server, limits of the account)."
        ));
        steps.push(format!(
            "Let the group elect another leader (`nats stream cluster step-down {stream}`), and restart server {name} if \
             that does not help: no data has to be removed."
        ));
    }
    if let Some(row) = others().find(|row| row.consumer.is_some()) {
        let (stream, consumer) = (stream(row), row.consumer.as_deref().unwrap_or("?"));
        steps.push(format!(
            "Let consumer {consumer} of stream {stream} elect another leader (`nats consumer cluster step-down {stream} \
             {consumer}`), restart server {name} if that does not help, and create it anew at last."
        ));
    }
    if evidence.streams.lagging > 0 || evidence.consumers.lagging > 0 {
        steps.push(format!(
            "For what is not current see whether all servers that hold replicas are there, and look at disk and network \
             of server {name}; shortly after a restart give it time."
        ));
        steps.push(format!(
            "Let a group that does not get on elect another leader (`nats stream cluster step-down`), and restart server \
             {name} if its replica still stands still: its part of the group may have ended."
        ));
    }
    steps
}

#[cfg(test)]
mod tests;
