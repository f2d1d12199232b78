//! OPT_SYS_012: subscriptions come and go by the ten thousand.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, rounded,
};
use crate::checks::evidence::{TOP, in_words, most_frequent};
use crate::snapshot::{Counted, Endpoint, Series, Server, difference};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct SubscriptionChurn;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when a server adds and removes more subscriptions than this in a minute. What it counted since the previous epoch
    /// is scaled to a minute where more time has passed.
    max_changes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_changes: 10_000 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("max_changes", self.max_changes, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Subscriptions added and removed per minute, on the server with most.
    changes_per_minute: Option<f64>,
    /// Seconds since the previous epoch.
    over_seconds: Option<u64>,
    /// Servers of the cluster, the one with most changes first, at most 5. Their numbers are not scaled.
    servers: Vec<Row>,
    /// Of how many servers the changes are known: of those that answered in both epochs and were not started between them.
    servers_compared: u64,
    /// Whether all of them are above the threshold, as they are where the changes come over routes.
    on_all: bool,
    /// Accounts in which most client connections were opened since the previous epoch, at most 5: every new connection brings
    /// its subscriptions.
    opened_connections: Vec<Counted>,
    /// Accounts whose subscriptions became more or fewer by most, at most 5. Those that come and go leave no trace here.
    accounts: Vec<Moved>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Subscriptions added since the previous epoch, those of routes included.
    inserts: u64,
    /// Those removed.
    removes: u64,
    /// By how many the subscriptions of its own clients became more or fewer; none where they were not listed in both epochs.
    own_clients: Option<i64>,
}

