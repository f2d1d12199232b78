//! What servers count for each account (ACCOUNT STATZ).

use super::Plan;
use super::accounts::TRIES;
use super::lanes::BUDGET;
use super::learnt::Faded;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use super::waves::{Wave, waves};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Account, Answer, Coverage, Endpoint, OnServer, Server, Snapshot};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::account_statz::{AccountStat, AccountStatz};
use crate::wire::envelope;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;

/// Servers that are asked at once although nothing is known of the size of their answers.
const HANDFUL: usize = 8;

/// Up to so many late servers are asked by their names.
const FEW: usize = 8;

/// The servers on which an account is loaded, a few of them, for each account in another order.
pub(super) type Loaded = HashMap<Name, Vec<Name>>;

/// The counts of an epoch while they come in.
#[derive(Default)]
pub(super) struct Counts {
    accounts: HashMap<Name, Counted>,
    /// Servers that have answered.
    done: BTreeSet<Name>,
    answers: BTreeMap<Name, Answer>,
    tally: Tally,
}

struct Counted {
    account: Account,
    /// For the order of `loaded`.
    number: u32,
    /// Best first.
    loaded: Vec<(u32, Name)>,
}

impl Counts {
    /// Counts beside what servers have told already.
    pub(super) fn after(coverage: &Coverage) -> Self {
        let told = |id: &&Name| coverage.answer(Endpoint::AccountStatz, id) == Some(&Answer::Complete);
        Self { done: coverage.present.keys().filter(told).cloned().collect(), ..Self::default() }
    }

    /// Asks all servers: at once if their answers fit the budget by the size that was learnt, otherwise in waves. While
    /// nothing is known of the size and there are many servers, one is asked first.
    pub(super) async fn ask_all(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        servers: &BTreeMap<Name, Server>,
        size: &mut Option<Faded>,
    ) {
        let all: Vec<&Server> = servers.values().collect();
        let most = |size: &Option<Faded>| {
            let fit = size.map_or(HANDFUL as f64, |size| BUDGET as f64 / size.value().max(1.0));
            (fit as usize).max(1)
        };
        if size.is_none() && all.len() > HANDFUL {
            let own = inbox.carrier().own().0;
            let first = all.iter().find(|server| *server.id == *own).or_else(|| all.first());
            if let Some(first) = first {
                self.ask(inbox, plan, by_name(first), servers, size).await;
            }
        }
        for wave in waves(&all, most(size)) {
            self.ask(inbox, plan, wave, servers, size).await;
        }
    }

    /// Asks these servers of the snapshot again, or those that came late for the first time.
    pub(super) async fn ask_late(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        late: &BTreeSet<Name>,
        servers: &BTreeMap<Name, Server>,
        size: &mut Option<Faded>,
    ) {
        if late.len() > FEW {
            return self.ask_all(inbox, plan, servers, size).await;
        }
        for server in late.iter().filter_map(|id| servers.get(id)) {
            self.ask(inbox, plan, by_name(server), servers, size).await;
        }
    }

    async fn ask(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        wave: Wave,
        servers: &BTreeMap<Name, Server>,
        size: &mut Option<Faded>,
    ) {
        let Wave { server_name, cluster, reaches } = wave;
        let awaited: BTreeSet<Name> = reaches.difference(&self.done).cloned().collect();
        if Instant::now() >= plan.deadline {
            let cut = awaited.into_iter().map(|id| (id, Answer::Partial(super::CUT.into())));
            return self.answers.extend(cut);
        }
        if awaited.is_empty() {
            return;
        }
        // Without unused accounts a server lists only those with connections, and is silent if there are none.
        let mut body = serde_json::json!({ "include_unused": true });
        for (key, part) in [("server_name", server_name), ("cluster", cluster)] {
            if let Some(part) = part {
                body[key] = part.into();
            }
        }
        let known = servers.keys().cloned().collect();
        let request = Request {
            subject: "$SYS.REQ.ACCOUNT.PING.STATZ",
            body: &body.to_string(),
            compressed: true,
            parse: envelope::parse::<AccountStatz>,
            awaited: awaited.clone(),
            others: Some(&known),
        };
        let mut scatter = Scatter::ask(inbox, plan, request).await;
        let take = |id, _, statz: Result<AccountStatz, _>| {
            if let Ok(statz) = statz {
                self.take(id, &statz.account_statz.unwrap_or_default());
            }
        };
        scatter.collect(inbox, Wait::ForAll, take).await;
        let mut coverage = Coverage::default();
        scatter.note(&mut coverage, Endpoint::AccountStatz);
        for id in awaited {
            if let Some(answer) = coverage.answer(Endpoint::AccountStatz, &id) {
                self.answers.insert(id, answer.clone());
            }
        }
        if let Some(bytes) = scatter.tally.bytes_of_an_answer() {
            size.get_or_insert(Faded::new(bytes)).add(bytes);
        }
        self.tally.merge(scatter.tally);
    }

