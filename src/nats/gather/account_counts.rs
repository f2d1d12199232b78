//! What servers count for each account (ACCOUNT STATZ).

use super::Plan;
use super::accounts::TRIES;
use super::lanes::BUDGET;
use super::learnt::Faded;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use super::waves::{Wave, waves};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Account, Answer, Coverage, Endpoint, OnServer, Server, Snapshot, Traffic};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::account_statz::{AccountStat, AccountStatz, DataStats};
use crate::wire::envelope;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;

/// Servers that are asked at once although nothing is known of the size of their answers.
const HANDFUL: usize = 8;

/// Up to so many late servers are asked by their names.
const FEW: usize = 8;

/// Bytes of an answer on the network, as far as some have come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes {
    /// Of one that lists all accounts.
    pub(super) whole: Option<Faded>,
    /// Of one that lists those with clients.
    pub(super) used: Option<Faded>,
}

impl Sizes {
    /// Whether answers of so many servers about all accounts do not fit the budget.
    pub(super) fn too_much(&self, servers: usize) -> bool {
        self.whole.is_some_and(|size| size.value() * servers as f64 > BUDGET as f64)
    }

    /// Servers whose answers fit.
    fn most(size: Option<Faded>) -> usize {
        let fit = size.map_or(HANDFUL as f64, |size| BUDGET as f64 / size.value().max(1.0));
        (fit as usize).max(1)
    }

    fn learn(size: &mut Option<Faded>, tally: &Tally) {
        if let Some(bytes) = tally.bytes_of_an_answer() {
            size.get_or_insert(Faded::new(bytes)).add(bytes);
        }
    }
}

/// The servers on which an account is loaded, a few of them, for each account in another order.
pub(super) type Loaded = HashMap<Name, Vec<Name>>;

/// The counts of an epoch while they come in.
#[derive(Default)]
pub(super) struct Counts {
    accounts: HashMap<Name, Counted>,
    /// Accounts of which this server is asked before others, if it has them loaded.
    first: HashMap<Name, Name>,
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
    /// Counts beside what servers have told already; `first` is by account the server that is the first of those on which it
    /// is loaded.
    pub(super) fn after(coverage: &Coverage, first: HashMap<Name, Name>) -> Self {
        let told = |id: &&Name| coverage.answer(Endpoint::AccountStatz, id) == Some(&Answer::Complete);
        let done = coverage.present.keys().filter(told).cloned().collect();
        Self { done, first, ..Self::default() }
    }

    /// Asks one server while nothing is known of the size of answers and there are many, or while they are too large to
    /// ask all.
    pub(super) async fn probe(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        servers: &BTreeMap<Name, Server>,
        sizes: &mut Sizes,
    ) {
        let unknown = sizes.whole.is_none() && servers.len() > HANDFUL;
        if !unknown && !sizes.too_much(servers.len()) {
            return;
        }
        let own = inbox.carrier().own().0;
        if let Some(server) = servers.get(&*own).or_else(|| servers.values().next()) {
            self.ask(inbox, plan, by_name(server), servers, sizes).await;
        }
    }

    /// Asks all servers for all accounts: at once if their answers fit the budget, otherwise in waves.
    pub(super) async fn ask_all(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        servers: &BTreeMap<Name, Server>,
        sizes: &mut Sizes,
    ) {
        let all: Vec<&Server> = servers.values().collect();
        for wave in waves(&all, Sizes::most(sizes.whole)) {
            self.ask(inbox, plan, wave, servers, sizes).await;
        }
    }

    /// Asks all servers only for accounts that have clients there. A server without any is then silent, and before 2.14 an
    /// account with leafnodes alone is left out (measured), so that what VARZ counts decides who has to list all.
    pub(super) async fn ask_used(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        servers: &BTreeMap<Name, Server>,
        sizes: &mut Sizes,
    ) {
        let own = inbox.carrier().own().0;
        let mut used = BTreeSet::new();
        for server in servers.values() {
            let Some(vars) = server.vars.as_ref().filter(|_| !self.done.contains(&server.id)) else {
                continue;
            };
            let others = vars.connections.saturating_sub(u64::from(*server.id == *own));
            match (others, vars.leafnodes) {
                (0, 0) => self.done.insert(server.id.clone()),
                (_, 0) => used.insert(server.id.clone()),
                _ => false,
            };
        }
        let all: Vec<&Server> = servers.values().collect();
        for Wave { server_name, cluster, reaches } in waves(&all, Sizes::most(sizes.used.or(sizes.whole))) {
            let awaited: BTreeSet<Name> = reaches.intersection(&used).cloned().collect();
            if awaited.is_empty() || Instant::now() >= plan.deadline {
                continue;
            }
            let body = body(false, server_name, cluster);
            let mut scatter = Self::scatter(inbox, plan, &body, awaited, &used).await;
            let take = |id, _, statz: Result<AccountStatz, _>| {
                if let Ok(statz) = statz {
                    self.take(id, &statz.account_statz.unwrap_or_default());
                }
            };
            scatter.collect(inbox, Wait::UntilQuiet, take).await;
            Sizes::learn(&mut sizes.used, &scatter.tally);
            self.tally.merge(scatter.tally);
        }
        // Those with leafnodes, and those that are silent although they have clients: they may all be of the system account.
        let left: BTreeSet<Name> = servers.keys().filter(|id| !self.done.contains(*id)).cloned().collect();
        self.ask_late(inbox, plan, &left, servers, sizes).await;
    }

