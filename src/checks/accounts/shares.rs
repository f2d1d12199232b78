//! What the checks of imports and exports have in common.

use crate::check::{Entity, OutOfRange, Validate, at_least};
use crate::snapshot::{Account, Export, Import, Snapshot};
use crate::text::{NAME_BYTES, Name, bounded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many findings there are at most.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Tell so many of one account one by one; where there are more, one finding tells of the others.
    pub(super) most: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 10 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("most", self.most, 1)
    }
}

/// The name that people know an account by.
pub(super) fn label(snapshot: &Snapshot, account: &Name) -> Name {
    let known = snapshot.accounts.get(account).and_then(|account| account.name.as_ref());
    known.unwrap_or(account).clone()
}

/// One import. The local subject tells two imports of the same subject apart.
pub(super) fn import(snapshot: &Snapshot, account: &Account, import: &Import) -> Entity {
    let Import { kind, account: exporter, subject, local, .. } = import;
    let kind = kind.as_str();
    let id = match subject == local {
        true => format!("{kind}/{exporter}/{subject}"),
        false => format!("{kind}/{exporter}/{subject}/{local}"),
    };
    let name = format!("{kind} {local} of {}", label(snapshot, exporter));
    let id = bounded(&id, NAME_BYTES);
    Entity {
        name: Some(bounded(&name, NAME_BYTES)),
        ..Entity::import(&account.id, account.name.as_ref(), &id)
    }
}

/// All imports of one account from another together.
pub(super) fn imports_from(snapshot: &Snapshot, account: &Account, exporter: &Name) -> Entity {
    let id = bounded(&format!("*/{exporter}"), NAME_BYTES);
    let name = bounded(&format!("everything of {}", label(snapshot, exporter)), NAME_BYTES);
    Entity { name: Some(name), ..Entity::import(&account.id, account.name.as_ref(), &id) }
}

/// Everything that others import from one account.
pub(super) fn imports_by_others(snapshot: &Snapshot, exporter: &Name) -> Entity {
    let name = snapshot.accounts.get(exporter).and_then(|account| account.name.as_ref());
    let text = format!("what others import of {}", label(snapshot, exporter));
    let id = Name::from("*");
    Entity { name: Some(bounded(&text, NAME_BYTES)), ..Entity::import(exporter, name, &id) }
}

/// One export.
pub(super) fn export(account: &Account, export: &Export) -> Entity {
    let (kind, subject) = (export.kind.as_str(), &export.subject);
    let id = bounded(&format!("{kind}/{subject}"), NAME_BYTES);
    let name = bounded(&format!("{kind} {subject}"), NAME_BYTES);
    Entity { name: Some(name), ..Entity::export(&account.id, account.name.as_ref(), &id) }
}

/// All exports of an account.
pub(super) fn all_exports(account: &Account) -> Entity {
    let name = Name::from("several exports");
    Entity { name: Some(name), ..Entity::export(&account.id, account.name.as_ref(), &"*".into()) }
}

/// All imports of an account.
pub(super) fn all_imports(account: &Account) -> Entity {
    let name = Name::from("several imports");
    Entity { name: Some(name), ..Entity::import(&account.id, account.name.as_ref(), &"*".into()) }
}

/// Groups by a key, each in its order.
pub(super) fn grouped<K: Ord, T>(all: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for (key, one) in all {
        groups.entry(key).or_default().push(one);
    }
    groups
}
