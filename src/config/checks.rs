//! The `[checks.ID]` tables, and the checks as they are enabled by them.

use super::explain::Places;
use super::tree::{Key, Node, Source, in_order, name, nearest};
use super::{ConfigError, value};
use crate::check::{Entry, MOST_EPOCHS, Match, Override, PolicySetting, Settings, Severity};
use crate::checks::{ActiveCheck, ActiveChecks, RETIRED, catalogue, find};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Keys of a check that are no thresholds.
const RESERVED: &[&str] = &["enabled", "severity", "for", "keep", "override"];
/// Keys of an override that are no thresholds.
const RESERVED_IN_OVERRIDE: &[&str] = &["match", "enabled", "severity", "for", "keep"];
/// Keys of `match`.
const MATCH_KEYS: &[&str] = &["account", "cluster", "server", "user", "stream"];

/// What the operator says about one check.
#[derive(Debug, Clone, Default)]
pub struct CheckSetting {
    /// Its policy, its thresholds and its overrides.
    pub settings: Settings,
    /// Where those stand in the file.
    pub places: Places,
}

/// What the operator says about the checks, by id; what is not named keeps its defaults.
pub type CheckSettings = BTreeMap<&'static str, CheckSetting>;

/// The enabled checks with these settings.
pub(super) fn activate(settings: &CheckSettings) -> Result<ActiveChecks, ConfigError> {
    let mut active = ActiveChecks { checks: Vec::new(), disabled: 0 };
    let default = CheckSetting::default();
    for entry in catalogue() {
        let setting = settings.get(entry.meta.id).unwrap_or(&default);
        let policies = entry.policies(&setting.settings);
        if !policies.any_enabled() {
            active.disabled += 1;
            continue;
        }
        let judge = entry
            .configure(&setting.settings)
            .map_err(|error| ConfigError::Defaults { check: entry.meta.id, problem: error.problem })?;
        active.checks.push(ActiveCheck { entry, judge, policies: Arc::new(policies) });
    }
    Ok(active)
}

/// Reads the table of tables.
pub(super) fn read<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<CheckSettings, ConfigError> {
    let mut settings = CheckSettings::new();
    for (key, node) in in_order(source.table(key, node)?) {
        let Some(entry) = find(key.get_ref()) else {
            return Err(unknown_check(source, key));
        };
        let setting = check(source, entry, key, node)?;
        let id = entry.meta.id;
        if settings.insert(id, setting).is_some() {
            let problem = format!("check {id} is configured twice, here as {}", name(key));
            return Err(source.error(key.span(), problem));
        }
    }
    Ok(settings)
}

fn unknown_check(source: Source<'_>, key: &Key<'_>) -> ConfigError {
    source.error(key.span(), unknown_id(key.get_ref()))
}

