//! The `[connection]` table, and the same keys in other tables. Values may be secrets, so no error here repeats one, not
//! even of the wrong type.

use super::tree::{Key, Node, Source, in_order, name};
use super::{ConfigError, value};
use crate::connection::ConnectionOptions;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The keys of the table.
pub(super) const KEYS: &[&str] = &[
    "servers",
    "creds",
    "user",
    "password",
    "token",
    "nkey",
    "tls_cert",
    "tls_key",
    "tls_ca",
    "tls_first",
    "context",
    "timeout",
    "inbox_prefix",
    "name",
];

/// Reads the table.
pub(super) fn read<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<ConnectionOptions, ConfigError> {
    for (key, node) in in_order(source.table(key, node)?) {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            return Err(source.unknown(key, "in [connection]", KEYS));
        }
        check(source, key, node)?;
    }
    whole(source, key, node)
}

/// Reads a table of keys that [`check`] found to be usable one by one; only what concerns all of them can fail here.
pub(super) fn whole<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<ConnectionOptions, ConfigError> {
    let whole = ConnectionOptions::deserialize(ValueDeserializer::from(node.clone()));
    whole.map_err(|_| source.error(key.span(), format!("the table {} cannot be used as a whole", name(key))))
}

/// Reads one key alone, to name it if it cannot be used.
pub(super) fn check<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<(), ConfigError> {
    let written = key.get_ref().as_ref();
    let problem = match written {
        "timeout" => value::timeout(source.text(key, node)?).err(),
        "inbox_prefix" => value::prefix(source.text(key, node)?).err(),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(source.error(key.span(), format!("{}: {problem}", name(key))));
    }
    let alone = DeTable::from_iter([(key.clone(), node.clone())]);
    let alone = Spanned::new(node.span(), DeValue::Table(alone));
    if ConnectionOptions::deserialize(ValueDeserializer::from(alone)).is_err() {
        // The message of serde would quote the value.
        let expected = match written {
            "servers" => "a list of texts in quotes, like [\"nats://a:4222\", \"nats://b:4222\"]",
            "tls_first" => "true or false, without quotes",
            _ => "a text in quotes",
        };
        return Err(source.error(key.span(), format!("{} must be {expected}", name(key))));
    }
    Ok(())
}
