//! Compiled for tests only. Helpers for the tests of checks, and laws that hold for every check of the catalogue.

#[cfg(test)]
mod blindness;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod expectations;
#[cfg(test)]
mod health;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod links;
#[cfg(test)]
mod servers;
#[cfg(test)]
pub(crate) mod tenants;

use super::{RETIRED, catalogue, find};
use crate::check::{
    Context, DeclaredLimits, Entity, Entry, Firing, Judgement, Partial, Rule, Scope, Settings, Standing,
    evaluate,
};
use crate::snapshot::build::{System, at};
use crate::snapshot::{
    AccountLimits, ConnectionSubscriptions, Counted, Endpoint, History, Limits, LookBack, Snapshot,
    SubscriptionShape, Version,
};
use crate::text::{Name, digest_hex};
use blindness::{Blindness, any_blindness};
pub(crate) use clients::bearer_jwt;
use clients::{Client, Interest, any_client, any_interest};
use data_encoding::BASE64URL_NOPAD;
use health::{AnyHealth, any_health};
use links::{Links, any_links};
use proptest::prelude::*;
use serde_json::{Value, json};
use servers::{Servers, any_servers};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use tenants::{Tenants, any_tenants};

/// Judges a snapshot with default thresholds.
pub(crate) fn judge<R: Rule>(now: &Snapshot) -> Judgement {
    judge_with::<R>(now, None, &[])
}

/// Judges with default thresholds, a previous epoch (which is also the history) and declared limits.
pub(crate) fn judge_with<R: Rule>(
    now: &Snapshot,
    previous: Option<&Snapshot>,
    declared: &[(&str, DeclaredLimits)],
) -> Judgement {
    judge_set::<R>(now, previous, declared, &Settings::default())
}

/// The same with settings.
pub(crate) fn judge_set<R: Rule>(
    now: &Snapshot,
    previous: Option<&Snapshot>,
    declared: &[(&str, DeclaredLimits)],
    settings: &Settings,
) -> Judgement {
    judge_entry(&Entry::of::<R>(), now, previous, declared, settings)
}

/// The same for a check of the catalogue. The follow-ups are decided as well, so that they cannot fail unseen.
pub(crate) fn judge_entry(
    entry: &Entry,
    now: &Snapshot,
    previous: Option<&Snapshot>,
    declared: &[(&str, DeclaredLimits)],
    settings: &Settings,
) -> Judgement {
    // As often as the check needs it.
    let times = usize::try_from(entry.epochs.saturating_sub(1).max(1)).unwrap();
    let earlier: Vec<&Snapshot> =
        previous.into_iter().flat_map(|one| std::iter::repeat_n(one, times)).collect();
    judge_after(entry, now, &earlier, declared, settings)
}

/// The same after several epochs, the oldest first.
pub(crate) fn judge_after(
    entry: &Entry,
    now: &Snapshot,
    earlier: &[&Snapshot],
    declared: &[(&str, DeclaredLimits)],
    settings: &Settings,
) -> Judgement {
    let declared: BTreeMap<_, _> =
        declared.iter().map(|(name, limits)| ((*name).to_owned(), limits.clone())).collect();
    let rule = entry.configure(settings).unwrap();
    let history = history_of(entry, rule.looks_back(), earlier);
    let context = Context { now, previous: earlier.last().copied(), history: &history, declared: &declared };
    rule.follow_ups(&context);
    evaluate(entry, rule.as_ref(), &Arc::new(entry.policies(settings)), &context)
}

fn history_of(entry: &Entry, look_back: LookBack, earlier: &[&Snapshot]) -> History {
    let mut history = History::default();
    history.follow(&entry.series.iter().copied().collect());
    history.look_back(look_back);
    earlier.iter().for_each(|snapshot| history.push(snapshot));
    history
}

/// Judges the last of these epochs after all the others, with default thresholds.
pub(crate) fn judge_last<R: Rule>(epochs: &[Snapshot]) -> Judgement {
    judge_last_set::<R>(epochs, &Settings::default())
}

