//! The `[[silence]]` tables.

use super::checks::{unknown_id, whose};
use super::tree::{Key, Node, Source, in_order, name};
use super::{ConfigError, value};
use crate::check::{Severity, glob};
use crate::checks::{catalogue, find};
use crate::finding::{Matcher, Silence, Silenced, Silences};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::de::{DeTable, DeValue};

const KEYS: &[&str] = &["match", "reason", "until"];
const MATCH_KEYS: &[&str] =
    &["check", "severity", "account", "cluster", "server", "user", "stream", "entity"];
/// The longest reason, in bytes: it is a part of messages.
const REASON_BYTES: usize = 500;

/// The silences of a file, each with its line.
#[derive(Debug, Clone, Default)]
pub(super) struct Read {
    pub(super) silences: Silences,
    pub(super) lines: Vec<usize>,
}

/// Reads all tables.
pub(super) fn read<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Read, ConfigError> {
    let not_tables = || source.error(key.span(), "silences are written as tables [[silence]]");
    let mut read = Read::default();
    for item in node.get_ref().as_array().ok_or_else(not_tables)?.iter() {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(not_tables());
        };
        let missing = |what: &str| source.error(item.span(), format!("a silence needs {what}"));
        read.silences.0.push(one(source, table, &missing)?);
        read.lines.push(source.line(&item.span()));
    }
    Ok(read)
}

fn one<'i>(
    source: Source<'i>,
    table: &DeTable<'i>,
    missing: &dyn Fn(&str) -> ConfigError,
) -> Result<Silence, ConfigError> {
    let (mut matcher, mut reason, mut until) = (Matcher::default(), None, None);
    for (key, node) in in_order(table) {
        match key.get_ref().as_ref() {
            "match" => matcher = read_match(source, key, node)?,
            "reason" => reason = Some(read_reason(source, key, node)?),
            "until" => until = Some(read_until(source, key, node)?),
            _ => return Err(source.unknown(key, "of a silence", KEYS)),
        }
    }
    if matcher.is_empty() {
        let keys = MATCH_KEYS.join(", ");
        return Err(missing(&format!(
            "a `match` with at least one of {keys}, like match = {{ check = \"USER_002\", account = \"BATCH\" }}"
        )));
    }
    let reason = reason.ok_or_else(|| missing("a `reason`: it stands where the finding would"))?;
    let until = until.ok_or_else(|| missing("an `until`, like until = 2026-12-01T08:00:00Z"))?;
    Ok(Silence { matcher, silenced: Silenced { reason, until } })
}

fn read_match<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Matcher, ConfigError> {
    let mut matcher = Matcher::default();
    for (key, node) in in_order(source.table(key, node)?) {
        let text = source.text(key, node)?;
        let refuse = |problem: String| source.error(key.span(), problem);
        match key.get_ref().as_ref() {
            "check" => matcher.check = Some(check(text).map_err(refuse)?),
            "severity" => matcher.severity = Some(severity(text).map_err(refuse)?),
            "entity" => matcher.entity = Some(text.to_owned()),
            written => match whose(&mut matcher.whose, written) {
                Some(slot) => *slot = Some(text.to_owned()),
                None => return Err(source.unknown(key, "of `match`", MATCH_KEYS)),
            },
        }
    }
    Ok(matcher)
}

/// A pattern that is for at least one check; an alias becomes the id.
fn check(pattern: &str) -> Result<String, String> {
    match find(pattern) {
        Some(entry) => Ok(entry.meta.id.to_owned()),
        None if !pattern.contains('*') => Err(unknown_id(pattern)),
        None if catalogue().any(|entry| glob(pattern, entry.meta.id)) => Ok(pattern.to_owned()),
        None => Err(format!(
            "there is no check that {} is for; `insights-agent catalog list` shows them all",
            value::shown(pattern)
        )),
    }
}

fn severity(pattern: &str) -> Result<String, String> {
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    if all.iter().any(|one| glob(pattern, one.as_str())) {
        return Ok(pattern.to_owned());
    }
    Err(format!("`severity` must be \"info\", \"warning\" or \"critical\", not {}", value::shown(pattern)))
}

fn read_reason<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<String, ConfigError> {
    let text = source.text(key, node)?;
    let problem = if text.trim().is_empty() {
        "the text is empty".to_owned()
    } else if text.len() > REASON_BYTES {
        format!("the text is longer than {REASON_BYTES} bytes")
    } else {
        return Ok(text.to_owned());
    };
    Err(source.error(key.span(), format!("{}: {problem}", name(key))))
}

