//! What is remembered of accounts between epochs, and for how long.

use super::told::Told;
use super::{AccountCache, Plan, TRIES, is_key};
use crate::snapshot::{AccountDetails, AccountLimits, Answer, Endpoint, Limits, Snapshot};
use crate::text::Name;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Imports and exports that are kept of all accounts together: some 30 MB of subjects. Ten thousand accounts have twenty each.
pub(super) const ROWS: usize = 200_000;

/// What is kept of an account between epochs.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) name: Option<Name>,
    /// None where no claims are shown.
    pub(super) limits: Option<AccountLimits>,
    /// As the server writes it; the limits are taken again only when it changes. What an account imports may change
    /// without it: an activation expires, or the exporting account changes.
    pub(super) update_time: String,
    pub(super) details: Option<Arc<AccountDetails>>,
    /// Bytes of the last answer on the network.
    pub(super) bytes: u64,
    pub(super) epoch: u64,
    /// Some of the servers on which it is loaded, as was told last.
    pub(super) servers: Vec<Name>,
}

impl Described {
    /// Takes in where it is loaded; what late servers tell is beside what others told.
    pub(super) fn is_on(&mut self, servers: &[Name], late: bool) {
        if !late {
            self.servers.clear();
        }
        let new: Vec<Name> = servers.iter().filter(|id| !self.servers.contains(id)).cloned().collect();
        self.servers.extend(new);
        self.servers.truncate(TRIES);
    }

    /// Imports and exports that are kept of it.
    fn rows(&self) -> usize {
        self.details.as_ref().map_or(0, |details| details.rows())
    }

    /// Whether an import is not in effect.
    pub(super) fn is_broken(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.is_broken())
    }
}

impl AccountCache {
    /// Forgets accounts that are listed no more. One that a known server may still have stays while that does not tell: to read
    /// many again costs their servers more than a list. So no more stay than were listed by those that are silent.
    pub(in crate::nats::gather) fn retain(&mut self, snapshot: &Snapshot, known: &BTreeSet<Name>) {
        let told =
            |id: &Name| snapshot.coverage.answer(Endpoint::AccountStatz, id) == Some(&Answer::Complete);
        let silent: BTreeSet<&Name> = known.iter().filter(|id| !told(id)).collect();
        self.described.retain(|id, described| {
            snapshot.accounts.contains_key(id) || described.servers.iter().any(|on| silent.contains(on))
        });
    }

    /// The server that described it, of each account with an import that is not in effect. Servers may differ in that: what
    /// one of them said is over when the same one says so.
    pub(in crate::nats::gather) fn broken(&self) -> HashMap<Name, Name> {
        let broken = self.described.iter().filter(|(_, described)| described.is_broken());
        broken
            .filter_map(|(id, described)| Some((id.clone(), described.details.as_ref()?.server.clone())))
            .collect()
    }

    /// Imports and exports that are kept of all accounts.
    pub(super) fn rows(&self) -> usize {
        self.described.values().map(Described::rows).sum()
    }

    fn rows_of(&self, id: &Name) -> usize {
        self.described.get(id).map_or(0, Described::rows)
    }

    /// Keeps what was read of an account, for which there is room beside the others. `rows` is [`AccountCache::rows`] before and
    /// afterwards: to count them for each of many accounts takes longer than all else.
    pub(super) fn keep(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        (id, servers): (Name, Vec<Name>),
        told: Told,
        rows: &mut usize,
    ) {
        let others = rows.saturating_sub(self.rows_of(&id));
        self.put(plan, snapshot, (id.clone(), servers), told, ROWS.saturating_sub(others));
        *rows = others + self.rows_of(&id);
    }

    fn put(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        (id, servers): (Name, Vec<Name>),
        told: Told,
        room: usize,
    ) {
        let Told { name, limits, update_time, details, bytes } = told;
        let details = details.map(|mut details| {
            details.keep(room);
            Arc::new(details)
        });
        let epoch = plan.epoch;
        if let Some(described) = self.described.get_mut(&id)
            && described.update_time == update_time
            && !update_time.is_empty()
        {
            described.details = details.or_else(|| described.details.take());
            (described.epoch, described.bytes) = (epoch, bytes);
            return;
        }
        if limits.is_none() && is_key(&id) {
            if let Some(account) = snapshot.accounts.get_mut(&id) {
                account.limits = Limits::Unread("the server shows no claims of it".into());
            }
            if details.is_none() {
                return;
            }
        }
        self.described.insert(id, Described { name, limits, update_time, details, bytes, epoch, servers });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;

    #[test]
    fn an_account_is_forgotten_when_all_that_had_it_leave_it_out() {
        let known = ["ID-n1", "ID-n2"].map(Name::from).into();
        let kept = |servers: &[&str], snapshot: &Snapshot, known: &BTreeSet<Name>| {
            let mut described = Described {
                name: None,
                limits: None,
                update_time: String::new(),
                details: None,
                bytes: 0,
                epoch: 1,
                servers: Vec::new(),
            };
            let servers: Vec<Name> = servers.iter().map(|id| Name::from(*id)).collect();
            described.is_on(&["OLD".into()], false);
            described.is_on(&servers[..1], false);
            described.is_on(&servers, true);
            assert_eq!(described.servers, servers);
            let mut cache = AccountCache::default();
            cache.described.insert("APP".into(), described);
            cache.retain(snapshot, known);
            !cache.described.is_empty()
        };
        let whole = System::of(2).done();
        assert!(!kept(&["ID-n1", "ID-n2"], &whole, &known));
        let silent = System::of(2).silent("n2", Endpoint::AccountStatz).done();
        assert!(kept(&["ID-n1", "ID-n2"], &silent, &known));
        assert!(!kept(&["ID-n1"], &silent, &known), "who told did not name it");
        assert!(kept(&["ID-n1"], &System::of(2).config_account("APP").done(), &known));
        // A server that is missed altogether, and one that is not even expected any more.
        assert!(kept(&["ID-n3"], &whole, &["ID-n1", "ID-n3"].map(Name::from).into()));
        assert!(!kept(&["ID-n3"], &whole, &known));
    }
}
