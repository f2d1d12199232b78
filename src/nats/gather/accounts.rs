//! The limits of accounts.

use super::Plan;
use super::account_counts::Loaded;
use super::ask_one::{Missed, ask_one};
use super::lanes::Lanes;
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Account, AccountLimits, Answer, Endpoint, Limits, Snapshot};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::accountz::{AccountDetail, Accountz};
use crate::wire::envelope;
use futures_util::StreamExt;
use std::collections::{BTreeMap, HashMap};

/// Accounts whose limits are read again in one epoch: those near a limit, then those read longest ago.
const AGAIN_PER_EPOCH: usize = 256;

/// Accounts whose limits are read for the first time in one epoch, for each server. One costs its server about a
/// millisecond, so that this is at most half a second of each, once.
const FIRST_PER_SERVER: usize = 500;

/// Servers from which accounts are read at the same time, from each one after another.
const SERVERS_AT_ONCE: usize = 8;

/// Servers that are asked for one account before it counts as unread.
pub(super) const TRIES: usize = 3;

/// Bytes of one account's description, with its claims twice.
const DETAIL_BYTES: u64 = 16 * 1024;

/// From this share of a limit on, the account is read every epoch.
const NEAR: f64 = 0.7;

/// What is kept of an account's claims between epochs.
#[derive(Debug, Clone)]
struct Described {
    name: Option<Name>,
    limits: AccountLimits,
    /// As the server writes it; the limits are taken again only when it changes.
    update_time: String,
    epoch: u64,
}

/// Claims of accounts, by public key.
#[derive(Debug, Default)]
pub(super) struct AccountCache {
    described: HashMap<Name, Described>,
}

/// Whether an account's id is a public key, so that its limits are in a JWT.
pub(super) fn is_key(id: &str) -> bool {
    id.starts_with('A') && id.len() == 56 && nkeys::KeyPair::from_public_key(id).is_ok()
}

/// What is to be read, in groups: each is read from one server first, one after another; with each account the servers
/// to ask.
pub(super) type Due = Vec<Vec<(Name, Vec<Name>)>>;

/// An account, what was read of it, how the servers that were asked did, and what that cost.
pub(super) struct Read {
    account: Name,
    detail: Result<AccountDetail, String>,
    servers: Vec<(Name, Answer)>,
    tally: Tally,
}

/// Chooses the accounts whose limits are read now. `loaded` tells where. In the `late` round only those are read that
/// were not known before.
pub(super) fn choose(cache: &mut AccountCache, snapshot: &mut Snapshot, loaded: &Loaded, late: bool) -> Due {
    cache.described.retain(|id, _| snapshot.accounts.contains_key(id));
    for account in snapshot.accounts.values_mut() {
        if !is_key(&account.id) {
            account.limits = if *account.id == *"$G" { Limits::None } else { Limits::NotVisible };
        }
    }
    let new = |id: &Name| loaded.contains_key(id) && !cache.described.contains_key(id);
    let keys = snapshot.accounts.keys().filter(|id| is_key(id) && (!late || new(id)));
    let keys = keys.cloned().collect();
    let mut groups: BTreeMap<Option<Name>, Vec<(Name, Vec<Name>)>> = BTreeMap::new();
    for id in due(cache, snapshot, keys) {
        let mut servers: Vec<Name> = loaded.get(&id).cloned().unwrap_or_default();
        servers.truncate(TRIES);
        groups.entry(servers.first().cloned()).or_default().push((id, servers));
    }
    groups.into_values().collect()
}

/// Reads them.
pub(super) async fn read(inbox: &Inbox, plan: &Plan, lanes: &Lanes, due: Due) -> Vec<Read> {
    let groups = due.into_iter().map(|accounts| async move {
        let mut read = Vec::with_capacity(accounts.len());
        for (account, servers) in accounts {
            let mut one = Read {
                detail: Err("no server has it loaded".into()),
                account,
                servers: Vec::new(),
                tally: Tally::default(),
            };
            one.ask(inbox, plan, lanes, &servers).await;
            read.push(one);
        }
        read
    });
    let groups: Vec<Vec<Read>> =
        futures_util::stream::iter(groups).buffer_unordered(SERVERS_AT_ONCE).collect().await;
    groups.into_iter().flatten().collect()
}

/// Takes what was read into the snapshot, with what is known from before.
pub(super) fn take(cache: &mut AccountCache, snapshot: &mut Snapshot, epoch: u64, read: Vec<Read>) {
    for Read { account: id, detail, servers, tally } in read {
        for (server, answer) in servers {
            snapshot.coverage.note(Endpoint::Accountz, &server, answer);
        }
        tally.add_to(snapshot);
        match detail {
            Ok(detail) => take_detail(cache, snapshot, epoch, id, &detail),
            Err(why) => {
                if let Some(account) = snapshot.accounts.get_mut(&id) {
                    account.limits = Limits::Unread(why);
                }
            }
        }
    }
    for (id, described) in &cache.described {
        if let Some(account) = snapshot.accounts.get_mut(id) {
            account.limits = Limits::Jwt(described.limits);
            account.name = described.name.clone().or_else(|| account.name.take());
        }
    }
    // Nothing was missed of a server that had nothing to tell.
    for server in snapshot.servers.keys() {
        snapshot.coverage.note(Endpoint::Accountz, server, Answer::Complete);
    }
}

