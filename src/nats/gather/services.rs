//! Which services there are, from the subscriptions of their instances.
//!
//! An instance subscribes to `$SRV.PING` and to `$SRV.PING.<name>.<id>`. Which accounts have any is asked with one SUBSZ of
//! each server, so that not all accounts have to be; then the connections of those accounts that answer for a service.

mod fold;

use super::every::ask_server;
use super::lanes::Lanes;
use super::tally::Tally;
use super::{Gatherer, Plan};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, OldestList, ServiceLists, Snapshot};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::subsz::SubscriptionList;
use fold::{Fold, Pages};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use time::OffsetDateTime;

/// Subscriptions from which on a server is asked for its accounts with services less often. It looks at every subscription
/// of its own clients, whatever that is to, and answers nothing else meanwhile: 0.3 ms over 1,000 subscriptions, 10 ms over
/// 10,000, 0.2 s over 100,000 and 0.3 s over 200,000 (measured, 2.15.1, two busy cores; at times twice as long). VARZ
/// counts routed ones as well, which cost nothing. Up to this many it is less than a thousandth of a core at an epoch of 60 s.
const MANY: u64 = 20_000;

/// Epochs between two such questions then.
const RARELY: u64 = 10;

/// Epochs between two such questions when a service has vanished since the first of them: it may have come there.
const SOON: u64 = 3;

/// Requests for connections in one epoch, over all servers.
const REQUESTS: u64 = 256;

/// Servers that are asked at the same time, each one thing after another.
const SERVERS_AT_ONCE: usize = 8;

/// Bytes of an answer to SUBSZ until one has come: a hundred and fifty for each instance.
const LIST_BYTES: u64 = 64 * 1024;

/// Services of one account on one server, and services in all, that are kept. A name is whatever a client subscribes to.
const SERVICES: usize = 1000;
const ALL_SERVICES: usize = 20_000;

/// The services that the agents themselves are, in the system account.
const OWN_SERVICE: &str = "insights";

/// What is known of services between epochs, by the id of the server.
#[derive(Debug, Default)]
pub(super) struct ServiceCache {
    servers: HashMap<Name, Known>,
    /// Requests that are left for an epoch.
    left: (u64, u64),
    /// The services of the last epoch.
    seen: BTreeSet<(Name, Name)>,
    /// The last epoch in which one of them was not there any more.
    vanished: Option<u64>,
}

/// When something was told: the epoch, and when its gather began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    epoch: u64,
    at: OffsetDateTime,
}

impl Told {
    const fn now(plan: &Plan) -> Self {
        Self { epoch: plan.epoch, at: plan.taken_at }
    }
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Known {
    /// When it last told its accounts with services.
    listed: Option<Told>,
    accounts: BTreeMap<Name, Instances>,
}

/// The instances of one account on one server.
#[derive(Debug, Default)]
struct Instances {
    /// When they were listed.
    asked: Option<Told>,
    /// Whether the account has subscribers to `$SRV.PING` here.
    present: bool,
    fold: Fold,
}

impl ServiceCache {
    /// Forgets servers that are not known any more.
    pub(super) fn retain(&mut self, known: &BTreeSet<Name>) {
        self.servers.retain(|id, _| known.contains(id));
    }

    /// Takes so many of an epoch's requests, as far as there are any left.
    fn take(&mut self, epoch: u64, wanted: u64) -> u64 {
        if self.left.0 != epoch {
            self.left = (epoch, REQUESTS);
        }
        let taken = wanted.min(self.left.1);
        self.left.1 -= taken;
        taken
    }

    /// Whether a server is asked for its accounts with services now. The numbers of epochs are times in seconds.
    fn is_due(&self, id: &Name, many: bool, epoch: u64, period: u64) -> bool {
        let Some(told) = self.servers.get(id).and_then(|known| known.listed) else { return true };
        let passed = |epochs: u64| epoch.saturating_sub(told.epoch) >= epochs.saturating_mul(period.max(1));
        let may_have_come = self.vanished.is_some_and(|vanished| vanished >= told.epoch);
        !many || passed(RARELY) || (may_have_come && passed(SOON))
    }

    /// Notes whether a service of the epoch before is not there any more.
    fn note_vanished(&mut self, epoch: u64, now: BTreeSet<(Name, Name)>) {
        if self.seen.iter().any(|key| !now.contains(key)) {
            self.vanished = Some(epoch);
        }
        self.seen = now;
    }

