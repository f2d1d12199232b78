//! The accounts that no server has loaded, from the resolver that keeps their JWTs.
//!
//! A server loads an account when somebody needs it. Where the resolver keeps all JWTs in a directory (`full`), every server
//! lists them, in one message, and tells each; a caching one lists what it has and tells none; of one in memory or behind a
//! URL nobody answers.

mod look_up;

use super::accounts::{accounts as number_of_accounts, is_key};
use super::lanes::BUDGET;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use super::{Gatherer, Plan};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Coverage, Endpoint, Snapshot, Unloaded, UnloadedImports};
use crate::text::Name;
use crate::wire::claims_list;
use futures_util::StreamExt;
use look_up::{Outcome, ask};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::Instant;

const LIST: &str = "$SYS.REQ.CLAIMS.LIST";
const LOOKUP: &str = "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP";

/// A list is used for so long: for each one a server reads all JWTs from its disk. An account is read again after as long.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// How often silence is asked again at once, for the list and for each account, until the next list is due.
const TRIES: u32 = 3;

/// Accounts that are read in one epoch, and those of them that were read before.
const READS: usize = 64;
const AGAIN: usize = 16;

/// Answers to these that are asked for in one epoch: every server answers each.
const ANSWERS: usize = 4096;

/// Accounts that are read at the same time.
const AT_ONCE: usize = 8;

/// Bytes of an account in a list, and of a JWT until one has come.
const LISTED_BYTES: f64 = 59.0;
const JWT_BYTES: f64 = 4096.0;

/// Accounts that are kept of a list. An answer may have so many that it is as large as a server may send at all.
const LISTED: usize = 150_000;

/// Imports that are kept of all accounts together: some 15 MB of subjects.
const ROWS: usize = 100_000;

/// How the request for the list came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Listing {
    #[default]
    Unasked,
    /// Somebody told it.
    Told,
    /// Nobody listens there.
    Nobody,
    /// Whoever listens there says nothing.
    Silent,
    /// The agent's user may not ask.
    Denied,
    /// All answers together are too much for one connection.
    TooMuch,
}

/// Whether JWTs are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Lookup {
    /// Not asked since the last list.
    #[default]
    Untried,
    Told,
    Nobody,
    Denied,
}

/// What was read of an account.
#[derive(Debug)]
struct Read {
    at: Instant,
    imports: Arc<UnloadedImports>,
}

/// What is known of the resolver between epochs.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    listing: Listing,
    lookup: Lookup,
    /// When the list was asked for, and how often the connection had been made by then.
    asked: Option<(Instant, u64)>,
    /// Requests for it in a row that nobody answered.
    silences: u32,
    /// Servers that have told a list, by id.
    listers: BTreeSet<Name>,
    /// How each server did with the last one.
    answers: BTreeMap<Name, Answer>,
    accounts: BTreeSet<Name>,
    read: BTreeMap<Name, Read>,
    /// Fruitless requests for an account since the last list.
    tried: BTreeMap<Name, u32>,
    /// Epochs since the last list in which no account that was asked for was told.
    mute: u32,
    /// Bytes of a list, and of a JWT.
    list_bytes: Option<f64>,
    jwt_bytes: Option<f64>,
}

impl Gatherer {
    /// Brings up to date which accounts there are that no server has loaded, and what they import.
    pub(super) async fn ask_resolver(&mut self, plan: &Plan, snapshot: &mut Snapshot) {
        let wanted = |endpoint| plan.requests.contains(endpoint);
        if !wanted(Endpoint::ClaimsList) || !wanted(Endpoint::ClaimsLookup) || snapshot.servers.is_empty() {
            return;
        }
        // Accounts of configuration files are all loaded. Where servers were not asked for all that they have loaded, what
        // they have not cannot be told.
        if !is_key(&snapshot.system_account) || snapshot.only_used_accounts {
            self.resolver = Resolver::default();
            return note_all(snapshot, &[Endpoint::ClaimsList, Endpoint::ClaimsLookup], &Answer::Complete);
        }
        self.resolver.list(&self.inbox, plan, snapshot).await;
        self.resolver.look_up(&self.inbox, plan, snapshot).await;
        self.resolver.tell(snapshot);
    }
}

impl Resolver {
    /// Forgets servers that are not known any more.
    pub(super) fn retain(&mut self, known: &BTreeSet<Name>) {
        self.listers.retain(|id| known.contains(id));
    }

    fn is_due(&self, connects: u64) -> bool {
        let Some((at, before)) = self.asked else { return true };
        at.elapsed() >= KEPT
            || match self.listing {
                Listing::Silent => self.silences < TRIES,
                // Another connection may be another user's.
                _ => connects != before && (self.listing == Listing::Denied || self.lookup == Lookup::Denied),
            }
    }