/// Says for how many accounts the limits are not known.
pub(super) fn note_unread(snapshot: &mut Snapshot) {
    let unread =
        snapshot.accounts.values().filter(|account| matches!(account.limits, Limits::Unread(_))).count();
    if unread > 0 {
        snapshot.coverage.notes.push(format!("the limits of {unread} accounts were not read"));
    }
}

/// The accounts to read now: those never read, the largest first; then those near a limit, then those read longest ago.
fn due(cache: &AccountCache, snapshot: &Snapshot, keys: Vec<Name>) -> Vec<Name> {
    let account = |id: &Name| snapshot.accounts.get(id);
    let (mut first, mut again): (Vec<Name>, Vec<Name>) =
        keys.into_iter().partition(|id| !cache.described.contains_key(id));
    first.sort_by_cached_key(|id| std::cmp::Reverse(account(id).map_or(0, Account::connections)));
    first.truncate(FIRST_PER_SERVER.saturating_mul(snapshot.servers.len()));
    again.sort_by_cached_key(|id| {
        let described = cache.described.get(id);
        let is_near = described.zip(account(id)).is_some_and(|(known, account)| near(account, &known.limits));
        (!is_near, described.map_or(0, |described| described.epoch))
    });
    again.truncate(AGAIN_PER_EPOCH);
    first.append(&mut again);
    first
}

/// Whether an account uses so much of a limit that it is worth a closer look.
pub(super) fn near(account: &Account, limits: &AccountLimits) -> bool {
    let near = |value: u64, limit: i64| limit >= 0 && value as f64 >= NEAR * limit as f64;
    near(account.connections() + account.leafnodes_on_fullest(), limits.connections)
        || near(account.leafnodes(), limits.leafnodes)
        || near(account.subscriptions().unwrap_or(0), limits.subscriptions)
}

impl Read {
    /// Asks server after server until one describes the account.
    async fn ask(&mut self, inbox: &Inbox, plan: &Plan, lanes: &Lanes, servers: &[Name]) {
        for server in servers {
            let Some(_pass) = lanes.enter(server, DETAIL_BYTES, plan.deadline).await else {
                self.detail = Err(super::CUT.into());
                self.servers.push((server.clone(), Answer::Partial(super::CUT.into())));
                return;
            };
            match self.ask_server(inbox, plan, server).await {
                Ok(detail) => {
                    self.detail = Ok(detail);
                    return;
                }
                Err(why) => self.detail = Err(why),
            }
        }
    }

    async fn ask_server(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        server: &Name,
    ) -> Result<AccountDetail, String> {
        let body = serde_json::json!({ "account": self.account });
        let subject = format!("$SYS.REQ.SERVER.{server}.ACCOUNTZ");
        self.tally.request();
        let mut missed = |missed: Missed| {
            let why = missed.to_string();
            self.servers.push((server.clone(), missed.answer(&subject, 0)));
            why
        };
        let mut asked = ask_one(inbox, plan, &subject, &body).await.map_err(&mut missed)?;
        let mut why = None;
        loop {
            let (answer, bytes, took) = match asked.next().await {
                Ok(answer) => answer,
                Err(over) => return Err(why.unwrap_or_else(|| missed(over))),
            };
            self.tally.answer(bytes, took);
            let body = answer.decode().map_err(|error| error.to_string());
            match body.and_then(|body| detail_in(&body, server, &self.account)) {
                Ok(detail) => return Ok(detail),
                Err(error) => why = Some(error),
            }
        }
    }
}

fn detail_in(body: &[u8], server: &Name, account: &Name) -> Result<AccountDetail, String> {
    let (info, data) = envelope::parse::<Accountz>(body).map_err(|error| error.to_string())?;
    if *info.id != **server {
        return Err("another server answered".into());
    }
    match data.map_err(|error| error.to_string())?.account_detail {
        Some(detail) if *detail.account_name == **account => Ok(detail),
        _ => Err("the answer describes another account".into()),
    }
}

fn take_detail(
    cache: &mut AccountCache,
    snapshot: &mut Snapshot,
    epoch: u64,
    id: Name,
    detail: &AccountDetail,
) {
    if let Some(described) = cache.described.get_mut(&id)
        && described.update_time == detail.update_time
        && !detail.update_time.is_empty()
    {
        described.epoch = epoch;
        return;
    }
    let claims = detail.decoded_jwt.as_ref();
    let Some(limits) = claims.and_then(|jwt| jwt.nats.limits.as_ref()) else {
        if let Some(account) = snapshot.accounts.get_mut(&id) {
            account.limits = Limits::Unread("the server shows no claims of it".into());
        }
        return;
    };
    let name = claims.and_then(|jwt| jwt.name.as_deref()).or(detail.name_tag.as_deref());
    let described = Described {
        name: name.filter(|name| !name.is_empty()).map(|name| bounded(name, TEXT_BYTES)),
        limits: AccountLimits {
            connections: limits.conn,
            subscriptions: limits.subs,
            leafnodes: limits.leaf,
        },
        update_time: detail.update_time.clone(),
        epoch,
    };
    cache.described.insert(id, described);
}