    /// From when it is what these servers told.
    fn lists(&self, servers: impl Fn(&Name) -> bool) -> ServiceLists {
        let mut listed: Vec<(OffsetDateTime, &Name, &Known)> = Vec::new();
        let mut services: BTreeMap<Name, OldestList> = BTreeMap::new();
        for (id, known) in self.servers.iter().filter(|(id, _)| servers(id)) {
            let Some(told) = known.listed else { continue };
            listed.push((told.at, id, known));
            for (account, instances) in &known.accounts {
                let at = instances.asked.map_or(told.at, |asked| asked.at);
                let oldest =
                    services.entry(account.clone()).or_insert_with(|| OldestList { server: id.clone(), at });
                if (at, id) < (oldest.at, &oldest.server) {
                    (oldest.server, oldest.at) = (id.clone(), at);
                }
            }
        }
        listed.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        for (account, oldest) in &mut services {
            let without = listed.iter().find(|(_, _, known)| !known.accounts.contains_key(account));
            if let Some((at, id, _)) = without.filter(|(at, ..)| *at < oldest.at) {
                (oldest.server, oldest.at) = ((*id).clone(), *at);
            }
        }
        let accounts = listed.first().map(|(at, id, _)| OldestList { server: (*id).clone(), at: *at });
        ServiceLists { accounts, services }
    }
}

/// What is asked of one server, and what came of it.
struct Asking {
    id: Name,
    name: Name,
    accounts: Vec<Name>,
    answer: Answer,
    told: Vec<(Name, Fold)>,
    tally: Tally,
}

/// One server that may be asked.
struct Target {
    id: Name,
    name: Name,
    many: bool,
}

/// The questions of one round. They run beside other requests: who keeps one of them waiting keeps no other server.
pub(super) struct Questions {
    cache: ServiceCache,
    own: Vec<(Name, u64)>,
    targets: Vec<Target>,
}

/// What came of them.
pub(super) struct Answers {
    cache: ServiceCache,
    answers: Vec<(Name, Answer)>,
    tally: Tally,
}

impl Questions {
    /// To these servers; to none if no enabled check needs to know.
    pub(super) fn of(
        plan: &Plan,
        snapshot: &Snapshot,
        servers: &BTreeSet<Name>,
        cache: ServiceCache,
        own: &[(Name, u64)],
    ) -> Self {
        let wanted = plan.requests.contains(Endpoint::Services);
        let present = servers.iter().filter_map(|id| snapshot.servers.get(id)).filter(|_| wanted);
        let target = present.map(|server| Target {
            id: server.id.clone(),
            name: server.name.clone(),
            many: server.vars.as_ref().is_some_and(|vars| vars.subscriptions > MANY),
        });
        Self { cache, own: own.to_vec(), targets: target.collect() }
    }

    /// Asks them.
    pub(super) async fn ask(mut self, inbox: &Inbox, plan: &Plan, lanes: &Lanes) -> Answers {
        let (mut answers, mut tally) = (Vec::new(), Tally::default());
        self.list_accounts(inbox, plan, lanes, &mut answers, &mut tally).await;
        let asking = self.choose_accounts(plan, &mut answers, &mut tally);
        let own = &self.own;
        let asked = asking.into_iter().map(|mut asking| async move {
            asking.run(inbox, plan, lanes, own).await;
            asking
        });
        let done: Vec<Asking> =
            futures_util::stream::iter(asked).buffer_unordered(SERVERS_AT_ONCE).collect().await;
        for Asking { id, answer, told, tally: cost, .. } in done {
            tally.merge(cost);
            let Some(known) = self.cache.servers.get_mut(&id) else { continue };
            answers.push((id, answer));
            for (account, fold) in told {
                let instances = known.accounts.entry(account).or_default();
                (instances.asked, instances.fold) = (Some(Told::now(plan)), fold);
            }
            // An account is asked for as long as it has instances, be they behind a leafnode alone.
            known.accounts.retain(|_, instances| instances.present || !instances.fold.is_empty());
        }
        answers.extend(self.targets.into_iter().map(|target| (target.id, Answer::Complete)));
        Answers { cache: self.cache, answers, tally }
    }

    /// Asks which accounts have services. Who does not tell is asked nothing else.
    async fn list_accounts(
        &mut self,
        inbox: &Inbox,
        plan: &Plan,
        lanes: &Lanes,
        answers: &mut Vec<(Name, Answer)>,
        tally: &mut Tally,
    ) {
        let options = &serde_json::json!({ "subscriptions": true, "test": "$SRV.PING", "limit": 1u64 << 30 });
        let period = plan.period.as_secs();
        let due = self
            .targets
            .iter()
            .filter(|target| self.cache.is_due(&target.id, target.many, plan.epoch, period));
        let due: Vec<Name> = due.map(|target| target.id.clone()).collect();
        let asked = due.into_iter().map(|id| async move {
            let mut tally = Tally::default();
            let question = ("SUBSZ", options, LIST_BYTES);
            let told = ask_server::<SubscriptionList>(inbox, plan, lanes, question, &id, &mut tally).await;
            (id, told, tally)
        });
        let asked: Vec<_> =
            futures_util::stream::iter(asked).buffer_unordered(SERVERS_AT_ONCE).collect().await;
        for (id, told, cost) in asked {
            tally.merge(cost);
            match told {
                Err(answer) => {
                    self.targets.retain(|target| target.id != id);
                    answers.push((id, answer));
                }
                Ok((_, list)) => {
                    let own = self.own.iter().filter(|(server, _)| *server == id).map(|(_, cid)| *cid);
                    let own: Vec<u64> = own.collect();
                    let known = self.cache.servers.entry(id).or_default();
                    known.listed = Some(Told::now(plan));
                    known.take_list(&list, &own);
                }
            }
        }
    }