impl Row {
    const fn changes(&self) -> u64 {
        self.inserts.saturating_add(self.removes)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Moved {
    /// The account, by the name that people know.
    #[schemars(with = "String")]
    account: Name,
    /// By how many its subscriptions became more or fewer.
    subscriptions: i64,
}

impl Rule for SubscriptionChurn {
    const META: Meta = Meta {
        id: "OPT_SYS_012",
        name: "Subscription Churn",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("system"),
        since: "2.9",
        differs: Some(
            "It is one finding for a cluster: each subscription that comes or goes on one server is told to all others over \
             routes and counted there as well, so that one client shows itself on every member. What was counted since the \
             previous epoch is scaled to a minute where more time has passed.",
        ),
        rule: "A server adds and removes more than 10,000 subscriptions a minute, by what it counted since the previous epoch.",
        why: "Every subscription that comes or goes is sent to all servers of the cluster, and to gateways and leafnodes that \
              want to know; each of them changes its tree of subjects under a lock and drops what it had cached for \
              matching. It is work that carries no message. Most often a client library makes an inbox for every request, \
              or a service subscribes and unsubscribes for each piece of work, or clients reconnect again and again.\n\n\
              The numbers are the server's own counters (SUBSZ), compared with those of the previous epoch of the same boot \
              and scaled to a minute where more time has passed: a burst in a shorter epoch, as when clients start, counts as \
              what it is. A server that was not seen then, or was started since, has nothing to compare with: unless \
              others of its cluster show it, nothing is said before the next epoch. \
              They hold what came over routes, so that they do not tell whose client it is. What may tell is in the evidence: \
              accounts with newly opened connections, those whose number of subscriptions moved, and servers whose own \
              clients have more or fewer. A client that subscribes and unsubscribes in turns shows in none of them.\n\n\
              A server that is in no cluster is judged by itself. Gateways bring changes of other clusters only where \
              these are asked for interest, so that clusters are told apart.",
        remedy: &[
            "Use one inbox for all requests of a connection (`_INBOX.<id>.*`), as current client libraries do.",
            "Let workers keep their subscriptions, with a queue group, instead of making one for each piece of work.",
            "Look for clients that reconnect again and again: each time they bring all their subscriptions anew.",
            "Turn on `trace` on one server for a moment, by its configuration and a reload, to see whose they are.",
        ],
        needs: &[Endpoint::Subsz],
        evidence_from: &[Endpoint::Connz, Endpoint::AccountStatz],
        scope: Scope::Cluster,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    const EPOCHS: u64 = 2;
    const SERIES: &'static [Series] = &[Series::ServerSubscriptions];
    // The clients of a server that leaves bring their subscriptions to the others.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let own_clients = own_clients(context);
        let mut groups: BTreeMap<(Option<&Name>, Option<&Name>), Group> = BTreeMap::new();
        for server in context.now.servers.values().filter(|server| server.interest.is_some()) {
            let alone = server.cluster.is_none().then_some(&server.name);
            let group = groups.entry((server.cluster.as_ref(), alone)).or_default();
            match row(context, server, &own_clients) {
                Some(row) => group.rows.push(row),
                None => group.new = group.new.take().or_else(|| Some(server.name.clone())),
            }
        }
        let verdicts = groups
            .into_iter()
            .filter_map(|(place, group)| judge_group(context, thresholds, entity(place)?, place.0, group));
        verdicts.collect()
    }
}

/// The members of a cluster that told their counters.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    /// One that has no earlier counters to compare with.
    new: Option<Name>,
}

fn entity((cluster, alone): (Option<&Name>, Option<&Name>)) -> Option<Entity> {
    cluster.map(Entity::servers_of).or_else(|| Some(Entity::server(alone?, None)))
}

/// What a count since the previous epoch is in a minute; of a shorter time it is not known whether it goes on.
fn per_minute(changes: u64, seconds: f64) -> f64 {
    changes as f64 * 60.0 / seconds.max(60.0)
}

/// By how many the subscriptions of each server's own clients changed since the previous epoch, by its id.
fn own_clients(context: &Context<'_>) -> BTreeMap<Name, i64> {
    let tracks = context.tracks(Series::ServerSubscriptions).into_iter();
    let before = context.previous.map(|previous| previous.taken_at);
    let change = |points: &[crate::snapshot::Point]| match points {
        [.., a, b] if Some(a.at) == before => Some(difference(b.value, a.value)),
        _ => None,
    };
    tracks.filter_map(|track| Some((track.boot.clone(), change(&track.points)?))).collect()
}

fn row(context: &Context<'_>, server: &Server, own_clients: &BTreeMap<Name, i64>) -> Option<Row> {
    let now = server.interest.as_ref()?;
    let before = context.same_boot(server)?.interest.as_ref()?;
    Some(Row {
        server: server.name.clone(),
        inserts: now.num_inserts.saturating_sub(before.num_inserts),
        removes: now.num_removes.saturating_sub(before.num_removes),
        own_clients: own_clients.get(&server.id).copied(),
    })
}

fn judge_group(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    entity: Entity,
    cluster: Option<&Name>,
    Group { mut rows, new }: Group,
) -> Option<Verdict> {
    let most = thresholds.of(&entity).max_changes;
    let seconds = context.seconds_since_previous();
    let is_much = |row: &Row| seconds.is_some_and(|seconds| per_minute(row.changes(), seconds) > most as f64);
    rows.sort_by(|a, b| b.changes().cmp(&a.changes()).then_with(|| a.server.cmp(&b.server)));
    let Some(first) = rows.first().filter(|row| is_much(row)).cloned() else {
        let reason =
            |server| format!("server {server} has no counters of the previous epoch to compare with");
        return new.map(|server| Verdict::not_yet(entity, reason(server)));
    };
    let on_all = rows.iter().all(is_much);
    let place = match cluster {
        Some(cluster) if on_all && rows.len() > 1 => {
            format!(
                "every server of cluster {cluster} has changed subscriptions, server {} most: it",
                first.server
            )
        }
        Some(cluster) => format!("server {} of cluster {cluster}", first.server),
        None => format!("server {}", first.server),
    };
    let summary = format!(
        "{place} has added {} subscriptions and removed {} since the previous epoch, {} ago",
        first.inserts,
        first.removes,
        in_words(seconds.unwrap_or_default() as u64),
    );
    let rate = seconds.map(|seconds| per_minute(first.changes(), seconds));
    let observed = Observed {
        value: rounded(rate.unwrap_or_default()),
        ..Observed::count(0, most, "subscriptions per minute")
    };
    let servers_compared = rows.len() as u64;
    rows.truncate(TOP);
    let evidence = Evidence {
        changes_per_minute: rate.map(|rate| (rate * 10.0).round() / 10.0),
        over_seconds: seconds.map(|seconds| seconds as u64),
        servers: rows,
        servers_compared,
        on_all,
        opened_connections: opened(context),
        accounts: moved(context),
    };
    let remediation = remediation(&evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn opened(context: &Context<'_>) -> Vec<Counted> {
    let accounts = context.now.accounts.values().filter(|account| account.fold.opened > 0);
    most_frequent(accounts.map(|account| (Name::from(account.label()), account.fold.opened)))
}

fn moved(context: &Context<'_>) -> Vec<Moved> {
    let Some(previous) = context.previous else {
        return Vec::new();
    };
    let accounts = context.now.accounts.values().filter_map(|account| {
        let before = previous.accounts.get(&account.id)?.subscriptions()?;
        let subscriptions = difference(account.subscriptions()?, before);
        (subscriptions != 0).then(|| Moved { account: Name::from(account.label()), subscriptions })
    });
    let mut moved: Vec<Moved> = accounts.collect();
    let by = |moved: &Moved| moved.subscriptions.unsigned_abs();
    moved.sort_by(|a, b| by(b).cmp(&by(a)).then_with(|| a.account.cmp(&b.account)));
    moved.truncate(TOP);
    moved
}

/// Newly opened connections from which on they are likely to be the cause.
const MANY: u64 = 100;

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(first) = evidence.opened_connections.first().filter(|first| first.count >= MANY) {
        steps.push(format!(
            "Account {} has opened {} connections since the previous epoch: look for clients that reconnect again and again.",
            first.name, first.count
        ));
    }
    let own = evidence.servers.iter().filter_map(|row| Some((row, row.own_clients.filter(|by| *by != 0)?)));
    if let Some((row, by)) = own.max_by_key(|(_, by)| by.unsigned_abs()) {
        let how = if by > 0 { "more" } else { "fewer" };
        steps.push(format!(
            "Clients of server {} have {} subscriptions {how} than before: look there first.",
            row.server,
            by.unsigned_abs()
        ));
    }
    if let Some(Moved { account, subscriptions }) = evidence.accounts.first() {
        steps.push(format!(
            "The subscriptions of account {account} changed by {subscriptions}: look at its clients first."
        ));
    }
    steps.push(
        "Use one inbox for all requests of a connection, as current client libraries do, instead of one for each request."
            .into(),
    );
    steps.push("Let workers keep their subscriptions instead of making one for each piece of work.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_last, judge_with, only};
    use crate::snapshot::Snapshot;
    use crate::snapshot::build::System;
    use crate::wire::subsz::Subsz;
    use serde_json::json;

    type Check = SubscriptionChurn;

    fn system(second: i64, counters: &[(u64, u64)]) -> System {
        let mut system = System::of(counters.len()).at(second);
        for (number, (num_inserts, num_removes)) in (1..).zip(counters) {
            let interest = Subsz { num_inserts: *num_inserts, num_removes: *num_removes, ..Subsz::default() };
            system.server_mut(&format!("n{number}")).interest = Some(interest);
        }
        system
    }

    fn epoch(second: i64, counters: &[(u64, u64)]) -> Snapshot {
        system(second, counters).done()
    }

    fn cluster() -> Entity {
        Entity::servers_of(&"east".into())
    }

    #[test]
    fn one_client_on_all_members_is_one_finding_of_the_cluster() {
        let before = system(0, &[(100, 0), (50, 10), (50, 10)]).connect("n2", "APP", "u", 1, |_, _| {});
        let now = system(60, &[(6_100, 5_000), (6_050, 5_010), (5_050, 4_009)]);
        let now = now.connect("n2", "APP", "u", 1, |c, _| c.subscriptions = 40).with(|snapshot| {
            snapshot.accounts.get_mut("APP").unwrap().interest = Some(70);
        });
        let before = before.with(|snapshot| snapshot.accounts.get_mut("APP").unwrap().interest = Some(30));
        let judgement = judge_last::<Check>(&[before.done(), now.done()]);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &cluster());
        assert_eq!(&*found.id, "east/*");
        assert_eq!(
            firing.summary,
            "server n1 of cluster east has added 6000 subscriptions and removed 5000 since the previous epoch, 1m ago"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 11000.0, "threshold": 10000, "unit": "subscriptions per minute"})
        );
        assert_eq!(
            firing.evidence,
            json!({"changes_per_minute": 11000.0, "over_seconds": 60, "servers_compared": 3, "on_all": false,
                   "servers": [{"server": "n1", "inserts": 6000, "removes": 5000, "own_clients": 0},
                               {"server": "n2", "inserts": 6000, "removes": 5000, "own_clients": 40},
                               {"server": "n3", "inserts": 5000, "removes": 3999, "own_clients": 0}],
                   "opened_connections": [], "accounts": [{"account": "APP", "subscriptions": 40}]})
        );
        assert!(firing.remediation[0].starts_with("Clients of server n2 have 40 subscriptions more"));
        assert!(firing.remediation[1].contains("account APP changed by 40"));
    }

