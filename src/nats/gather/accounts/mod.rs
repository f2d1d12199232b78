//! The limits of accounts, and what they import and export.

mod described;
mod told;
mod turns;

use super::Plan;
use super::account_counts::Loaded;
use super::ask_one::{Missed, Untold, ask_for};
use super::lanes::Lanes;
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Limits, Snapshot};
use crate::text::Name;
use described::Described;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use told::Told;
use turns::due;
pub(super) use turns::near;

/// Servers from which accounts are read at the same time, from each one after another.
const SERVERS_AT_ONCE: usize = 8;

/// Servers that are asked for one account before it counts as unread.
pub(super) const TRIES: usize = 3;

/// Bytes of one account's description, with its claims twice, until it has been read.
const DETAIL_BYTES: u64 = 16 * 1024;

/// Descriptions of accounts, by public key or name.
#[derive(Debug, Default)]
pub(super) struct AccountCache {
    described: HashMap<Name, Described>,
    unanswered: Mutex<Unanswered>,
}

/// Who did not answer in an epoch, and is not asked again in it: a silent server takes all the patience each time, and
/// who may not ask one may ask none.
#[derive(Debug, Default)]
struct Unanswered {
    epoch: u64,
    denied: bool,
    silent: BTreeSet<Name>,
}

impl Unanswered {
    fn note(&mut self, server: &Name, answer: &Answer) {
        match answer {
            Answer::Denied(_) => self.denied = true,
            Answer::Silent => {
                self.silent.insert(server.clone());
            }
            _ => {}
        }
    }
}

/// Whether an account's id is a public key, so that its limits are in a JWT.
pub(super) fn is_key(id: &str) -> bool {
    id.starts_with('A') && id.len() == 56 && nkeys::KeyPair::from_public_key(id).is_ok()
}

/// What is to be read, in groups: each is read from one server first, one after another; with each account the servers
/// to ask, and the bytes that its description may have.
pub(super) type Due = Vec<Vec<One>>;

type One = (Name, Vec<Name>, u64);

/// An account, what was read of it, how the servers that were asked did, and what that cost.
pub(super) struct Read {
    account: Name,
    loaded: Vec<Name>,
    told: Result<Told, String>,
    servers: Vec<(Name, Answer)>,
    tally: Tally,
}

/// Whether what accounts import and export is wanted, beside their limits.
pub(super) const fn wants_details(plan: &Plan) -> bool {
    plan.requests.contains(Endpoint::AccountDetails)
}

/// Whether accounts are read: their limits, or what they import and export, or which of them to sweep.
pub(super) fn reads(plan: &Plan) -> bool {
    plan.requests.contains(Endpoint::Accountz)
        || wants_details(plan)
        || plan.connections == super::Sweep::Flagged
}

/// Chooses the accounts that are read now. `loaded` tells where. In the `late` round only those are read that were not
/// known before. An account of a configuration file has no limits to be read.
pub(super) fn choose(
    cache: &mut AccountCache,
    plan: &Plan,
    snapshot: &mut Snapshot,
    loaded: &Loaded,
    late: bool,
) -> Due {
    for (id, servers) in loaded {
        if let Some(described) = cache.described.get_mut(id) {
            described.is_on(servers, late);
        }
    }
    for account in snapshot.accounts.values_mut() {
        if !is_key(&account.id) {
            account.limits = if *account.id == *"$G" { Limits::None } else { Limits::NotVisible };
        }
    }
    if !reads(plan) {
        return Due::new();
    }
    let details = wants_details(plan);
    let known =
        |id: &Name| cache.described.get(id).is_some_and(|described| !details || described.details.is_some());
    let new = |id: &Name| loaded.contains_key(id) && !known(id);
    let keys = snapshot.accounts.keys().filter(|id| (details || is_key(id)) && (!late || new(id)));
    let keys = keys.cloned().collect();
    let mut groups: BTreeMap<Option<Name>, Vec<One>> = BTreeMap::new();
    for id in due(cache, snapshot, keys, known) {
        let mut servers: Vec<Name> = loaded.get(&id).cloned().unwrap_or_default();
        servers.truncate(TRIES);
        let bytes =
            cache.described.get(&id).map_or(DETAIL_BYTES, |described| described.bytes.max(DETAIL_BYTES));
        groups.entry(servers.first().cloned()).or_default().push((id, servers, bytes));
    }
    groups.into_values().collect()
}

/// Reads them.
pub(super) async fn read(
    cache: &AccountCache,
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    due: Due,
) -> Vec<Read> {
    cache.begin(plan.epoch);
    let groups = due.into_iter().map(|accounts| async move {
        let mut read = Vec::with_capacity(accounts.len());
        for (account, servers, bytes) in accounts {
            let mut one = Read {
                told: Err("no server has it loaded".into()),
                account,
                loaded: Vec::new(),
                servers: Vec::new(),
                tally: Tally::default(),
            };
            one.ask(cache, (inbox, plan, lanes), &servers, bytes).await;
            one.loaded = servers;
            read.push(one);
        }
        read
    });
    let groups: Vec<Vec<Read>> =
        futures_util::stream::iter(groups).buffer_unordered(SERVERS_AT_ONCE).collect().await;
    groups.into_iter().flatten().collect()
}

