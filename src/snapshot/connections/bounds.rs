//! Compiled for tests only. What is exact stays exact whatever is given up, and what is bounded stays within its bound.

use super::budget::FEWEST;
use super::*;
use crate::checks::laws::jwt;
use crate::snapshot::Version;
use crate::snapshot::build::at;
use crate::wire::connz::{Connection, PageHead};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A connection as a number of small choices.
#[derive(Debug, Clone)]
struct Any {
    server: usize,
    account: usize,
    user: u64,
    name: u64,
    ip: u64,
    silent: bool,
    leaf: bool,
    subscriptions: u64,
    limit: Option<i64>,
    rtt_ms: u64,
    pending: i64,
}

fn any_connection() -> impl Strategy<Value = Any> {
    let few = (0usize..4, 0usize..4, 0u64..12, 0u64..30, 0u64..30);
    let limit = prop::option::of(prop::sample::select(vec![-1, 0, 10, 500]));
    let beyond =
        (prop::sample::select(vec![0, 1, 100, 101, 250]), prop::sample::select(vec![-1, 0, 1000, 1001]));
    (few, any::<bool>(), prop::bool::weighted(0.05), 0u64..300, limit, beyond).prop_map(
        |((server, account, user, name, ip), silent, leaf, subscriptions, limit, (rtt_ms, pending))| {
            // Some come often and most seldom.
            let user = user * user / 12;
            Any { server, account, user, name, ip, silent, leaf, subscriptions, limit, rtt_ms, pending }
        },
    )
}

impl Any {
    fn connection(&self, cid: u64) -> Connection<'static> {
        let user = format!("u{}", self.user);
        Connection {
            cid,
            kind: if self.leaf { "Leafnode" } else { "Client" }.into(),
            name: if self.name == 0 { String::new() } else { format!("name-{}", self.name) }.into(),
            ip: format!("10.0.0.{}", self.ip).into(),
            lang: "go".into(),
            version: format!("1.{}.0", self.name).into(),
            start: "2023-11-14T20:00:00Z".into(),
            last_activity: "2023-11-14T20:00:00Z".into(),
            in_msgs: i64::from(!self.silent),
            subscriptions: self.subscriptions,
            rtt: format!("{}ms", self.rtt_ms).into(),
            pending_bytes: self.pending,
            jwt: self.limit.map_or_else(String::new, |limit| jwt(&user, limit)).into(),
            authorized_user: user.into(),
            account: format!("A{}", self.account).into(),
            ..Connection::default()
        }
    }
}

fn source(server: usize) -> PageSource {
    PageSource {
        server: format!("S{server}").into(),
        version: Some(Version(2, 15, 1)),
        since: None,
        // One of the servers has a limit of its own.
        max_subscriptions: (server == 1).then_some(200),
    }
}

fn rules() -> FoldRules {
    let rtt_above = Duration::from_millis(100);
    FoldRules::uniform(FoldThresholds {
        idle_after: Duration::from_secs(300),
        rtt_above,
        pending_above: 1000,
    })
}

const HEAD: fn() -> PageHead = || PageHead { now: Some(at(0)), ..PageHead::default() };

const SMALL: Budget =
    Budget { users: 4, silent_users: 3, offending_users: 3, shares: 4, counted: 60, texts: 24 };

/// The same counts without any bound.
#[derive(Default)]
struct Model {
    clients: BTreeMap<(usize, usize), u64>,
    leafnodes: BTreeMap<(usize, usize), u64>,
    users: BTreeMap<(usize, u64), (u64, u64)>,
    /// Slow and backed-up ones.
    offenders: BTreeMap<(usize, u64), [u64; 2]>,
    names: BTreeMap<(usize, u64), u64>,
    addresses: BTreeMap<(usize, u64), BTreeMap<u64, u64>>,
    subscriptions: BTreeMap<usize, Vec<u64>>,
    shares_of_own: BTreeMap<usize, Vec<f64>>,
}

impl Model {
    fn add(&mut self, any: &Any) {
        let pair = (any.account, any.server);
        if any.leaf {
            *self.leafnodes.entry(pair).or_default() += 1;
            return;
        }
        *self.clients.entry(pair).or_default() += 1;
        let user = self.users.entry((any.account, any.user)).or_default();
        *user = (user.0 + 1, user.1 + u64::from(any.silent));
        let [slow, backlog] = self.offenders.entry((any.account, any.user)).or_default();
        (*slow, *backlog) = (*slow + u64::from(any.rtt_ms > 100), *backlog + u64::from(any.pending > 1000));
        *self.names.entry((any.account, any.name)).or_default() += 1;
        *self.addresses.entry((any.account, any.user)).or_default().entry(any.ip).or_default() += 1;
        self.subscriptions.entry(any.account).or_default().push(any.subscriptions);
        let of_user = any.limit.and_then(|limit| u64::try_from(limit).ok());
        let of_server = (any.server == 1).then_some(200);
        if let Some(limit) = of_user.into_iter().chain(of_server).min() {
            self.shares_of_own.entry(any.account).or_default().push(share_of(any.subscriptions, limit));
        }
    }
}

