//! The running fold.

use super::account::{AccountFold, Offered, OwnLimit};
use super::keep::{Client, Kept};
use super::offender::{ClientKind, Offence};
use super::owner::{Credential, Mark, account_name, account_of, readable_name};
use super::user::identity;
use super::users::{NewUser, UserFold};
use super::{Budget, FoldRules, Login, Owner, PageSource, ServerFold};
use crate::text::Name;
use crate::wire::connz::{Connection, PageHead};
use crate::wire::jwt::user_claims;
use crate::wire::time::milliseconds_or_more;
use hashbrown::{DefaultHashBuilder, HashMap};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The running fold of an epoch.
#[derive(Debug)]
pub struct ConnectionFold {
    rules: FoldRules,
    /// By slot.
    servers: Vec<(Name, ServerFold)>,
    slots: HashMap<Name, u32>,
    pub(super) accounts: Vec<(Name, AccountFold)>,
    account_indexes: HashMap<Name, u32>,
    pub(super) kept: Kept,
    marks: DefaultHashBuilder,
}

/// The finished fold.
#[derive(Debug, Default)]
pub struct Folded {
    /// By server id.
    pub servers: BTreeMap<Name, ServerFold>,
    /// By account; `$G` where the server names none.
    pub accounts: BTreeMap<Name, AccountFold>,
}

impl ConnectionFold {
    /// An empty fold.
    pub fn new(rules: FoldRules) -> Self {
        Self::within(rules, Budget::default())
    }

    /// An empty fold with other bounds than the usual ones.
    pub fn within(mut rules: FoldRules, budget: Budget) -> Self {
        // Each connection is looked for among them.
        rules.own.sort_unstable_by_key(|(_, cid)| *cid);
        Self {
            rules,
            servers: Vec::new(),
            slots: HashMap::new(),
            accounts: Vec::new(),
            account_indexes: HashMap::new(),
            kept: Kept::new(budget),
            marks: DefaultHashBuilder::default(),
        }
    }

    /// Makes the server known even if it has no connections.
    pub fn server(&mut self, id: &Name) -> &mut ServerFold {
        let slot = self.slot(id);
        &mut self.servers[slot].1
    }

    /// Every server that was made known, by its id.
    pub fn servers(&self) -> impl Iterator<Item = (&Name, &ServerFold)> {
        self.servers.iter().map(|(id, fold)| (id, fold))
    }

    fn slot(&mut self, id: &Name) -> usize {
        if let Some(slot) = self.slots.get(id) {
            return *slot as usize;
        }
        let slot = index(self.servers.len());
        self.slots.insert(id.clone(), slot);
        self.servers.push((id.clone(), ServerFold { slot, ..ServerFold::default() }));
        slot as usize
    }

    fn account(&mut self, id: &str) -> u32 {
        if let Some(known) = self.account_indexes.get(id) {
            return *known;
        }
        let new = index(self.accounts.len());
        let id = Name::from(id);
        self.account_indexes.insert(id.clone(), new);
        self.accounts.push((id, AccountFold::default()));
        new
    }

    /// Takes in one connection, whose page tells whose it is.
    pub fn add(&mut self, source: &PageSource, head: &PageHead, connection: &Connection<'_>) {
        self.take(source, head, connection, None);
    }

    /// Takes in one connection, whose owner an earlier page has told.
    pub fn add_of(
        &mut self,
        source: &PageSource,
        head: &PageHead,
        connection: &Connection<'_>,
        owner: &Owner,
    ) {
        self.take(source, head, connection, Some(owner));
    }

