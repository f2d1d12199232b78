//! SERVER_004: a server closed connections, or marked them, because they did not keep up.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::closed::{Ended, SLOW, closed_gaps, count_of, own_count_of};
use crate::checks::evidence::since::{Before, ByKindSince, before};
use crate::snapshot::{Endpoint, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct SlowConsumers;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the server counted at least so many slow consumers since the previous epoch, or since it last told.
    min_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_events: 1 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("min_events", self.min_events, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Counted since the server last told, without those of this agent's own connections. One connection may be counted
    /// more than once.
    events: u64,
    /// The same a minute.
    per_minute: Option<f64>,
    /// Counted since the server started.
    since_start: u64,
    /// The events by kind of connection; none before 2.10, which does not tell. From 2.11 on a route counts here only when it
    /// becomes slow.
    by_kind: Option<ByKindSince>,
    /// Events of no kind: those of routes that were slow already; none where kinds are not told.
    of_slow_routes: Option<u64>,
    /// Clients and leafnodes that were closed for it.
    closed: Ended,
    /// What the server told only in part of connections that ended, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed_incomplete: Vec<String>,
    /// Bytes that may wait for a client before it is closed (`max_pending`).
    max_pending: u64,
    /// Seconds that a write may take (`write_deadline`).
    write_deadline_seconds: f64,
}

/// What a server says of one whose buffer was full.
const PENDING: &str = "Slow Consumer (Pending Bytes)";

impl Rule for SlowConsumers {
    const META: Meta = Meta {
        id: "SERVER_004",
        name: "Slow Consumers on Server",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "A server counted at least 1 slow consumer since the previous epoch.",
        why: "A server does not wait for readers. When more than `max_pending` bytes (64 MB by default) wait for a client, or a \
              write takes longer than `write_deadline` (10 s), it closes the connection, and what waited for it is lost to \
              subscribers without JetStream. The client reconnects and often falls behind again.\n\n\
              Routes, gateways and leafnodes are in the same number. A slow route or gateway holds up all messages between \
              two servers, and what waits there takes memory: it points to the network or to the other server.\n\n\
              The server counts events: a client whose buffer is full counts once, and once more when the write that hangs \
              ends at its deadline, so that 2 clients were 4 events (measured); a route counts for every write that takes too \
              long. Who it was is taken from the server's list of closed connections. Where a server did not tell its \
              counters for some epochs, what was counted in that time is told with the next answer.",
        remedy: &[
            "Make the named clients read faster: do no slow work in the message callback, subscribe to less, or spread the \
             work over a queue group.",
            "Let consumers of large amounts pull from JetStream, which sends them what they ask for.",
            "If writes are what is slow, look at the network between the server and the named addresses, and at the CPU of \
             both ends.",
            "Raise `max_pending` only for bursts that a client catches up with.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Closed, Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Who was closed reconnects, and falls behind again some epochs later: that is one finding.
    const KEEP: u64 = 3;
    const DISTURBED: Disturbed = Disturbed::Own;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref()?;
    let entity = Entity::of_server(server);
    let before = match before(context, server) {
        Ok(before) => before,
        Err(reason) => return Some(Verdict::unknown(entity, reason)),
    };
    let Before { counters, since, .. } = &before;
    let own = own_events(server);
    let counted = vars.slow_consumers.saturating_sub(counters.slow_consumers);
    let events = counted.saturating_sub(own);
    let min_events = thresholds.of(&entity).min_events;
    if events < min_events {
        return None;
    }
    let by_kind = ByKindSince::of(vars.slow_by_kind, counters.slow_by_kind);
    let evidence = Evidence {
        events,
        per_minute: before.per_minute(events),
        since_start: vars.slow_consumers,
        by_kind: by_kind.map(|kinds| kinds.without(own)),
        of_slow_routes: by_kind.map(|kinds| counted.saturating_sub(kinds.sum())),
        closed: Ended::on(context.now, server, SLOW),
        closed_incomplete: closed_gaps(context.now, Some(&server.name)),
        max_pending: vars.max_pending,
        write_deadline_seconds: vars.write_deadline.as_secs_f64(),
    };
    // Of both nobody cares how often a route that is slow had been slow before.
    let again = evidence.of_slow_routes.unwrap_or(0);
    let kinds =
        evidence.by_kind.map(|kinds| ByKindSince { routes: kinds.routes.saturating_add(again), ..kinds });
    let kinds = kinds.map_or_else(String::new, ByKindSince::in_words);
    let who = evidence.closed.newest.first().map_or_else(String::new, |row| {
        format!("; the last that was closed is {}", row.label_with_account())
    });
    let summary = format!(
        "server {} counted {} {since}{kinds}{who}",
        server.name,
        count(events, "slow consumer event")
    );
    let observed = Observed::count(events, min_events, "events");
    let remediation = remediation(server, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

/// Events of this agent's own connections. One whose buffer was full may count twice; that is certain where nobody else was
/// closed as slow.
fn own_events(server: &Server) -> u64 {
    let own = own_count_of(server, SLOW);
    let others = server.closed.as_ref().map_or(0, |closed| count_of(closed, SLOW));
    own.saturating_add(if others == 0 { own_count_of(server, PENDING) } else { 0 })
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    if let Some(kinds) = &evidence.by_kind {
        let routes = kinds.routes.saturating_add(evidence.of_slow_routes.unwrap_or(0));
        for (count, what, other) in [
            (routes, "routes", "the other servers of its cluster"),
            (kinds.gateways, "gateways", "the servers of the other clusters"),
            (kinds.leafs, "leafnodes", "the leafnode servers"),
        ] {
            if count > 0 {
                steps.push(format!(
                    "Look at the network between server {name} and {other}, and at the CPU of both: its {what} could not \
                     be written fast enough."
                ));
            }
        }
    }
    let pending = evidence.closed.reasons.iter().any(|reason| reason.name.contains("Pending Bytes"));
    let deadline = evidence.closed.reasons.iter().any(|reason| reason.name.contains("Write Deadline"));
    let whose = evidence.closed.newest.first().map_or_else(
        || "the clients".to_owned(),
        |row| format!("client {} and the others that are named", row.label()),
    );
    if pending {
        steps.push(format!(
            "Make {whose} read faster: no slow work in the message callback, fewer subjects, a queue group, or a pull \
             consumer of JetStream; more than {} MB waited.",
            evidence.max_pending >> 20
        ));
    }
    if deadline {
        steps.push(format!(
            "Look at the network to {whose}, and whether the process hangs: a write took longer than {} s.",
            evidence.write_deadline_seconds
        ));
    }
    if steps.is_empty() {
        steps.push(format!(
            "Look into the log of server {name} for `Slow Consumer Detected`: it names connection and address."
        ));
    }
    steps.push("Raise `max_pending` only for bursts that a client catches up with.".into());
    steps
}

#[cfg(test)]
mod tests;