    /// The accounts whose instances are listed now: those never asked, then those asked longest ago.
    fn choose_accounts(
        &mut self,
        plan: &Plan,
        answers: &mut Vec<(Name, Answer)>,
        tally: &mut Tally,
    ) -> Vec<Asking> {
        let mut all: Vec<(Option<Told>, u64, usize, Name)> = Vec::new();
        for (number, target) in self.targets.iter().enumerate() {
            let known = self.cache.servers.get(&target.id);
            for (account, instances) in known.into_iter().flat_map(|known| &known.accounts) {
                all.push((instances.asked, instances.fold.pages(), number, account.clone()));
            }
        }
        all.sort();
        let (mut asking, mut left): (BTreeMap<usize, Asking>, u64) = (BTreeMap::new(), 0);
        for (asked, pages, number, account) in all {
            let Target { id, name, .. } = &self.targets[number];
            if self.cache.take(plan.epoch, pages) < pages {
                left += 1;
                if asked.is_none() {
                    let why = "there are too many accounts with services to ask for all at once";
                    answers.push((id.clone(), Answer::Partial(why.into())));
                }
                continue;
            }
            asking
                .entry(number)
                .or_insert_with(|| Asking::of(id.clone(), name.clone()))
                .accounts
                .push(account);
        }
        if left > 0 {
            tally.note(format!("services of {left} accounts on their servers were not asked for again"));
        }
        asking.into_values().collect()
    }
}

impl Gatherer {
    /// Notes what came of the questions.
    pub(super) fn note_services(&mut self, snapshot: &mut Snapshot, answers: Answers) {
        self.services = answers.cache;
        answers.tally.add_to(snapshot);
        for (id, answer) in answers.answers {
            snapshot.coverage.note(Endpoint::Services, &id, answer);
        }
    }

    /// Puts together what all servers told, those that were asked in an earlier epoch included.
    pub(super) fn take_services(&mut self, plan: &Plan, snapshot: &mut Snapshot) {
        if !plan.requests.contains(Endpoint::Services) {
            return;
        }
        for (id, known) in &self.services.servers {
            if !snapshot.servers.contains_key(id) {
                continue;
            }
            for (account, instances) in &known.accounts {
                let own = *account == snapshot.system_account;
                let services = instances.fold.services.iter();
                for (name, found) in services.filter(|(name, _)| !own || ***name != *OWN_SERVICE) {
                    let key = (account.clone(), name.clone());
                    if snapshot.services.len() >= ALL_SERVICES && !snapshot.services.contains_key(&key) {
                        let why = format!("there are more than {ALL_SERVICES} services");
                        snapshot.coverage.note(Endpoint::Services, id, Answer::Partial(why));
                        continue;
                    }
                    found.add_to(id, snapshot.services.entry(key).or_default());
                }
                if instances.fold.beyond {
                    let why = format!("account {account} has more than {SERVICES} services there");
                    snapshot.coverage.note(Endpoint::Services, id, Answer::Partial(why));
                }
            }
        }
        self.services.note_vanished(plan.epoch, snapshot.services.keys().cloned().collect());
        snapshot.service_lists = self.services.lists(|id| snapshot.servers.contains_key(id));
    }
}

impl Known {
    /// Takes in which accounts subscribe to `$SRV.PING`. Who subscribes to more than that, to `>` for one, is no service.
    fn take_list(&mut self, list: &SubscriptionList, own: &[u64]) {
        self.accounts.values_mut().for_each(|instances| instances.present = false);
        let pings = list.subscriptions_list.iter().flatten().filter(|one| one.subject == "$SRV.PING");
        for one in pings.filter(|one| !own.contains(&one.cid)) {
            // The global account goes without saying in some answers.
            let account = if one.account.is_empty() { "$G" } else { &*one.account };
            self.accounts.entry(bounded(account, NAME_BYTES)).or_default().present = true;
        }
    }
}

impl Asking {
    fn of(id: Name, name: Name) -> Self {
        let (answer, tally) = (Answer::Complete, Tally::default());
        Self { id, name, accounts: Vec::new(), answer, told: Vec::new(), tally }
    }

