//! Slow consumers of accounts, as each server last counted them.

use super::{Answer, Endpoint, Snapshot};
use crate::text::Name;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// How long the counts of a boot are remembered after it last told them.
const REMEMBER: Duration = Duration::hours(1);

/// What a server counted, when it last told all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCounts {
    /// When the gather began in which it told.
    pub at: OffsetDateTime,
    /// Whether it was asked only for accounts that have clients.
    pub used_accounts_only: bool,
    /// Slow consumers since its start, by account; accounts without any are left out.
    pub accounts: BTreeMap<Name, u64>,
}

/// By the server's id, which is new at every boot.
#[derive(Debug, Clone, Default)]
pub(super) struct Slow(BTreeMap<Name, SlowCounts>);

impl Slow {
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let (at, coverage) = (snapshot.taken_at, &snapshot.coverage);
        let told = |id: &&Name| coverage.answer(Endpoint::AccountStatz, id) == Some(&Answer::Complete);
        for id in snapshot.servers.keys().filter(told) {
            let used_accounts_only = coverage.used_accounts_only;
            self.0.insert(id.clone(), SlowCounts { at, used_accounts_only, accounts: BTreeMap::new() });
        }
        for account in snapshot.accounts.values() {
            for (id, count) in &account.slow_consumers {
                if let Some(told) = self.0.get_mut(id).filter(|told| told.at == at) {
                    told.accounts.insert(account.id.clone(), *count);
                }
            }
        }
        self.0.retain(|_, told| at - told.at < REMEMBER);
    }

    pub(super) fn of(&self, id: &Name) -> Option<&SlowCounts> {
        self.0.get(id)
    }
}
