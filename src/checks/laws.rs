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
#[cfg(test)]
mod world;

use super::{RETIRED, catalogue, find};
use crate::check::{
    Context, DeclaredLimits, Entity, Entry, Firing, Judgement, Partial, Rule, Scope, Settings, Standing,
    evaluate,
};
use crate::snapshot::build::{System, at};
use crate::snapshot::{Deaf, Endpoint, Event, History, LookBack, Snapshot, Version};
use crate::text::Name;
pub(crate) use clients::bearer_jwt;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
pub(crate) use world::jwt;
use world::{ASKED, Loss, MANY, SERVERS, World, any_limit, any_losses, any_name, any_world};

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
        let mut both = meta.needs_events.iter().filter(|event| meta.evidence_from_events.contains(event));
        assert!(both.next().is_none(), "{id}: what it cannot do without is there for the evidence as well");
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

static EVIDENCE: LazyLock<BTreeMap<&'static str, jsonschema::Validator>> = LazyLock::new(|| {
    let schema = |entry: &Entry| jsonschema::validator_for(&entry.evidence_schema().to_value()).unwrap();
    catalogue().map(|entry| (entry.meta.id, schema(entry))).collect()
});

/// Whether the answers that an entity's verdict depends on have a gap.
fn has_gap(entry: &Entry, snapshot: &Snapshot, entity: &Entity) -> bool {
    let gaps = entry.meta.needs.iter().flat_map(|need| snapshot.coverage.gaps(*need));
    let mut gaps = gaps.filter(|gap| match entry.meta.scope {
        Scope::System => true,
        Scope::Cluster => gap.cluster == entity.cluster || is_placeless(snapshot, &gap.server),
        Scope::Server => Some(&gap.server) == entity.server.as_ref(),
    });
    gaps.next().is_some()
}

/// Whether it is known by its name alone, so that it may be in any cluster.
fn is_placeless(snapshot: &Snapshot, server: &Name) -> bool {
    let mut missing = snapshot.coverage.missing.iter().filter(|missing| missing.name == *server);
    missing.any(|missing| missing.cluster.is_none() && missing.last_epoch.is_none() && !missing.heartbeats)
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

/// The same system as one sees it who may not hear that servers leave.
fn without_farewells(heard: &Snapshot) -> Snapshot {
    let mut now = heard.clone();
    now.departures.clear();
    now.ends.announced.clear();
    let (from, to) = (at(i64::from(i32::MIN)), at(i64::from(i32::MAX)));
    now.ends.deaf = vec![Deaf { from, to, except: None, why: "denied".into() }];
    now.coverage.missing.iter_mut().for_each(|missing| missing.lame_duck = false);
    now
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// AGENT_002 names the checks that suffer where that is denied, by what they say.
    #[test]
    fn what_is_judged_by_farewells_says_so(
        now in any_world(), earlier in prop::collection::vec(any_world(), 2),
    ) {
        let now = now.snapshot(&[]);
        let deaf = without_farewells(&now);
        let earlier: Vec<Snapshot> = earlier.iter().map(|world| world.snapshot(&[])).collect();
        let mut silent = Vec::new();
        for entry in catalogue() {
            let says = |events: &[Event]| Event::FAREWELLS.iter().all(|event| events.contains(event));
            if says(entry.meta.needs_events) || says(entry.meta.evidence_from_events) {
                continue;
            }
            let told = |snapshot: &Snapshot| {
                let judgement = judge_series(entry, &earlier, snapshot);
                // Reasons differ, and so does how many there are.
                let entities: BTreeSet<Name> =
                    judgement.unknown_rows().into_iter().map(|row| row.entity).collect();
                let firing = judgement.firing.into_iter().map(|(entity, firing)| (entity, firing.severity));
                (firing.collect::<Vec<_>>(), entities)
            };
            if told(&now) != told(&deaf) {
                silent.push(entry.meta.id);
            }
        }
        prop_assert!(silent.is_empty(), "{silent:?}");
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
        let later = |second| move |world: World| world.at(second).snapshot(&[]);
        let [first, second] = [later(0)(world()), later(60)(world())];
        let now = world().at(400);
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
