//! Thresholds: a struct per check with defaults, read from the configuration, narrowed by overrides.

use super::{Entity, PolicySetting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::time::Duration;

/// A threshold outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{key} = {value} is out of range: {expected}")]
pub struct OutOfRange {
    /// The threshold's name.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What would be accepted.
    pub expected: &'static str,
}

impl OutOfRange {
    /// Of a duration, which is told as the configuration writes it.
    pub fn duration(key: &'static str, value: Duration, expected: &'static str) -> Self {
        Self { key, value: humantime::format_duration(value).to_string(), expected }
    }
}

/// Checks the ranges that the type cannot express.
pub trait Validate {
    /// The first value that is out of range, if any.
    fn validate(&self) -> Result<(), OutOfRange>;
}

// Of a rule that looks at what is there or not. Its documentation is what the schema of such a rule says.
/// It has no thresholds.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct NoThresholds {}

impl Validate for NoThresholds {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// A percentage of a limit: over 0, at most 100.
pub fn percent(key: &'static str, value: f64) -> Result<(), OutOfRange> {
    if value > 0.0 && value <= 100.0 {
        return Ok(());
    }
    Err(OutOfRange { key, value: value.to_string(), expected: "a percentage above 0 and at most 100" })
}

/// A count of at least `least`.
pub fn at_least(key: &'static str, value: u64, least: u64) -> Result<(), OutOfRange> {
    if value >= least {
        return Ok(());
    }
    let expected = match least {
        1 => "at least 1",
        2 => "at least 2",
        _ => "larger",
    };
    Err(OutOfRange { key, value: value.to_string(), expected })
}

/// A number above `least`, such as the multiple of an average, of which 1 or less would hold for some server always.
pub fn above(key: &'static str, value: f64, least: u8) -> Result<(), OutOfRange> {
    if value > f64::from(least) && value.is_finite() {
        return Ok(());
    }
    let expected = match least {
        0 => "a number above 0",
        1 => "a number above 1",
        _ => "larger",
    };
    Err(OutOfRange { key, value: value.to_string(), expected })
}

/// A duration of at least one second: servers write times to the nanosecond, but an epoch is never shorter.
pub fn seconds(key: &'static str, value: Duration) -> Result<(), OutOfRange> {
    no_shorter(key, value, Duration::from_secs(1), "at least 1s")
}

/// A duration of at least `least`, which `expected` says in words.
pub fn no_shorter(
    key: &'static str,
    value: Duration,
    least: Duration,
    expected: &'static str,
) -> Result<(), OutOfRange> {
    if value >= least { Ok(()) } else { Err(OutOfRange::duration(key, value, expected)) }
}

/// Which entities an override is for: every pattern that is given must match; `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Name or public key of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Name of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// User name, or public key, or the name in the user's JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Name of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

impl Match {
    /// Whether no pattern is given, so that the override would hold for everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every given pattern matches the entity.
    pub fn covers(&self, entity: &Entity) -> bool {
        fn one(pattern: &Option<String>, names: &[Option<&str>]) -> bool {
            match pattern {
                None => true,
                Some(pattern) => names.iter().flatten().any(|name| glob(pattern, name)),
            }
        }
        one(&self.account, &[entity.account.as_deref(), entity.account_name.as_deref()])
            && one(&self.cluster, &[entity.cluster.as_deref()])
            && one(&self.server, &[entity.server.as_deref()])
            && one(&self.user, &[entity.user.as_deref(), entity.user_name.as_deref()])
            && one(&self.stream, &[entity.stream.as_deref()])
    }
}

/// `*` matches any run of characters, everything else itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// What the configuration says about one check.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The policy of the whole check.
    pub policy: PolicySetting,
    /// Thresholds of the whole check.
    pub base: Map<String, Value>,
    /// Overrides in the order of the file, on top of the base.
    pub overrides: Vec<Override>,
}

/// What the configuration says about some entities of a check.
#[derive(Debug, Clone, Default)]
pub struct Override {
    /// Which ones.
    pub matcher: Match,
    /// Their policy, as far as it is set.
    pub policy: PolicySetting,
    /// Their thresholds, as far as they are set.
    pub thresholds: Map<String, Value>,
}

/// A threshold that cannot be used. `override_index` says in which `[[override]]` it stands, counted from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{problem}")]
pub struct SettingError {
    /// The key in question, where one can be named.
    pub key: Option<String>,
    /// The override it stands in; none for the check's own table.
    pub override_index: Option<usize>,
    /// What is wrong, with the value.
    pub problem: String,
}

/// The thresholds of one check: a base and overrides, of which the last one that matches holds.
#[derive(Debug)]
pub struct Thresholds<T> {
    base: T,
    enabled: bool,
    overrides: Vec<Narrowed<T>>,
}

/// What an override makes of a check.
#[derive(Debug)]
struct Narrowed<T> {
    matcher: Match,
    thresholds: T,
    enabled: bool,
}

impl<T: Default> Default for Thresholds<T> {
    fn default() -> Self {
        Self::uniform(T::default())
    }
}

impl<T> Thresholds<T> {
    /// The same thresholds for every entity.
    pub const fn uniform(base: T) -> Self {
        Self { base, enabled: true, overrides: Vec::new() }
    }

    /// The thresholds without overrides.
    pub const fn base(&self) -> &T {
        &self.base
    }

    /// Whether they are the same for every entity.
    pub const fn is_uniform(&self) -> bool {
        self.overrides.is_empty()
    }

    /// Those that hold for any entity at all: the base and what overrides make of it.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.base).chain(self.overrides.iter().map(|narrowed| &narrowed.thresholds))
    }

    /// The thresholds for an entity: the last override in the file that covers it, else the base.
    pub fn of(&self, entity: &Entity) -> &T {
        self.narrowed(entity).map_or(&self.base, |narrowed| &narrowed.thresholds)
    }

    /// Whether the entity is judged. The framework looks at it as well: a rule need not, but where it would make the evidence of
    /// very many.
    pub fn is_enabled(&self, entity: &Entity) -> bool {
        self.narrowed(entity).map_or(self.enabled, |narrowed| narrowed.enabled)
    }

    fn narrowed(&self, entity: &Entity) -> Option<&Narrowed<T>> {
        self.overrides.iter().rev().find(|narrowed| narrowed.matcher.covers(entity))
    }
}

