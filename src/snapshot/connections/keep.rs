//! What is kept within the budget: texts, counters by name, and details of those with most connections.

use super::account::AccountFold;
use super::budget::{FEWEST, Holders};
use super::offender::{ClientKind, Offence, Offender};
use super::user::SilentConnection;
use super::users::UserFold;
use super::{Budget, ServerFold};
use crate::snapshot::TopCounter;
use crate::snapshot::counter::CAPACITY;
use crate::snapshot::texts::Texts;
use crate::text::Name;
use crate::wire::connz::Connection;
use crate::wire::time::timestamp;
use time::{Duration, OffsetDateTime};

/// A client connection with its texts in their kept form.
pub(super) struct Client<'a> {
    pub(super) connection: &'a Connection<'a>,
    /// The server's id.
    pub(super) server: &'a Name,
    pub(super) slot: u32,
    /// The server's clock.
    pub(super) now: Option<OffsetDateTime>,
    pub(super) start: Option<OffsetDateTime>,
    pub(super) name: Option<Name>,
    pub(super) address: Option<Name>,
}

impl<'a> Client<'a> {
    pub(super) fn of(
        connection: &'a Connection<'_>,
        (server, slot): (&'a Name, u32),
        now: Option<OffsetDateTime>,
        kept: &mut Kept,
    ) -> Self {
        let mut keep = |text: &str| (!text.is_empty()).then(|| kept.texts.keep(text));
        let (name, address) = (keep(&connection.name), keep(&connection.ip));
        Self { connection, server, slot, now, start: timestamp(&connection.start), name, address }
    }

    /// Since when it has been idle, if it never carried a message.
    pub(super) fn idle(&self) -> Option<Duration> {
        if self.connection.in_msgs != 0 || self.connection.out_msgs != 0 {
            return None;
        }
        // PINGs do not refresh the last activity (measured 2.15.1): an idle client with keep-alive is still idle.
        Some(self.now? - timestamp(&self.connection.last_activity)?)
    }
}

/// Everything that is bounded over accounts, users and servers together.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) budget: Budget,
    pub(super) texts: Texts,
    /// Names that a counter of an account, a user or a pair tells apart.
    pub(super) most: usize,
    /// Names in all counters.
    pub(super) counted: usize,
    /// By account and user.
    pub(super) detailed: Holders<(u32, u32)>,
    /// By account and user.
    pub(super) silent: Holders<(u32, u32)>,
    /// By account and user, for each offence.
    pub(super) offending: [Holders<(u32, u32)>; Offence::ALL.len()],
    /// By account and slot of the server.
    pub(super) shares: Holders<(u32, u32)>,
}

type Accounts = [(Name, AccountFold)];