/// The same with settings.
pub(crate) fn judge_last_set<R: Rule>(epochs: &[Snapshot], settings: &Settings) -> Judgement {
    let entry = Entry::of::<R>();
    let (now, earlier) = epochs.split_last().unwrap();
    // As the agent does: of an epoch that is over only what later ones need is kept.
    let mut previous = earlier.last().cloned();
    if let Some(previous) = &mut previous {
        previous.forget_connections();
    }
    let rule = entry.configure(settings).unwrap();
    let history = history_of(&entry, rule.looks_back(), &earlier.iter().collect::<Vec<_>>());
    let declared = BTreeMap::new();
    let context = Context { now, previous: previous.as_ref(), history: &history, declared: &declared };
    rule.follow_ups(&context);
    evaluate(&entry, rule.as_ref(), &Arc::new(entry.policies(settings)), &context)
}

/// Judges with what came before: the epochs in their order, the first of them as often as the check needs it.
fn judge_series(entry: &Entry, earlier: &[Snapshot], now: &Snapshot) -> Judgement {
    let needed = usize::try_from(entry.epochs.saturating_sub(1)).unwrap();
    let missing = needed.saturating_sub(earlier.len());
    let first = earlier.first().into_iter().flat_map(|one| std::iter::repeat_n(one, missing));
    let all: Vec<&Snapshot> = first.chain(earlier).collect();
    let rule = entry.configure(&Settings::default()).unwrap();
    let (history, declared) = (history_of(entry, rule.looks_back(), &all), BTreeMap::new());
    let context = Context { now, previous: all.last().copied(), history: &history, declared: &declared };
    rule.follow_ups(&context);
    evaluate(entry, rule.as_ref(), &Arc::new(entry.policies(&Settings::default())), &context)
}

fn judge_default(entry: &Entry, now: &Snapshot) -> Judgement {
    judge_entry(entry, now, None, &[], &Settings::default())
}

/// The only firing verdict.
#[track_caller]
pub(crate) fn only(judgement: &Judgement) -> (&Entity, &Firing) {
    assert_eq!(judgement.firing.len(), 1, "{judgement:?}");
    let (entity, firing) = &judgement.firing[0];
    (entity, firing)
}

#[test]
fn ids_are_unique_well_formed_in_order_and_never_reused() {
    let mut ids = BTreeSet::new();
    for entry in catalogue() {
        let meta = entry.meta;
        for id in [meta.id].iter().chain(meta.aliases) {
            assert!(ids.insert(id.to_uppercase()), "{id} is taken");
            assert!(RETIRED.iter().all(|(retired, _)| retired != id), "{id} is retired");
        }
        let (family, number) = meta.id.rsplit_once('_').unwrap();
        assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()), "{}", meta.id);
        assert!(
            !family.is_empty() && family.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
            "{}",
            meta.id
        );
        assert_eq!(find(&meta.id.to_lowercase()).unwrap().meta.id, meta.id);
    }
    for family in super::FAMILIES {
        assert!(family.is_sorted_by_key(|entry| entry.meta.id), "{family:?}");
    }
    assert!(find("ACCOUNTS_000").is_none());
}

#[test]
fn every_text_is_complete() {
    for Entry { meta, .. } in catalogue() {
        let id = meta.id;
        assert!(!meta.name.is_empty() && meta.name.len() <= 40 && !meta.name.ends_with('.'), "{id}");
        assert!(meta.rule.ends_with('.') && !meta.rule.contains('\n'), "{id}: the rule is one sentence");
        assert!(!meta.remedy.is_empty() && !meta.why.is_empty(), "{id}");
        assert_eq!(
            meta.needs.is_empty(),
            id.starts_with("AGENT_"),
            "{id}: only silence is judged without answers"
        );
        assert!(
            meta.why.split("\n\n").all(|paragraph| paragraph.ends_with(['.', '!'])),
            "{id}: {}",
            meta.why
        );
        for text in [meta.name, meta.rule, meta.why].iter().chain(meta.remedy) {
            assert!(!text.contains("  ") && text.trim() == *text, "{id}: spaces in {text:?}");
            assert!(text.len() <= 2500, "{id}: {} bytes", text.len());
        }
        if let Some(differs) = meta.differs {
            let one_line = differs.ends_with('.') && !differs.contains('\n') && differs.len() <= 600;
            assert!(one_line && !differs.contains("  "), "{id}: {differs}");
        }
        assert!(meta.remedy.iter().all(|step| step.ends_with('.')), "{id}: steps are sentences");
        let both = meta.needs.iter().find(|need| meta.evidence_from.contains(need));
        assert!(both.is_none(), "{id}: what the verdict needs is there for the evidence as well");
        let optimization = meta.kind == crate::check::Kind::Optimization;
        assert_eq!(meta.group.is_some(), optimization, "{id}: optimizations are listed by group");
        assert_eq!(id.starts_with("OPT_"), optimization, "{id}");
        assert!(
            Version::parse(&format!("{}.0", meta.since)).or_else(|| Version::parse(meta.since)).is_some(),
            "{id}"
        );
    }
}