    async fn list(&mut self, inbox: &Inbox, plan: &Plan, snapshot: &mut Snapshot) {
        let connects = inbox.carrier().events().connects();
        if !self.is_due(connects) || Instant::now() >= plan.deadline {
            return;
        }
        self.asked = Some((Instant::now(), connects));
        (self.lookup, self.mute) = (Lookup::Untried, 0);
        self.tried.clear();
        let present: BTreeSet<Name> = snapshot.servers.keys().cloned().collect();
        // There are at least as many as are loaded.
        let bytes = self.list_bytes.unwrap_or(LISTED_BYTES * snapshot.accounts.len() as f64);
        if present.len() as f64 * bytes > BUDGET as f64 {
            return self.give_up(Listing::TooMuch);
        }
        let request = Request {
            subject: LIST,
            body: "",
            compressed: false,
            parse: claims_list::parse,
            awaited: present.clone(),
            others: Some(&present),
        };
        let (mut accounts, mut listers) = (BTreeSet::<Name>::new(), BTreeSet::new());
        let mut scatter = Scatter::ask(inbox, plan, request).await;
        let take = |id, _, told: Result<Vec<String>, _>| {
            let Ok(told) = told else { return };
            listers.insert(id);
            for account in told {
                if accounts.len() <= LISTED && !accounts.contains(&*account) && is_key(&account) {
                    accounts.insert(account.into());
                }
            }
        };
        scatter.collect(inbox, Wait::UntilQuiet, take).await;
        self.list_bytes = scatter.tally.bytes_of_an_answer().or(self.list_bytes);
        let mut answers = Coverage::default();
        scatter.note(&mut answers, Endpoint::ClaimsList);
        let (denied, nobody) = (scatter.denied.is_some(), scatter.nobody);
        scatter.tally.add_to(snapshot);
        match () {
            () if accounts.len() > LISTED => self.give_up(Listing::TooMuch),
            () if !listers.is_empty() => {
                // What one of those listed that say nothing now may still be there.
                if self.listers.iter().any(|id| !listers.contains(id)) {
                    accounts.append(&mut self.accounts);
                }
                self.accounts = accounts;
                self.listers.append(&mut listers);
                let answer =
                    |id: &Name| Some((id.clone(), answers.answer(Endpoint::ClaimsList, id)?.clone()));
                self.answers = present.iter().filter_map(answer).collect();
                // Of a server that never listed any nothing was wanted.
                self.answers.retain(|id, answer| *answer != Answer::Silent || self.listers.contains(id));
                (self.listing, self.silences) = (Listing::Told, 0);
            }
            () if denied => self.listing = Listing::Denied,
            () if nobody => self.give_up(Listing::Nobody),
            () => (self.listing, self.silences) = (Listing::Silent, self.silences + 1),
        }
    }

    /// There is no list, whatever there was before.
    fn give_up(&mut self, why: Listing) {
        let Self { asked, list_bytes, jwt_bytes, .. } = *self;
        *self = Self { listing: why, asked, list_bytes, jwt_bytes, ..Self::default() };
    }

    /// Whether there is somebody to ask for accounts.
    const fn asks(&self) -> bool {
        let listed = matches!(self.listing, Listing::Told | Listing::Silent);
        listed && matches!(self.lookup, Lookup::Untried | Lookup::Told) && self.mute < TRIES
    }

    /// Whether accounts that are not read yet will be.
    fn is_told(&self) -> bool {
        self.asks() && self.tried.values().all(|tried| *tried < TRIES)
    }

    async fn look_up(&mut self, inbox: &Inbox, plan: &Plan, snapshot: &mut Snapshot) {
        let is_kept = |id: &Name| self.accounts.contains(id) && !snapshot.accounts.contains_key(id);
        self.read.retain(|id, _| is_kept(id));
        self.tried.retain(|id, _| is_kept(id));
        if !self.asks() {
            return;
        }
        let servers = match self.listers.iter().filter(|id| snapshot.servers.contains_key(*id)).count() {
            // All have been started again since.
            0 => snapshot.servers.len(),
            listers => listers,
        };
        let due = self.due(snapshot, READS.min((ANSWERS / servers).max(1)));
        if due.is_empty() {
            return;
        }
        let answers = self.jwt_bytes.unwrap_or(JWT_BYTES) * servers as f64;
        let at_once = ((BUDGET as f64 / answers) as usize).clamp(1, AT_ONCE);
        let stop = AtomicBool::new(false);
        let asked = due.into_iter().map(|account| ask(inbox, plan, account, servers, &stop));
        let asked: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(at_once).collect().await;
        let mut tally = Tally::default();
        let outcomes = asked.into_iter().map(|(account, outcome, cost)| {
            tally.merge(cost);
            (account, outcome)
        });
        let outcomes = outcomes.collect();
        self.jwt_bytes = tally.bytes_of_an_answer().or(self.jwt_bytes);
        tally.add_to(snapshot);
        self.take(outcomes);
    }