fn read_until<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<OffsetDateTime, ConfigError> {
    let text = match node.get_ref() {
        DeValue::Datetime(at) => at.to_string(),
        DeValue::String(text) => text.clone().into_owned(),
        _ => String::new(),
    };
    OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| {
        let given = if text.is_empty() { String::new() } else { format!(", not {}", value::shown(&text)) };
        let problem =
            format!("{} must be a time with its offset, like 2026-12-01T08:00:00Z{given}", name(key));
        source.error(key.span(), problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{error, load};
    use time::macros::datetime;

    const WHOLE: &str =
        "[[silence]]\nmatch = { check = 'user_002', user = 'a*' }\nreason = 'known'\nuntil = ";

    #[test]
    fn the_end_is_a_time_with_its_offset() {
        for given in ["2026-12-01T08:00:00Z", "2026-12-01 09:00:00+01:00", "'2026-12-01T08:00:00.000Z'"] {
            let silences = load(&format!("{WHOLE}{given}")).unwrap().silences;
            let Silence { matcher, silenced } = &silences.0[0];
            assert_eq!(silenced.until, datetime!(2026-12-01 08:00 UTC), "{given}");
            assert_eq!(
                (matcher.check.as_deref(), matcher.whose.user.as_deref()),
                (Some("USER_002"), Some("a*"))
            );
        }
        for given in ["2026-12-01T08:00:00", "2026-12-01", "08:00:00", "'tomorrow'", "1", "true", "''"] {
            let error = error(&format!("{WHOLE}{given}"));
            assert!(error.starts_with("a.toml:4: `until` must be a time with its offset, like "), "{error}");
        }
    }

    #[test]
    fn what_is_over_is_told_with_its_line() {
        let text = format!("{WHOLE}2026-12-01T08:00:00Z\n{WHOLE}2027-01-01T00:00:00Z");
        let config = load(&text).unwrap();
        assert!(config.warnings(datetime!(2026-12-01 07:59:59 UTC)).is_empty());
        assert_eq!(
            config.warnings(datetime!(2026-12-01 08:00 UTC)),
            ["the silence at line 1 ended at 2026-12-01T08:00:00Z and has no effect"]
        );
        assert_eq!(config.warnings(datetime!(2027-06-01 0:00 UTC)).len(), 2);
        assert!(config.warnings(datetime!(2027-06-01 0:00 UTC))[1].contains("line 5"));
    }

    #[test]
    fn what_a_silence_lacks_is_named_with_its_line() {
        for (text, expected) in [
            ("[silence]", "1: silences are written as tables [[silence]]"),
            ("silence = [1]", "1: silences are written as tables [[silence]]"),
            ("\n[[silence]]", "2: a silence needs a `match` with at least one of check, severity, account"),
            ("[[silence]]\nmatch = {}", "1: a silence needs a `match`"),
            (
                "[[silence]]\nmatch = { check = '*' }\nuntil = 2026-12-01T08:00:00Z",
                "1: a silence needs a `reason`",
            ),
            ("[[silence]]\nmatch = { check = '*' }\nreason = 'x'", "1: a silence needs an `until`"),
            ("[[silence]]\nreason = ' '", "2: `reason`: the text is empty"),
            ("[[silence]]\nmach = {}", "2: unknown key `mach` of a silence; did you mean `match`?"),
            ("[[silence]]\nmatch = { usr = 'a' }", "2: unknown key `usr` of `match`; did you mean `user`?"),
            (
                "[[silence]]\nmatch = { check = 'USER_02' }",
                "2: there is no check \"USER_02\"; did you mean USER_002",
            ),
            ("[[silence]]\nmatch = { check = 'USR_*' }", "2: there is no check that \"USR_*\" is for; "),
            ("[[silence]]\nmatch = { severity = 'bad' }", "2: `severity` must be \"info\", \"warning\" or"),
            ("[[silence]]\nmatch = { account = 1 }", "2: `account` must be a text in quotes"),
        ] {
            let error = error(text);
            assert!(error.starts_with(&format!("a.toml:{expected}")), "{error}");
        }
        let long = format!("[[silence]]\nreason = '{}'", "x".repeat(501));
        assert!(error(&long).contains("longer than 500 bytes"));
        assert!(load("[[silence]]\nmatch = { check = 'USER_*', severity = '*' }\nreason = 'x'\nuntil = 2020-01-01T00:00:00Z").is_ok());
    }
}
