//! The TOML document as a tree that knows its lines. Errors are built here from names and line numbers alone: the
//! text of a line may hold a password, and so may a value that has the wrong type.

use super::ConfigError;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key and where it stands.
pub(super) type Key<'i> = Spanned<Cow<'i, str>>;
/// A value and where it stands.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// The file that is being read.
#[derive(Clone, Copy)]
pub(super) struct Source<'i> {
    file: &'i Path,
    text: &'i str,
}

impl<'i> Source<'i> {
    pub(super) const fn new(file: &'i Path, text: &'i str) -> Self {
        Self { file, text }
    }

    /// Takes the document apart.
    pub(super) fn parse(&self) -> Result<DeTable<'i>, ConfigError> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(table.into_inner()),
            // Its Display would print the whole line.
            Err(error) => {
                Err(self
                    .error(error.span().unwrap_or_default(), format!("this is no TOML: {}", error.message())))
            }
        }
    }

    /// An error at a place.
    pub(super) fn error(&self, at: Range<usize>, problem: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { file: self.file.to_owned(), line: self.line(&at), problem: problem.into() }
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        let end = at.start.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
    }

    /// An error about a key that is not known in `place`.
    pub(super) fn unknown(&self, key: &Key<'_>, place: &str, known: &[&str]) -> ConfigError {
        let hint = nearest(key.get_ref(), known.iter().copied())
            .first()
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let problem = format!("unknown key {} {place}{hint} (known: {})", name(key), known.join(", "));
        self.error(key.span(), problem)
    }

    /// A value that must be a table.
    pub(super) fn table<'n>(
        &self,
        key: &Key<'_>,
        node: &'n Node<'i>,
    ) -> Result<&'n DeTable<'i>, ConfigError> {
        node.get_ref()
            .as_table()
            .ok_or_else(|| self.error(key.span(), format!("{} must be a table", name(key))))
    }

    /// A value that must be a text.
    pub(super) fn text<'n>(&self, key: &Key<'_>, node: &'n Node<'i>) -> Result<&'n str, ConfigError> {
        node.get_ref()
            .as_str()
            .ok_or_else(|| self.error(key.span(), format!("{} must be a text in quotes", name(key))))
    }

    /// A value that must be true or false.
    pub(super) fn flag(&self, key: &Key<'_>, node: &Node<'i>) -> Result<bool, ConfigError> {
        node.get_ref().as_bool().ok_or_else(|| {
            self.error(key.span(), format!("{} must be true or false, without quotes", name(key)))
        })
    }

    /// A value that must be a whole number, not negative.
    pub(super) fn count(&self, key: &Key<'_>, node: &Node<'i>) -> Result<u64, ConfigError> {
        let number = match self.json(key, node)? {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        number.ok_or_else(|| {
            self.error(key.span(), format!("{} must be a whole number of at least 0", name(key)))
        })
    }

    /// A value, whatever it is, as JSON.
    pub(super) fn json(&self, key: &Key<'_>, node: &Node<'i>) -> Result<Value, ConfigError> {
        let unusable = |what: &str| self.error(node.span(), format!("{} must not be {what}", name(key)));
        Ok(match node.get_ref() {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(integer) => {
                let signed = i64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from);
                let number = signed
                    .or_else(|_| u64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from));
                Value::Number(number.map_err(|_| unusable("a number of more than 64 bits"))?)
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(number.ok_or_else(|| unusable("infinite or not a number"))?)
            }
            DeValue::Datetime(_) => return Err(unusable("a date or time")),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.json(key, item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => {
                let mut map = Map::new();
                for (key, node) in in_order(table) {
                    map.insert(key.get_ref().clone().into_owned(), self.json(key, node)?);
                }
                Value::Object(map)
            }
        })
    }
}

/// A table's entries in the order of the file, so that the first error of the file is the one that is told.
pub(super) fn in_order<'n, 'i>(table: &'n DeTable<'i>) -> Vec<(&'n Key<'i>, &'n Node<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A key as it may be printed.
pub(super) fn name(key: &Key<'_>) -> String {
    format!("`{}`", key.get_ref().escape_debug())
}

/// The candidates that look like what was written, the most alike first.
pub(crate) fn nearest<'c>(written: &str, candidates: impl Iterator<Item = &'c str>) -> Vec<&'c str> {
    let written = written.to_lowercase();
    let mut alike: Vec<(f64, &str)> = candidates
        .map(|candidate| (strsim::jaro_winkler(&written, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    alike.into_iter().map(|(_, candidate)| candidate).collect()
}
