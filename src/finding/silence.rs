//! Silences: findings that the operator knows of and does not want to hear about until a given time.

use super::{Finding, Silenced};
use crate::check::{Match, glob};
use serde::Serialize;
use time::OffsetDateTime;

/// Which findings a silence is for: every pattern that is given must match; `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Matcher {
    /// The check's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// `info`, `warning` or `critical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Id or name of the entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Account, cluster, server, user and stream, as overrides of checks match them.
    #[serde(flatten)]
    pub whose: Match,
}

impl Matcher {
    /// Whether no pattern is given, so that the silence would hold for everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every given pattern matches the finding.
    pub fn covers(&self, finding: &Finding) -> bool {
        let one = |pattern: &Option<String>, names: [Option<&str>; 2]| {
            pattern.as_deref().is_none_or(|pattern| names.iter().flatten().any(|name| glob(pattern, name)))
        };
        let entity = &finding.entity;
        one(&self.check, [Some(&finding.check), None])
            && one(&self.severity, [Some(finding.severity.as_str()), None])
            && one(&self.entity, [Some(&entity.id), entity.name.as_deref()])
            && self.whose.covers(entity)
    }
}

/// A silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    /// Which findings it is for.
    pub matcher: Matcher,
    /// Why, and when it ends.
    pub silenced: Silenced,
}

impl Silence {
    /// Whether it is over.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        now >= self.silenced.until
    }
}

/// All silences of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Silences(pub Vec<Silence>);

impl Silences {
    /// What keeps a finding from being published at this time: of the silences that cover it the one that lasts longest.
    pub fn of(&self, finding: &Finding, now: OffsetDateTime) -> Option<Silenced> {
        let covering = self.0.iter().filter(|one| !one.is_over(now) && one.matcher.covers(finding));
        covering.max_by_key(|one| one.silenced.until).map(|one| one.silenced.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use crate::finding::ledger::Ledger;
    use crate::finding::script::{Says, Sees, judged, moment, origin, policy};
    use crate::finding::{Terms, step};
    use proptest::prelude::*;

    /// A finding of USER_002 about the user `a` of the account `APP`.
    pub(crate) fn finding() -> Finding {
        let (origin, policy) = (origin("1"), policy(1, 1));
        let judgements = judged(&[Says::Warns], Sees::All, &policy);
        let (_, step) = step(Ledger::default(), &judgements, &Terms::plain(&origin), moment(0));
        (*step.said[0].finding).clone()
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
    }

    fn silence(matcher: Matcher, until: i64) -> Silence {
        Silence { matcher, silenced: Silenced { reason: format!("until {until}"), until: at(until) } }
    }

    fn text(pattern: &str) -> Option<String> {
        Some(pattern.into())
    }

    #[test]
    fn every_pattern_that_is_given_must_match() {
        let told = finding();
        let whose = |account: &str, user: Option<&str>| Match {
            account: text(account),
            user: user.map(Into::into),
            ..Match::default()
        };
        for (matcher, expected) in [
            (Matcher { check: text("USER_002"), ..Matcher::default() }, true),
            (Matcher { check: text("USER_*"), severity: text("warning"), ..Matcher::default() }, true),
            (Matcher { check: text("USER_*"), severity: text("critical"), ..Matcher::default() }, false),
            (Matcher { entity: text("a"), ..Matcher::default() }, true),
            (Matcher { entity: text("b*"), ..Matcher::default() }, false),
            (Matcher { whose: whose("APP", Some("a")), ..Matcher::default() }, true),
            (Matcher { whose: whose("APP", Some("b")), ..Matcher::default() }, false),
            (Matcher { whose: Match { stream: text("*"), ..Match::default() }, ..Matcher::default() }, false),
            (Matcher { check: text("ACCOUNTS_*"), whose: whose("APP", None), ..Matcher::default() }, false),
        ] {
            assert_eq!(matcher.covers(&told), expected, "{matcher:?}");
        }
    }

    proptest! {
        /// The same patterns, judged one by one; and of all that cover the finding, the last one to end.
        #[test]
        fn the_silence_that_lasts_longest_holds(
            given in prop::collection::vec((any_matcher(), 0..100_i64), 0..6),
            now in 0..100_i64,
            critical: bool,
        ) {
            let mut told = finding();
            told.severity = if critical { Severity::Critical } else { Severity::Warning };
            let is = |pattern: &Option<String>, value: &str| match pattern.as_deref() {
                None | Some("*") => true,
                Some(pattern) => pattern.trim_end_matches('*') == value
                    || pattern.ends_with('*') && value.starts_with(pattern.trim_end_matches('*')),
            };
            let holds = |matcher: &Matcher| is(&matcher.check, "USER_002")
                && is(&matcher.severity, told.severity.as_str())
                && is(&matcher.entity, "a")
                && is(&matcher.whose.account, "APP")
                && matcher.whose.server.is_none();
            let latest = given.iter().filter(|(matcher, until)| *until > now && holds(matcher));
            let expected = latest.map(|(_, until)| at(*until)).max();
            let silences = Silences(given.iter().map(|(m, until)| silence(m.clone(), *until)).collect());
            prop_assert_eq!(silences.of(&told, at(now)).map(|silenced| silenced.until), expected);
        }
    }

    fn any_matcher() -> impl Strategy<Value = Matcher> {
        let one = |patterns: &'static [&'static str]| {
            prop::option::weighted(0.4, prop::sample::select(patterns).prop_map(String::from))
        };
        let each = (
            one(&["USER_002", "USER_*", "*", "ACCOUNTS_001"]),
            one(&["warning", "critical", "*"]),
            one(&["a", "a*", "b"]),
            one(&["APP", "A*", "B"]),
            one(&["*", "n1"]),
        );
        each.prop_map(|(check, severity, entity, account, server)| Matcher {
            check,
            severity,
            entity,
            whose: Match { account, server, ..Match::default() },
        })
    }
}