#[test]
fn every_threshold_is_described_and_its_default_is_accepted() {
    for entry in catalogue() {
        let id = entry.meta.id;
        let defaults = entry.defaults();
        let schema = entry.thresholds_schema().to_value();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        assert_eq!(
            properties.keys().collect::<BTreeSet<_>>(),
            defaults.keys().collect::<BTreeSet<_>>(),
            "{id}"
        );
        for (key, property) in &properties {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{id}.{key} is not described: {description:?}");
            assert!(!defaults[key].is_null(), "{id}.{key} has no default");
        }
        assert_eq!(schema["additionalProperties"], json!(false), "{id} takes unknown thresholds");
        assert!(jsonschema::is_valid(&schema, &Value::Object(defaults.clone())), "{id}");
        let settings = Settings { base: defaults.clone(), ..Settings::default() };
        assert_eq!(entry.configure(&settings).unwrap().thresholds(), defaults, "{id}");
        assert_eq!(entry.configure(&Settings::default()).unwrap().thresholds(), defaults, "{id}");

        let base = [("no_such_threshold".to_owned(), json!(1))].into_iter().collect();
        let error = entry.configure(&Settings { base, ..Settings::default() }).err().unwrap();
        assert_eq!(error.key.as_deref(), Some("no_such_threshold"), "{id}");
        for key in defaults.keys() {
            for bad in [json!(null), json!(-1), json!([]), json!({}), json!("x")] {
                let base = [(key.clone(), bad.clone())].into_iter().collect();
                let error = entry.configure(&Settings { base, ..Settings::default() }).err();
                let error = error.unwrap_or_else(|| panic!("{id}.{key} = {bad} is accepted"));
                assert_eq!(error.key.as_ref(), Some(key), "{id}: {error}");
            }
        }
    }
}

#[test]
fn nothing_known_is_unknown() {
    let empty = Snapshot::empty(1_700_000_000, at(0));
    let mut unanswered = System::of(2);
    for endpoint in ASKED {
        unanswered = unanswered.silent("n1", endpoint).silent("n2", endpoint);
    }
    for snapshot in [empty, unanswered.done()] {
        for entry in catalogue() {
            let judgement = judge_default(entry, &snapshot);
            assert!(judgement.firing.is_empty(), "{judgement:?}");
            if entry.meta.needs.is_empty() {
                assert!(judgement.evaluated() && judgement.unknown_rows().is_empty(), "{judgement:?}");
                continue;
            }
            assert!(judgement.nothing.is_some(), "{judgement:?}");
            let entity = Entity::account("APP", None);
            assert!(matches!(judgement.standing(&entity), Standing::Unknown(_)));
            assert_eq!(judgement.unknown_rows().len(), 1);
        }
    }
}