/// Takes what was read into the snapshot, with what is known from before.
pub(super) fn take(cache: &mut AccountCache, plan: &Plan, snapshot: &mut Snapshot, read: Vec<Read>) {
    let details = wants_details(plan);
    let mut rows = cache.rows();
    for Read { account: id, loaded, told, servers, tally } in read {
        let has_limits = is_key(&id);
        for (server, answer) in servers {
            if has_limits {
                snapshot.coverage.note(Endpoint::Accountz, &server, answer.clone());
            }
            if details {
                snapshot.coverage.note(Endpoint::AccountDetails, &server, answer);
            }
        }
        tally.add_to(snapshot);
        match told {
            Ok(told) => cache.keep(plan, snapshot, (id, loaded), told, &mut rows),
            Err(why) if has_limits => {
                if let Some(account) = snapshot.accounts.get_mut(&id) {
                    account.limits = Limits::Unread(why);
                }
            }
            Err(_) => {}
        }
    }
    for (id, described) in &cache.described {
        if let Some(account) = snapshot.accounts.get_mut(id) {
            if let Some(limits) = described.limits {
                account.limits = Limits::Jwt(limits);
            }
            account.name = described.name.clone().or_else(|| account.name.take());
            account.details = described.details.clone().filter(|_| details);
        }
    }
    if !reads(plan) {
        return;
    }
    // Nothing was missed of a server that had nothing to tell.
    for server in snapshot.servers.keys() {
        snapshot.coverage.note(Endpoint::Accountz, server, Answer::Complete);
        if details {
            snapshot.coverage.note(Endpoint::AccountDetails, server, Answer::Complete);
        }
    }
}

/// Says of how many accounts it is not known what they import and export. Which server could tell is all the same: no
/// check can do without any of them.
pub(super) fn note_undescribed(snapshot: &mut Snapshot) {
    let Some(server) = snapshot.servers.keys().next().cloned() else { return };
    let (mut unread, mut omitted) = (0u64, 0u64);
    for account in snapshot.accounts.values() {
        match &account.details {
            None => unread += 1,
            Some(details) => omitted += u64::from(details.omitted_imports > 0 || details.omitted_exports > 0),
        }
    }
    let why = if unread > 0 {
        format!("imports and exports of {} were not read yet", accounts(unread))
    } else if omitted > 0 {
        format!(
            "{} more imports or exports than are kept",
            if omitted == 1 { "1 account has".into() } else { format!("{omitted} accounts have") }
        )
    } else if snapshot.only_used_accounts {
        "accounts without clients are not listed, because there are too many".into()
    } else {
        return;
    };
    snapshot.coverage.note(Endpoint::AccountDetails, &server, Answer::Partial(why));
}

pub(super) fn accounts(n: u64) -> String {
    if n == 1 { "1 account".into() } else { format!("{n} accounts") }
}

/// Says for how many accounts the limits are not known.
pub(super) fn note_unread(snapshot: &mut Snapshot) {
    let unread =
        snapshot.accounts.values().filter(|account| matches!(account.limits, Limits::Unread(_))).count();
    if unread > 0 {
        snapshot.coverage.notes.push(format!("the limits of {unread} accounts were not read"));
    }
}

impl Read {
    /// Asks server after server until one describes the account.
    async fn ask(
        &mut self,
        cache: &AccountCache,
        (inbox, plan, lanes): (&Inbox, &Plan, &Lanes),
        servers: &[Name],
        bytes: u64,
    ) {
        for server in servers {
            if let Some(answer) = cache.unanswered(server) {
                self.told = Err(match &answer {
                    Answer::Denied(_) => Missed::Denied.to_string(),
                    _ => Missed::Silent.to_string(),
                });
                self.servers.push((server.clone(), answer));
                continue;
            }
            let Some(_pass) = lanes.enter(server, bytes, plan.deadline).await else {
                self.told = Err(super::CUT.into());
                self.servers.push((server.clone(), Answer::Partial(super::CUT.into())));
                return;
            };
            match self.ask_server(inbox, plan, server).await {
                Ok(told) => {
                    self.told = Ok(told);
                    return;
                }
                Err(why) => self.told = Err(why),
            }
            if let Some((server, answer)) = self.servers.last() {
                cache.lock().note(server, answer);
            }
        }
    }

    async fn ask_server(&mut self, inbox: &Inbox, plan: &Plan, server: &Name) -> Result<Told, String> {
        let body = serde_json::json!({ "account": self.account });
        let subject = subject(server);
        let read = |body: &[u8]| Told::read(body, plan, server, &self.account);
        match ask_for((inbox, plan), (&subject, &body), &mut self.tally, read).await {
            Ok((told, bytes)) => Ok(Told { bytes, ..told }),
            Err(Untold::Missed(missed)) => {
                let why = missed.to_string();
                self.servers.push((server.clone(), missed.answer(&subject, 0)));
                Err(why)
            }
            Err(Untold::Broken(why)) => Err(why),
        }
    }
}