impl<T: Serialize + DeserializeOwned + Default + Validate> Thresholds<T> {
    /// Reads settings; each override starts from the base of the same check.
    pub fn new(settings: &Settings) -> Result<Self, SettingError> {
        let defaults = to_map(&T::default());
        let base = read::<T>(&defaults, &settings.base, None)?;
        let base_map = to_map(&base);
        let enabled = settings.policy.enabled.unwrap_or(true);
        let mut overrides = Vec::with_capacity(settings.overrides.len());
        for (index, Override { matcher, thresholds, policy }) in settings.overrides.iter().enumerate() {
            if matcher.is_empty() {
                let problem =
                    "an override needs a `match` with at least one of account, cluster, server, user".into();
                return Err(SettingError { key: Some("match".into()), override_index: Some(index), problem });
            }
            overrides.push(Narrowed {
                matcher: matcher.clone(),
                thresholds: read::<T>(&base_map, thresholds, Some(index))?,
                enabled: policy.enabled.unwrap_or(enabled),
            });
        }
        Ok(Self { base, enabled, overrides })
    }
}

fn overlay(
    under: &Map<String, Value>,
    over: &Map<String, Value>,
    override_index: Option<usize>,
) -> Result<Map<String, Value>, SettingError> {
    let mut map = under.clone();
    for (key, value) in over {
        if !under.contains_key(key) {
            let known = under.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let problem = format!("unknown key `{key}`; the thresholds are: {known}");
            return Err(SettingError { key: Some(key.clone()), override_index, problem });
        }
        map.insert(key.clone(), value.clone());
    }
    Ok(map)
}

