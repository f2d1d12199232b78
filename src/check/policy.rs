//! What an operator expects of a check beside its thresholds: whether it is judged, how bad it is, and how long a state
//! has to last. Narrowed by the same overrides as thresholds.

use super::{Entity, Entry, Match, Settings, Severity};
use serde::Serialize;

/// Most epochs that `for` and `keep` can ask for: with the default epoch of a minute, sixteen hours.
pub const MOST_EPOCHS: u64 = 1000;

/// What holds for one entity of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether the entity is judged.
    pub enabled: bool,
    /// The operator's severity. It wins over the check's own and over the one that a verdict sets.
    pub severity: Option<Severity>,
    /// For how many epochs in a row the bad state must be seen before it fires, the one that fires included; 1 to
    /// [`MOST_EPOCHS`].
    pub for_epochs: u64,
    /// For how many epochs in a row the bad state must be seen to be over before the finding ends, the one that ends it
    /// included; 1 to [`MOST_EPOCHS`].
    pub keep: u64,
}

impl Policy {
    /// What holds for a check of which nothing is configured.
    pub const fn of_check(entry: &Entry) -> Self {
        Self { enabled: true, severity: None, for_epochs: entry.for_epochs, keep: entry.keep }
    }

    fn with(self, setting: &PolicySetting) -> Self {
        let epochs = |given: Option<u64>, under: u64| given.unwrap_or(under).clamp(1, MOST_EPOCHS);
        Self {
            enabled: setting.enabled.unwrap_or(self.enabled),
            severity: setting.severity.or(self.severity),
            for_epochs: epochs(setting.for_epochs, self.for_epochs),
            keep: epochs(setting.keep, self.keep),
        }
    }
}

/// The keys of a policy as far as the operator sets them, in the table of a check or in an override.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicySetting {
    /// See [`Policy::enabled`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// See [`Policy::severity`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// See [`Policy::for_epochs`].
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_epochs: Option<u64>,
    /// See [`Policy::keep`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
}

/// The policies of one check: a base and overrides, of which the last one that matches holds.
#[derive(Debug)]
pub struct Policies {
    base: Policy,
    overrides: Vec<(Match, Policy)>,
}

impl Policies {
    /// Those of a check with an operator's settings. What an override does not set is as in the check's own table, and
    /// what that does not set is as the check has it.
    pub fn new(entry: &Entry, settings: &Settings) -> Self {
        let base = Policy::of_check(entry).with(&settings.policy);
        let each = settings.overrides.iter();
        Self { base, overrides: each.map(|one| (one.matcher.clone(), base.with(&one.policy))).collect() }
    }

    /// The policy of an entity: that of the last override in the file that covers it, else the base.
    pub fn of(&self, entity: &Entity) -> Policy {
        let found = self.overrides.iter().rev().find(|(matcher, _)| matcher.covers(entity));
        found.map_or(self.base, |(_, policy)| *policy)
    }

    /// Whether there is an entity that could be judged.
    pub fn any_enabled(&self) -> bool {
        self.base.enabled || self.overrides.iter().any(|(_, policy)| policy.enabled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Override;
    use crate::checks::catalogue;
    use proptest::prelude::*;

    fn entity(account: &str, user: &str) -> Entity {
        Entity::user(account, None, user, None)
    }

    fn setting() -> impl Strategy<Value = PolicySetting> {
        let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Critical]);
        let each = (
            prop::option::of(any::<bool>()),
            prop::option::of(severity),
            prop::option::of(1..=MOST_EPOCHS),
            prop::option::of(1..=MOST_EPOCHS),
        );
        each.prop_map(|(enabled, severity, for_epochs, keep)| PolicySetting {
            enabled,
            severity,
            for_epochs,
            keep,
        })
    }

    fn pattern() -> impl Strategy<Value = Option<String>> {
        prop::option::of(prop::sample::select(vec!["*", "A", "A*", "*B", "B"]).prop_map(String::from))
    }

    fn narrowed() -> impl Strategy<Value = Override> {
        (pattern(), pattern(), setting()).prop_map(|(account, user, policy)| Override {
            matcher: Match { account, user, ..Match::default() },
            policy,
            ..Override::default()
        })
    }

    proptest! {
        /// Key by key: from the last override that covers the entity, else from the check's table, else from the check.
        #[test]
        fn every_key_comes_from_the_last_override_that_covers_the_entity_or_from_below_it(
            policy in setting(),
            overrides in prop::collection::vec(narrowed(), 0..6),
            account in "[AB]{1,2}",
            user in "[AB]{1,2}",
        ) {
            let entry = catalogue().next().unwrap();
            let settings = Settings { policy: policy.clone(), overrides, ..Settings::default() };
            let of = Policies::new(entry, &settings).of(&entity(&account, &user));
            let mut holds = PolicySetting::default();
            for one in &settings.overrides {
                if one.matcher.covers(&entity(&account, &user)) {
                    holds = one.policy.clone();
                }
            }
            prop_assert_eq!(of.enabled, holds.enabled.or(policy.enabled).unwrap_or(true));
            prop_assert_eq!(of.severity, holds.severity.or(policy.severity));
            prop_assert_eq!(of.for_epochs, holds.for_epochs.or(policy.for_epochs).unwrap_or(entry.for_epochs));
            prop_assert_eq!(of.keep, holds.keep.or(policy.keep).unwrap_or(entry.keep));
        }
    }

    #[test]
    fn a_check_that_is_off_can_be_on_for_some() {
        let entry = catalogue().next().unwrap();
        let off = PolicySetting { enabled: Some(false), ..PolicySetting::default() };
        let on = PolicySetting { enabled: Some(true), ..PolicySetting::default() };
        let matcher = Match { account: Some("A".into()), ..Match::default() };
        let some = Override { matcher, policy: on, ..Override::default() };
        let mut settings = Settings { policy: off, ..Settings::default() };
        assert!(!Policies::new(entry, &settings).any_enabled());
        settings.overrides.push(some);
        let policies = Policies::new(entry, &settings);
        assert!(policies.any_enabled());
        assert!(policies.of(&entity("A", "u")).enabled && !policies.of(&entity("B", "u")).enabled);
    }
}