fn subject(server: &Name) -> String {
    format!("$SYS.REQ.SERVER.{server}.ACCOUNTZ")
}

impl AccountCache {
    fn lock(&self) -> MutexGuard<'_, Unanswered> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In another epoch everybody is asked again.
    fn begin(&self, epoch: u64) {
        let mut unanswered = self.lock();
        if unanswered.epoch != epoch {
            *unanswered = Unanswered { epoch, ..Unanswered::default() };
        }
    }

    /// How a server that is not asked again did.
    fn unanswered(&self, server: &Name) -> Option<Answer> {
        let unanswered = self.lock();
        if unanswered.denied {
            return Some(Answer::Denied(subject(server)));
        }
        unanswered.silent.contains(server).then_some(Answer::Silent)
    }
}

#[cfg(test)]
mod tests {
    use super::described::ROWS;
    use super::told::Told;
    use super::*;
    use crate::nats::gather::world::plan;
    use crate::snapshot::AccountDetails;
    use crate::snapshot::build::System;
    use crate::wire::accountz::AccountDetail;

    fn details(exports: usize) -> AccountDetails {
        let exports: Vec<_> = (0..exports)
            .map(|i| serde_json::json!({"subject": format!("e.{i}"), "type": "stream"}))
            .collect();
        let detail: AccountDetail =
            serde_json::from_value(serde_json::json!({ "exports": exports })).unwrap();
        AccountDetails::of(&detail, "SYS", ROWS)
    }

    #[test]
    fn who_may_not_ask_one_server_asks_none_until_the_next_epoch() {
        let cache = AccountCache::default();
        cache.begin(1);
        assert_eq!(cache.unanswered(&"A".into()), None);
        cache.lock().note(&"A".into(), &Answer::Silent);
        assert_eq!(cache.unanswered(&"A".into()), Some(Answer::Silent));
        assert_eq!(cache.unanswered(&"B".into()), None);
        cache.lock().note(&"A".into(), &Answer::Denied(subject(&"A".into())));
        assert_eq!(cache.unanswered(&"B".into()), Some(Answer::Denied("$SYS.REQ.SERVER.B.ACCOUNTZ".into())));
        // The late round is of the same epoch.
        cache.begin(1);
        assert!(cache.unanswered(&"B".into()).is_some());
        cache.begin(2);
        assert_eq!(cache.unanswered(&"B".into()), None);
    }

    #[test]
    fn what_is_kept_of_all_accounts_is_bounded_and_what_is_missing_is_said() {
        let mut cache = AccountCache::default();
        let (mut rows, mut snapshot) = (0, System::of(1).done());
        let mut keep = |cache: &mut AccountCache, id: &str, details: Option<AccountDetails>| {
            let told = Told { name: None, limits: None, update_time: "then".into(), details, bytes: 0 };
            cache.keep(&plan(1), &mut snapshot, (id.into(), Vec::new()), told, &mut rows);
            assert_eq!(rows, cache.rows());
            let kept = cache.described[id].details.clone().unwrap();
            (kept.exports.len(), kept.omitted_exports)
        };
        assert_eq!(keep(&mut cache, "A", Some(details(ROWS - 2))), (ROWS - 2, 0));
        assert_eq!(keep(&mut cache, "B", Some(details(5))), (2, 3));
        // Its own earlier rows make room.
        assert_eq!(keep(&mut cache, "A", Some(details(ROWS - 1))), (ROWS - 2, 1));
        assert_eq!(keep(&mut cache, "A", None), (ROWS - 2, 1), "not asked for this time");
        assert_eq!(keep(&mut cache, "A", Some(details(1))), (1, 0));
        assert_eq!(keep(&mut cache, "B", Some(details(5))), (5, 0));

        let reason = |snapshot: &mut Snapshot| {
            note_undescribed(snapshot);
            snapshot.coverage.gaps(Endpoint::AccountDetails).first().map(|gap| gap.reason.clone())
        };
        let mut system = System::of(1).config_account("B");
        system.entry("B").details = Some(details(1).into());
        let mut whole = system.done();
        assert_eq!(reason(&mut whole), None);
        let mut cut = whole.clone();
        let mut few = details(5);
        few.keep(2);
        cut.accounts.get_mut("B").unwrap().details = Some(few.into());
        assert!(reason(&mut cut).unwrap().contains("1 account has more imports or exports than are kept"));
        let mut unread = whole.clone();
        unread.accounts.get_mut("B").unwrap().details = None;
        assert!(reason(&mut unread).unwrap().contains("imports and exports of 1 account were not read yet"));
        whole.only_used_accounts = true;
        assert!(reason(&mut whole).unwrap().contains("accounts without clients are not listed"));
    }
}
