//! How requests are made, seen from the other side: by servers of a scripted system, in virtual time.

use super::lanes::{BUDGET, WIDEST};
use super::learnt::Faded;
use super::members::Member;
use super::world::{Asked, PATIENCE, Trouble, World, key, plan, rules};
use super::{Gatherer, OWN_CONNECTIONS, Plan, QUIET, Sweep};
use crate::snapshot::{AccountLimits, Answer, Endpoint, Snapshot};
use crate::text::Name;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const ENDPOINTS: [Endpoint; 5] =
    [Endpoint::Statsz, Endpoint::Varz, Endpoint::Connz, Endpoint::AccountStatz, Endpoint::Accountz];

fn assert_whole(snapshot: &Snapshot) {
    for endpoint in ENDPOINTS {
        assert_eq!(snapshot.coverage.gaps(endpoint), [], "{endpoint:?}");
    }
    assert_eq!(snapshot.coverage.notes, [""; 0]);
    assert!(!snapshot.cut);
}

fn members(n: usize, clients: u64) -> Vec<Member> {
    (1..=n).map(|number| Member::new(number).with(clients, &key(1), "a")).collect()
}

fn system(n: usize, clients: u64) -> (World, Gatherer) {
    World::of(members(n, clients), &[(key(1), -1, -1), (key(2), -1, -1)])
}