    fn take(
        &mut self,
        source: &PageSource,
        head: &PageHead,
        connection: &Connection<'_>,
        owner: Option<&Owner>,
    ) {
        let own = &self.rules.own;
        let same = &own[own.partition_point(|(_, cid)| *cid < connection.cid)..];
        let is_own =
            same.iter().take_while(|(_, cid)| *cid == connection.cid).any(|(id, _)| *id == source.server);
        let slot = self.slot(&source.server);
        if is_own {
            // Only one that is listed: the rules also remember those that were lost.
            let account =
                owner.map_or_else(|| Name::from(account_of(connection)), |owner| owner.account.clone());
            let on_server = &mut self.servers[slot].1;
            on_server.own += 1;
            on_server.own_accounts.push(account);
            return;
        }
        let account_id = owner.map_or_else(|| account_of(connection), |owner| Cow::Borrowed(&*owner.account));
        let account_index = self.account(&account_id);
        let Self { rules, servers, accounts, kept, marks, .. } = self;
        let (server, on_server) = &mut servers[slot];
        let (account_key, account) = &mut accounts[account_index as usize];
        on_server.now = head.now.or(on_server.now);
        let share = account.share_mut(on_server.slot);
        if connection.kind == "Leafnode" {
            on_server.leafnodes += 1;
            share.leafnodes = share.leafnodes.saturating_add(1);
            account.kinds.leafnode += 1;
            return;
        }
        on_server.clients += 1;
        on_server.subscriptions = on_server.subscriptions.saturating_add(connection.subscriptions);
        share.clients = share.clients.saturating_add(1);
        let subscriptions = u32::try_from(connection.subscriptions).unwrap_or(u32::MAX);
        share.subscriptions = share.subscriptions.saturating_add(subscriptions);
        let share_clients = share.clients;
        match ClientKind::of(&connection.client_type) {
            ClientKind::Websocket => account.kinds.websocket += 1,
            ClientKind::Mqtt => account.kinds.mqtt += 1,
            ClientKind::Nats => account.kinds.nats += 1,
        }
        let client = Client::of(connection, (server, on_server.slot), head.now, kept);
        if let (Some(start), Some(since)) = (client.start, source.since) {
            account.opened += u64::from(start > since);
        }
        account.unnamed += u64::from(client.name.is_none());
        kept.count_on_server(&mut on_server.names, client.name.as_ref());
        kept.count_on_server(&mut on_server.addresses, client.address.as_ref());
        kept.count(&mut account.names, client.name.as_ref());
        kept.count(&mut account.addresses, client.address.as_ref());

        let user_id =
            owner.map_or_else(|| identity(connection, source.version), |owner| Cow::Borrowed(&*owner.user));
        let mut claims = None;
        let user_index = account.users.find(&user_id).unwrap_or_else(|| {
            let name = match owner {
                Some(owner) => owner.name.clone(),
                None => {
                    claims = user_claims(&connection.jwt, &connection.authorized_user);
                    readable_name(connection, source.version, claims.as_ref())
                }
            };
            let name = name.as_deref();
            let account_name = match owner {
                Some(owner) => owner.account_name.as_deref(),
                None => account_name(connection, source.version),
            };
            let login = Login { account: &account_id, account_name, user: &user_id, user_name: name };
            let thresholds = (rules.thresholds)(login);
            account.users.insert(&NewUser { id: &user_id, name, thresholds })
        });
        if connection.stalls > 0 {
            let user = account.users.at(index(user_index)).map_or(&*user_id, UserFold::label);
            on_server.stalled.offer(connection, (&account_id, user));
        }
        let thresholds = account.users.thresholds_at(user_index);
        let silent = client.idle().filter(|idle| *idle > thresholds.idle_after);
        let slow = milliseconds_or_more(&connection.rtt).filter(|rtt| *rtt > thresholds.rtt_above);
        let slow = slow.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        let pending = u64::try_from(connection.pending_bytes).unwrap_or(0);
        let backlog = (pending > thresholds.pending_above).then_some(pending);
        let is_silent = u32::from(silent.is_some());
        account.silent += u64::from(is_silent);
        on_server.silent += u64::from(is_silent);
        let Some(user) = account.users.at_mut(user_index) else {
            return;
        };
        user.connections = user.connections.saturating_add(1);
        user.silent = user.silent.saturating_add(is_silent);
        let credential = match owner {
            Some(owner) => {
                user.set_limit(Mark::RECALLED, owner.limit);
                Credential { limit: owner.limit, bearer: owner.bearer }
            }
            None => Credential::of(user, connection, source.version, claims, marks),
        };
        user.bearer = user.bearer.saturating_add(credential.bearer.into());
        let place = (account_index, index(user_index));
        account.note_subscriptions(connection.subscriptions);
        let offered = Offered {
            server,
            cid: connection.cid,
            name: client.name.as_ref(),
            user: place.1,
            subscriptions: connection.subscriptions,
            own_limit: own_limit(credential.limit, source.max_subscriptions),
        };
        account.offer(offered);
        on_server.offer_client(offered.subscriptions, offered.cid, || (account_key.clone(), offered.keep()));
        kept.keep_share(accounts, (account_index, on_server.slot), share_clients, &client);
        kept.keep_user(accounts, place, &client);
        if let Some(idle) = silent {
            kept.keep_silent(accounts, place, &client, idle);
        }
        for offence in slow
            .map(|rtt| (Offence::Slow, rtt))
            .into_iter()
            .chain(backlog.map(|bytes| (Offence::Backlog, bytes)))
        {
            kept.keep_offender(accounts, place, &client, offence);
        }
        if kept.is_over() {
            kept.relieve(servers, accounts);
        }
    }

    /// What was learnt, when the last page has been taken in.
    pub fn finish(mut self) -> Folded {
        for (name, account) in &self.accounts {
            for share in account.shares.iter().filter(|share| share.clients > 0) {
                let server = &mut self.servers[share.slot as usize].1;
                server.offer_account(name, share.clients.into(), share.subscriptions.into());
            }
        }
        Folded { servers: self.servers.into_iter().collect(), accounts: self.accounts.into_iter().collect() }
    }
}

/// There are far fewer servers, accounts and users than that in memory.
fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The smaller one. The server's configuration takes 0 for "no limit", claims do not.
fn own_limit(of_user: Option<u64>, of_server: Option<i64>) -> Option<OwnLimit> {
    let of_user = of_user.map(|limit| OwnLimit { limit, of_user: true });
    let of_server = of_server.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let of_server = of_server.map(|limit| OwnLimit { limit, of_user: false });
    of_user.into_iter().chain(of_server).min_by_key(|own| own.limit)
}
