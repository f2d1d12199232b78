//! The connections of an account: exact counts, the largest connections, and names within the budget.

use super::users::Users;
use super::{Kinds, ServerFold};
use crate::snapshot::TopCounter;
use crate::text::Name;

/// Connections with most subscriptions that are kept per account.
const TOP_CONNECTIONS: usize = 5;

/// A connection that stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopConnection {
    /// The server's id.
    pub server: Name,
    /// The connection's id there.
    pub cid: u64,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// The user, by its place in [`AccountFold::users`].
    pub user: u32,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// The most it may have by its user's JWT or its server's configuration, whichever is less.
    pub own_limit: Option<OwnLimit>,
}

/// A limit of one connection that is not its account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnLimit {
    /// Subscriptions.
    pub limit: u64,
    /// Whether it is the user's, and not the server's.
    pub of_user: bool,
}

/// Subscriptions as a share of a limit: beyond any number where the limit is 0, 0 without subscriptions.
pub(crate) fn share_of(subscriptions: u64, limit: u64) -> f64 {
    if subscriptions == 0 { 0.0 } else { subscriptions as f64 / limit as f64 }
}

/// The connections of an account on one server: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) slot: u32,
    pub(super) clients: u32,
    pub(super) leafnodes: u32,
    /// Of its clients; at most the largest number.
    pub(super) subscriptions: u32,
}

/// Who the clients of an account on one server are, while there is room for it. It covers those seen since it began.
#[derive(Debug, Clone, Default)]
pub struct ShareDetails {
    pub(super) slot: u32,
    /// Clients of the account on this server that had passed before.
    pub before: u64,
    /// Client names; unnamed ones are not in it.
    pub names: TopCounter,
    /// Client libraries with their versions, e.g. `go 1.34.0`.
    pub libraries: TopCounter,
    /// Addresses without ports.
    pub addresses: TopCounter,
}

/// The connections of an account on all servers.
#[derive(Debug, Clone, Default)]
pub struct AccountFold {
    pub(super) kinds: Kinds,
    /// By server, in the order of their slots.
    pub(super) shares: Vec<Share>,
    pub(super) share_details: Vec<ShareDetails>,
    /// Client names over all servers; unnamed ones are not in it.
    pub names: TopCounter,
    /// Addresses without ports, over all servers.
    pub addresses: TopCounter,
    /// Its users.
    pub users: Users,
    /// Clients that were idle for long and never carried a message.
    pub silent: u64,
    /// Clients without a name.
    pub unnamed: u64,
    /// Open clients that started since the previous epoch.
    pub opened: u64,
    /// How many clients have so many subscriptions, by [`bucket`].
    subscriptions: Vec<(u16, u32)>,
    /// The clients with most subscriptions, the most first.
    pub top_subscriptions: Vec<TopConnection>,
    /// The client that is nearest the limit of its user or its server, where one has such a limit.
    pub nearest_own_limit: Option<Box<TopConnection>>,
}

impl AccountFold {
    /// Connections by kind, over all servers.
    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Clients of the account on a server, with what is known of them there.
    pub fn on(&self, server: &ServerFold) -> (u64, Option<&ShareDetails>) {
        let clients = self.share(server.slot).map_or(0, |share| share.clients);
        let at = self.share_details.binary_search_by_key(&server.slot, |details| details.slot);
        (clients.into(), at.ok().and_then(|at| self.share_details.get(at)))
    }

    pub(super) fn share(&self, slot: u32) -> Option<&Share> {
        self.shares.get(self.shares.binary_search_by_key(&slot, |share| share.slot).ok()?)
    }

    pub(super) fn share_mut(&mut self, slot: u32) -> &mut Share {
        let shares = &mut self.shares;
        let at = shares.binary_search_by_key(&slot, |share| share.slot).unwrap_or_else(|at| {
            if shares.len() == shares.capacity() {
                shares.reserve_exact(4.max(shares.len() / 4));
            }
            shares.insert(at, Share { slot, clients: 0, leafnodes: 0, subscriptions: 0 });
            at
        });
        &mut shares[at]
    }

    pub(super) fn details_mut(&mut self, slot: u32) -> Option<&mut ShareDetails> {
        let at = self.share_details.binary_search_by_key(&slot, |details| details.slot).ok()?;
        self.share_details.get_mut(at)
    }

    pub(super) fn begin_details(&mut self, slot: u32, before: u64) {
        if let Err(at) = self.share_details.binary_search_by_key(&slot, |details| details.slot) {
            self.share_details.insert(at, ShareDetails { slot, before, ..ShareDetails::default() });
        }
    }