    /// Asks these servers of the snapshot again, or those that came late for the first time.
    pub(super) async fn ask_late(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        late: &BTreeSet<Name>,
        servers: &BTreeMap<Name, Server>,
        sizes: &mut Sizes,
    ) {
        if late.len() > FEW {
            return self.ask_all(inbox, plan, servers, sizes).await;
        }
        for server in late.iter().filter_map(|id| servers.get(id)) {
            self.ask(inbox, plan, by_name(server), servers, sizes).await;
        }
    }

    async fn ask(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        wave: Wave,
        servers: &BTreeMap<Name, Server>,
        sizes: &mut Sizes,
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
        let known = servers.keys().cloned().collect();
        let body = body(true, server_name, cluster);
        let mut scatter = Self::scatter(inbox, plan, &body, awaited.clone(), &known).await;
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
        Sizes::learn(&mut sizes.whole, &scatter.tally);
        self.tally.merge(scatter.tally);
    }

    async fn scatter(
        inbox: &Inbox,
        plan: &Plan,
        body: &str,
        awaited: BTreeSet<Name>,
        others: &BTreeSet<Name>,
    ) -> Scatter<AccountStatz> {
        let request = Request {
            subject: "$SYS.REQ.ACCOUNT.PING.STATZ",
            body,
            compressed: true,
            parse: envelope::parse::<AccountStatz>,
            awaited,
            others: Some(others),
        };
        Scatter::ask(inbox, plan, request).await
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
        account.note_told(server);
        count_traffic(account, server, stat);
        // Ten thousand accounts that are loaded on a thousand servers have connections on few of them.
        if on.connections > 0 || on.leafnodes > 0 {
            account.servers.insert(server.clone(), on);
        }
        // Most accounts are loaded on every server: they take turns.
        let is_first = self.first.get(id) == Some(server);
        let turns = turn.wrapping_mul(2_654_435_761).wrapping_add(counted.number.wrapping_mul(0x9e37_79b1));
        let rank = if is_first { 0 } else { turns.max(1) };
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
                    account.bytes = account.bytes.saturating_add(counted.account.bytes);
                    account.told_by = account.told_by.wrapping_add(counted.account.told_by);
                    account.slow_consumers.extend(counted.account.slow_consumers);
                    account.traffic.extend(counted.account.traffic);
                    account.servers.extend(counted.account.servers);
                }
            }
        }
        loaded
    }
}

fn count_traffic(account: &mut Account, server: &Name, stat: &AccountStat) {
    let sum = |sent: i64, received: i64| {
        u64::try_from(sent).unwrap_or(0).saturating_add(u64::try_from(received).unwrap_or(0))
    };
    let bytes = sum(stat.sent.bytes, stat.received.bytes);
    account.bytes = account.bytes.saturating_add(bytes);
    let gateways = |stats: &DataStats| stats.gateways.as_ref().map_or(0, |gateways| gateways.bytes);
    let gateway_bytes = sum(gateways(&stat.sent), gateways(&stat.received));
    if gateway_bytes > 0 {
        account.traffic.insert(server.clone(), Traffic { bytes, gateway_bytes });
    }
    if let Some(slow) = u64::try_from(stat.slow_consumers).ok().filter(|slow| *slow > 0) {
        account.slow_consumers.insert(server.clone(), slow);
    }
}

/// Without unused accounts a server lists only those with clients, and is silent if there are none.
fn body(unused: bool, server_name: Option<String>, cluster: Option<String>) -> String {
    let mut body = serde_json::json!({ "include_unused": unused });
    for (key, part) in [("server_name", server_name), ("cluster", cluster)] {
        if let Some(part) = part {
            body[key] = part.into();
        }
    }
    body.to_string()
}

fn by_name(server: &Server) -> Wave {
    Wave {
        server_name: Some(server.name.to_string()),
        cluster: None,
        reaches: BTreeSet::from([server.id.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_server_that_is_asked_first_is_the_one_that_told_before_where_it_has_the_account() {
        let servers: Vec<Name> = (0..20).map(|i| Name::from(format!("N{i}"))).collect();
        let listed = |account: &str| -> Vec<AccountStat> {
            vec![
                serde_json::from_value(
                    json!({"acc": account, "conns": 0, "leafnodes": 0, "num_subscriptions": 0}),
                )
                .unwrap(),
            ]
        };
        for wanted in &servers {
            let first = [("A", wanted), ("B", wanted)].map(|(account, id)| (account.into(), id.clone()));
            let mut counts = Counts::after(&Coverage::default(), first.into());
            for server in &servers {
                let mut stats = listed("A");
                stats.extend((server != wanted).then(|| listed("B")).into_iter().flatten());
                counts.take(server.clone(), &stats);
            }
            let mut snapshot = Snapshot::empty(1, time::OffsetDateTime::UNIX_EPOCH);
            let loaded = counts.settle(&mut snapshot);
            assert_eq!((&loaded["A"][0], loaded["A"].len()), (wanted, TRIES));
            assert!(!loaded["B"].contains(wanted));
        }
    }
}
