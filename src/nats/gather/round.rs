//! What is asked of servers that have answered the roll call.

use super::account_counts::{Counts, Loaded};
use super::connections::{self, Swept, Target};
use super::every::{self, Answers, Round, Told, What};
use super::learnt::Faded;
use super::owners::{Owners, Reading};
use super::page::Folding;
use super::services::Questions;
use super::{Gatherer, Plan, Sweep, accounts};
use crate::snapshot::{AccountLimits, Answer, Endpoint, Limits, PageSource, ServerVars, Snapshot};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::time::timestamp;
use crate::wire::varz::Varz;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// Servers among which the start is not spread.
const HANDFUL: usize = 8;

/// Accounts that are swept when the sweep is restricted, at most.
const FLAGGED: usize = 256;

/// Connections that a server is expected to have if it has not told.
const UNTOLD: u64 = 10_000;

/// Measured: 3 KB plain and half of that compressed.
const VARZ: What = What { endpoint: Endpoint::Varz, request: "VARZ", body: "", bytes: 2048.0 };

impl Gatherer {
    /// Asks these servers for everything else. `late` ones are asked one by one: all others have answered before.
    pub(super) async fn round(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        servers: &BTreeSet<Name>,
        folding: &Folding,
        late: bool,
    ) {
        if servers.is_empty() {
            return;
        }
        let loaded = self.ask_counts(plan, snapshot, servers, late).await;
        // Who is silent already is not waited for again, except for the connections.
        let answering = answering(snapshot, servers);
        self.ask_gateway_accounts(plan, snapshot, &answering).await;
        let services =
            Questions::of(plan, snapshot, &answering, std::mem::take(&mut self.services), &self.own);
        let asks_accounts = self.asks_accounts(plan);
        let due = match asks_accounts {
            true => accounts::choose(&mut self.accounts, plan, snapshot, &loaded, late),
            false => Vec::new(),
        };
        let details = accounts::read(&self.accounts, &self.inbox, plan, &self.lanes, due);
        let sweep = connections::Sweep {
            inbox: &self.inbox,
            plan,
            lanes: &self.lanes,
            learnt: &self.learnt,
            folding,
        };
        let services = services.ask(&self.inbox, plan, &self.lanes);
        let (swept, services) = match plan.connections {
            // Which accounts are near a limit is known only when their limits are.
            Sweep::Flagged => {
                let (read, services) = tokio::join!(details, services);
                accounts::take(&mut self.accounts, plan, snapshot, read);
                (sweep.run(self.flagged(plan, snapshot, servers)).await, services)
            }
            Sweep::Whole => {
                let targets = self.whole(plan, snapshot, servers, folding);
                // Pages first: they are folded while the small answers about accounts come in.
                let (swept, read, services) = tokio::join!(sweep.run(targets), details, services);
                accounts::take(&mut self.accounts, plan, snapshot, read);
                (swept, services)
            }
            Sweep::Off | Sweep::NotNeeded => {
                let (read, services) = tokio::join!(details, services);
                accounts::take(&mut self.accounts, plan, snapshot, read);
                (Vec::new(), services)
            }
        };
        self.note_services(snapshot, services);
        let owners = self.owners.get_mut().unwrap_or_else(PoisonError::into_inner);
        note_swept(snapshot, owners, swept);
        self.ask_closed(plan, snapshot, &answering).await;
    }

    async fn ask_counts(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        servers: &BTreeSet<Name>,
        late: bool,
    ) -> Loaded {
        let (inbox, lanes, varz) = (&self.inbox, &self.lanes, (VARZ, self.size_of(VARZ)));
        let asks_accounts = self.asks_accounts(plan);
        let mut sizes = self.statz_sizes;
        let mut counts = Counts::after(&snapshot.coverage, self.accounts.broken());
        if asks_accounts && !late {
            counts.probe(inbox, plan, &snapshot.servers, &mut sizes).await;
        }
        let only_used = asks_accounts && !late && sizes.too_much(snapshot.servers.len());
        let ask_vars = async {
            match late {
                true => every::ask_each(inbox, plan, lanes, varz, servers).await,
                false => every::ask_all(inbox, plan, lanes, varz, servers).await,
            }
        };
        let ask_accounts = async {
            match late {
                _ if !asks_accounts || only_used => {}
                true => counts.ask_late(inbox, plan, servers, &snapshot.servers, &mut sizes).await,
                false => counts.ask_all(inbox, plan, &snapshot.servers, &mut sizes).await,
            }
        };
        // A late server is asked one thing after another: of one that does not answer the first, no more is wanted.
        let none = BTreeSet::new();
        let at_once = if late { &none } else { servers };
        // None of these is a heavy request, so that they may be beside another one.
        let (vars, (), parts) = tokio::join!(ask_vars, ask_accounts, self.ask_parts(plan, at_once, late));
        let vars = self.settle(snapshot, vars);
        self.take_vars(snapshot, vars);
        self.take_parts(snapshot, parts);
        if late {
            let answering = answering(snapshot, servers);
            let parts = self.ask_parts(plan, &answering, late).await;
            self.take_parts(snapshot, parts);
        }
        snapshot.coverage.used_accounts_only |= only_used;
        if only_used {
            snapshot.only_used_accounts = true;
            counts.ask_used(&self.inbox, plan, &snapshot.servers, &mut sizes).await;
        }
        self.statz_sizes = sizes;
        counts.settle(snapshot)
    }

    /// Bytes of an answer, as far as some have come.
    pub(super) fn size_of(&self, what: What) -> Faded {
        self.sizes.get(&what.endpoint).copied().unwrap_or_else(|| Faded::new(what.bytes))
    }