#[test]
fn a_healthy_system_gives_nothing() {
    let mut system = System::of(3);
    for account in ["APP", "BATCH", "SYS"] {
        system = system.account(account, 1000, 1000, 10);
        for server in ["n1", "n2", "n3"] {
            system = system
                .connect(server, account, "web", 30, |c, i| c.subscriptions = i)
                .connect(server, account, "worker", 20, |c, i| c.ip = format!("10.0.1.{i}").into())
                .connect(server, account, "leaf", 1, |c, _| c.kind = "Leafnode".into());
        }
    }
    let healthy = system.with(|snapshot| {
        for on in snapshot.accounts.values_mut().flat_map(|account| account.servers.values_mut()) {
            on.subscriptions = Some(500);
        }
    });
    let snapshot = healthy.done();
    for entry in catalogue() {
        let earlier = vec![&snapshot; entry.epochs.max(2) as usize - 1];
        let judgement = judge_after(entry, &snapshot, &earlier, &[], &Settings::default());
        assert!(judgement.firing.is_empty(), "{judgement:?}");
        assert!(judgement.unknown_rows().is_empty() && judgement.evaluated(), "{judgement:?}");
    }
}

const ASKED: [Endpoint; 15] = [
    Endpoint::Varz,
    Endpoint::Connz,
    Endpoint::AccountStatz,
    Endpoint::Accountz,
    Endpoint::Events,
    Endpoint::Subsz,
    Endpoint::AccountDetails,
    Endpoint::Services,
    Endpoint::Interest,
    Endpoint::Healthz,
    Endpoint::Closed,
    Endpoint::Routez,
    Endpoint::Gatewayz,
    Endpoint::GatewayAccounts,
    Endpoint::Leafz,
];
const SERVERS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
const MANY: u64 = 1 << 62;

#[derive(Debug, Clone)]
struct AnyServer {
    name: String,
    cluster: Option<&'static str>,
    version: Option<Version>,
    max_connections: i64,
    max_subscriptions: Option<i64>,
    more_connections: u64,
    rejected: Option<u64>,
}

#[derive(Debug, Clone)]
struct AnyGroup {
    server: usize,
    account: usize,
    user: String,
    n: u64,
    kind: &'static str,
    name: String,
    ip: String,
    last_activity: &'static str,
    in_msgs: i64,
    subscriptions: u64,
    user_limit: Option<i64>,
    client: Client,
}

#[derive(Debug, Clone)]
struct AnyAccount {
    id: String,
    limits: Limits,
    subscriptions: Option<u64>,
    refused: u64,
}

/// What any number of servers might say.
#[derive(Debug, Clone)]
struct World {
    second: i64,
    servers: Vec<AnyServer>,
    accounts: Vec<AnyAccount>,
    groups: Vec<AnyGroup>,
    gone: Vec<bool>,
    system_account: usize,
    blindness: Blindness,
    told: Servers,
    tenants: Tenants,
    health: (Vec<AnyHealth>, bool),
    interest: Interest,
    links: Links,
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["APP", "u", "n1", "a.b c*>", "", "[token]", "[hidden]", "[REDACTED]", "%", "\u{0}\n\"", "ü/ö"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,20}",
        1 => Just("long ".repeat(300)),
    ]
}

fn any_limit() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![-1, 0, 1, 10, 100, 120, i64::MAX, i64::MIN])
}

prop_compose! {
    fn any_server()(
        name in prop::option::of(any_name()),
        cluster in prop::sample::select(vec![Some("east"), Some("east"), Some("west"), Some(""), None]),
        version in prop::sample::select(vec![
            None, Some(Version(2, 9, 10)), Some(Version(2, 10, 26)), Some(Version(2, 12, 5)), Some(Version(2, 15, 1)),
        ]),
        max_connections in any_limit(),
        max_subscriptions in prop::option::of(any_limit()),
        more_connections in prop::sample::select(vec![0, 0, 1, 500, MANY]),
        rejected in prop::option::of(any::<u64>()),
    ) -> AnyServer {
        let name = name.unwrap_or_default();
        AnyServer { name, cluster, version, max_connections, max_subscriptions, more_connections, rejected }
    }
}