fn of<'a>(asked: &'a [Asked], end: &str) -> Vec<&'a Asked> {
    asked.iter().filter(|asked| asked.subject.ends_with(end)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_epoch_of_known_servers_waits_for_nobody() {
    let (_, mut gatherer) = system(3, 20);
    // Whether there are others is not known in the first.
    let started = Instant::now();
    assert_whole(&gatherer.sweep(&plan(1), rules()).await);
    assert!(started.elapsed() >= QUIET);
    let started = Instant::now();
    let snapshot = gatherer.sweep(&plan(2), rules()).await;
    assert_whole(&snapshot);
    assert_eq!(snapshot.connections_seen(), 60);
    assert!(started.elapsed() < QUIET / 4, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn newcomers_are_met_in_a_second_round() {
    let mut all = members(4, 20);
    // The last is there only when the others have told everything but their connections.
    all[3].statsz_later = Duration::from_millis(5);
    let first_three = all.split_off(3);
    let (world, mut gatherer) = World::of(all, &[(key(1), -1, -1)]);
    gatherer.sweep(&plan(1), rules()).await;
    world.add(first_three);
    let snapshot = gatherer.sweep(&plan(2), rules()).await;
    assert_eq!(snapshot.servers.len(), 4);
    assert_whole(&snapshot);
    assert_eq!(snapshot.connections_seen(), 80);
    assert_eq!(snapshot.accounts[&*key(1)].connections(), 80);
    assert!(snapshot.servers.values().all(|server| server.vars.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_known_server_that_takes_its_time_holds_up_nobody_and_is_whole() {
    let (world, mut gatherer) = system(3, 20);
    gatherer.sweep(&plan(1), rules()).await;
    world.change(2, |member| member.statsz_later = PATIENCE - Duration::from_secs(1));
    world.take_asked();
    let started = Instant::now();
    let snapshot = gatherer.sweep(&plan(2), rules()).await;
    assert_whole(&snapshot);
    assert_eq!(snapshot.connections_seen(), 60);
    let pages = world.take_asked();
    let early = of(&pages, ".CONNZ").iter().filter(|asked| asked.at < started + QUIET * 2).count();
    assert_eq!(early, 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_one_heavy_request_and_all_have_a_few() {
    let (world, mut gatherer) = system(60, 100);
    let accounts: Vec<_> = (1..100).map(|number| (key(number), -1, -1)).collect();
    world.accounts(&accounts);
    for epoch in 1..3 {
        let plan = Plan { page: 64, ..plan(epoch) };
        assert_whole(&gatherer.sweep(&plan, rules()).await);
    }
    let (own, all) = world.most_heavy();
    assert_eq!(own, 1);
    assert!(all > 8 && all <= WIDEST, "{all}");
}

#[tokio::test(start_paused = true)]
async fn what_would_be_too_much_at_once_is_asked_in_waves() {
    let (world, mut gatherer) = system(40, 3);
    gatherer.statz_sizes.whole = Some(Faded::new(BUDGET as f64 / 12.0));
    let snapshot = gatherer.sweep(&plan(1), rules()).await;
    assert_whole(&snapshot);
    assert_eq!(snapshot.accounts[&*key(1)].connections(), 120);
    let asked = world.take_asked();
    let waves = of(&asked, ".STATZ");
    assert!(waves.len() > 3, "{waves:?}");
    for wave in waves {
        let part = wave.body["server_name"].as_str().unwrap();
        let reached = (1..=40).filter(|number| format!("n{number}").contains(part)).count();
        assert!(reached <= 12, "{part} reaches {reached}");
    }
    // The answers turned out to be small.
    for epoch in 2..12 {
        gatherer.sweep(&plan(epoch), rules()).await;
    }
    world.take_asked();
    assert_whole(&gatherer.sweep(&plan(12), rules()).await);
    assert_eq!(of(&world.take_asked(), ".STATZ").len(), 1);

    gatherer.sizes.insert(Endpoint::Varz, Faded::new(BUDGET as f64));
    assert_whole(&gatherer.sweep(&plan(13), rules()).await);
    assert_eq!(of(&world.take_asked(), ".VARZ").len(), 40);
}

#[tokio::test(start_paused = true)]
async fn where_all_accounts_would_be_too_much_only_those_with_clients_are_asked_for() {
    let mut all = members(30, 3);
    all.extend((31..=35).map(Member::new));
    let mut leaf = Member::new(36);
    leaf.leafnodes = Some((key(2), 4));
    let mut silent = Member::new(37);
    silent.unlisted = 2;
    all.extend([leaf, silent]);
    let (world, mut gatherer) = World::of(all, &[(key(1), -1, -1), (key(2), -1, -1)]);
    gatherer.statz_sizes.whole = Some(Faded::new(BUDGET as f64));
    gatherer.statz_sizes.used = Some(Faded::new(BUDGET as f64 / 100.0));
    let snapshot = gatherer.sweep(&plan(1), rules()).await;
    assert_whole(&snapshot);
    assert!(snapshot.coverage.used_accounts_only);
    assert_eq!(snapshot.accounts[&*key(1)].connections(), 90);
    assert_eq!(snapshot.accounts[&*key(2)].leafnodes(), 4);
    let asked = world.take_asked();
    let bodies: Vec<String> = of(&asked, ".STATZ").iter().map(|asked| asked.body.to_string()).collect();
    let expected = [
        r#"{"include_unused":true,"server_name":"n1"}"#,
        r#"{"include_unused":false}"#,
        r#"{"include_unused":true,"server_name":"n36"}"#,
        r#"{"include_unused":true,"server_name":"n37"}"#,
    ];
    assert_eq!(bodies, expected);
}

#[tokio::test(start_paused = true)]
async fn one_server_of_many_is_asked_first_while_sizes_are_not_known() {
    let (world, mut gatherer) = system(30, 3);
    assert_whole(&gatherer.sweep(&plan(1), rules()).await);
    let asked = world.take_asked();
    let bodies: Vec<_> = of(&asked, ".STATZ").iter().map(|asked| asked.body["server_name"].clone()).collect();
    // n1 also is a part of n10 to n19.
    assert_eq!(bodies, [serde_json::json!("n1"), serde_json::Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn pages_grow_when_connections_turn_out_to_be_small() {
    let (world, mut gatherer) = system(1, 9_000);
    // It decodes no JWTs.
    world.change(0, |member| member.version = "2.12.0");
    let mut pages = Vec::new();
    for epoch in 1..=4 {
        let snapshot = gatherer.sweep(&plan(epoch), rules()).await;
        assert_whole(&snapshot);
        assert_eq!(snapshot.connections_seen(), 9_000);
        let asked = world.take_asked();
        let limit = |asked: &&Asked| asked.body["limit"].as_u64().unwrap();
        pages.push(of(&asked, ".CONNZ").iter().map(limit).collect::<Vec<_>>());
    }
    assert!(pages[0].len() >= 3 && pages[0].is_sorted(), "{pages:?}");
    assert_eq!(pages[3].len(), 1, "{pages:?}");
}

/// The requests for connections of an epoch: with `auth`, without, and for single ones.
fn readings(world: &World) -> (usize, usize, usize) {
    let asked = world.take_asked();
    let pages = of(&asked, ".CONNZ");
    let count = |auth: bool, single: bool| {
        pages.iter().filter(|one| one.body["auth"] == auth && one.body["cid"].is_null() != single).count()
    };
    (count(true, false), count(false, false), count(true, true))
}

fn users(snapshot: &Snapshot) -> Vec<(String, u64)> {
    let users = snapshot.accounts[&*key(1)].fold.users.iter();
    users.map(|user| (user.id().to_owned(), user.connections())).collect()
}

#[tokio::test(start_paused = true)]
async fn whose_connections_are_is_read_once_where_it_is_dear() {
    let (world, mut gatherer) = system(1, 2_000);
    world.change(0, |member| member.jwts = true);
    let plan = |epoch| Plan { period: Duration::from_secs(1), ..plan(epoch) };
    let whole = gatherer.sweep(&plan(1), rules()).await;
    assert_whole(&whole);
    assert_eq!((users(&whole), readings(&world)), (vec![("a".into(), 2_000)], (1, 0, 0)));
    for epoch in 2..4 {
        let snapshot = gatherer.sweep(&plan(epoch), rules()).await;
        assert_whole(&snapshot);
        assert_eq!((users(&snapshot), readings(&world)), (users(&whole), (0, 1, 0)));
    }
    // Three come, the first thousand go.
    world.change(0, |member| {
        *member = member.clone().with(3, &key(1), "b");
        member.clients.drain(..1_000);
    });
    let snapshot = gatherer.sweep(&plan(4), rules()).await;
    assert_whole(&snapshot);
    assert_eq!(users(&snapshot), [("a".into(), 1_000), ("b".into(), 3)]);
    assert_eq!(readings(&world), (0, 1, 3));
    assert_eq!(snapshot.connections_seen(), 1_003);
}

#[tokio::test(start_paused = true)]
async fn many_new_connections_are_unknown_until_they_may_be_read() {
    let (world, mut gatherer) = system(1, 2_000);
    world.change(0, |member| member.jwts = true);
    let plan = |epoch| Plan { period: Duration::from_secs(1), ..plan(epoch) };
    gatherer.sweep(&plan(1), rules()).await;
    world.change(0, |member| *member = member.clone().with(200, &key(1), "b"));
    world.take_asked();
    let snapshot = gatherer.sweep(&plan(2), rules()).await;
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert!(gaps[0].reason.contains("200 connections are new"), "{gaps:?}");
    assert_eq!((users(&snapshot), readings(&world)), (vec![("a".into(), 2_000)], (0, 1, 0)));
    // 2,200 connections cost 0.11 s, of which half a percent of a core is 22 s.
    tokio::time::advance(Duration::from_secs(23)).await;
    for (epoch, asked) in [(3, (1, 1, 0)), (4, (0, 1, 0))] {
        let snapshot = gatherer.sweep(&plan(epoch), rules()).await;
        assert_whole(&snapshot);
        assert_eq!(users(&snapshot), [("a".into(), 2_000), ("b".into(), 200)]);
        assert_eq!(readings(&world), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn the_start_is_spread_over_many_servers() {
    let (world, mut gatherer) = system(20, 3);
    let spread = Duration::from_secs(6);
    gatherer.sweep(&plan(1), rules()).await;
    for epoch in 2..4 {
        world.take_asked();
        let plan = Plan { spread, ..plan(epoch) };
        assert_whole(&gatherer.sweep(&plan, rules()).await);
        let asked = world.take_asked();
        let mut starts: Vec<Instant> = of(&asked, ".CONNZ").iter().map(|asked| asked.at).collect();
        starts.sort();
        assert_eq!(starts.len(), 20);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= spread / 25), "{starts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_and_it_is_said() {
    let (world, mut gatherer) = system(50, 3);
    gatherer.sweep(&plan(1), rules()).await;
    for number in 0..50 {
        world.change(number, |member| member.latency = Duration::from_secs(3));
    }
    let plan = Plan { deadline: Instant::now() + Duration::from_secs(8), ..plan(2) };
    let snapshot = gatherer.sweep(&plan, rules()).await;
    assert!(Instant::now() <= plan.deadline + Duration::from_millis(10));
    assert!(snapshot.cut);
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert!(gaps.iter().any(|gap| gap.reason.contains("time was over")), "{gaps:?}");
    let note = &snapshot.coverage.notes;
    assert!(note.iter().any(|note| note.contains("cut at its deadline")), "{note:?}");
    for number in 0..50 {
        world.change(number, |member| member.latency = Duration::from_millis(2));
    }
    assert_whole(&gatherer.sweep(&self::plan(3), rules()).await);
}

#[tokio::test(start_paused = true)]
async fn servers_that_get_slower_are_asked_fewer_at_once() {
    let (world, mut gatherer) = system(60, 3);
    for epoch in 1..4 {
        gatherer.sweep(&plan(epoch), rules()).await;
    }
    let widest = world.most_heavy().1;
    for number in 0..60 {
        world.change(number, |member| member.latency = Duration::from_millis(200));
    }
    assert_whole(&gatherer.sweep(&plan(4), rules()).await);
    world.forget_most();
    // What is slow has been learnt by then; the pace is found again step by step.
    gatherer.sweep(&plan(5), rules()).await;
    assert!(world.most_heavy().1 < widest, "{} of {widest}", world.most_heavy().1);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_is_continued_by_a_good_answer_without_counting_twice() {
    let (world, mut gatherer) = system(1, 50);
    gatherer.sweep(&plan(1), rules()).await;
    // A broken page of the same server comes before the good one.
    world.break_pages(20);
    let snapshot = gatherer.sweep(&plan(2), rules()).await;
    assert_eq!(snapshot.connections_seen(), 50);
    assert_whole(&snapshot);
    world.break_pages(20);
    // The good one is lost, like everything after STATSZ, VARZ and ACCOUNT STATZ.
    world.disturb(&[[Trouble::Nothing; 3], [Trouble::Lost; 3]].concat());
    let snapshot = gatherer.sweep(&plan(3), rules()).await;
    // What it brought is there, and it is said that it is not all.
    assert_eq!(snapshot.connections_seen(), 20);
    let server = snapshot.servers.keys().next().unwrap();
    let answer = snapshot.coverage.answer(Endpoint::Connz, server);
    assert!(matches!(answer, Some(Answer::Partial(_))), "{answer:?}");
}

fn flagged(epoch: u64) -> Plan {
    Plan { connections: Sweep::Flagged, ..plan(epoch) }
}

#[tokio::test(start_paused = true)]
async fn only_accounts_near_a_limit_are_swept_where_the_sweep_is_restricted() {
    let (tight, wide, declared) = (key(1), key(2), "DECLARED.x".to_owned());
    let first = Member::new(1).with(45, &tight, "t").with(60, &wide, "w").with(9, &declared, "d");
    let second = Member::new(2).with(30, &tight, "t").with(60, &wide, "w");
    let third = Member::new(3).with(60, &wide, "w");
    let accounts = [(tight.clone(), 100, -1), (wide.clone(), 1000, -1), (declared.clone(), -1, -1)];
    let (world, mut gatherer) = World::of(vec![first, second, third], &accounts);
    let limits = AccountLimits { connections: 10, subscriptions: -1, leafnodes: -1 };
    gatherer.declare([(Name::from(&*declared), limits)].into());
    let snapshot = gatherer.sweep(&flagged(1), rules()).await;
    assert_eq!(snapshot.accounts[&*tight].fold.users.get("t").unwrap().connections(), 75);
    assert_eq!(snapshot.accounts[&*declared].fold.users.get("d").unwrap().connections(), 9);
    assert!(snapshot.accounts[&*wide].fold.users.is_empty());
    assert!(snapshot.servers.values().all(|server| server.fold.is_none()));
    assert_eq!(snapshot.coverage.notes, [""; 0]);
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert_eq!(gaps.len(), 3);
    assert!(gaps[0].reason.contains("restricted to flagged accounts by the configuration"), "{gaps:?}");
    // Of the servers that have connections of these accounts, and of no other.
    let asked = world.take_asked();
    let pages: BTreeSet<(&str, &str)> = of(&asked, ".CONNZ")
        .iter()
        .map(|asked| (asked.subject.split('.').nth(3).unwrap(), asked.body["acc"].as_str().unwrap()))
        .collect();
    let id = |number| Member::new(number).id;
    let (one, two) = (id(1), id(2));
    let expected = [(&*one, &*tight), (&*two, &*tight), (&*one, &*declared)];
    assert_eq!(pages, expected.into());
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_listed_where_that_is_turned_off() {
    let (world, mut gatherer) = system(3, 20);
    let plan = Plan { connections: Sweep::Off, ..plan(1) };
    let mut snapshot = gatherer.sweep(&plan, rules()).await;
    let wanted = [crate::snapshot::FollowUp::TopSubscriptions { account: Name::from(&*key(1)) }];
    gatherer.follow_up(&plan, &mut snapshot, &wanted).await;
    assert!(of(&world.take_asked(), ".CONNZ").is_empty());
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert!(gaps.len() == 3 && gaps[0].reason.contains("turns it off"), "{gaps:?}");
    assert_eq!(snapshot.coverage.gaps(Endpoint::AccountStatz), []);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_about_an_account_is_not_asked_for_the_next() {
    let accounts: Vec<_> = (1..=20).map(|number| (key(number), -1, -1)).collect();
    let (world, mut gatherer) = World::of(members(2, 3), &accounts);
    world.change(0, |member| member.hides_details = true);
    let started = Instant::now();
    let snapshot = gatherer.sweep(&plan(1), rules()).await;
    // It took the patience once, and the other one told all.
    assert!(started.elapsed() < PATIENCE * 2, "{:?}", started.elapsed());
    assert!(
        snapshot.accounts.values().all(|account| matches!(account.limits, crate::snapshot::Limits::Jwt(_)))
    );
    let silent = format!("{}.ACCOUNTZ", Member::new(1).id);
    assert_eq!(of(&world.take_asked(), &silent).len(), 1);
    // In another epoch it is asked again.
    world.change(0, |member| member.hides_details = false);
    assert_eq!(gatherer.sweep(&plan(2), rules()).await.coverage.gaps(Endpoint::Accountz), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_accounts_outlives_a_list_that_is_lost() {
    let (world, mut gatherer) = system(1, 3);
    let described = |snapshot: &Snapshot| {
        let limits = snapshot.accounts.values().map(|account| &account.limits);
        limits.filter(|limits| matches!(limits, crate::snapshot::Limits::Jwt(_))).count()
    };
    assert_eq!(described(&gatherer.sweep(&plan(1), rules()).await), 2);
    // The answer after STATSZ and VARZ.
    world.disturb(&[Trouble::Nothing, Trouble::Nothing, Trouble::Lost]);
    let lost = gatherer.sweep(&plan(2), rules()).await;
    assert_eq!(lost.coverage.gaps(Endpoint::AccountStatz).len(), 1);
    world.change(0, |member| member.hides_details = true);
    assert_eq!(described(&gatherer.sweep(&plan(3), rules()).await), 2);
    // A whole list leaves one out.
    world.accounts(&[(key(1), -1, -1)]);
    assert_eq!(described(&gatherer.sweep(&plan(4), rules()).await), 1);
    world.accounts(&[(key(1), -1, -1), (key(2), -1, -1)]);
    assert_eq!(described(&gatherer.sweep(&plan(5), rules()).await), 1);
}

#[tokio::test(start_paused = true)]
async fn accounts_are_read_only_for_checks_that_need_them() {
    let (world, mut gatherer) = system(2, 3);
    let requests = [Endpoint::Statsz, Endpoint::Varz, Endpoint::AccountStatz].into_iter().collect();
    let snapshot = gatherer.sweep(&Plan { requests, ..plan(1) }, rules()).await;
    let asked = world.take_asked();
    assert_eq!((of(&asked, ".STATZ").len(), of(&asked, ".ACCOUNTZ").len()), (1, 0));
    assert_eq!(snapshot.coverage.gaps(Endpoint::AccountStatz), []);
    assert_eq!(snapshot.coverage.notes, [""; 0]);
    let gaps = snapshot.coverage.gaps(Endpoint::Accountz);
    assert!(gaps[0].reason.contains("no enabled check needs it"), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn the_busiest_of_a_server_that_decodes_jwts_are_asked_for_one_by_one_and_once() {
    use crate::snapshot::{FollowUp, Order};
    let id = Name::from(Member::new(1).id);
    let of = |by| FollowUp::BusiestConnections { server: id.clone(), by };
    let wanted = [of(Order::BytesTo), of(Order::Pending)];
    for (version, asked) in [("2.15.1", (0, 2, 5)), ("2.12.0", (2, 0, 0))] {
        let (world, mut gatherer) = system(1, 20);
        world.change(0, |member| member.version = version);
        let mut snapshot = gatherer.sweep(&plan(1), rules()).await;
        world.take_asked();
        gatherer.follow_up(&plan(1), &mut snapshot, &wanted).await;
        assert_eq!(readings(&world), asked, "{version}");
        for by in [Order::BytesTo, Order::Pending] {
            let rows = &snapshot.follow_ups.busiest[&(id.clone(), by)];
            assert_eq!(rows.len(), 5);
            assert!(rows.iter().all(|row| &*row.user == "a" && *row.account == *key(1)), "{rows:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_after_the_list_is_counted_in_the_next_epoch() {
    let wanted = [crate::snapshot::FollowUp::ClosedConnections { server: Member::new(1).id.into() }];
    let (world, mut gatherer) = system(1, 3);
    world.change(0, |member| {
        member.ended_as = |_| serde_json::json!({"reason": "Maximum Connections Exceeded"});
    });
    let mut rejected = Vec::new();
    for (epoch, clock, ended) in [(1, 0, (20, -5)), (2, 60_000, (21, 30_000)), (3, 120_000, (23, 90_000))] {
        world.change(0, |member| {
            member.clock = clock;
            member.ended.push(ended);
        });
        let mut snapshot = gatherer.sweep(&plan(epoch), rules()).await;
        world.change(0, |member| {
            member.clock = clock + 1_000;
            member.ended.push((30 + epoch, clock + 500));
        });
        gatherer.follow_up(&plan(epoch), &mut snapshot, &wanted).await;
        rejected.extend(snapshot.follow_ups.rejected.values().copied());
    }
    // In the first epoch it is not known since when.
    assert_eq!(rejected, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stands_outlives_many_that_are_gone() {
    let (_, mut gatherer) = system(1, 0);
    for gone in 2..2 * OWN_CONNECTIONS as u64 {
        gatherer.note_own("S", 1);
        gatherer.note_own("S", gone);
        assert!(gatherer.own.contains(&("S".into(), 1)), "{gone}");
    }
    assert_eq!(gatherer.own.len(), OWN_CONNECTIONS);
}

#[tokio::test(start_paused = true)]
async fn own_connections_are_known_without_a_list() {
    let (_, mut gatherer) = system(2, 3);
    let (first, second) = (Member::new(1).id, Member::new(2).id);
    for (epoch, connections) in [(1, Sweep::Flagged), (2, Sweep::Off), (3, Sweep::Whole)] {
        gatherer.note_beside(&second, 77);
        let snapshot = gatherer.sweep(&Plan { connections, ..plan(epoch) }, rules()).await;
        let own = |id: &str| snapshot.servers[id].own;
        assert_eq!((own(&first), own(&second)), (1, 1), "{connections:?}");
    }
    // It is gone.
    let snapshot = gatherer.sweep(&Plan { connections: Sweep::Off, ..plan(4) }, rules()).await;
    assert_eq!(snapshot.servers[&*second].own_connections(), 0);
}
