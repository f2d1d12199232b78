//! OPT_PLACE_003: much of an account's traffic goes through gateways.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, percent, percent_of, rounded,
};
use crate::checks::evidence::{TOP, in_words};
use crate::checks::links::mebibytes;
use crate::checks::own::Own;
use crate::snapshot::{
    Account, Answer, Endpoint, Point, SERIES_WINDOW, Series, Server, Snapshot, Track, Traffic, Version,
};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct HighGatewayTraffic;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when at least this share of an account's bytes goes through gateways, in percent.
    warn_percent: f64,
    /// Leave out accounts that sent and received fewer bytes than this over the last hour, or as far as it was seen.
    min_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 30.0, min_bytes: 1 << 20 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)?;
        at_least("min_bytes", self.min_bytes, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Bytes that went through gateways, of all servers together.
    gateway_bytes: u64,
    /// All bytes that were sent and received, of all servers together.
    bytes: u64,
    /// The time over which they were counted, in seconds; an hour at most.
    over_seconds: u64,
    /// Servers whose gateways carried most of the account's bytes since the epoch before, the most first, at most 5. One that is
    /// not known from then is left out.
    through: Vec<Row>,
    /// Client connections of the account by cluster, without this agent's own, the most first, at most 5; servers without a
    /// cluster are left out.
    clients: Vec<ClusterRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Bytes of the account through its gateways since the epoch before.
    gateway_bytes: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClusterRow {
    /// The cluster's name.
    #[schemars(with = "String")]
    cluster: Name,
    /// Client connections of the account there.
    connections: u64,
}

/// The first version that tells what went through gateways.
const TELLS: Version = Version(2, 11, 0);

impl Rule for HighGatewayTraffic {
    const META: Meta = Meta {
        id: "OPT_PLACE_003",
        name: "High Gateway Traffic",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Account,
        group: Some("placement"),
        since: "2.11",
        rule: "Over the last hour, 30 % or more of the bytes that servers sent and received for an account went through \
               gateways, of at least 1 MiB in all.",
        why: "What goes through a gateway takes longer, and is often paid for by the byte. Where much of an account does, \
              its clients, services and streams are not where they are used.\n\n\
              Each server counts bytes that it sends and receives for an account, those to and from clients, routes, \
              gateways and leafnodes alike, so that a message is counted more than once on its way: of one that crosses over \
              one gateway to one subscriber, without a route, half is gateway traffic in the sum of all servers.\n\n\
              The counts begin anew when a server does. They are compared only between epochs in which the same servers, \
              not started anew since, told them. Where there are too many accounts to ask for all of them, servers tell only \
              those that have clients on them, and nothing can be said. The system account is left out: this agent's own requests cross gateways. \
              Servers before 2.11 do not tell what went through gateways; where one of them has gateways, an account that \
              stays below the threshold is unknown.",
        remedy: &[
            "Run a copy of the services in each cluster: requests go to the nearest one.",
            "Mirror streams that are read in another cluster to there, so that every message crosses once and not once for \
             each consumer.",
            "Connect clients to the cluster of the streams and services that they use.",
            "Publish less widely: subscriptions with wildcards draw messages across that nobody uses.",
        ],
        needs: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The clients of a cluster whose servers leave go elsewhere for a while.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const EPOCHS: u64 = 2;
    const SERIES: &'static [Series] = &[Series::AccountBytes, Series::AccountGatewayBytes];
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        if context.now.coverage.used_accounts_only {
            let why = "servers told only the accounts with clients on them, because there are too many to ask for all";
            return vec![Verdict::others_unknown(Entity::account("*", None), why)];
        }
        let silent = tells_nothing(context.now);
        let mut verdicts: Vec<Verdict> =
            silent.iter().map(|why| Verdict::unknown(Entity::account("*", None), why.as_str())).collect();
        for (id, grown) in grown(context) {
            let Some(account) = context.now.accounts.get(&id).filter(|_| id != context.now.system_account)
            else {
                continue;
            };
            let entity = Entity::of_account(account);
            let limits = thresholds.of(&entity);
            if grown.bytes < limits.min_bytes {
                continue;
            }
            if grown.gateway_bytes as f64 * 100.0 >= limits.warn_percent * grown.bytes as f64 {
                verdicts.push(verdict(context, account, entity, &grown, limits.warn_percent));
            } else if let Some(why) = &silent {
                verdicts.push(Verdict::unknown(entity, why.as_str()));
            }
        }
        verdicts
    }
}

/// A server with gateways that does not tell what goes through them, as a reason.
fn tells_nothing(now: &Snapshot) -> Option<String> {
    let has_gateways = |server: &&Server| server.vars.as_ref().is_none_or(|vars| vars.gateways.is_some());
    let old = |server: &&Server| server.version.is_none_or(|version| version < TELLS);
    let server = now.servers.values().filter(has_gateways).find(old)?;
    let version = server.version.map_or_else(|| "an unknown version".into(), |version| version.to_string());
    Some(format!(
        "server {} ({version}) does not tell what goes through its gateways, which servers do from {TELLS} on",
        server.name
    ))
}

/// By how much the counts of an account grew.
#[derive(Default)]
struct Grown {
    bytes: u64,
    gateway_bytes: u64,
    seconds: f64,
}

/// A track of all bytes of an account, and that of those through gateways which the same boots of the same servers told.
struct Both {
    all: Track,
    crossed: Vec<Point>,
}

/// Of every account that is followed.
fn grown(context: &Context<'_>) -> BTreeMap<Name, Grown> {
    let crossed = context.tracks(Series::AccountGatewayBytes).into_iter();
    let mut crossed: HashMap<(Name, Name), Vec<Point>> =
        crossed.map(|track| ((track.key, track.boot), track.points)).collect();
    let mut accounts: BTreeMap<Name, Vec<Both>> = BTreeMap::new();
    for all in context.tracks(Series::AccountBytes) {
        if let Some(crossed) = crossed.remove(&(all.key.clone(), all.boot.clone())) {
            accounts.entry(all.key.clone()).or_default().push(Both { all, crossed });
        }
    }
    let from = context.now.taken_at - SERIES_WINDOW;
    accounts.into_iter().map(|(id, tracks)| (id, Grown::over(tracks, from))).collect()
}

impl Grown {
    /// What tracks of one account grew since then. They overlap where a server is silent in some epochs between others: no time
    /// counts twice, and the longest track comes first. Of a step that begins earlier a part counts.
    fn over(mut tracks: Vec<Both>, from: OffsetDateTime) -> Self {
        tracks.sort_by(|a, b| b.all.seconds().total_cmp(&a.all.seconds()));
        let (mut grown, mut counted) = (Self::default(), Vec::new());
        for Both { all, crossed } in tracks {
            for (step, other) in all.points.windows(2).zip(crossed.windows(2)) {
                let ([before, now], [one, two]) = (step, other) else { continue };
                if (before.at, now.at) != (one.at, two.at) {
                    continue;
                }
                let overlaps =
                    |(start, end): &(OffsetDateTime, OffsetDateTime)| before.at < *end && now.at > *start;
                if now.at <= from || before.at >= now.at || counted.iter().any(overlaps) {
                    continue;
                }
                counted.push((before.at, now.at));
                let seconds = (now.at - before.at.max(from)).as_seconds_f64();
                let part = seconds / (now.at - before.at).as_seconds_f64();
                grown.seconds += seconds;
                grown.bytes = grown.bytes.saturating_add(growth(before, now, part));
                grown.gateway_bytes = grown.gateway_bytes.saturating_add(growth(one, two, part));
            }
        }
        grown
    }
}

/// Of a step, this part of it.
fn growth(before: &Point, now: &Point, part: f64) -> u64 {
    let growth = now.value.saturating_sub(before.value);
    if part < 1.0 { (growth as f64 * part) as u64 } else { growth }
}

fn verdict(
    context: &Context<'_>,
    account: &Account,
    entity: Entity,
    grown: &Grown,
    warn_percent: f64,
) -> Verdict {
    let evidence = Evidence {
        gateway_bytes: grown.gateway_bytes,
        bytes: grown.bytes,
        over_seconds: grown.seconds.clamp(0.0, 3600.0) as u64,
        through: through(context, account),
        clients: clients(context.now, account),
    };
    let share = percent_of(grown.gateway_bytes, grown.bytes);
    let summary = format!(
        "{:.1} % of the traffic of account {} went through gateways ({} of {} in {})",
        share.unwrap_or(0.0),
        account.label(),
        mebibytes(grown.gateway_bytes),
        mebibytes(grown.bytes),
        in_words(evidence.over_seconds)
    );
    let observed = Observed {
        limit: Some(grown.bytes.into()),
        percent: share,
        ..Observed::count(grown.gateway_bytes, rounded(warn_percent), "bytes")
    };
    let remediation = remediation(account, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn through(context: &Context<'_>, account: &Account) -> Vec<Row> {
    let Some(previous) = context.previous else { return Vec::new() };
    let account_before = previous.accounts.get(&account.id);
    // What a server did not list then it had not counted, if it told all that it had.
    let told_all = |id: &Name| {
        let answer = previous.coverage.answer(Endpoint::AccountStatz, id);
        previous.servers.contains_key(id)
            && answer == Some(&Answer::Complete)
            && !previous.coverage.used_accounts_only
    };
    let row = |(id, traffic): (&Name, &Traffic)| {
        let listed = account_before.and_then(|account| account.traffic.get(id));
        let before = listed.map(|before| before.gateway_bytes).or_else(|| told_all(id).then_some(0))?;
        let gateway_bytes = traffic.gateway_bytes.saturating_sub(before);
        (gateway_bytes > 0).then(|| Row { server: context.now.server_name(id), gateway_bytes })
    };
    let mut rows: Vec<Row> = account.traffic.iter().filter_map(row).collect();
    rows.sort_by(|a, b| b.gateway_bytes.cmp(&a.gateway_bytes).then_with(|| a.server.cmp(&b.server)));
    rows.truncate(TOP);
    rows
}

fn clients(now: &Snapshot, account: &Account) -> Vec<ClusterRow> {
    let own = Own::of(now);
    let mut clusters: BTreeMap<&Name, u64> = BTreeMap::new();
    for (id, others) in own.others(account) {
        let Some(cluster) = now.servers.get(id).and_then(|server| server.cluster.as_ref()) else { continue };
        let connections = clusters.entry(cluster).or_default();
        *connections = connections.saturating_add(others);
    }
    let mut rows: Vec<ClusterRow> = clusters
        .into_iter()
        .filter(|(_, connections)| *connections > 0)
        .map(|(cluster, connections)| ClusterRow { cluster: cluster.clone(), connections })
        .collect();
    rows.sort_by(|a, b| b.connections.cmp(&a.connections).then_with(|| a.cluster.cmp(&b.cluster)));
    rows.truncate(TOP);
    rows
}

fn remediation(account: &Account, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let label = account.label();
    match &evidence.clients[..] {
        [one] => steps.push(format!(
            "All clients of account {label} are in cluster {}: move the streams and services that they use there, or those \
             clients to where these are.",
            one.cluster
        )),
        [most, .., least] => steps.push(format!(
            "Clients of account {label} are in several clusters, most in {} and few in {}: see whether the few can be moved, \
             or served by a service and a mirror of their own.",
            most.cluster, least.cluster
        )),
        [] => {}
    }
    steps.push("Run a copy of the services in each cluster: requests go to the nearest one.".into());
    steps.push(
        "Mirror streams that are read in another cluster to there, so that every message crosses once and not once for each \
         consumer."
            .into(),
    );
    if let Some(first) = evidence.through.first() {
        steps.push(format!("Begin at server {}, whose gateways carry most of it.", first.server));
    }
    steps
}

#[cfg(test)]
mod tests;
