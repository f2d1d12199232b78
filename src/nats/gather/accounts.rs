//! Accounts: what servers count for them, and their limits.

use super::Plan;
use super::ask_one::ask_one;
use super::scatter::{note_cost, ping};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Account, AccountLimits, Endpoint, Limits, OnServer, Snapshot};
use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::account_statz::AccountStat;
use crate::wire::accountz::{AccountDetail, Accountz};
use crate::wire::envelope;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Accounts whose limits are read in one epoch; the longest unread ones, after those near a limit. One costs its server
/// about a millisecond.
const DESCRIBED_PER_EPOCH: usize = 256;

/// Servers from which accounts are read at the same time, from each one after another.
const SERVERS_AT_ONCE: usize = 8;

/// Servers that are asked for one account before it counts as unread.
const TRIES: usize = 3;

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

/// Takes in what one server counts for one account.
pub(super) fn take_stat(snapshot: &mut Snapshot, server: &Name, stat: &AccountStat) {
    if stat.acc.is_empty() {
        return;
    }
    let id = bounded(&stat.acc, NAME_BYTES);
    let account = snapshot.accounts.entry(id.clone()).or_insert_with(|| Account::new(id));
    // A configuration-file account repeats its id as its name.
    let name = stat.name.as_deref().filter(|name| !name.is_empty() && **name != *stat.acc);
    if let Some(name) = name {
        account.name = Some(bounded(name, NAME_BYTES));
    }
    let on = OnServer {
        connections: u64::try_from(stat.conns).unwrap_or(0),
        leafnodes: u64::try_from(stat.leafnodes).unwrap_or(0),
        subscriptions: stat.num_subscriptions,
    };
    account.servers.insert(server.clone(), on);
}

/// Whether an account's id is a public key, so that its limits are in a JWT.
fn is_key(id: &str) -> bool {
    id.starts_with('A') && id.len() == 56 && nkeys::KeyPair::from_public_key(id).is_ok()
}

