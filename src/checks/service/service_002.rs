//! SERVICE_002: a service has no instance any longer.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count, seconds,
};
use crate::checks::evidence::{TOP, first_names, in_words, rfc3339};
use crate::checks::roll_up::first_and_rest;
use crate::snapshot::{Endpoint, Series, service_of};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct ServiceDown;

/// How long a service is remembered. What was seen is followed for an hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Tell of a service without instances until they were last seen so long ago, at most an hour. Time in which a server did
    /// not answer, so that nothing could be said, does not count.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    show_for: Duration,
    /// Tell so many services of one account one by one, those that are gone for longest; where there are more, one finding
    /// tells of the others.
    most: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { show_for: Duration::from_secs(15 * 60), most: 10 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("show_for", self.show_for)?;
        if self.show_for > LONGEST {
            return Err(OutOfRange::duration("show_for", self.show_for, "at most 1h"));
        }
        at_least("most", self.most, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Services that the finding is about.
    down: u64,
    /// Some of them, at most 5.
    services: Vec<Row>,
    /// Services of the account that still have instances.
    up: u64,
    /// Open client connections of the account; none where it is not loaded any longer.
    connections: Option<u64>,
    /// Servers that their instances were connected to and that were started anew since, or are gone.
    #[schemars(with = "Vec<String>")]
    servers_gone: Vec<Name>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The service.
    #[schemars(with = "String")]
    name: Name,
    /// When an instance was last seen.
    last_seen: Option<String>,
    /// Seconds since then.
    seconds_ago: u64,
    /// Instances then, as far as they are remembered.
    instances: u64,
    /// The servers that they were connected to, at most 5.
    #[schemars(with = "Vec<String>")]
    servers: Vec<Name>,
}

/// A service that has no instance now.
struct Gone {
    name: Name,
    last: OffsetDateTime,
    /// Instances by the boot of a server, when they were last seen.
    instances: BTreeMap<Name, u64>,
}

impl Rule for ServiceDown {
    const META: Meta = Meta {
        id: "SERVICE_002",
        name: "Service Down",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Service,
        since: "2.9",
        differs: Some(
            "The finding stays for 15 minutes and is not over after one epoch, because servers tell only what is there and \
             nothing shows later that a service is still missing.",
        ),
        rule: "A service of an account had instances within the last 15 minutes and has none now.",
        why: "Who sends a request to a service without instances gets \"no responders\" at once, or waits for an answer that \
              does not come.\n\n\
              Instances are known by their subscriptions to `$SRV.PING.<name>.<id>`, which they lose with their \
              connection. One that moves to another server is missed for moments only, so that two epochs in a row are needed. \
              While any server does not answer nothing is said: clients of a server that is gone come to others, and these are \
              busy with them, so that an instance may be just where nobody answers. Nothing is said either until each server has \
              told its services anew since the last instance was seen; one with very many subscriptions is asked every few \
              epochs. Services of an account whose instances have all been behind leafnodes since this agent was started are \
              not found.\n\n\
              Servers do not remember services. A finding therefore ends when an instance is back, but also when the last one \
              was seen longer ago than the threshold `show_for` says: then the service was given up, or nobody repaired it \
              within that time. Time in which nothing could be said does not count, up to an hour. What was there before this \
              agent was started it does not know.\n\n\
              Ten services of one account are told one by one; where more are gone, one finding tells of the others.",
        remedy: &[
            "Look whether the processes of the service run, and whether their connections are accepted.",
            "Start them, on more than one host if one is not enough.",
            "Nothing is to be done for a service that was taken out of use; the finding ends by itself.",
        ],
        needs: &[Endpoint::Subsz, Endpoint::Services],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const EPOCHS: u64 = 2;
    const SERIES: &'static [Series] = &[Series::ServiceInstances];
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (account, gone) in gone(context) {
            judge_account(context, thresholds, &account, gone, &mut verdicts);
        }
        verdicts
    }
}

/// Services that are remembered and have no instance now, by account.
fn gone(context: &Context<'_>) -> BTreeMap<Name, Vec<Gone>> {
    let mut services: BTreeMap<(Name, Name), Gone> = BTreeMap::new();
    for track in context.tracks(Series::ServiceInstances) {
        let Some((account, name)) = service_of(&track.key) else { continue };
        let key = (Name::from(account), Name::from(name));
        let Some(last) = track.points.last() else { continue };
        if context.now.services.get(&key).is_some_and(|service| service.instances() > 0) || last.value == 0 {
            continue;
        }
        let name = key.1.clone();
        let one =
            services.entry(key).or_insert_with(|| Gone { name, last: last.at, instances: BTreeMap::new() });
        if last.at > one.last {
            (one.last, one.instances) = (last.at, BTreeMap::new());
        }
        if last.at == one.last {
            one.instances.insert(track.boot, last.value);
        }
    }
    let mut accounts: BTreeMap<Name, Vec<Gone>> = BTreeMap::new();
    for ((account, _), gone) in services {
        accounts.entry(account).or_default().push(gone);
    }
    accounts
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    account: &Name,
    mut gone: Vec<Gone>,
    verdicts: &mut Vec<Verdict>,
) {
    let now = context.now;
    let entity = |service: &Name| Entity::service(account, now.account_name(account), service);
    gone.retain(|one| {
        let since = now.taken_at - one.last - context.history.services_unseen(one.last);
        let entity = entity(&one.name);
        (thresholds.is_uniform() || thresholds.is_enabled(&entity))
            && since <= thresholds.of(&entity).show_for
    });
    if let Some(oldest) = now.service_lists.oldest(account) {
        // It may have come to a server that was not asked since.
        let (unsure, sure) = gone.into_iter().partition(|one| oldest.at <= one.last);
        gone = sure;
        let unsure: Vec<Gone> = unsure;
        let why = || {
            format!(
                "server {} has not told its services since an instance was last seen",
                now.server_name(&oldest.server)
            )
        };
        verdicts.extend(unsure.iter().map(|one| Verdict::unknown(entity(&one.name), why())));
    }
    // Those that are gone for longest first, so that one more puts none of them among the rest.
    gone.sort_by(|a, b| (a.last, &a.name).cmp(&(b.last, &b.name)));
    let together = Entity { name: Some("several services".into()), ..entity(&"*".into()) };
    let most = thresholds.of(&together).most;
    let report = |entity, gone: &[Gone]| verdict(context, account, entity, gone);
    verdicts.extend(first_and_rest(most, &gone, together, |one| entity(&one.name), report));
}

/// Seconds since then, never negative where clocks are set back.
fn seconds_ago(context: &Context<'_>, gone: &Gone) -> u64 {
    u64::try_from((context.now.taken_at - gone.last).whole_seconds()).unwrap_or(0)
}

fn verdict(context: &Context<'_>, account: &Name, entity: Entity, gone: &[Gone]) -> Verdict {
    let now = context.now;
    let name_of = |id: &Name| {
        let servers = [Some(now), context.previous].into_iter().flatten();
        servers.filter_map(|snapshot| snapshot.servers.get(id)).map(|server| server.name.clone()).next()
    };
    let row = |one: &Gone| {
        let servers = one.instances.keys().map(|id| name_of(id).unwrap_or_else(|| id.clone()));
        let (servers, _) = first_names(servers);
        Row {
            name: one.name.clone(),
            last_seen: rfc3339(one.last),
            seconds_ago: seconds_ago(context, one),
            instances: one.instances.values().fold(0, |sum, count| sum.saturating_add(*count)),
            servers,
        }
    };
    let up = now.services.range((account.clone(), "".into())..).take_while(|((of, _), _)| of == account);
    let mut servers_gone: Vec<Name> = gone
        .iter()
        .flat_map(|one| one.instances.keys())
        .filter(|id| !now.servers.contains_key(*id))
        .map(|id| name_of(id).unwrap_or_else(|| id.clone()))
        .collect();
    servers_gone.sort();
    servers_gone.dedup();
    servers_gone.truncate(TOP);
    let evidence = Evidence {
        down: gone.len() as u64,
        services: gone.iter().take(TOP).map(row).collect(),
        up: up.filter(|(_, service)| service.instances() > 0).count() as u64,
        connections: now.accounts.get(account).map(|account| account.connections()),
        servers_gone,
    };
    let label = now.account_label(account);
    let summary = match &*evidence.services {
        [one] if *entity.id == *one.name => format!(
            "service {} of account {label} has no instance: {} {} seen {} ago",
            one.name,
            count(one.instances, "instance"),
            if one.instances == 1 { "was" } else { "were" },
            in_words(one.seconds_ago),
        ),
        _ => format!(
            "{} of account {label} {} no instance any longer",
            count(evidence.down, "more service"),
            if evidence.down == 1 { "has" } else { "have" },
        ),
    };
    let observed = Observed::count(evidence.down, 0, "services");
    let remediation = remediation(&label, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(account: &Name, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.connections.is_none_or(|connections| connections == 0) {
        steps.push(format!(
            "Account {account} has no connection at all: look for what ended all of them, such as credentials that expired."
        ));
    }
    if !evidence.servers_gone.is_empty() {
        steps.push(format!(
            "Look whether the instances know other servers than {}, which they were connected to and which was started anew or \
             is gone.",
            evidence.servers_gone.join(", ")
        ));
    }
    if evidence.down > 1 || evidence.services.iter().any(|row| row.instances > 1) {
        steps.push("Look for what its instances have in common: a host, a roll-out, a user.".into());
    }
    steps.push("Look whether the processes of the service run, and start them.".into());
    steps.push("Nothing is to be done if it was taken out of use: the finding ends by itself.".into());
    steps
}

#[cfg(test)]
mod tests;
