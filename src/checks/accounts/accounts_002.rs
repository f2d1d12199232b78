//! ACCOUNTS_002: clients of an account did not keep up.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::closed::{Ended, SLOW, closed_gaps, own_count_of};
use crate::checks::evidence::since::per_minute;
use crate::snapshot::{Account, Answer, Endpoint, Server, SlowCounts, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct AccountSlowConsumers;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when all servers together counted at least so many slow consumers of the account since the previous epoch.
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
    /// Counted since the previous epoch, by all servers together. One client may be counted more than once.
    events: u64,
    /// The same a minute; none where a server did not answer in the previous epoch, so that it counted for longer.
    per_minute: Option<f64>,
    /// Servers that counted any, those with most events first, at most 5.
    servers: Vec<OnServer>,
    /// How many servers counted any.
    servers_with_events: u64,
    /// Who was closed for it, on all servers.
    closed: Ended,
    /// What servers told only in part of connections that ended, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed_incomplete: Vec<String>,
    /// Servers whose counts have nothing to be compared with, since they were started, or do not tell them now; at most 5.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    not_compared: Vec<Name>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OnServer {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Counted there since the previous epoch.
    events: u64,
    /// Counted there since the server started; none where it did not list the account any more.
    since_start: Option<u64>,
}

/// Servers that are named.
const NAMED: usize = 5;

impl Rule for AccountSlowConsumers {
    const META: Meta = Meta {
        id: "ACCOUNTS_002",
        name: "Account Has Slow Consumers",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Account,
        since: "2.9",
        rule: "All servers together counted at least 1 slow consumer of an account since the previous epoch.",
        why: "A client that does not read fast enough is closed by its server as soon as `max_pending` bytes (64 MB by default) \
              wait for it, or a write takes longer than `write_deadline` (10 s). What waited is lost to its core NATS \
              subscriptions, and it reconnects, often to fall behind again.\n\n\
              Servers count events, not clients: one client is counted for every message that finds its buffer full, until it \
              is closed (2 clients were 4 events, measured). Leafnodes are counted for the account that they are bound to. \
              Who was closed is taken from the servers' lists of closed connections.\n\n\
              A server's count is compared only with what the same process last told, within an hour: what it counted while it \
              did not answer is told when it does again. In systems so large that servers are asked for accounts with clients only, the \
              closed connections stand for the count of an account that a server did not list before.",
        remedy: &[
            "Make the named clients read faster: no slow work in the message callback, fewer subjects, a queue group.",
            "Let consumers of large amounts pull from JetStream.",
            "If writes are what is slow, look at the network to the named addresses.",
        ],
        needs: &[Endpoint::AccountStatz],
        evidence_from: &[Endpoint::Closed],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // Who was closed reconnects, and falls behind again some epochs later: that is one finding.
    const KEEP: u64 = 3;
    const DISTURBED: Disturbed = Disturbed::Never;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let counts = Counts::of(context);
        let events = counts.events();
        let each = events
            .into_iter()
            .filter_map(|(id, servers)| judge_account(context, thresholds, &counts, (id, servers)));
        each.collect()
    }
}

/// What can be compared.
struct Counts<'a> {
    now: &'a Snapshot,
    /// Servers that told their counts now and before, with what they told then.
    comparable: BTreeMap<&'a Name, (&'a Server, &'a SlowCounts)>,
}

impl<'a> Counts<'a> {
    fn of(context: &Context<'a>) -> Self {
        let now = context.now;
        let told = |(id, server): (&'a Name, &'a Server)| {
            let complete = now.coverage.answer(Endpoint::AccountStatz, id) == Some(&Answer::Complete);
            let before = context.history.slow_consumers(id).filter(|_| complete)?;
            Some((id, (server, before)))
        };
        Self { now, comparable: now.servers.iter().filter_map(told).collect() }
    }

    /// Whether an account that a server did not list may have been left out for want of clients.
    const fn left_out(&self, before: &SlowCounts) -> bool {
        self.now.coverage.used_accounts_only || before.used_accounts_only
    }

    /// Events by account and server; pairs without any are left out.
    fn events(&self) -> BTreeMap<&'a Name, Vec<(&'a Server, u64)>> {
        let mut events: BTreeMap<&Name, Vec<(&Server, u64)>> = BTreeMap::new();
        for account in self.now.accounts.values() {
            for (id, count) in &account.slow_consumers {
                let Some((server, before)) = self.comparable.get(id).copied() else { continue };
                let since = self.since(account, (server, before), *count);
                // What the server closed of this agent's own connections it counts as well.
                let is_own = account.id == self.now.system_account;
                let since = since.saturating_sub(if is_own { own_count_of(server, SLOW) } else { 0 });
                if since > 0 {
                    events.entry(&account.id).or_default().push((server, since));
                }
            }
        }
        for (server, _) in self.comparable.values().filter(|(_, before)| self.left_out(before)) {
            for (account, closed) in closed_slow(server) {
                let listed = self.now.accounts.get(account);
                if listed.is_none_or(|account| !account.slow_consumers.contains_key(&server.id)) {
                    events.entry(account).or_default().push((server, closed));
                }
            }
        }
        events
    }

    fn since(&self, account: &Account, (server, before): (&Server, &SlowCounts), count: u64) -> u64 {
        match before.accounts.get(&account.id) {
            Some(before) => count.saturating_sub(*before),
            None if !self.left_out(before) => count,
            // It may have counted them long ago, while the account had no clients there.
            None => {
                let closed = closed_slow(server).filter(|(id, _)| **id == account.id);
                closed.fold(0u64, |sum, (_, closed)| sum.saturating_add(closed)).min(count)
            }
        }
    }
}

