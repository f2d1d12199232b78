//! The `[election]` table: whether an agent shares the work with others.

use super::ConfigError;
use super::tree::{Key, Node, Source, in_order};
use serde::Serialize;

const KEYS: &[&str] = &["enabled"];

/// How an agent lives beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ElectionConfig {
    /// Whether it tells others that it is there, and leaves the work to one of them. Otherwise it always gathers and
    /// publishes.
    pub enabled: bool,
}

impl Default for ElectionConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Reads the table.
pub(super) fn read<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<ElectionConfig, ConfigError> {
    let mut election = ElectionConfig::default();
    for (key, node) in in_order(source.table(key, node)?) {
        match key.get_ref().as_ref() {
            "enabled" => election.enabled = source.flag(key, node)?,
            _ => return Err(source.unknown(key, "in [election]", KEYS)),
        }
    }
    Ok(election)
}

#[cfg(test)]
mod tests {
    use crate::config::file::parse;
    use std::path::Path;

    fn read(text: &str) -> Result<bool, String> {
        let parsed = parse(Path::new("insights.toml"), text);
        parsed.map(|file| file.election.enabled).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_on_unless_it_is_switched_off() {
        assert_eq!(read(""), Ok(true));
        assert_eq!(read("[election]\n"), Ok(true));
        assert_eq!(read("[election]\nenabled = false\n"), Ok(false));
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for (text, words) in [
            ("[election]\nenabled = \"no\"\n", "enabled"),
            ("[election]\nlease = true\n", "lease"),
            ("election = true\n", "election"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words) && error.contains("insights.toml:"), "{error}");
        }
    }
}
