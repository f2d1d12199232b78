//! The `[api]` table: whether the agent answers requests.

use super::ConfigError;
use super::tree::{Key, Node, Source, in_order};
use serde::Serialize;

/// Keys of the table.
const KEYS: &[&str] = &["enabled"];

/// Whether the agent can be asked, as the micro service `insights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Api {
    /// Whether it answers on `insights.api.>`.
    pub enabled: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Reads the table.
pub(super) fn read<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Api, ConfigError> {
    let mut api = Api::default();
    for (key, node) in in_order(source.table(key, node)?) {
        match key.get_ref().as_ref() {
            "enabled" => api.enabled = source.flag(key, node)?,
            _ => return Err(source.unknown(key, "in [api]", KEYS)),
        }
    }
    Ok(api)
}
