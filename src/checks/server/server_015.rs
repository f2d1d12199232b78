//! SERVER_015: streams and consumers that do not work on a server.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count,
};
use crate::checks::evidence::closed::account_label;
use crate::snapshot::{Counted, Endpoint, Health, Problem, ProblemKind, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct StreamsUnhealthy;

/// Nothing can be set: a stream is healthy on its server or it is not.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
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
    /// Problems that the server told beyond those that were counted.
    omitted: u64,
    /// Whether the server tells one problem only, whatever there is (before 2.10): counts are lower bounds.
    one_of_many: bool,
}

#[derive(Debug, Default, Clone, Copy, Serialize, JsonSchema)]
struct Counts {
    /// Not there, not recovered, or not able to write: that does not end by itself.
    broken: u64,
    /// Behind their leader, or without contact to one: that ends by itself once enough replicas are there.
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
    /// It ends by itself.
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
        group: None,
        since: "2.9",
        aliases: &[],
        docs_url: None,
        differs: Some(
            "There is one finding for each server with counts and the first five assets, and it is a warning where replicas \
             only lag: a server reports every replica that has not caught up, tens of thousands after a restart, in the \
             same way as one that is lost.",
        ),
        rule: "A server says for 2 epochs in a row that streams or consumers on it do not work; a warning as long as they \
               only lag behind.",
        why: "A stream that could not be recovered is not there: on a single server it takes no messages and gives none, \
              and of a replicated one this copy is lost until it is made anew. A write error stops it as well.\n\n\
              A replica that is not current lags behind its leader, or its group has no leader. After a restart that is \
              ordinary and ends by itself, once every group has more than half of its replicas. What lags for long lacks \
              a server, or disk and network to catch up with.\n\n\
              A server without a cluster looks at the streams of its store and at no consumers; one of a cluster at those \
              that are assigned to it, and at the consumers of the streams that are well. It says nothing of either while \
              JetStream as a whole has a problem (SERVER_014). Before 2.10 it tells the first problem alone.",
        remedy: &[
            "For what could not be recovered look into the log of the server at its start: a damaged `meta.inf`, a missing \
             key for encryption, or files that cannot be read. Restore the stream from a backup, or remove its directory \
             where other replicas are healthy, and restart the server.",
            "For what lags see whether all servers of the group are there, then wait; a group that does not get on can \
             elect another leader with `nats stream cluster step-down`.",
            "Look at the disk of the server: space, errors and latency.",
        ],
        needs: &[Endpoint::Healthz],
        evidence_from: &[],
        scope: Scope::Server,
        partial: Partial::CannotFire,
    };
    // Streams are read from disk after a start, elect leaders and catch up.
    const FOR: u64 = 2;
    // Groups that lose a member elect, and one that comes back has to catch up.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context.now, server)).collect()
    }
}

fn judge_server(now: &Snapshot, server: &Server) -> Option<Verdict> {
    let health = server.health.as_ref()?;
    let is_asset = |problem: &&Problem| matches!(problem.kind, ProblemKind::Stream | ProblemKind::Consumer);
    let problems: Vec<&Problem> = health.problems.iter().filter(is_asset).collect();
    if problems.is_empty() {
        return None;
    }
    let evidence = evidence(now, health, &problems);
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
    let summary = format!("server {name} reports {}: {first}", parts.join(", "));
    let total = (problems.len() as u64).saturating_add(evidence.omitted);
    let observed = Observed::count(total, 1, "problems");
    let entity = Entity::server(name, server.cluster.as_ref());
    let broken = streams.broken > 0 || consumers.broken > 0;
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
        let (state, cause) = state(&problem.text);
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
        accounts: most(accounts.into_iter()),
        causes: most(causes.into_iter().map(|(cause, count)| (Name::from(cause), count))),
        first: rows,
        omitted: health.omitted,
        one_of_many,
    }
}

fn most(counts: impl Iterator<Item = (Name, u64)>) -> Vec<Counted> {
    let mut counts: Vec<Counted> = counts.map(|(name, count)| Counted { name, count }).collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    counts.truncate(NAMED);
    counts
}

/// Whether a problem ends by itself, and what it is, without the names (server source, 2.9 to 2.14).
fn state(text: &str) -> (State, &str) {
    // Names may hold quotes and colons: what follows the last quote is the server's own.
    let words = text.rsplit_once('\'').map_or(text, |(_, words)| words.trim());
    let cause = match words.strip_prefix("is not current") {
        None => return (State::Broken, words),
        Some(rest) => rest.trim_start_matches(':').trim(),
    };
    match cause {
        // 2.9 gives no cause.
        "" => (State::Lagging, "is not current"),
        "stream catching up"
        | "group node unhealthy"
        | "group node missing"
        | "stream node missing"
        | "consumer node missing" => (State::Lagging, cause),
        _ => (State::Broken, cause),
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
    let account = account.map(|account| account_label(now, &account));
    Row { state, account, stream, consumer, problem: text.clone() }
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    let broken = evidence.first.iter().find(|row| row.state == State::Broken);
    if let Some(row) = broken {
        let stream = row.stream.as_deref().unwrap_or("?");
        if row.problem.contains("write error") {
            steps.push(format!(
                "Look at the disk of server {name}: stream {stream} cannot be written; free space or mend it, then \
                 restart the server."
            ));
        } else {
            steps.push(format!(
                "Look into the log of server {name} at its start for stream {stream}: a damaged `meta.inf`, a missing key \
                 for encryption, or files that cannot be read."
            ));
            steps.push(
                "Restore the stream from a backup (`nats stream restore`), or, where other replicas are healthy, remove \
                 its directory here and restart the server, so that it is copied again."
                    .into(),
            );
        }
    }
    if evidence.streams.lagging > 0 || evidence.consumers.lagging > 0 {
        steps.push(format!(
            "For what is not current see whether all servers that hold replicas are there, and look at disk and network \
             of server {name}; after a restart it ends by itself."
        ));
        steps.push(
            "Let a group that does not get on elect another leader: `nats stream cluster step-down`.".into(),
        );
    }
    steps
}

#[cfg(test)]
mod tests;
