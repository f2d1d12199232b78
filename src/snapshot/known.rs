//! Accounts that were there within the last day, and the servers that ran then: what comes back is not new, and what only a
//! server had that is away is not removed.

use super::{Account, Endpoint, Limits, Server, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// How long accounts and servers are remembered after they were last seen.
const REMEMBER: Duration = Duration::hours(24);

/// Accounts, and servers, that are remembered: 0.2 KB each.
const MOST: usize = 100_000;

/// An account as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAccount {
    /// Its readable name, in operator mode.
    pub name: Option<Name>,
    /// Whether it comes from a JWT.
    pub of_jwt: bool,
    /// Its client connections.
    pub connections: u64,
    last: OffsetDateTime,
}

/// What the epochs of the last day showed, those left out in which a server did not tell its accounts.
#[derive(Debug, Clone, Default)]
pub struct Known {
    accounts: BTreeMap<Name, KnownAccount>,
    /// Boots by their id, with the server's key.
    servers: BTreeMap<Name, (Name, OffsetDateTime)>,
}

/// Whether its limits are in a JWT, be they read or not.
fn is_of_jwt(account: &Account) -> bool {
    matches!(account.limits, Limits::Jwt(_) | Limits::Unread(_))
}

/// Whether every server told all its accounts.
fn is_whole(snapshot: &Snapshot) -> bool {
    !snapshot.only_used_accounts
        && !snapshot.servers.is_empty()
        && snapshot.coverage.gaps(Endpoint::AccountStatz).is_empty()
}

impl Known {
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        if !is_whole(snapshot) {
            return;
        }
        let at = snapshot.taken_at;
        let removed: Vec<Name> = self.removed(snapshot).into_iter().map(|(id, _)| id.clone()).collect();
        removed.iter().for_each(|id| drop(self.accounts.remove(id)));
        for account in snapshot.accounts.values() {
            let (name, connections) = (account.name.clone(), account.connections());
            let known = KnownAccount { name, of_jwt: is_of_jwt(account), connections, last: at };
            self.accounts.insert(account.id.clone(), known);
        }
        for server in snapshot.servers.values() {
            self.servers.insert(server.id.clone(), (server.key(), at));
        }
        keep(&mut self.accounts, at, |known| known.last);
        keep(&mut self.servers, at, |(_, last)| *last);
    }

    /// Accounts that are there now and were not within the last day. None while there is nothing to compare with.
    pub fn added<'a>(&self, now: &'a Snapshot) -> Vec<&'a Account> {
        if self.servers.is_empty() || !is_whole(now) {
            return Vec::new();
        }
        now.accounts.values().filter(|account| !self.accounts.contains_key(&account.id)).collect()
    }

    /// Accounts that are not there any more, although every server runs that may have had them. One that was started anew
    /// has those of its configuration file again, and others once somebody needs them.
    pub fn removed(&self, now: &Snapshot) -> Vec<(&Name, &KnownAccount)> {
        if !is_whole(now) {
            return Vec::new();
        }
        let gone: Vec<(&Name, &KnownAccount)> =
            self.accounts.iter().filter(|(id, _)| !now.accounts.contains_key(*id)).collect();
        if gone.is_empty() {
            return gone;
        }
        let keys: BTreeSet<Name> = now.servers.values().map(Server::key).collect();
        // A server that was not there any more when the account was last seen did not have it.
        let last_without = |runs: &dyn Fn(&Name, &Name) -> bool| {
            let away = self.servers.iter().filter(|(id, (key, _))| !runs(id, key));
            away.map(|(_, (_, last))| *last).max()
        };
        let boot = last_without(&|id, _| now.servers.contains_key(id));
        let server = last_without(&|_, key| keys.contains(key));
        let away = |known: &KnownAccount| if known.of_jwt { boot } else { server };
        gone.into_iter().filter(|(_, known)| away(known).is_none_or(|last| last < known.last)).collect()
    }

    /// Whether no server of this name and cluster was there.
    pub fn is_new(&self, server: &Server) -> bool {
        let key = server.key();
        !self.servers.values().any(|(other, _)| *other == key)
    }
}

/// Forgets what was last seen long ago, and more than there may be.
fn keep<T>(map: &mut BTreeMap<Name, T>, at: OffsetDateTime, last: impl Fn(&T) -> OffsetDateTime) {
    map.retain(|_, one| at - last(one) < REMEMBER);
    if map.len() > MOST {
        let mut times: Vec<OffsetDateTime> = map.values().map(&last).collect();
        times.sort_unstable();
        let oldest = times[map.len() - MOST];
        map.retain(|_, one| last(one) >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;

    #[test]
    fn what_was_told_is_told_once_and_what_is_old_is_forgotten() {
        let epoch = |second, accounts: &[&str]| {
            let system = System::of(1).at(second);
            accounts.iter().fold(system, |system, account| system.config_account(account)).done()
        };
        let mut known = Known::default();
        assert!(known.added(&epoch(0, &["A"])).is_empty());
        known.push(&epoch(0, &["A", "B"]));
        let after = epoch(60, &["A"]);
        assert_eq!(known.removed(&after).len(), 1);
        known.push(&after);
        assert!(known.removed(&epoch(120, &["A"])).is_empty());
        assert_eq!(known.added(&epoch(120, &["A", "B"])).len(), 1);
        known.push(&epoch(60 + 86_400, &[]));
        assert!(known.accounts.is_empty());
    }
}
