//! Which findings are watched.

use super::Row;
use crate::check::{Severity, glob};

/// Lets through what every given filter lets through; of several patterns of one kind, one has to match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The least severity.
    pub severity: Option<Severity>,
    /// Ids of checks, with `*` for any characters.
    pub checks: Vec<String>,
    /// Ids or names of accounts, with `*` for any characters.
    pub accounts: Vec<String>,
}

impl Filter {
    /// Whether this is watched.
    pub fn passes(&self, row: &Row) -> bool {
        self.passes_at(row, row.severity)
    }

    /// Whether it would be under this severity.
    pub fn passes_at(&self, row: &Row, severity: Severity) -> bool {
        let any = |patterns: &[String], names: &[Option<&str>]| {
            let matches = |pattern: &String| names.iter().flatten().any(|name| glob(pattern, name));
            patterns.is_empty() || patterns.iter().any(matches)
        };
        let [account, account_name] = &row.account;
        self.severity.is_none_or(|least| severity >= least)
            && any(&self.checks, &[Some(&row.check)])
            && any(&self.accounts, &[account.as_deref(), account_name.as_deref()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::firing;

    #[test]
    fn kinds_narrow_and_patterns_of_one_kind_widen() {
        let row = firing("svc", Severity::Warning, 60);
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (severity, checks, accounts, passes) in [
            (None, &[][..], &[][..], true),
            (Some(Severity::Warning), &[], &[], true),
            (Some(Severity::Critical), &[], &[], false),
            (None, &["USER_*"], &[], true),
            (None, &["SERVER_011", "USER_002"], &[], true),
            (None, &["SERVER_011"], &[], false),
            (None, &[], &["AAPP"], true),
            (None, &[], &["APP", "X"], true),
            (None, &["USER_002"], &["X"], false),
        ] {
            let filter = Filter { severity, checks: texts(checks), accounts: texts(accounts) };
            assert_eq!(filter.passes(&row), passes, "{filter:?}");
        }
    }
}