/// The sentence about an id that is not in the catalogue.
pub(crate) fn unknown_id(id: &str) -> String {
    const MOST: usize = 3;
    if let Some((retired, why)) = RETIRED.iter().find(|(retired, _)| retired.eq_ignore_ascii_case(id)) {
        return format!("{retired} is retired. {}", why.trim_end_matches('.'));
    }
    let known = catalogue()
        .flat_map(|entry| std::iter::once(entry.meta.id).chain(entry.meta.aliases.iter().copied()));
    let near: Vec<&str> = nearest(id, known).into_iter().take(MOST).collect();
    let hint = match near.as_slice() {
        [] => "`insights-agent catalog list` shows them all".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    format!("there is no check {}; {hint}", value::shown(id))
}

fn check<'i>(
    source: Source<'i>,
    entry: &Entry,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<CheckSetting, ConfigError> {
    let table = source.table(key, node)?;
    let mut setting = CheckSetting::default();
    let mut overrides: Vec<&DeTable<'i>> = Vec::new();
    for (key, node) in in_order(table) {
        if key.get_ref() == "override" {
            for (read, line, table) in read_overrides(source, entry, key, node)? {
                setting.settings.overrides.push(read);
                setting.places.overrides.push(line);
                overrides.push(table);
            }
            continue;
        }
        setting.places.keys.insert(key.get_ref().clone().into_owned(), source.line(&key.span()));
        if !policy(source, key, node, &mut setting.settings.policy)? {
            threshold(source, entry, key, node, RESERVED, &mut setting.settings.base)?;
        }
    }
    // Thresholds of disabled checks are looked at too: an error in them would appear on the day they are enabled.
    match entry.configure(&setting.settings) {
        Ok(_) => Ok(setting),
        Err(error) => {
            let at = error.override_index.and_then(|index| overrides.get(index).copied()).unwrap_or(table);
            let culprit = error.key.as_deref().and_then(|culprit| at.get_key_value(culprit));
            let first = || in_order(at).first().map(|(key, _)| key.span());
            let span = culprit.map(|(key, _)| key.span()).or_else(first).unwrap_or_else(|| key.span());
            Err(source.error(span, format!("check {}: {}", entry.meta.id, error.problem)))
        }
    }
}

/// Takes in a key of the policy; whether it was one.
fn policy<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
    into: &mut PolicySetting,
) -> Result<bool, ConfigError> {
    match key.get_ref().as_ref() {
        "enabled" => into.enabled = Some(source.flag(key, node)?),
        "severity" => into.severity = Some(severity(source, key, node)?),
        "for" => into.for_epochs = Some(epochs(source, key, node)?),
        "keep" => into.keep = Some(epochs(source, key, node)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn epochs<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<u64, ConfigError> {
    let given = source.json(key, node)?;
    given.as_u64().filter(|epochs| (1..=MOST_EPOCHS).contains(epochs)).ok_or_else(|| {
        let problem = format!(
            "{} must be a number of epochs from 1 to {MOST_EPOCHS}, without quotes, not {given}",
            name(key)
        );
        source.error(key.span(), problem)
    })
}

/// Takes in one threshold; its name is checked here, where its place is known best, its value by the check.
fn threshold<'i>(
    source: Source<'i>,
    entry: &Entry,
    key: &Key<'i>,
    node: &Node<'i>,
    reserved: &[&str],
    into: &mut Map<String, Value>,
) -> Result<(), ConfigError> {
    let defaults = entry.defaults();
    let written = key.get_ref().as_ref();
    if !defaults.contains_key(written) {
        let known: Vec<&str> = defaults.keys().map(String::as_str).chain(reserved.iter().copied()).collect();
        return Err(source.unknown(key, &format!("of check {}", entry.meta.id), &known));
    }
    into.insert(written.to_owned(), source.json(key, node)?);
    Ok(())
}

fn severity<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Severity, ConfigError> {
    let text = source.text(key, node)?;
    let found =
        [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|one| one.as_str() == text);
    found.ok_or_else(|| {
        let problem =
            format!("`severity` must be \"info\", \"warning\" or \"critical\", not {}", value::shown(text));
        source.error(key.span(), problem)
    })
}

/// An override with its line and the table it stands in.
type Found<'n, 'i> = (Override, usize, &'n DeTable<'i>);

fn read_overrides<'n, 'i>(
    source: Source<'i>,
    entry: &Entry,
    key: &Key<'i>,
    node: &'n Node<'i>,
) -> Result<Vec<Found<'n, 'i>>, ConfigError> {
    let not_tables = || {
        let problem =
            format!("overrides of check {0} are written as tables [[checks.{0}.override]]", entry.meta.id);
        source.error(key.span(), problem)
    };
    let items = node.get_ref().as_array().ok_or_else(not_tables)?;
    let mut overrides = Vec::with_capacity(items.len());
    for item in items.iter() {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(not_tables());
        };
        let mut read = Override::default();
        for (key, node) in in_order(table) {
            if key.get_ref() == "match" {
                read.matcher = read_match(source, key, node)?;
            } else if !policy(source, key, node, &mut read.policy)? {
                threshold(source, entry, key, node, RESERVED_IN_OVERRIDE, &mut read.thresholds)?;
            }
        }
        if read.matcher.is_empty() {
            let problem = format!(
                "an override of check {} needs a `match` with at least one of {}, like match = {{ account = \"BATCH\" }}",
                entry.meta.id,
                MATCH_KEYS.join(", "),
            );
            return Err(source.error(item.span(), problem));
        }
        overrides.push((read, source.line(&item.span()), table));
    }
    Ok(overrides)
}

fn read_match<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Match, ConfigError> {
    let mut matcher = Match::default();
    for (key, node) in in_order(source.table(key, node)?) {
        let slot = whose(&mut matcher, key.get_ref());
        let slot = slot.ok_or_else(|| source.unknown(key, "of `match`", MATCH_KEYS))?;
        *slot = Some(source.text(key, node)?.to_owned());
    }
    Ok(matcher)
}

/// The pattern of this name; none if there is none.
pub(super) fn whose<'m>(matcher: &'m mut Match, key: &str) -> Option<&'m mut Option<String>> {
    Some(match key {
        "account" => &mut matcher.account,
        "cluster" => &mut matcher.cluster,
        "server" => &mut matcher.server,
        "user" => &mut matcher.user,
        "stream" => &mut matcher.stream,
        _ => return None,
    })
}