impl Kept {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            texts: Texts::with_room_for(budget.texts),
            most: CAPACITY,
            counted: 0,
            detailed: Holders::new(budget.users),
            silent: Holders::new(budget.silent_users),
            offending: Offence::ALL.map(|_| Holders::new(budget.offending_users)),
            shares: Holders::new(budget.shares),
        }
    }

    pub(super) fn count(&mut self, counter: &mut TopCounter, name: Option<&Name>) {
        self.count_at_most(counter, name, self.most);
    }

    /// The counters of servers are few, and each of them sees many connections.
    pub(super) fn count_on_server(&mut self, counter: &mut TopCounter, name: Option<&Name>) {
        self.count_at_most(counter, name, most_of_server(self.most));
    }

    fn count_at_most(&mut self, counter: &mut TopCounter, name: Option<&Name>, most: usize) {
        if let Some(name) = name {
            let before = counter.names();
            counter.add_kept(name, most);
            self.counted = (self.counted + counter.names()).saturating_sub(before);
        }
    }

    /// Takes the client into the details of its account on its server, where the account now has `clients`.
    pub(super) fn keep_share(
        &mut self,
        accounts: &mut Accounts,
        place: (u32, u32),
        clients: u32,
        client: &Client<'_>,
    ) {
        let (account, slot) = place;
        let Some(details) = accounts[account as usize].1.details_mut(slot) else {
            if self.room_for_share(accounts, clients.into()) {
                self.shares.note(place);
                let before = u64::from(clients).saturating_sub(1);
                accounts[account as usize].1.begin_details(slot, before);
                self.keep_share(accounts, place, clients, client);
            }
            return;
        };
        self.count(&mut details.names, client.name.as_ref());
        self.count(&mut details.addresses, client.address.as_ref());
        if !client.connection.lang.is_empty() {
            let library = self.texts.keep_pair(&client.connection.lang, &client.connection.version);
            self.count(&mut details.libraries, Some(&library));
        }
    }

    fn room_for_share(&mut self, accounts: &mut Accounts, clients: u64) -> bool {
        if self.shares.admits(clients) && self.shares.is_full() {
            let count = |(account, slot): (u32, u32)| {
                accounts[account as usize].1.share(slot).map_or(0, |share| share.clients.into())
            };
            for (account, slot) in self.shares.give_up_half(count) {
                let names = accounts[account as usize].1.end_details(slot);
                self.counted = self.counted.saturating_sub(names);
            }
        }
        self.shares.admits(clients)
    }

    /// Takes the client into the details of its user, whose counts have it already.
    pub(super) fn keep_user(&mut self, accounts: &mut Accounts, place: (u32, u32), client: &Client<'_>) {
        let Some(user) = user_mut(accounts, place) else {
            return;
        };
        let connections = user.connections();
        let Some(details) = user.details_mut() else {
            if self.room_for_user(accounts, connections) {
                self.detailed.note(place);
                if let Some(user) = user_mut(accounts, place) {
                    user.begin_details(connections.saturating_sub(1));
                }
                self.keep_user(accounts, place, client);
            }
            return;
        };
        details.add(client.slot, client.start);
        details.unnamed += u64::from(client.name.is_none());
        self.count(&mut details.names, client.name.as_ref());
        self.count(&mut details.addresses, client.address.as_ref());
    }

    fn room_for_user(&mut self, accounts: &mut Accounts, connections: u64) -> bool {
        if self.detailed.admits(connections) && self.detailed.is_full() {
            for place in self.detailed.give_up_half(|place| count_of(accounts, place, UserFold::connections))
            {
                let names = user_mut(accounts, place).map_or(0, UserFold::end_details);
                self.counted = self.counted.saturating_sub(names);
            }
        }
        self.detailed.admits(connections)
    }

    /// Takes a silent client into the list of those of its user that are idle for longest.
    pub(super) fn keep_silent(
        &mut self,
        accounts: &mut Accounts,
        place: (u32, u32),
        client: &Client<'_>,
        idle: Duration,
    ) {
        let silent = count_of(accounts, place, UserFold::silent);
        if !user_mut(accounts, place).is_some_and(|user| user.keeps_silent()) {
            if self.silent.admits(silent) && self.silent.is_full() {
                let count = |place| count_of(accounts, place, UserFold::silent);
                for place in self.silent.give_up_half(count) {
                    user_mut(accounts, place).into_iter().for_each(UserFold::end_silent);
                }
            }
            if !self.silent.admits(silent) {
                return;
            }
            self.silent.note(place);
        }
        let idle_seconds = u64::try_from(idle.whole_seconds()).unwrap_or(0);
        let row = || SilentConnection {
            server: client.server.clone(),
            cid: client.connection.cid,
            name: client.name.clone(),
            address: client.address.clone().unwrap_or_else(|| Name::from("")),
            start: client.start,
            idle_seconds,
        };
        if let Some(user) = user_mut(accounts, place) {
            user.offer_silent(silent.saturating_sub(1), idle_seconds, row);
        }
    }

    /// Counts a client that is beyond a threshold of its user, and takes it into the list of the worst.
    pub(super) fn keep_offender(
        &mut self,
        accounts: &mut Accounts,
        place: (u32, u32),
        client: &Client<'_>,
        (offence, value): (Offence, u64),
    ) {
        let count = user_mut(accounts, place).map_or(0, |user| user.note_offender(offence));
        let holders = &mut self.offending[offence.index()];
        let keeps = |user: &mut UserFold| user.worst_mut(offence).is_some();
        if !user_mut(accounts, place).is_some_and(keeps) {
            if holders.admits(count) && holders.is_full() {
                let of = |(account, user): (u32, u32)| {
                    accounts[account as usize].1.users.at(user).map_or(0, |user| user.offenders(offence))
                };
                for place in holders.give_up_half(of) {
                    user_mut(accounts, place).into_iter().for_each(|user| user.end_worst(offence));
                }
            }
            if !holders.admits(count) {
                return;
            }
            holders.note(place);
            if let Some(user) = user_mut(accounts, place) {
                user.begin_worst(offence, count.saturating_sub(1));
            }
        }
        let row = || Offender {
            server: client.server.clone(),
            cid: client.connection.cid,
            name: client.name.clone(),
            address: client.address.clone().unwrap_or_else(|| Name::from("")),
            kind: ClientKind::of(&client.connection.client_type),
            value,
        };
        if let Some(worst) = user_mut(accounts, place).and_then(|user| user.worst_mut(offence)) {
            worst.offer((client.server, client.connection.cid), value, row);
        }
    }

    /// Whether it is time to [`Self::relieve`].
    pub(super) fn is_over(&self) -> bool {
        (self.counted > self.budget.counted && self.most > FEWEST) || self.texts.is_full()
    }

    /// Lets go of texts that nobody counts any more, and halves all counters as often as it takes.
    pub(super) fn relieve(&mut self, servers: &mut [(Name, ServerFold)], accounts: &mut Accounts) {
        let crowded = self.texts.is_full() && self.texts.clean();
        let mut over = crowded || self.counted > self.budget.counted;
        while over && self.most > FEWEST {
            self.most /= 2;
            self.counted = self.shrink(servers, accounts);
            over = self.texts.clean() || self.counted > self.budget.counted;
        }
    }

    /// Makes all counters as small as they may be now; the names that are left in them.
    fn shrink(&self, servers: &mut [(Name, ServerFold)], accounts: &mut Accounts) -> usize {
        let mut left = 0;
        let mut shrink = |counter: &mut TopCounter, most: usize| {
            counter.shrink(most);
            left += counter.names();
        };
        for (_, server) in servers {
            shrink(&mut server.names, most_of_server(self.most));
            shrink(&mut server.addresses, most_of_server(self.most));
        }
        for (_, account) in accounts.iter_mut() {
            let details = account.share_details.iter_mut();
            let of_shares = details
                .flat_map(|details| [&mut details.names, &mut details.libraries, &mut details.addresses]);
            for counter in of_shares.chain([&mut account.names, &mut account.addresses]) {
                shrink(counter, self.most);
            }
        }
        for place in self.detailed.iter() {
            if let Some(details) = user_mut(accounts, place).and_then(UserFold::details_mut) {
                shrink(&mut details.names, self.most);
                shrink(&mut details.addresses, self.most);
            }
        }
        left
    }
}

fn most_of_server(most: usize) -> usize {
    (most * 4).min(CAPACITY)
}

fn user_mut(accounts: &mut Accounts, (account, user): (u32, u32)) -> Option<&mut UserFold> {
    accounts[account as usize].1.users.at_mut(user as usize)
}

fn count_of(accounts: &Accounts, (account, user): (u32, u32), count: fn(&UserFold) -> u64) -> u64 {
    accounts[account as usize].1.users.at(user).map_or(0, count)
}
