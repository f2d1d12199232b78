//! The running fold.

use super::account::{AccountFold, Offered, OwnLimit};
use super::keep::{Client, Kept};
use super::offender::{ClientKind, Offence};
use super::user::{identity, is_user_key};
use super::users::{NewUser, UserFold};
use super::{Budget, FoldRules, Login, PageSource, ServerFold};
use crate::snapshot::Version;
use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::connz::{Connection, PageHead};
use crate::wire::jwt::{UserClaims, user_claims};
use crate::wire::time::milliseconds_or_more;
use hashbrown::{DefaultHashBuilder, HashMap};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

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
    pub fn within(rules: FoldRules, budget: Budget) -> Self {
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
        let own = |(id, cid): &(Name, u64)| *cid == connection.cid && *id == source.server;
        let is_own = self.rules.own.iter().any(own);
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

/// Stands for a JWT: 31 bits tell those of a user apart, and one tells whether it is a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u32);

impl Mark {
    /// One that was not looked at in this epoch.
    pub(super) const RECALLED: Self = Self(0);
    /// A bearer token that the server leaves out.
    const HIDDEN: Self = Self(1);

    /// The end of a JWT is that of its signature, which no two of a user have in common; the mark tells nobody what it was.
    fn of(token: &str, marks: &DefaultHashBuilder) -> Self {
        let end = &token.as_bytes()[token.len().saturating_sub(16)..];
        Self(((marks.hash_one(end) as u32) & !1).max(2))
    }

    const fn with_bearer(self, bearer: bool) -> Self {
        Self(self.0 | bearer as u32)
    }

    const fn is_bearer(self) -> bool {
        self.0 & 1 == 1
    }

    const fn is_of(self, jwt: Self) -> bool {
        self.0 & !1 == jwt.0
    }
}

/// Whose a connection is: it never changes while the connection is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Name or public key of the account.
    pub account: Name,
    /// The account's readable name, where connections tell it.
    pub account_name: Option<Name>,
    /// The user's identity, without secrets.
    pub user: Name,
    /// The user's readable name.
    pub name: Option<Name>,
    /// The most subscriptions that its JWT allows a connection; none where there is no JWT, or no limit in it.
    pub limit: Option<u64>,
    /// Whether it has logged in with a bearer token.
    pub bearer: bool,
}

impl Owner {
    /// From a page that tells it.
    pub fn of(connection: &Connection<'_>, version: Option<Version>) -> Self {
        let claims = user_claims(&connection.jwt, &connection.authorized_user);
        Self {
            account: Name::from(account_of(connection)),
            account_name: account_name(connection, version).map(|name| bounded(name, TEXT_BYTES)),
            user: Name::from(identity(connection, version)),
            name: readable_name(connection, version, claims.as_ref()),
            bearer: match &claims {
                Some(claims) => claims.bearer,
                None => is_hidden_bearer(connection, version),
            },
            limit: claims.and_then(|claims| claims.subscriptions).and_then(|limit| u64::try_from(limit).ok()),
        }
    }
}

/// Before 2.11.0 `name_tag` held the name of the user; since then it is that of the account.
fn tags_users(version: Option<Version>) -> bool {
    version.is_some_and(|version| version < Version(2, 11, 0))
}

fn account_name<'a>(connection: &'a Connection<'_>, version: Option<Version>) -> Option<&'a str> {
    Some(&*connection.name_tag).filter(|tag| !tag.is_empty() && !tags_users(version))
}

/// The global account is left out of the answer by every version.
fn account_of<'a>(connection: &'a Connection<'_>) -> Cow<'a, str> {
    cut(if connection.account.is_empty() { "$G" } else { &connection.account })
}

fn cut(id: &str) -> Cow<'_, str> {
    if id.len() <= NAME_BYTES { id.into() } else { bounded(id, NAME_BYTES).to_string().into() }
}

fn readable_name(
    connection: &Connection<'_>,
    version: Option<Version>,
    claims: Option<&UserClaims>,
) -> Option<Name> {
    let tag = Some(&*connection.name_tag).filter(|tag| !tag.is_empty() && tags_users(version));
    let name = claims.and_then(|claims| claims.name.as_deref()).or(tag)?;
    (name != connection.authorized_user).then(|| bounded(name, TEXT_BYTES))
}

/// What is known of the JWT that a connection has logged in with.
#[derive(Clone, Copy)]
struct Credential {
    limit: Option<u64>,
    bearer: bool,
}

impl Credential {
    /// A user may have had several JWTs, one after another: each of its connections has what the one says that it logged in
    /// with.
    fn of(
        user: &mut UserFold,
        connection: &Connection<'_>,
        version: Option<Version>,
        claims: Option<UserClaims>,
        marks: &DefaultHashBuilder,
    ) -> Self {
        let token: &str = &connection.jwt;
        let known = user.jwt_mark();
        if token.is_empty() {
            let bearer = known == Mark::HIDDEN || is_hidden_bearer(connection, version);
            if bearer {
                user.set_limit(Mark::HIDDEN, None);
            }
            return Self { limit: None, bearer };
        }
        let mark = Mark::of(token, marks);
        if known.is_of(mark) {
            return Self { limit: user.subscription_limit(), bearer: known.is_bearer() };
        }
        let Some(claims) = claims.or_else(|| user_claims(token, &connection.authorized_user)) else {
            return Self { limit: None, bearer: false };
        };
        let limit = claims.subscriptions.and_then(|limit| u64::try_from(limit).ok());
        user.set_limit(mark.with_bearer(claims.bearer), limit);
        Self { limit, bearer: claims.bearer }
    }
}

/// Whether this is a bearer user whose token the server leaves out. In operator mode everybody else shows a JWT (server source
/// and measured, 2.12.8 to 2.15.1); users with a key of a configuration file are in accounts that are no keys.
fn is_hidden_bearer(connection: &Connection<'_>, version: Option<Version>) -> bool {
    let (user, account): (&str, &str) = (&connection.authorized_user, &connection.account);
    // Keys are read last: it takes microseconds, and hardly anybody comes so far.
    let looks_so = |id: &str, kind: char| id.len() == KEY_BYTES && id.starts_with(kind);
    connection.jwt.is_empty()
        && version.is_some_and(Version::hides_bearer_tokens)
        && looks_so(user, 'U')
        && looks_so(account, 'A')
        && is_user_key(user)
        && nkeys::KeyPair::from_public_key(account).is_ok()
}

/// Characters of a public key.
const KEY_BYTES: usize = 56;

/// The smaller one. The server's configuration takes 0 for "no limit", claims do not.
fn own_limit(of_user: Option<u64>, of_server: Option<i64>) -> Option<OwnLimit> {
    let of_user = of_user.map(|limit| OwnLimit { limit, of_user: true });
    let of_server = of_server.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let of_server = of_server.map(|limit| OwnLimit { limit, of_user: false });
    of_user.into_iter().chain(of_server).min_by_key(|own| own.limit)
}