    #[test]
    fn exactly_the_threshold_is_quiet_and_all_members_are_said_to_be_all() {
        let judged = |now: &[(u64, u64)]| judge_last::<Check>(&[epoch(0, &[(0, 0), (0, 0)]), epoch(60, now)]);
        let judgement = judged(&[(10_000, 0), (0, 10_000)]);
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&cluster()), Standing::Clear);
        let judgement = judged(&[(10_001, 0), (0, 10_002)]);
        let firing = only(&judgement).1;
        assert!(
            firing
                .summary
                .starts_with("every server of cluster east has changed subscriptions, server n2 most")
        );
        assert_eq!(firing.evidence["changes_per_minute"], 10_002.0);
        only(&judged(&[(u64::MAX, u64::MAX), (0, 0)]));
    }

    #[test]
    fn whatever_time_has_passed_the_threshold_is_of_a_minute() {
        let judged =
            |second, changes| judge_last::<Check>(&[epoch(0, &[(0, 0)]), epoch(second, &[(changes, 0)])]);
        for (second, most) in [(3, 10_000), (30, 10_000), (60, 10_000), (90, 15_000), (600, 100_000)] {
            assert!(judged(second, most).firing.is_empty(), "{second}");
            let judgement = judged(second, most + 1);
            let firing = only(&judgement).1;
            assert!(firing.observed.value.as_f64().unwrap() > 10_000.0, "{second}");
            assert_eq!(firing.evidence["servers"][0]["inserts"], most + 1);
        }
    }

    #[test]
    fn a_member_without_earlier_counters_ends_nothing() {
        let missed = |second| {
            let mut snapshot = epoch(second, &[(20_000, 0), (0, 0)]);
            snapshot.servers.get_mut("ID-n1").unwrap().interest = None;
            snapshot
        };
        let judged = |now: &[(u64, u64)]| judge_last::<Check>(&[missed(0), epoch(60, now)]);
        let judgement = judged(&[(90_000, 0), (5, 5)]);
        assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
        let why = "server n1 has no counters of the previous epoch to compare with";
        assert_eq!(judgement.standing(&cluster()), Standing::Unknown(why.into()));
        assert_eq!(only(&judged(&[(90_000, 0), (20_000, 5)])).1.evidence["servers_compared"], 1);
        let both = judge_last::<Check>(&[epoch(0, &[(5, 0), (5, 0)]), epoch(60, &[(5, 0), (5, 0)])]);
        assert_eq!(both.standing(&cluster()), Standing::Clear);
    }

    #[test]
    fn a_restart_a_new_server_and_counters_that_sink_are_no_churn() {
        let before = epoch(0, &[(50_000, 50_000), (0, 0)]);
        assert!(judge_last::<Check>(&[before.clone(), epoch(60, &[(10, 10), (0, 0)])]).firing.is_empty());
        let mut restarted = epoch(60, &[(90_000, 90_000), (0, 0)]);
        let server = restarted.servers.remove("ID-n1").unwrap();
        restarted.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        assert!(judge_last::<Check>(&[before.clone(), restarted]).firing.is_empty());
        assert!(
            judge_last::<Check>(&[before, epoch(60, &[(50_000, 50_000), (0, 0), (99_999, 9)])])
                .firing
                .is_empty()
        );
        assert!(judge::<Check>(&epoch(60, &[(99_999, 0)])).nothing.is_some());
    }

    #[test]
    fn servers_without_a_cluster_are_judged_by_themselves() {
        let lone = |second, inserts| {
            let mut system = System::of(0).at(second);
            for name in ["a", "b"] {
                system.add_server(name, None);
            }
            system.server_mut("b").interest = Some(Subsz { num_inserts: inserts, ..Subsz::default() });
            system.done()
        };
        let judgement = judge_last::<Check>(&[lone(0, 0), lone(60, 20_000)]);
        assert_eq!(only(&judgement).0, &Entity::server(&"b".into(), None));
    }

    #[test]
    fn a_silent_member_leaves_the_cluster_unknown_unless_another_one_shows_it() {
        let judged = |now: &[(u64, u64)]| {
            let mut now = system(60, now).silent("n2", Endpoint::Subsz);
            now.server_mut("n2").interest = None;
            judge_with::<Check>(&now.done(), Some(&epoch(0, &[(0, 0), (0, 0)])), &[])
        };
        assert!(matches!(judged(&[(5, 5), (0, 0)]).standing(&cluster()), Standing::Unknown(_)));
        assert_eq!(only(&judged(&[(20_000, 5), (0, 0)])).1.evidence["servers_compared"], 1);
    }

    #[test]
    fn newly_opened_connections_are_named() {
        let before = epoch(0, &[(0, 0)]);
        let mut now = system(60, &[(20_000, 0)]).connect("n1", "APP", "u", 200, |_, _| {}).done();
        now.accounts.get_mut("APP").unwrap().fold.opened = 200;
        let judgement = judge_last::<Check>(&[before, now]);
        let firing = only(&judgement).1;
        assert_eq!(firing.evidence["opened_connections"], json!([{"name": "APP", "count": 200}]));
        assert!(firing.remediation[0].contains("reconnect again"));
        let base = [("max_changes".to_owned(), json!(0))].into_iter().collect();
        assert!(Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).is_err());
    }
}