fn read<T: DeserializeOwned + Validate>(
    under: &Map<String, Value>,
    given: &Map<String, Value>,
    override_index: Option<usize>,
) -> Result<T, SettingError> {
    let map = overlay(under, given, override_index)?;
    let thresholds: T = serde_json::from_value(Value::Object(map)).map_err(|error| {
        // serde does not name the field of a type error: the key that fails on its own is the one meant.
        let culprit = given.iter().find(|(key, value)| {
            let mut alone = under.clone();
            alone.insert((*key).clone(), (*value).clone());
            serde_json::from_value::<T>(Value::Object(alone)).is_err()
        });
        let problem = match culprit {
            Some((key, value)) => format!("{key} = {value} cannot be used: {error}"),
            None => error.to_string(),
        };
        SettingError { key: culprit.map(|(key, _)| key.clone()), override_index, problem }
    })?;
    thresholds.validate().map_err(|error| SettingError {
        key: Some(error.key.to_owned()),
        override_index,
        problem: error.to_string(),
    })?;
    Ok(thresholds)
}

pub(super) fn to_map<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        // A thresholds struct without fields serializes to null.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        warn_percent: f64,
        most: u64,
    }
    impl Default for Sample {
        fn default() -> Self {
            Self { warn_percent: 90.0, most: 100 }
        }
    }
    impl Validate for Sample {
        fn validate(&self) -> Result<(), OutOfRange> {
            percent("warn_percent", self.warn_percent)?;
            at_least("most", self.most, 1)
        }
    }

    fn settings(base: Value) -> Settings {
        Settings { base: serde_json::from_value(base).unwrap(), ..Settings::default() }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for bad in [json!(0), json!(-5), json!(100.1), json!("90"), json!(null)] {
            let error = Thresholds::<Sample>::new(&settings(json!({ "warn_percent": bad }))).unwrap_err();
            assert_eq!(error.key.as_deref(), Some("warn_percent"), "{error}");
            assert!(error.problem.contains("warn_percent"), "{error}");
        }
        let error =
            Thresholds::<Sample>::new(&settings(json!({ "most": -1, "warn_percent": 80 }))).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("most"), "{error}");
        let error = Thresholds::<Sample>::new(&settings(json!({ "warn_percnt": 1 }))).unwrap_err();
        assert_eq!(error.problem, "unknown key `warn_percnt`; the thresholds are: most, warn_percent");
    }

    #[test]
    fn the_last_override_that_matches_holds() {
        let mut settings = settings(json!({ "warn_percent": 80 }));
        let matcher = |account: &str, user: Option<&str>| Match {
            account: Some(account.into()),
            user: user.map(Into::into),
            ..Match::default()
        };
        let narrowed = |matcher: Match, most: u64| Override {
            matcher,
            thresholds: json!({ "most": most }).as_object().cloned().unwrap(),
            ..Override::default()
        };
        settings.overrides.push(narrowed(matcher("BATCH*", None), 200));
        settings.overrides.push(narrowed(matcher("BATCH", Some("worker-*")), 400));
        let thresholds = Thresholds::<Sample>::new(&settings).unwrap();
        let entity = |account: &str, user: &str| Entity::user(account, None, user, None);
        assert_eq!(thresholds.of(&entity("BATCH", "worker-1")), &Sample { warn_percent: 80.0, most: 400 });
        assert_eq!(thresholds.of(&entity("BATCH", "web")).most, 200);
        assert_eq!(thresholds.of(&entity("OTHER", "worker-1")).most, 100);
    }

    #[test]
    fn an_override_for_everything_is_refused() {
        let settings = Settings { overrides: vec![Override::default()], ..Settings::default() };
        assert_eq!(Thresholds::<Sample>::new(&settings).unwrap_err().override_index, Some(0));
    }

    #[test]
    fn globs() {
        assert!(glob("*", "") && glob("a*b*c", "a-b-b-c") && glob("abc", "abc"));
        assert!(!glob("a*b", "ab-") && !glob("abc", "abcd") && !glob("ab*ba", "aba"));
    }
}