    /// How many names were kept in them.
    pub(super) fn end_details(&mut self, slot: u32) -> usize {
        let Ok(at) = self.share_details.binary_search_by_key(&slot, |details| details.slot) else {
            return 0;
        };
        let ShareDetails { names, libraries, addresses, .. } = self.share_details.remove(at);
        if self.share_details.is_empty() {
            self.share_details = Vec::new();
        }
        names.names() + libraries.names() + addresses.names()
    }

    /// The median number of subscriptions of a client; exact below 100, else rounded down to two digits.
    pub fn median_subscriptions(&self) -> Option<u64> {
        let clients: u64 = self.subscriptions.iter().map(|(_, count)| u64::from(*count)).sum();
        let mut before = 0;
        self.subscriptions.iter().find_map(|(bucket, count)| {
            before += u64::from(*count);
            (clients > 0 && before * 2 >= clients).then_some(value_of(*bucket))
        })
    }

    pub(super) fn note_subscriptions(&mut self, value: u64) {
        let bucket = bucket(value);
        match self.subscriptions.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.subscriptions[at].1 = self.subscriptions[at].1.saturating_add(1),
            Err(at) => self.subscriptions.insert(at, (bucket, 1)),
        }
    }

    /// Keeps a connection if it has more subscriptions than another that is kept, or is nearer its own limit; `name`
    /// makes the kept form of the client's name.
    pub(super) fn offer(&mut self, top: Offered<'_>) {
        let least = self.top_subscriptions.last().map_or(0, |last| last.subscriptions);
        if self.top_subscriptions.len() < TOP_CONNECTIONS || top.subscriptions > least {
            let largest = &mut self.top_subscriptions;
            let at = largest.partition_point(|other| other.subscriptions >= top.subscriptions);
            largest.truncate(TOP_CONNECTIONS - 1);
            largest.insert(at, top.keep());
        }
        let Some(own) = top.own_limit else {
            return;
        };
        let nearer = self.nearest_own_limit.as_ref().is_none_or(|kept| {
            let share_of_kept = kept.own_limit.map_or(0.0, |own| share_of(kept.subscriptions, own.limit));
            let order = share_of(top.subscriptions, own.limit).total_cmp(&share_of_kept);
            let order = order.then(top.subscriptions.cmp(&kept.subscriptions));
            // Of equal ones the first by server and id, in whatever order the answers came.
            order.then_with(|| (&kept.server, kept.cid).cmp(&(top.server, top.cid))).is_gt()
        });
        if nearer {
            self.nearest_own_limit = Some(Box::new(top.keep()));
        }
    }
}

/// A connection that may be kept.
#[derive(Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) server: &'a Name,
    pub(super) cid: u64,
    pub(super) name: Option<&'a Name>,
    pub(super) user: u32,
    pub(super) subscriptions: u64,
    pub(super) own_limit: Option<OwnLimit>,
}

impl Offered<'_> {
    pub(super) fn keep(self) -> TopConnection {
        TopConnection {
            server: self.server.clone(),
            cid: self.cid,
            name: self.name.cloned(),
            user: self.user,
            subscriptions: self.subscriptions,
            own_limit: self.own_limit,
        }
    }
}

/// Numbers below 100 have a bucket each, larger ones share one with all that have the same first two digits: 1,639 in all,
/// of which an account has as many as it has different numbers, at 8 bytes.
fn bucket(value: u64) -> u16 {
    let (mut value, mut decades) = (value, 0);
    while value >= 100 {
        value /= 10;
        decades += 1;
    }
    // At most 99 + 18 * 90.
    u16::try_from(value + decades * 90).unwrap_or(u16::MAX)
}

/// The least value of a bucket.
fn value_of(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let decades = if bucket < 100 { 0 } else { (bucket - 10) / 90 };
    let exponent = u32::try_from(decades).unwrap_or(0);
    (bucket - decades * 90).saturating_mul(10u64.saturating_pow(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_the_first_two_digits() {
        for (value, least) in [
            (0, 0),
            (9, 9),
            (99, 99),
            (100, 100),
            (109, 100),
            (110, 110),
            (999, 990),
            (1000, 1000),
            (12_345, 12_000),
            (u64::MAX, 18_000_000_000_000_000_000),
        ] {
            assert_eq!(value_of(bucket(value)), least, "{value}");
        }
        assert_eq!(bucket(u64::MAX), 18 + 18 * 90);
        let values: Vec<u64> = (0..=bucket(u64::MAX)).map(value_of).collect();
        assert!(values.is_sorted_by(|a, b| a < b));
    }
}