    async fn run(&mut self, inbox: &Inbox, plan: &Plan, lanes: &Lanes, own: &[(Name, u64)]) {
        for account in std::mem::take(&mut self.accounts) {
            let server = (&self.id, &self.name);
            let pages = Pages { inbox, plan, lanes, server, account: &account, own };
            match pages.read(&mut self.tally).await {
                Ok(fold) => self.told.push((account, fold)),
                Err(answer) => {
                    self.answer = answer;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::subsz::Subscription;

    #[test]
    fn only_who_answers_the_ping_itself_is_a_service() {
        let subscription = |account: &str, subject: &str, cid| Subscription {
            account: account.into(),
            subject: subject.into(),
            cid,
        };
        let list = |subscriptions| SubscriptionList {
            subscriptions_list: Some(subscriptions),
            ..SubscriptionList::default()
        };
        let mut known = Known::default();
        known.take_list(
            &list(vec![
                subscription("APP", "$SRV.PING", 1),
                subscription("LOG", ">", 2),
                subscription("SYS", "$SRV.PING", 3),
                subscription("", "$SRV.PING", 4),
                subscription("ALL", "$SRV.*", 5),
            ]),
            &[3],
        );
        let accounts = |known: &Known| -> Vec<String> {
            let present = known.accounts.iter().filter(|(_, instances)| instances.present);
            present.map(|(account, _)| account.to_string()).collect()
        };
        assert_eq!(accounts(&known), ["$G", "APP"]);
        known.take_list(&list(Vec::new()), &[]);
        assert!(accounts(&known).is_empty() && known.accounts.len() == 2);
    }

    fn told(epoch: u64) -> Told {
        let at = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(epoch);
        Told { epoch, at }
    }

    #[test]
    fn a_server_with_many_subscriptions_is_asked_rarely_and_soon_when_a_service_has_vanished() {
        let mut cache = ServiceCache::default();
        let id = Name::from("A");
        assert!(cache.is_due(&id, true, 600, 60));
        cache.servers.insert(id.clone(), Known { listed: Some(told(600)), ..Known::default() });
        let due = |cache: &ServiceCache| -> Vec<bool> {
            [660, 780, 1200].map(|epoch| cache.is_due(&id, true, epoch, 60)).to_vec()
        };
        assert!(cache.is_due(&id, false, 660, 60));
        assert_eq!(due(&cache), [false, false, true]);
        let of = |names: &[&str]| names.iter().map(|name| ("APP".into(), (*name).into())).collect();
        cache.note_vanished(600, of(&["echo"]));
        cache.note_vanished(660, of(&["echo", "new"]));
        assert_eq!(due(&cache), [false, false, true]);
        cache.note_vanished(720, of(&["new"]));
        assert_eq!(due(&cache), [false, true, true]);
        // It has been asked since.
        cache.servers.insert(id.clone(), Known { listed: Some(told(780)), ..Known::default() });
        assert!(!cache.is_due(&id, true, 960, 60));
    }

    #[test]
    fn the_oldest_list_is_that_of_the_account_where_a_server_knows_it() {
        let mut cache = ServiceCache::default();
        let known = |listed: u64, accounts: &[(&str, u64)]| Known {
            listed: Some(told(listed)),
            accounts: accounts
                .iter()
                .map(|(account, asked)| {
                    (Name::from(*account), Instances { asked: Some(told(*asked)), ..Instances::default() })
                })
                .collect(),
        };
        cache.servers.insert("A".into(), known(600, &[("APP", 600), ("LATE", 300)]));
        cache.servers.insert("B".into(), known(60, &[("HERE", 600)]));
        cache.servers.insert("C".into(), known(0, &[]));
        let lists = cache.lists(|id| **id != *"C");
        let oldest = |account: &str| {
            let oldest = lists.oldest(&account.into()).unwrap();
            (oldest.server.to_string(), oldest.at.unix_timestamp())
        };
        assert_eq!(oldest("APP"), ("B".into(), 60));
        assert_eq!(oldest("LATE"), ("B".into(), 60));
        assert_eq!(oldest("GONE"), ("B".into(), 60));
        assert_eq!(oldest("HERE").1, 600);
        assert_eq!(cache.lists(|id| **id == *"A").oldest(&"LATE".into()).unwrap().at.unix_timestamp(), 300);
    }

    #[test]
    fn requests_are_counted_by_the_epoch() {
        let mut cache = ServiceCache::default();
        assert_eq!((cache.take(1, 200), cache.take(1, 100), cache.take(1, 1)), (200, 56, 0));
        assert_eq!(cache.take(2, 1), 1);
    }
}