/// Lists the accounts that each server has loaded, and reads the limits of those that have a JWT.
pub(super) async fn describe(inbox: &Inbox, cache: &mut AccountCache, plan: &Plan, snapshot: &mut Snapshot) {
    let loaded = list(inbox, plan, snapshot).await;
    let keys: Vec<Name> = snapshot.accounts.keys().filter(|id| is_key(id)).cloned().collect();
    cache.described.retain(|id, _| snapshot.accounts.contains_key(id));
    for account in snapshot.accounts.values_mut() {
        if !is_key(&account.id) {
            account.limits = if *account.id == *"$G" { Limits::None } else { Limits::NotVisible };
        }
    }
    let due = due(cache, snapshot, keys);
    let by_server = by_server(snapshot, &loaded, due);
    let results: Vec<Vec<Read>> = futures_util::stream::iter(by_server)
        .map(|accounts| async move {
            let mut read = Vec::with_capacity(accounts.len());
            for (id, servers) in accounts {
                let mut costs = Vec::new();
                let detail = read_one(inbox, plan, &id, &servers, &mut costs).await;
                read.push((id, detail, costs));
            }
            read
        })
        .buffer_unordered(SERVERS_AT_ONCE)
        .collect()
        .await;
    for (id, detail, costs) in results.into_iter().flatten() {
        for (requests, bytes, took) in costs {
            snapshot.cost.requests += requests;
            if bytes > 0 {
                note_cost(snapshot, bytes, took);
            }
        }
        match detail {
            Ok(detail) => take_detail(cache, snapshot, plan.epoch, id, &detail),
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
    let unread =
        snapshot.accounts.values().filter(|account| matches!(account.limits, Limits::Unread(_))).count();
    if unread > 0 {
        snapshot.coverage.notes.push(format!("the limits of {unread} accounts were not read"));
    }
}

/// An account, what was read of it, and what that cost.
type Read = (Name, Result<AccountDetail, String>, Vec<Cost>);

/// The accounts in groups, each read from one server first, one after another; with each account the servers to ask.
fn by_server(
    snapshot: &Snapshot,
    loaded: &HashMap<Name, BTreeSet<Name>>,
    accounts: Vec<Name>,
) -> Vec<Vec<(Name, Vec<Name>)>> {
    let mut groups: BTreeMap<Option<Name>, Vec<(Name, Vec<Name>)>> = BTreeMap::new();
    for (turn, id) in accounts.into_iter().enumerate() {
        let on = snapshot.accounts.get(&id).map(|account| account.servers.keys());
        let mut servers: BTreeSet<Name> = on.into_iter().flatten().cloned().collect();
        servers.extend(loaded.get(&id).into_iter().flatten().cloned());
        let mut servers: Vec<Name> = servers.into_iter().collect();
        // Most accounts are loaded on every server: they take turns.
        let first = turn % servers.len().max(1);
        servers.rotate_left(first);
        servers.truncate(TRIES);
        groups.entry(servers.first().cloned()).or_default().push((id, servers));
    }
    groups.into_values().collect()
}

/// The accounts to read now: those never read first, then those near a limit, then those read longest ago.
fn due(cache: &AccountCache, snapshot: &Snapshot, mut keys: Vec<Name>) -> Vec<Name> {
    let rank = |id: &Name| match cache.described.get(id) {
        None => (0, 0),
        Some(described)
            if snapshot.accounts.get(id).is_some_and(|account| near(account, &described.limits)) =>
        {
            (1, 0)
        }
        Some(described) => (2, described.epoch),
    };
    keys.sort_by_key(rank);
    keys.truncate(DESCRIBED_PER_EPOCH);
    keys
}

fn near(account: &Account, limits: &AccountLimits) -> bool {
    let near = |value: u64, limit: i64| limit >= 0 && value as f64 >= NEAR * limit as f64;
    near(account.connections() + account.leafnodes_on_fullest(), limits.connections)
        || near(account.leafnodes(), limits.leafnodes)
        || near(account.subscriptions().unwrap_or(0), limits.subscriptions)
}

async fn list(inbox: &Inbox, plan: &Plan, snapshot: &mut Snapshot) -> HashMap<Name, BTreeSet<Name>> {
    let subject = "$SYS.REQ.SERVER.PING.ACCOUNTZ";
    let asked = ping::<Accountz>(inbox, plan, snapshot, Endpoint::Accountz, subject, "").await;
    let mut loaded: HashMap<Name, BTreeSet<Name>> = HashMap::new();
    for (id, (_, list)) in asked.answers {
        for account in list.into_iter().flat_map(|list| list.accounts.unwrap_or_default()) {
            let account = bounded(&account, NAME_BYTES);
            loaded.entry(account.clone()).or_default().insert(id.clone());
            snapshot.accounts.entry(account.clone()).or_insert_with(|| Account::new(account));
        }
    }
    loaded
}

/// Requests, bytes and time of one question.
type Cost = (u64, u64, std::time::Duration);

async fn read_one(
    inbox: &Inbox,
    plan: &Plan,
    account: &Name,
    servers: &[Name],
    costs: &mut Vec<Cost>,
) -> Result<AccountDetail, String> {
    let body = serde_json::json!({ "account": account });
    let mut why = "no server has it loaded".to_owned();
    for server in servers {
        let subject = format!("$SYS.REQ.SERVER.{server}.ACCOUNTZ");
        costs.push((1, 0, std::time::Duration::ZERO));
        let mut asked = match ask_one(inbox, plan, &subject, &body).await {
            Ok(asked) => asked,
            Err(missed) => {
                why = missed.to_string();
                continue;
            }
        };
        let mut heard = false;
        loop {
            let answer = match asked.next().await {
                Ok((answer, bytes, took)) => {
                    costs.push((0, bytes, took));
                    answer
                }
                Err(missed) => {
                    if !heard {
                        why = missed.to_string();
                    }
                    break;
                }
            };
            heard = true;
            let detail = answer
                .decode()
                .map_err(|error| error.to_string())
                .and_then(|body| detail_in(&body, server, account));
            match detail {
                Ok(detail) => return Ok(detail),
                Err(error) => why = error,
            }
        }
    }
    Err(why)
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