proptest! {
    #[test]
    fn exact_counts_are_those_of_a_model_without_bounds_whatever_is_given_up(
        stream in prop::collection::vec(any_connection(), 0..600), small in any::<bool>(),
    ) {
        let budget = if small { SMALL } else { Budget::default() };
        let (mut fold, mut model) = (ConnectionFold::within(rules(), budget), Model::default());
        for (any, cid) in stream.iter().zip(1..) {
            fold.add(&source(any.server), &HEAD(), &any.connection(cid));
            model.add(any);
        }
        let fold = fold.finish();
        let of_account = |name: &str| name[1..].parse::<usize>().unwrap();
        let seen: BTreeSet<usize> = stream.iter().map(|any| any.account).collect();
        prop_assert_eq!(fold.accounts.keys().map(|id| of_account(id)).collect::<BTreeSet<_>>(), seen);
        for (id, account) in &fold.accounts {
            let number = of_account(id);
            let sum = |counts: &BTreeMap<(usize, usize), u64>| -> u64 {
                counts.iter().filter(|((account, _), _)| *account == number).map(|(_, n)| n).sum()
            };
            prop_assert_eq!(account.kinds().clients(), sum(&model.clients));
            prop_assert_eq!(account.kinds().leafnode, sum(&model.leafnodes));
            for (server, on) in &fold.servers {
                let here = model.clients.get(&(number, of_account(server))).copied().unwrap_or(0);
                let (clients, details) = account.on(on);
                prop_assert_eq!(clients, here);
                let kept = details.map(|details| details.before + details.addresses.loss());
                prop_assert!(kept.is_none_or(|kept| kept < here || here == 0));
                prop_assert!(small || details.is_some_and(|details| details.before == 0) || here == 0);
            }
            let users: BTreeMap<u64, (u64, u64)> = account.users.iter()
                .map(|user| (user.id()[1..].parse().unwrap(), (user.connections(), user.silent()))).collect();
            let expected: BTreeMap<u64, (u64, u64)> = model.users.iter()
                .filter(|((account, _), _)| *account == number).map(|((_, user), counts)| (*user, *counts)).collect();
            prop_assert_eq!(users, expected);
            for user in &account.users {
                let place = (number, user.id()[1..].parse().unwrap());
                check_details(user, &model.addresses[&place], small)?;
                check_offenders(user, model.offenders[&place], small)?;
            }
            let silent: u64 = account.users.iter().map(UserFold::silent).sum();
            prop_assert_eq!(account.silent, silent);
            prop_assert_eq!(account.unnamed, model.names.get(&(number, 0)).copied().unwrap_or(0));
            for ((_, name), count) in model.names.iter().filter(|((account, name), _)| *account == number && *name > 0) {
                let found = account.names.count_of(&format!("name-{name}"));
                prop_assert!(found <= *count && found + account.names.loss() >= *count);
            }
            let mut subscriptions = model.subscriptions.get(&number).cloned().unwrap_or_default();
            subscriptions.sort_unstable_by(|a, b| b.cmp(a));
            subscriptions.truncate(5);
            let top: Vec<u64> = account.top_subscriptions.iter().map(|top| top.subscriptions).collect();
            prop_assert_eq!(top, subscriptions);
            let nearest = account.nearest_own_limit.as_ref()
                .map(|top| share_of(top.subscriptions, top.own_limit.unwrap().limit));
            let shares = model.shares_of_own.get(&number);
            prop_assert_eq!(nearest, shares.map(|shares| shares.iter().copied().fold(0.0, f64::max)));
        }
        for (server, on) in &fold.servers {
            let here = |counts: &BTreeMap<(usize, usize), u64>| -> u64 {
                counts.iter().filter(|((_, other), _)| *other == of_account(server)).map(|(_, n)| n).sum()
            };
            prop_assert_eq!((on.clients, on.leafnodes), (here(&model.clients), here(&model.leafnodes)));
            prop_assert_eq!(on.accounts.iter().map(|counted| counted.count).sum::<u64>(), on.clients);
        }
    }

    #[test]
    fn what_is_kept_is_within_the_budget_at_any_time(stream in prop::collection::vec(any_connection(), 0..600)) {
        let mut fold = ConnectionFold::within(rules(), SMALL);
        for (any, cid) in stream.iter().zip(1..) {
            fold.add(&source(any.server), &HEAD(), &any.connection(cid));
            if cid % 50 == 0 {
                check_bounds(&fold, SMALL)?;
            }
        }
        check_bounds(&fold, SMALL)?;
    }
}

