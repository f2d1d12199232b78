//! What holds for one entity of a check, and where each value comes from.

use super::Config;
use super::checks::{CheckSetting, unknown_id};
use crate::check::{Entity, EntityType, Entry, Match, Override, Policy, glob};
use crate::checks::find;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where the settings of a check stand in the file.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The line of each key of the check's own table.
    pub(super) keys: BTreeMap<String, usize>,
    /// The line of each override.
    pub(super) overrides: Vec<usize>,
}

/// Whom to explain. What is not given is not known of the entity, and no pattern for it matches.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Name or public key of the account.
    pub account: Option<String>,
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Name of the server.
    pub server: Option<String>,
    /// Name or public key of the user.
    pub user: Option<String>,
    /// Name of the stream.
    pub stream: Option<String>,
}

/// Why nothing can be explained.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// There is no such check.
    #[error("{0}")]
    UnknownCheck(String),
    /// The check's entities have no such thing.
    #[error("check {check} is about {entity} entities, and those have no {key}")]
    NoSuchKey {
        /// The check.
        check: &'static str,
        /// The type of its entities.
        entity: &'static str,
        /// What was given.
        key: &'static str,
    },
}

/// What holds, and why.
#[derive(Debug, PartialEq)]
pub struct Explained {
    /// The check's id.
    pub check: &'static str,
    /// Every override of the check, in the order of the file.
    pub overrides: Vec<Considered>,
    /// Every key with its value and where that comes from.
    pub values: Vec<Effective>,
}

/// An override, and whether it is for the entity.
#[derive(Debug, PartialEq)]
pub struct Considered {
    /// Its line in the file.
    pub line: usize,
    /// Its patterns, as TOML writes them.
    pub patterns: String,
    /// None if it covers the entity, else why it does not.
    pub missed: Option<String>,
    /// Whether it is the one that holds.
    pub holds: bool,
}

/// A value that holds.
#[derive(Debug, PartialEq)]
pub struct Effective {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it comes from, in words.
    pub from: String,
}

type Patterns<'a> = [(&'static str, Option<&'a str>); 5];

/// Explains what a configuration says about one entity of a check.
pub fn explain(config: &Config, check: &str, subject: &Subject) -> Result<Explained, ExplainError> {
    let entry = find(check).ok_or_else(|| ExplainError::UnknownCheck(unknown_id(check)))?;
    let given = given(subject);
    let known = keys(entry.meta.entity);
    if let Some((key, _)) = given.iter().find(|(key, name)| name.is_some() && !known.contains(key)) {
        let (check, entity) = (entry.meta.id, entry.meta.entity.as_str());
        return Err(ExplainError::NoSuchKey { check, entity, key });
    }
    let entity = entity(entry.meta.entity, subject);
    let default = CheckSetting::default();
    let CheckSetting { settings, places } = config.check_settings.get(entry.meta.id).unwrap_or(&default);
    let holds = settings.overrides.iter().rposition(|one| one.matcher.covers(&entity));
    let considered = settings.overrides.iter().enumerate().map(|(index, one)| Considered {
        line: places.overrides.get(index).copied().unwrap_or_default(),
        patterns: shown(&one.matcher),
        missed: (!one.matcher.covers(&entity)).then(|| missed(&one.matcher, &given, entry)),
        holds: holds == Some(index),
    });
    let holding = holds.and_then(|index| settings.overrides.get(index).map(|one| (index, one)));
    Ok(Explained {
        check: entry.meta.id,
        overrides: considered.collect(),
        values: values(entry, &settings.base, &policy_keys(&settings.policy), holding, places),
    })
}

fn values(
    entry: &Entry,
    base: &Map<String, Value>,
    policy: &Map<String, Value>,
    holding: Option<(usize, &Override)>,
    places: &Places,
) -> Vec<Effective> {
    let Policy { enabled, for_epochs, keep, .. } = Policy::of_check(entry);
    let mut defaults: Vec<(String, Value)> = vec![
        ("enabled".into(), enabled.into()),
        ("severity".into(), entry.meta.severity.as_str().into()),
        ("for".into(), for_epochs.into()),
        ("keep".into(), keep.into()),
    ];
    defaults.extend(entry.defaults());
    let narrowed = holding.map(|(index, one)| {
        let mut keys = policy_keys(&one.policy);
        keys.extend(one.thresholds.clone());
        (index, keys)
    });
    let effective = |(key, default): (String, Value)| {
        let of_override = narrowed.as_ref().and_then(|(index, keys)| Some((index, keys.get(&key)?)));
        let of_check = || policy.get(&key).or_else(|| base.get(&key));
        let (value, from) = match of_override {
            Some((index, value)) => {
                let line = places.overrides.get(*index).copied().unwrap_or_default();
                (value.clone(), format!("override {} at line {line}", index + 1))
            }
            None => match of_check() {
                Some(value) => {
                    let line = places.keys.get(&key).copied().unwrap_or_default();
                    (value.clone(), format!("[checks.{}], line {line}", entry.meta.id))
                }
                None if key == "severity" => (default, "default; a finding may set its own".into()),
                None => (default, "default".into()),
            },
        };
        Effective { key, value, from }
    };
    defaults.into_iter().map(effective).collect()
}

fn policy_keys(setting: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(setting) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}

/// What an override can match of an entity.
const fn keys(kind: EntityType) -> &'static [&'static str] {
    match kind {
        EntityType::Account => &["account", "cluster"],
        EntityType::Server => &["cluster", "server"],
        EntityType::User | EntityType::Connection => &["account", "user"],
        EntityType::Route | EntityType::Gateway => &["cluster", "server"],
        EntityType::Leafnode | EntityType::Service | EntityType::Import | EntityType::Export => &["account"],
        EntityType::Subject | EntityType::Agent => &[],
    }
}