    /// The accounts to read now: those never read, the least tried first; then those read longest ago.
    fn due(&self, snapshot: &Snapshot, most: usize) -> Vec<Name> {
        let tried = |id: &Name| self.tried.get(id).copied().unwrap_or(0);
        let unread = self.accounts.iter().filter(|id| !snapshot.accounts.contains_key(*id));
        let mut due: Vec<Name> =
            unread.filter(|id| !self.read.contains_key(*id) && tried(id) < TRIES).cloned().collect();
        due.sort_by_cached_key(|id| tried(id));
        due.truncate(most);
        let old = self.read.iter().filter(|(id, read)| read.at.elapsed() >= KEPT && tried(id) < TRIES);
        let mut again: Vec<(Instant, &Name)> = old.map(|(id, read)| (read.at, id)).collect();
        again.sort();
        let room = AGAIN.min(most - due.len());
        due.extend(again.into_iter().take(room).map(|(_, id)| id.clone()));
        due
    }

    fn take(&mut self, outcomes: Vec<(Name, Outcome)>) {
        let mut rows: usize = self.read.values().map(|read| read.imports.imports.len()).sum();
        let (mut told, mut silent) = (false, false);
        for (account, outcome) in outcomes {
            match outcome {
                Outcome::Told(declared) => {
                    let before = self.read.get(&account).map_or(0, |read| read.imports.imports.len());
                    rows -= before;
                    let imports = UnloadedImports::of(&declared, ROWS.saturating_sub(rows));
                    rows += imports.imports.len();
                    self.tried.remove(&account);
                    self.read.insert(account, Read { at: Instant::now(), imports: imports.into() });
                    told = true;
                }
                Outcome::Absent => {
                    self.accounts.remove(&account);
                    self.read.remove(&account);
                    told = true;
                }
                Outcome::Silent => {
                    *self.tried.entry(account).or_default() += 1;
                    silent = true;
                }
                Outcome::Nobody => self.lookup = Lookup::Nobody,
                Outcome::Denied => self.lookup = Lookup::Denied,
                Outcome::Unasked => {}
            }
        }
        match (told, silent) {
            (true, _) => (self.lookup, self.mute) = (Lookup::Told, 0),
            (false, true) => self.mute += 1,
            (false, false) => {}
        }
    }

    /// Leaves what is known in the snapshot, and in its coverage how it was come by.
    fn tell(&self, snapshot: &mut Snapshot) {
        let denied = |subject: &str| Answer::Denied(subject.to_owned());
        match self.listing {
            Listing::Unasked | Listing::Silent => {}
            Listing::Denied => note_all(snapshot, &[Endpoint::ClaimsList], &denied(LIST)),
            Listing::TooMuch => {
                let why = "the lists of all servers together would be too much".to_owned();
                note_first(snapshot, Endpoint::ClaimsList, Answer::Partial(why));
            }
            Listing::Nobody => {
                note_all(snapshot, &[Endpoint::ClaimsList, Endpoint::ClaimsLookup], &Answer::Complete);
            }
            Listing::Told => {
                let ids: Vec<Name> = snapshot.servers.keys().cloned().collect();
                for id in ids {
                    let answer = self.answers.get(&id).cloned().unwrap_or(Answer::Complete);
                    snapshot.coverage.note(Endpoint::ClaimsList, &id, answer);
                }
            }
        }
        if self.accounts.is_empty() {
            return;
        }
        let unloaded = Unloaded {
            listed: self.accounts.len() as u64,
            loaded: self.accounts.iter().filter(|id| snapshot.accounts.contains_key(*id)).count() as u64,
            read: self.read.iter().map(|(id, read)| (id.clone(), Arc::clone(&read.imports))).collect(),
            told: self.is_told(),
        };
        let why = match (unloaded.unread(), unloaded.cut()) {
            (0, 0) => None,
            (0, cut) => Some(format!("not all imports of {} are kept", number_of_accounts(cut))),
            (unread, _) => {
                Some(format!("{} that no server has loaded were not read", number_of_accounts(unread)))
            }
        };
        match self.lookup {
            Lookup::Denied => note_all(snapshot, &[Endpoint::ClaimsLookup], &denied(LOOKUP)),
            Lookup::Nobody => note_all(snapshot, &[Endpoint::ClaimsLookup], &Answer::Complete),
            // That it is allowed is not proven before somebody has answered.
            Lookup::Untried if self.mute > 0 => {
                note_first(snapshot, Endpoint::ClaimsLookup, Answer::Silent);
            }
            Lookup::Untried => {}
            Lookup::Told => {
                if let Some(why) = why {
                    note_first(snapshot, Endpoint::ClaimsLookup, Answer::Partial(why));
                }
                note_all(snapshot, &[Endpoint::ClaimsLookup], &Answer::Complete);
            }
        }
        snapshot.unloaded = Some(unloaded);
    }
}

fn note_all(snapshot: &mut Snapshot, endpoints: &[Endpoint], answer: &Answer) {
    for endpoint in endpoints {
        for server in snapshot.servers.keys() {
            snapshot.coverage.note(*endpoint, server, answer.clone());
        }
    }
}

/// Which server could tell is all the same.
fn note_first(snapshot: &mut Snapshot, endpoint: Endpoint, answer: Answer) {
    if let Some(server) = snapshot.servers.keys().next() {
        snapshot.coverage.note(endpoint, server, answer);
    }
}

#[cfg(test)]
mod tests;