fn check_details(user: &UserFold, addresses: &BTreeMap<u64, u64>, small: bool) -> Result<(), TestCaseError> {
    let (silent, of) = user.silent_oldest();
    prop_assert!(of <= user.silent() && silent.len() as u64 == of.min(5));
    prop_assert!(small || of == user.silent());
    let Some(details) = user.details() else {
        prop_assert!(small, "there was room for {}", user.id());
        return Ok(());
    };
    let on_servers: u64 = details.servers.iter().map(|(_, count)| u64::from(*count)).sum();
    prop_assert_eq!(details.before + on_servers, user.connections());
    prop_assert!(small || details.before == 0);
    for (ip, count) in addresses {
        let found = details.addresses.count_of(&format!("10.0.0.{ip}"));
        prop_assert!(found <= *count && found + details.addresses.loss() + details.before >= *count);
    }
    Ok(())
}

fn check_offenders(user: &UserFold, expected: [u64; 2], small: bool) -> Result<(), TestCaseError> {
    for (offence, expected) in [Offence::Slow, Offence::Backlog].into_iter().zip(expected) {
        prop_assert_eq!(user.offenders(offence), expected);
        let (worst, of) = user.worst(offence);
        prop_assert!(of <= expected && worst.len() as u64 == of.min(5) && (small || of == expected));
        prop_assert!(worst.is_sorted_by(|a, b| a.value >= b.value));
    }
    Ok(())
}

fn check_bounds(fold: &ConnectionFold, budget: Budget) -> Result<(), TestCaseError> {
    let accounts = || fold.accounts.iter().map(|(_, account)| account);
    let users = || accounts().flat_map(|account| &account.users);
    let shares = || accounts().flat_map(|account| &account.share_details);
    let silent: usize = users().filter(|user| user.keeps_silent()).count();
    prop_assert!(users().filter(|user| user.details().is_some()).count() <= budget.users);
    prop_assert!(silent <= budget.silent_users && shares().count() <= budget.shares);
    for offence in [Offence::Slow, Offence::Backlog] {
        let kept = users().filter(|user| !user.worst(offence).0.is_empty()).count();
        prop_assert!(kept <= budget.offending_users);
    }
    let of_accounts = accounts().flat_map(|account| [&account.names, &account.addresses]);
    let of_users =
        users().filter_map(UserFold::details).flat_map(|details| [&details.names, &details.addresses]);
    let of_shares = shares().flat_map(|share| [&share.names, &share.libraries, &share.addresses]);
    let small: Vec<&TopCounter> = of_accounts.chain(of_users).chain(of_shares).collect();
    let large: Vec<&TopCounter> =
        fold.servers().flat_map(|(_, server)| [&server.names, &server.addresses]).collect();
    let counted: usize = small.iter().chain(&large).map(|counter| counter.names()).sum();
    prop_assert_eq!(counted, fold.kept.counted, "names are counted as they come and go");
    let most = fold.kept.most;
    prop_assert!(small.iter().all(|counter| counter.names() <= most));
    prop_assert!(large.iter().all(|counter| counter.names() <= most * 4));
    prop_assert!(counted <= budget.counted || most == FEWEST, "{counted} names in counters of {most}");
    // What counters and rows hold cannot be let go; beyond it, there are at most as many again.
    let rows =
        accounts().count() * 6 + silent * 10 + budget.offending_users * 20 + fold.servers().count() * 5;
    prop_assert!(fold.kept.texts.len() <= budget.texts.max(2 * (counted + rows)) + 3);
    Ok(())
}

#[test]
fn a_world_of_many_stays_within_the_budget() {
    let budget = Budget {
        users: 200,
        silent_users: 100,
        offending_users: 100,
        shares: 200,
        counted: 4000,
        texts: 3000,
    };
    let mut fold = ConnectionFold::within(rules(), budget);
    for cid in 1..=60_000u64 {
        // Every client has a name and an address of its own, and every fifth account one user with many connections.
        let connection = Connection {
            cid,
            name: format!("client-{cid}").into(),
            ip: format!("10.{}.{}.{}", cid >> 16, cid >> 8 & 255, cid & 255).into(),
            lang: "go".into(),
            authorized_user: if cid % 100 == 0 { "busy".into() } else { format!("u{}", cid % 7919).into() },
            account: format!("A{}", cid % 20).into(),
            last_activity: "2023-11-14T20:00:00Z".into(),
            ..Connection::default()
        };
        fold.add(&source((cid / 20) as usize % 50), &HEAD(), &connection);
    }
    check_bounds(&fold, budget).unwrap();
    let most = fold.kept.most;
    assert!(most < 256, "the budget was never reached");
    let fold = fold.finish();
    let busy = fold.accounts["A0"].users.get("busy").unwrap();
    assert_eq!((busy.connections(), busy.silent()), (600, 600));
    let details = busy.details().unwrap();
    // At most `2 n / budget` had passed before.
    assert!(details.before <= 2 * 60_000 / 200, "{}", details.before);
    let (oldest, of) = busy.silent_oldest();
    assert!(oldest.len() == 5 && of >= 500, "{of}");
    let users: u64 =
        fold.accounts.values().flat_map(|account| &account.users).map(UserFold::connections).sum();
    assert_eq!(users, 60_000);
}