    /// Takes in what one server counts, once.
    fn take(&mut self, server: Name, stats: &[AccountStat]) {
        if self.done.contains(&server) {
            return;
        }
        let turn = u32::try_from(self.done.len()).unwrap_or(u32::MAX);
        for stat in stats.iter().filter(|stat| !stat.acc.is_empty()) {
            self.count(&server, turn, stat);
        }
        self.done.insert(server);
    }

    fn count(&mut self, server: &Name, turn: u32, stat: &AccountStat) {
        let number = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        let long = (stat.acc.len() > NAME_BYTES).then(|| bounded(&stat.acc, NAME_BYTES));
        let id: &str = long.as_deref().unwrap_or(&stat.acc);
        if !self.accounts.contains_key(id) {
            let account = Account::new(Name::from(id));
            self.accounts.insert(Name::from(id), Counted { account, number, loaded: Vec::new() });
        }
        let Some(counted) = self.accounts.get_mut(id) else { return };
        let account = &mut counted.account;
        // A configuration-file account repeats its id as its name.
        let name = stat.name.as_deref().filter(|name| !name.is_empty() && **name != *stat.acc);
        if let Some(name) = name.filter(|name| account.name.as_deref() != Some(*name)) {
            account.name = Some(bounded(name, NAME_BYTES));
        }
        let on = OnServer {
            connections: u64::try_from(stat.conns).unwrap_or(0),
            leafnodes: u64::try_from(stat.leafnodes).unwrap_or(0),
            subscriptions: stat.num_subscriptions,
        };
        account.interest = account.interest.max(on.subscriptions);
        // Ten thousand accounts that are loaded on a thousand servers have connections on few of them.
        if on.connections > 0 || on.leafnodes > 0 {
            account.servers.insert(server.clone(), on);
        }
        // Most accounts are loaded on every server: they take turns.
        let rank = turn.wrapping_mul(2_654_435_761).wrapping_add(counted.number.wrapping_mul(0x9e37_79b1));
        let at = counted.loaded.partition_point(|(other, _)| *other <= rank);
        if at < TRIES {
            counted.loaded.truncate(TRIES - 1);
            counted.loaded.insert(at, (rank, server.clone()));
        }
    }

    /// Adds everything to the snapshot; gives where accounts are loaded.
    pub(super) fn settle(self, snapshot: &mut Snapshot) -> Loaded {
        // An answer to a later wave makes up for silence before.
        let good = self.done.iter().map(|id| (id.clone(), Answer::Complete));
        let bad = self.answers.into_iter().filter(|(id, _)| !self.done.contains(id));
        for (id, answer) in good.chain(bad) {
            snapshot.coverage.note(Endpoint::AccountStatz, &id, answer);
        }
        self.tally.add_to(snapshot);
        let mut loaded = Loaded::with_capacity(self.accounts.len());
        for (id, counted) in self.accounts {
            loaded.insert(id.clone(), counted.loaded.into_iter().map(|(_, server)| server).collect());
            match snapshot.accounts.get_mut(&id) {
                None => drop(snapshot.accounts.insert(id, counted.account)),
                Some(account) => {
                    account.interest = account.interest.max(counted.account.interest);
                    account.servers.extend(counted.account.servers);
                }
            }
        }
        loaded
    }
}

fn by_name(server: &Server) -> Wave {
    Wave {
        server_name: Some(server.name.to_string()),
        cluster: None,
        reaches: BTreeSet::from([server.id.clone()]),
    }
}