prop_compose! {
    fn any_group()(
        (server, account) in (0..SERVERS.len(), 0usize..3),
        user in any_name(),
        n in prop::sample::select(vec![0u64, 1, 9, 12, 101, 130]),
        kind in prop::sample::select(vec!["", "Client", "Client", "Client", "Leafnode"]),
        (name, ip) in (any_name(), any_name()),
        last_activity in prop::sample::select(vec![
            "", "x", "2023-11-14T22:13:20Z", "2023-11-14T22:08:19Z", "1700-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        ]),
        in_msgs in prop::sample::select(vec![0i64, 0, 1, -1]),
        subscriptions in prop::sample::select(vec![0u64, 9, 95, 110, u64::MAX]),
        user_limit in prop::option::of(any_limit()),
        client in any_client(),
    ) -> AnyGroup {
        AnyGroup { server, account, user, n, kind, name, ip, last_activity, in_msgs, subscriptions, user_limit, client }
    }
}

prop_compose! {
    fn any_account()(
        id in any_name(),
        limits in prop_oneof![
            Just(Limits::NotVisible),
            Just(Limits::None),
            Just(Limits::Unread("no answer".into())),
            (any_limit(), any_limit(), any_limit()).prop_map(|(connections, subscriptions, leafnodes)| {
                Limits::Jwt(AccountLimits { connections, subscriptions, leafnodes })
            }),
        ],
        subscriptions in prop::sample::select(vec![None, Some(0), Some(95), Some(u64::MAX)]),
        refused in 0u64..2,
    ) -> AnyAccount {
        AnyAccount { id, limits, subscriptions, refused }
    }
}

prop_compose! {
    fn any_world()(
        second in -100i64..100,
        servers in prop::collection::vec(any_server(), SERVERS.len()),
        accounts in prop::collection::vec(any_account(), 3),
        groups in prop::collection::vec(any_group(), 0..8),
        gone in prop::collection::vec(prop::bool::weighted(0.1), SERVERS.len()),
        system_account in 0usize..6,
        ((blindness, health, interest), told, tenants, links) in (
            (any_blindness(), any_health(), any_interest()), any_servers(), any_tenants(), any_links(),
        ),
    ) -> World {
        World {
            second, servers, accounts, groups, gone, system_account, blindness, told, tenants, health, interest, links,
        }
    }
}

/// A user's JWT. Its signature differs from that of another.
pub(crate) fn jwt(user: &str, subscriptions: i64) -> String {
    let claims = json!({"sub": user, "nats": {"subs": subscriptions}}).to_string();
    let signature = digest_hex(claims.as_bytes(), 16);
    format!("e30.{}.{signature}", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

type Loss = (usize, Endpoint);

fn any_losses() -> impl Strategy<Value = Vec<Loss>> {
    prop::collection::vec((0..SERVERS.len(), prop::sample::select(ASKED.to_vec())), 0..6)
}

impl World {
    /// The snapshot of it, without the answers that were lost.
    fn snapshot(&self, lost: &[Loss]) -> Snapshot {
        let mut system = System::of(0).at(self.second);
        for (slot, spec) in SERVERS.iter().zip(&self.servers) {
            system.add_server(slot, spec.cluster);
            let server = system.server_mut(slot);
            server.version = spec.version;
            let vars = server.vars.as_mut().unwrap();
            vars.max_connections = spec.max_connections;
            vars.max_subscriptions = spec.max_subscriptions;
            vars.connections = spec.more_connections;
            vars.total_connections = spec.more_connections;
        }
        self.told.tell(&mut system.snapshot);
        for &(server, endpoint) in lost {
            system = match endpoint {
                Endpoint::Connz => system.without_sweep(SERVERS[server]),
                // VARZ comes before the sweep, which takes a server's limits from it.
                Endpoint::Varz => {
                    system.server_mut(SERVERS[server]).vars = None;
                    system.silent(SERVERS[server], endpoint)
                }
                _ => system.silent(SERVERS[server], endpoint),
            };
        }
        for group in &self.groups {
            let account = &self.accounts[group.account].id;
            system = system.connect(SERVERS[group.server], account, &group.user, group.n, |c, _| {
                c.kind = group.kind.into();
                c.name = group.name.clone().into();
                c.ip = group.ip.clone().into();
                c.last_activity = group.last_activity.into();
                c.in_msgs = group.in_msgs;
                c.subscriptions = group.subscriptions;
                c.jwt = group.user_limit.map_or_else(String::new, |limit| jwt(&group.user, limit)).into();
                group.client.edit(c);
            });
        }
        for account in &self.accounts {
            let entry = system.entry(&account.id);
            entry.limits = account.limits.clone();
            entry.events.refused_connections = account.refused;
            entry.events.refused_subscriptions = account.refused;
            entry.servers.values_mut().for_each(|on| on.subscriptions = account.subscriptions);
        }
        let ids: Vec<String> = self.accounts.iter().map(|account| account.id.clone()).collect();
        system = health::tell(system, &self.health, &ids);
        for (slot, _) in SERVERS.iter().zip(&self.gone).filter(|(_, gone)| **gone) {
            system = system.gone(slot);
        }
        let mut snapshot = system.done();
        if let Some(account) = self.accounts.get(self.system_account) {
            snapshot.system_account = account.id.as_str().into();
        }
        for (slot, spec) in SERVERS.iter().zip(&self.servers) {
            let id: Name = format!("ID-{slot}").into();
            if let Some(server) = snapshot.servers.get_mut(&id) {
                server.name =
                    if spec.name.is_empty() { server.name.clone() } else { spec.name.as_str().into() };
                let cluster = server.cluster.clone();
                snapshot.coverage.present.insert(id.clone(), (server.name.clone(), cluster));
                snapshot.follow_ups.rejected.extend(spec.rejected.map(|rejected| (id, rejected)));
            }
        }
        for account in &self.accounts {
            let first_tokens = vec![Counted { name: account.id.as_str().into(), count: u64::MAX }];
            let shape =
                SubscriptionShape { inbox: account.refused, listed: 1 << account.refused, first_tokens };
            let row = ConnectionSubscriptions { server: "ID-n1".into(), cid: 1, shape };
            snapshot.follow_ups.subscriptions.insert(account.id.as_str().into(), vec![row.clone(), row]);
        }
        for &(server, endpoint) in lost {
            let id: Name = format!("ID-{}", SERVERS[server]).into();
            match endpoint {
                Endpoint::Varz => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.vars = None);
                }
                Endpoint::AccountStatz => snapshot.accounts.values_mut().for_each(|account| {
                    account.servers.remove(&id);
                    account.slow_consumers.remove(&id);
                }),
                Endpoint::Healthz => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.health = None);
                }
                Endpoint::Closed => {
                    snapshot.servers.get_mut(&id).into_iter().for_each(|server| server.closed = None);
                }
                _ => {}
            }
        }
        self.links.link(&mut snapshot, lost);
        self.told.boot(&mut snapshot);
        let ids: Vec<Name> = self.accounts.iter().map(|account| account.id.as_str().into()).collect();
        self.tenants.settle(&mut snapshot, &ids, lost);
        self.interest.fill(&mut snapshot);
        self.blindness.blind(&mut snapshot);
        snapshot
    }
}

