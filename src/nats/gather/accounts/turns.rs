//! Whose turn it is: which accounts are read in an epoch.

use super::AccountCache;
use super::described::Described;
use crate::snapshot::{Account, AccountLimits, Snapshot};
use crate::text::Name;

/// Accounts that are read again in one epoch.
const AGAIN_PER_EPOCH: usize = 256;

/// Of these, those with an import that is not in effect, and those near a limit, that go before others. The rest is for
/// those read longest ago, so that each account's turn comes.
const BROKEN_PER_EPOCH: usize = AGAIN_PER_EPOCH / 2;
const NEAR_PER_EPOCH: usize = AGAIN_PER_EPOCH / 4;

/// Accounts that are read for the first time in one epoch, for each server. One costs its server about a
/// millisecond, so that this is at most half a second of each, once.
const FIRST_PER_SERVER: usize = 500;

/// From this share of a limit on, the account goes before others.
const NEAR: f64 = 0.7;

/// The accounts to read now: those never read, the largest first; then some of those with an import that is not in effect
/// and of those near a limit, and those read longest ago.
pub(super) fn due(
    cache: &AccountCache,
    snapshot: &Snapshot,
    keys: Vec<Name>,
    known: impl Fn(&Name) -> bool,
) -> Vec<Name> {
    let account = |id: &Name| snapshot.accounts.get(id);
    let (mut first, mut again): (Vec<Name>, Vec<Name>) = keys.into_iter().partition(|id| !known(id));
    first.sort_by_cached_key(|id| std::cmp::Reverse(account(id).map_or(0, Account::connections)));
    first.truncate(FIRST_PER_SERVER.saturating_mul(snapshot.servers.len()));
    again.sort_by_cached_key(|id| cache.described.get(id).map_or(0, |described| described.epoch));
    let is_broken = |id: &Name| cache.described.get(id).is_some_and(Described::is_broken);
    let is_near = |id: &Name| {
        let limits = cache.described.get(id).and_then(|described| described.limits);
        limits.zip(account(id)).is_some_and(|(limits, account)| near(account, &limits))
    };
    let (broken, whole) = up_to(BROKEN_PER_EPOCH, again, is_broken);
    let (near, others) = up_to(NEAR_PER_EPOCH, whole, is_near);
    let room = AGAIN_PER_EPOCH - broken.len() - near.len();
    first.into_iter().chain(broken).chain(near).chain(others.into_iter().take(room)).collect()
}

/// The first so many of which this holds, and the others, both in their order.
fn up_to(most: usize, all: Vec<Name>, holds: impl Fn(&Name) -> bool) -> (Vec<Name>, Vec<Name>) {
    let mut left = most;
    all.into_iter().partition(|id| {
        let taken = left > 0 && holds(id);
        left -= usize::from(taken);
        taken
    })
}

/// Whether an account uses so much of a limit that it is worth a closer look. Nothing is near a limit of 0.
pub(in crate::nats::gather) fn near(account: &Account, limits: &AccountLimits) -> bool {
    let near = |value: u64, limit: i64| limit >= 0 && value > 0 && value as f64 >= NEAR * limit as f64;
    near(account.connections() + account.leafnodes_on_fullest(), limits.connections)
        || near(account.leafnodes(), limits.leafnodes)
        || near(account.subscriptions().unwrap_or(0), limits.subscriptions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;
    use crate::snapshot::{AccountDetails, ImportState};
    use crate::wire::accountz::AccountDetail;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn each_account_is_read_again_however_many_are_broken_or_near_a_limit() {
        let broken = {
            let mut details = AccountDetails::of(&AccountDetail::default(), "SYS", 1);
            let state = ImportState::Refused;
            details.imports.push(crate::checks::laws::tenants::stream("E", "a", state));
            Arc::new(details)
        };
        let mut cache = AccountCache::default();
        let mut system = System::of(1);
        let names: Vec<Name> = (1000..1600).map(|i| Name::from(format!("T{i}"))).collect();
        for (number, name) in names.iter().enumerate() {
            // Two hundred are broken, two hundred are near, and the others have what a limit of 0 allows.
            let limits = AccountLimits { connections: 1, subscriptions: -1, leafnodes: 0 };
            let described = Described {
                name: None,
                limits: Some(limits),
                update_time: String::new(),
                details: (number < 200).then(|| broken.clone()),
                bytes: 0,
                epoch: 0,
                servers: Vec::new(),
            };
            cache.described.insert(name.clone(), described);
            system = match number {
                200..400 => system.connect("n1", name, "u", 1, |_, _| {}),
                _ => system.config_account(name),
            };
        }
        let snapshot = system.done();
        let limits = cache.described[&names[0]].limits.unwrap();
        let is_near = |name: &Name| near(&snapshot.accounts[name], &limits);
        assert!(is_near(&names[200]) && !is_near(&names[400]));
        let mut read = BTreeSet::new();
        for epoch in 1..=8 {
            let due = due(&cache, &snapshot, names.clone(), |_| true);
            assert_eq!(due.len(), AGAIN_PER_EPOCH);
            for id in due {
                cache.described.get_mut(&id).unwrap().epoch = epoch;
                read.insert(id);
            }
        }
        assert_eq!(read.len(), names.len());
    }
}