fn entity(kind: EntityType, subject: &Subject) -> Entity {
    let name = |text: &Option<String>| text.as_deref().map(Into::into);
    Entity {
        kind,
        account: name(&subject.account),
        cluster: name(&subject.cluster),
        server: name(&subject.server),
        user: name(&subject.user),
        stream: name(&subject.stream),
        ..Entity::subject(&"".into())
    }
}

fn given(subject: &Subject) -> Patterns<'_> {
    let Subject { account, cluster, server, user, stream } = subject;
    [
        ("account", account.as_deref()),
        ("cluster", cluster.as_deref()),
        ("server", server.as_deref()),
        ("user", user.as_deref()),
        ("stream", stream.as_deref()),
    ]
}

fn patterns(matcher: &Match) -> Patterns<'_> {
    let Match { account, cluster, server, user, stream } = matcher;
    [
        ("account", account.as_deref()),
        ("cluster", cluster.as_deref()),
        ("server", server.as_deref()),
        ("user", user.as_deref()),
        ("stream", stream.as_deref()),
    ]
}

/// `{ account = "BATCH*" }`.
fn shown(matcher: &Match) -> String {
    let each = patterns(matcher).into_iter().filter_map(|(key, pattern)| {
        let pattern = toml::Value::String(pattern?.to_owned());
        Some(format!("{key} = {pattern}"))
    });
    format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
}

/// The first pattern that does not match, and why.
fn missed(matcher: &Match, given: &Patterns<'_>, entry: &Entry) -> String {
    let pairs = patterns(matcher).into_iter().zip(given);
    let first = pairs.filter_map(|((key, pattern), (_, name))| Some((key, pattern?, *name)));
    for (key, pattern, name) in first {
        match name {
            Some(name) if glob(pattern, name) => {}
            Some(name) => return format!("{key} {name:?} does not match {pattern:?}"),
            None if !keys(entry.meta.entity).contains(&key) => {
                return format!("entities of type {} have no {key}", entry.meta.entity.as_str());
            }
            None => return format!("no {key} is given"),
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load;

    const FILE: &str = r#"[checks.USER_002]
max_connections = 50
for = 2

[[checks.USER_002.override]]
match = { account = "BATCH*" }
max_connections = 200

[[checks.USER_002.override]]
match = { account = "BATCH", user = "worker-*" }
enabled = false
severity = "info"

[[checks.USER_002.override]]
match = { server = "n1" }
keep = 9
"#;

    fn subject(account: Option<&str>, user: Option<&str>) -> Subject {
        Subject { account: account.map(Into::into), user: user.map(Into::into), ..Subject::default() }
    }

    fn told(subject: &Subject) -> (Vec<String>, Vec<String>) {
        let explained = explain(&load(FILE).unwrap(), "user_002", subject).unwrap();
        let seen = explained.overrides.into_iter().map(|one| match (one.missed, one.holds) {
            (Some(why), _) => why,
            (None, true) => format!("holds {}", one.line),
            (None, false) => "covers".into(),
        });
        let values = explained.values.into_iter();
        let values = values.map(|one| format!("{} {} {}", one.key, one.value, one.from));
        (seen.collect(), values.take(5).collect())
    }

    #[test]
    fn every_value_has_its_place_and_the_last_override_that_covers_holds_whole() {
        let (seen, values) = told(&subject(Some("BATCH"), Some("worker-7")));
        assert_eq!(seen, ["covers", "holds 9", "entities of type user have no server"]);
        assert_eq!(
            values,
            [
                "enabled false override 2 at line 9",
                "severity \"info\" override 2 at line 9",
                "for 2 [checks.USER_002], line 3",
                "keep 1 default",
                // Not that of the first override.
                "max_connections 50 [checks.USER_002], line 2",
            ]
        );
        let (seen, values) = told(&subject(Some("BATCH-2"), Some("worker-7")));
        assert_eq!(seen[..2], ["holds 5", "account \"BATCH-2\" does not match \"BATCH\""]);
        assert_eq!(values[4], "max_connections 200 override 1 at line 5");
        assert_eq!(values[1], "severity \"warning\" default; a finding may set its own");
        let (seen, _) = told(&subject(Some("BATCH"), None));
        assert_eq!(seen[..2], ["holds 5", "no user is given"]);
    }

    #[test]
    fn it_is_what_the_agent_judges_by() {
        let config = load(FILE).unwrap();
        let active = config.checks.checks.iter().find(|check| check.entry.meta.id == "USER_002").unwrap();
        for (account, user) in [("BATCH", "worker-7"), ("BATCH-2", "x"), ("OTHER", "worker-7")] {
            let explained = explain(&config, "USER_002", &subject(Some(account), Some(user))).unwrap();
            let policy = active.policies.of(&Entity::user(account, None, user, None));
            let value = |key: &str| explained.values.iter().find(|one| one.key == key).unwrap().value.clone();
            assert_eq!(value("enabled"), policy.enabled);
            assert_eq!((value("for"), value("keep")), (policy.for_epochs.into(), policy.keep.into()));
        }
    }

    #[test]
    fn what_an_entity_cannot_have_is_refused() {
        let config = load("").unwrap();
        let error = explain(&config, "SERVER_011", &subject(Some("A"), None)).unwrap_err();
        assert_eq!(error.to_string(), "check SERVER_011 is about server entities, and those have no account");
        assert!(matches!(explain(&config, "X", &Subject::default()), Err(ExplainError::UnknownCheck(_))));
    }
}