    /// Notes what a round cost and how each server did, and gives what they told.
    pub(super) fn settle<T: Told>(&mut self, snapshot: &mut Snapshot, round: Round<T>) -> Answers<T> {
        if let Some(bytes) = round.bytes_of_an_answer() {
            let mut size = self.size_of(round.what());
            size.add(bytes);
            self.sizes.insert(round.what().endpoint, size);
        }
        round.settle(snapshot)
    }

    fn take_vars(&mut self, snapshot: &mut Snapshot, answers: Answers<Varz>) {
        let own_server = self.inbox.carrier().own().0;
        for (id, (info, varz)) in answers {
            let Some(server) = snapshot.servers.get_mut(&id) else {
                continue;
            };
            // A leaf server may have a system account of its own; the agent's is that of the server it is connected to.
            let told = varz.system_account.as_deref().filter(|name| !name.is_empty());
            if let Some(account) = told.filter(|_| *id == *own_server || self.system_account.is_none()) {
                self.system_account = Some(bounded(account, NAME_BYTES));
            }
            server.now = timestamp(&info.time).or(server.now);
            // A leaf server without a cluster block reports its own name as cluster.
            if varz.cluster.cluster_port == 0 && server.cluster.as_ref() == Some(&server.name) {
                server.cluster = None;
                snapshot.coverage.present.insert(id, (server.name.clone(), None));
            }
            server.vars = Some(ServerVars::of(&varz));
        }
    }

    /// All connections of these servers. Their order and their starts differ from server to server but not from epoch to
    /// epoch, so that a server is asked at regular intervals.
    fn whole(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        servers: &BTreeSet<Name>,
        folding: &Folding,
    ) -> Vec<Target> {
        let mut ids: Vec<&Name> = servers.iter().collect();
        ids.sort_by_cached_key(|id| {
            let mut hasher = DefaultHasher::new();
            snapshot.servers.get(*id).map_or(*id, |server| &server.name).hash(&mut hasher);
            hasher.finish()
        });
        let spread = if ids.len() > HANDFUL { plan.spread } else { Duration::ZERO };
        let step = spread / u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
        let (now, mut targets) = (Instant::now(), Vec::with_capacity(ids.len()));
        // A sweep leaves whole entries behind.
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let source = self.source(snapshot, id);
            folding.server(&source);
            let vars = snapshot.servers.get(id).and_then(|server| server.vars.as_ref());
            let expected = vars.map_or(UNTOLD, |vars| vars.connections.saturating_add(vars.leafnodes));
            let start = now + step * u32::try_from(targets.len()).unwrap_or(u32::MAX);
            let reading = owners.reading(&source, expected, plan.period);
            targets.push(Target { source, account: None, expected, start, reading });
        }
        targets
    }

    /// The connections of accounts that are near a limit, on those of these servers that have any. Each server is asked by
    /// itself: to `$SYS.REQ.ACCOUNT.<account>.CONNZ` all servers would answer, at once and most of them with nothing.
    fn flagged(&self, plan: &Plan, snapshot: &mut Snapshot, servers: &BTreeSet<Name>) -> Vec<Target> {
        let (mut targets, mut flagged) = (Vec::new(), 0);
        for account in snapshot.accounts.values() {
            let by_name = || account.name.as_ref().and_then(|name| self.declared.get(name));
            let limits: Option<&AccountLimits> = match &account.limits {
                Limits::Jwt(limits) => Some(limits),
                Limits::None => None,
                Limits::NotVisible | Limits::Unread(_) => self.declared.get(&account.id).or_else(by_name),
            };
            if account.id == snapshot.system_account
                || !limits.is_some_and(|limits| accounts::near(account, limits))
            {
                continue;
            }
            flagged += 1;
            if flagged > FLAGGED {
                continue;
            }
            for (id, on) in account.servers.iter().filter(|(id, _)| servers.contains(*id)) {
                targets.push(Target {
                    source: self.source(snapshot, id),
                    account: Some(account.id.clone()),
                    expected: on.connections.saturating_add(on.leafnodes),
                    start: Instant::now().min(plan.deadline),
                    reading: Reading::Told,
                });
            }
        }
        if flagged > FLAGGED {
            let note =
                format!("the connections of {} accounts near a limit were not listed", flagged - FLAGGED);
            snapshot.coverage.notes.push(note);
        }
        targets
    }

    fn source(&self, snapshot: &Snapshot, id: &Name) -> PageSource {
        let server = snapshot.servers.get(id);
        let vars = server.and_then(|server| server.vars.as_ref());
        PageSource {
            server: id.clone(),
            version: server.and_then(|server| server.version),
            since: self.since.get(id).copied(),
            max_subscriptions: vars.and_then(|vars| vars.max_subscriptions),
        }
    }
}

/// Those that were not silent when they were asked for VARZ. Where that is denied, nobody was asked.
fn answering(snapshot: &Snapshot, servers: &BTreeSet<Name>) -> BTreeSet<Name> {
    let silent = |id: &Name| snapshot.coverage.answer(Endpoint::Varz, id) == Some(&Answer::Silent);
    servers.iter().filter(|id| !silent(id)).cloned().collect()
}

fn note_swept(snapshot: &mut Snapshot, owners: &mut Owners, swept: Vec<Swept>) {
    for Swept { id, account, answer, tally, reading, whole } in swept {
        tally.add_to(snapshot);
        owners.keep(&id, reading, whole);
        match account {
            None => snapshot.coverage.note(Endpoint::Connz, &id, answer),
            Some(account) if answer != Answer::Complete => {
                let server = snapshot.server_name(&id);
                let note = format!("server {server} did not list all connections of account {account}");
                snapshot.coverage.notes.push(note);
            }
            Some(_) => {}
        }
    }
}