static EVIDENCE: LazyLock<BTreeMap<&'static str, jsonschema::Validator>> = LazyLock::new(|| {
    let schema = |entry: &Entry| jsonschema::validator_for(&entry.evidence_schema().to_value()).unwrap();
    catalogue().map(|entry| (entry.meta.id, schema(entry))).collect()
});

/// Whether the answers that an entity's verdict depends on have a gap.
fn has_gap(entry: &Entry, snapshot: &Snapshot, entity: &Entity) -> bool {
    let gaps = entry.meta.needs.iter().flat_map(|need| snapshot.coverage.gaps(*need));
    let mut gaps = gaps.filter(|gap| match entry.meta.scope {
        Scope::System => true,
        Scope::Cluster => gap.cluster == entity.cluster,
        Scope::Server => Some(&gap.server) == entity.server.as_ref(),
    });
    gaps.next().is_some()
}

fn same(a: &Entity, b: &Entity) -> bool {
    crate::check::same(a, b)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_snapshot_is_judged_without_a_panic_and_findings_are_whole(
        now in any_world(), earlier in prop::collection::vec(any_world(), 2), lost in any_losses(),
    ) {
        let now = now.snapshot(&lost);
        let earlier: Vec<Snapshot> = earlier.iter().map(|world| world.snapshot(&[])).collect();
        for entry in catalogue() {
            let id = entry.meta.id;
            let judgement = judge_series(entry, &earlier, &now);
            for (entity, firing) in &judgement.firing {
                prop_assert_eq!(entity.kind, entry.meta.entity);
                prop_assert!(!firing.summary.is_empty() && !firing.remediation.is_empty(), "{}", id);
                prop_assert!(firing.observed.percent.is_none_or(f64::is_finite), "{id}: {:?}", firing.observed);
                let errors: Vec<_> =
                    EVIDENCE[id].iter_errors(&firing.evidence).map(|error| error.to_string()).collect();
                prop_assert!(errors.is_empty(), "{id}: {errors:?} in {}", firing.evidence);
                let twins = judgement.firing.iter().filter(|(other, _)| same(other, entity)).count();
                prop_assert_eq!(twins, 1, "{} names an entity twice: {:?}", id, entity);
                if entry.meta.partial == Partial::CannotFire {
                    prop_assert!(!has_gap(entry, &now, entity), "{id} fires with a gap: {entity:?}");
                }
            }
            let rows = judgement.unknown_rows();
            prop_assert!(rows.iter().all(|row| !row.reason.is_empty() && row.check == id));
        }
    }

    #[test]
    fn fewer_answers_never_make_anything_fire_or_clear(
        world in any_world(), earlier in prop::collection::vec(any_world(), 2), lost in any_losses(),
    ) {
        let (full, partial) = (world.snapshot(&[]), world.snapshot(&lost));
        let earlier: Vec<Snapshot> = earlier.iter().map(|world| world.snapshot(&[])).collect();
        for entry in catalogue() {
            let id = entry.meta.id;
            let (full, judged) = (judge_series(entry, &earlier, &full), judge_series(entry, &earlier, &partial));
            for (entity, _) in &judged.firing {
                let before = full.firing.iter().any(|(other, _)| same(other, entity));
                prop_assert!(before, "{id} fires for {entity:?} because answers are missing");
            }
            for (entity, _) in &full.firing {
                let still = judged.firing.iter().any(|(other, _)| same(other, entity));
                if !still && has_gap(entry, &partial, entity) {
                    let standing = judged.standing(entity);
                    prop_assert!(matches!(standing, Standing::Unknown(_)), "{id} clears {entity:?} with a gap");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What is about missing answers is judged in every epoch, and depends on no answer that came.
    #[test]
    fn what_keeps_the_agent_from_seeing_is_never_unknown(world in any_world(), lost in any_losses()) {
        let (full, partial) = (world.snapshot(&[]), world.snapshot(&lost));
        for entry in catalogue().filter(|entry| entry.meta.needs.is_empty()) {
            let entities = |snapshot: &Snapshot| {
                let judgement = judge_default(entry, snapshot);
                assert!(judgement.evaluated() && judgement.unknown_rows().is_empty(), "{judgement:?}");
                judgement.firing.into_iter().map(|(entity, firing)| (entity, firing.severity)).collect::<Vec<_>>()
            };
            prop_assert_eq!(entities(&full), entities(&partial));
        }
    }
}

/// The laws above would hold for a catalogue that never fires.
#[test]
fn arbitrary_snapshots_provoke_every_check() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut silent: BTreeSet<&str> = catalogue().map(|entry| entry.meta.id).collect();
    silent.retain(|id| !clients::SLOW.contains(id));
    for _ in 0..500 {
        let mut world = || any_world().new_tree(&mut runner).unwrap().current();
        let later = |second| move |world: World| World { second, ..world }.snapshot(&[]);
        let [first, second] = [later(0)(world()), later(60)(world())];
        let now = World { second: 400, ..world() };
        // Everything may differ from the epoch before, or nothing.
        let still = [later(0)(now.clone()), later(60)(now.clone())];
        let now = now.snapshot(&[]);
        silent.retain(|id| {
            let entry = find(id).unwrap();
            let fires = |earlier: &[Snapshot]| !judge_series(entry, earlier, &now).firing.is_empty();
            !fires(&[]) && !fires(&[first.clone(), second.clone()]) && !fires(&still)
        });
        if silent.is_empty() {
            return;
        }
    }
    panic!("never fired: {silent:?}");
}