/// Accounts with clients that the server closed for it since the previous epoch.
fn closed_slow(server: &Server) -> impl Iterator<Item = (&Name, u64)> {
    let groups = server.closed.iter().flat_map(|closed| closed.because_of(SLOW));
    groups.filter_map(|group| Some((group.account.as_ref()?, group.count())))
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    counts: &Counts<'_>,
    (id, on): (&Name, Vec<(&Server, u64)>),
) -> Option<Verdict> {
    let now = context.now;
    let account = now.accounts.get(id);
    let entity = Entity::account(id, account.and_then(|account| account.name.as_ref()));
    let mut servers: BTreeMap<&Name, OnServer> = BTreeMap::new();
    for (server, events) in on {
        let since_start = account.and_then(|account| account.slow_consumers.get(&server.id)).copied();
        let fresh = || OnServer { server: server.name.clone(), events: 0, since_start };
        let row = servers.entry(&server.id).or_insert_with(fresh);
        row.events = row.events.saturating_add(events);
    }
    // A server that was silent counted them over more than one epoch.
    let previous = context.previous.map(|previous| previous.taken_at);
    let of_one_epoch = servers
        .keys()
        .all(|id| counts.comparable.get(*id).is_some_and(|(_, before)| Some(before.at) == previous));
    let events = servers.values().fold(0u64, |sum, row| sum.saturating_add(row.events));
    let min_events = thresholds.of(&entity).min_events;
    if events < min_events {
        return None;
    }
    let mut servers: Vec<OnServer> = servers.into_values().collect();
    servers.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.server.cmp(&b.server)));
    let servers_with_events = servers.len() as u64;
    servers.truncate(NAMED);
    let of_account = |group: &crate::snapshot::ClosedGroup| {
        group.account.as_ref() == Some(id) && group.reason.starts_with(SLOW)
    };
    let not_compared = now.servers.values().filter(|server| !counts.comparable.contains_key(&server.id));
    let evidence = Evidence {
        events,
        per_minute: per_minute(context, events).filter(|_| of_one_epoch),
        servers,
        servers_with_events,
        closed: Ended::of(now, now.servers.values(), of_account),
        closed_incomplete: closed_gaps(now, None),
        not_compared: not_compared.map(|server| server.name.clone()).take(NAMED).collect(),
    };
    let place = match (evidence.servers.as_slice(), servers_with_events) {
        ([only], _) => format!(" on server {}", only.server),
        ([first, ..], n) => format!(" on {n} servers, most on {}", first.server),
        ([], _) => String::new(),
    };
    let who = evidence
        .closed
        .newest
        .first()
        .map_or_else(String::new, |row| format!("; the last that was closed is {}", row.label()));
    let summary = format!(
        "account {} has {} since the previous epoch{place}{who}",
        entity.label(),
        count(events, "slow consumer event")
    );
    let observed = Observed::count(events, min_events, "events");
    let remediation = remediation(&evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let closed = &evidence.closed;
    let mut steps = Vec::new();
    let because = |part: &str| closed.reasons.iter().any(|reason| reason.name.contains(part));
    if let Some(row) = closed.newest.first() {
        if because("Pending Bytes") {
            steps.push(format!(
                "Make client {} read faster: no slow work in the message callback, fewer subjects, or a queue group.",
                row.label()
            ));
        }
        if because("Write Deadline") {
            steps.push(format!(
                "Look at the network to {} and whether its process hangs: a write to it took too long.",
                row.address
            ));
        }
        if closed.client_names.distinct == 1 && closed.connections > 1 {
            steps.push(format!(
                "All {} that were closed call themselves the same: begin with that program.",
                closed.connections
            ));
        }
    } else {
        let server = evidence.servers.first().map_or("the servers", |row| &*row.server);
        steps.push(format!(
            "Look into the log of {server} for `Slow Consumer Detected`: it names connection and address. A leafnode that \
             stays connected is counted as well."
        ));
    }
    steps.push("Let consumers of large amounts pull from JetStream.".into());
    steps
}

#[cfg(test)]
mod tests;
