//! What accounts import that no server has loaded. No server shows them; where their resolver keeps all JWTs, it tells.

use super::ShareKind;
use super::details::parts;
use crate::text::Name;
use crate::wire::accountz;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One import, as the account's JWT declares it. Whether it is in effect is decided when the account is loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnloadedImport {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exporting account.
    pub account: Name,
    /// The subject as the exporting account has it.
    pub subject: Name,
}

/// The imports of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnloadedImports {
    /// Each once, in order.
    pub imports: Vec<UnloadedImport>,
    /// Those beyond them, of which there was no room to keep any more.
    pub omitted: u64,
}

impl UnloadedImports {
    /// From a JWT, at most `rows` of them.
    pub fn of(declared: &[accountz::Import], rows: usize) -> Self {
        let import = |import| {
            let (kind, account, subject, _) = parts(import)?;
            Some(UnloadedImport { kind, account, subject })
        };
        let mut imports: Vec<UnloadedImport> = declared.iter().filter_map(import).collect();
        imports.sort();
        imports.dedup();
        let omitted = imports.len().saturating_sub(rows);
        imports.truncate(rows);
        imports.shrink_to_fit();
        Self { imports, omitted: omitted as u64 }
    }
}

/// The accounts that the resolver keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unloaded {
    /// How many there are.
    pub listed: u64,
    /// Those of them that a server has loaded.
    pub loaded: u64,
    /// Those of the others that were read, by public key.
    pub read: BTreeMap<Name, Arc<UnloadedImports>>,
    /// Whether the list is kept up to date and what is not read yet will be. Else these are the accounts that could be read.
    pub told: bool,
}

impl Unloaded {
    /// Accounts that are neither loaded nor read.
    pub fn unread(&self) -> u64 {
        self.listed.saturating_sub(self.loaded).saturating_sub(self.read.len() as u64)
    }

    /// Accounts that import more than is kept.
    pub fn cut(&self) -> u64 {
        self.read.values().filter(|account| account.omitted > 0).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(declared: serde_json::Value, rows: usize) -> (Vec<(&'static str, String)>, u64) {
        let declared: Vec<accountz::Import> = serde_json::from_value(declared).unwrap();
        let UnloadedImports { imports, omitted } = UnloadedImports::of(&declared, rows);
        let row = |import: &UnloadedImport| {
            (import.kind.as_str(), format!("{} {}", import.account, import.subject))
        };
        (imports.iter().map(row).collect(), omitted)
    }

    #[test]
    fn imports_are_the_exporters_subjects_each_once_and_bounded() {
        let declared = json!([
            {"subject": "b", "account": "E", "type": "stream", "local_subject": "x"},
            {"subject": "b", "account": "E", "type": "stream", "to": "y"},
            {"subject": "svc", "account": "E", "type": "service", "local_subject": "mine"},
            // As older claims have it: the subject is the importer's.
            {"subject": "mine", "account": "E", "type": "service", "to": "old.svc"},
            {"subject": "a", "account": "E", "type": "other"},
            {},
        ]);
        let rows = [("stream", "E b"), ("service", "E old.svc"), ("service", "E svc")];
        let rows = rows.map(|(kind, row)| (kind, row.to_owned()));
        assert_eq!(of(declared.clone(), 10), (rows.to_vec(), 0));
        assert_eq!(of(declared, 2), (rows[..2].to_vec(), 1));
        assert_eq!(of(json!([]), 0), (Vec::new(), 0));
    }

    #[test]
    fn what_is_not_read_is_counted_and_never_below_nothing() {
        let read = |omitted| Arc::new(UnloadedImports { omitted, ..UnloadedImports::default() });
        let read = BTreeMap::from([("A".into(), read(0)), ("B".into(), read(3))]);
        let unloaded = Unloaded { listed: 7, loaded: 4, read, told: true };
        assert_eq!((unloaded.unread(), unloaded.cut()), (1, 1));
        assert_eq!(Unloaded { listed: 1, ..unloaded }.unread(), 0);
    }
}
