//! Looks at servers of a scripted system, in virtual time.

use super::wholeness;
use crate::nats::gather::members::Member;
use crate::nats::gather::world::{Asked, PATIENCE, Trouble, World, key, plan, rules};
use crate::nats::gather::{Gatherer, Plan, Sweep};
use crate::snapshot::{Answer, Closed, Endpoint, Snapshot};
use serde_json::{Value, json};
use std::time::Duration;

const N1: usize = 0;

fn only_closed(epoch: u64) -> Plan {
    let requests = [Endpoint::Statsz, Endpoint::Varz, Endpoint::Closed].into_iter().collect();
    Plan { requests, connections: Sweep::NotNeeded, accounts: false, ..plan(epoch) }
}

async fn sweep(gatherer: &mut Gatherer, epoch: u64) -> Snapshot {
    gatherer.sweep(&only_closed(epoch), rules()).await
}

fn of(snapshot: &Snapshot) -> &Closed {
    snapshot.server_named("n1").unwrap().closed.as_ref().unwrap()
}

fn answer(snapshot: &Snapshot) -> &Answer {
    let id = &snapshot.server_named("n1").unwrap().id;
    snapshot.coverage.answer(Endpoint::Closed, id).unwrap()
}

/// Lets the clock of n1 go on, and connections end at these moments.
fn passes(world: &World, clock: i64, ended: impl IntoIterator<Item = (u64, i64)>) {
    world.change(N1, |member| {
        member.clock = clock;
        member.ended.extend(ended);
    });
}

/// Offsets and limits of the pages that were asked for.
fn pages(world: &World) -> Vec<(u64, u64)> {
    let asked = world.take_asked().into_iter().filter(|asked| asked.body["sort"] == "stop");
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    asked.map(|asked| (number(&asked.body["offset"]), number(&asked.body["limit"]))).collect()
}

fn one() -> (World, Gatherer) {
    World::of(vec![Member::new(1)], &[])
}

#[tokio::test(start_paused = true)]
async fn the_first_epoch_looks_at_nothing_and_the_next_at_what_ended_since() {
    let (world, mut gatherer) = one();
    passes(&world, 0, [(20, -60_000), (21, -500)]);
    let first = sweep(&mut gatherer, 1).await;
    assert_eq!((of(&first).count(), answer(&first)), (0, &Answer::Complete));
    assert_eq!(pages(&world), []);
    passes(&world, 60_000, [(22, 1), (23, 59_000), (24, 60_001)]);
    let second = sweep(&mut gatherer, 2).await;
    // The first ended before the agent was there, the last after the server's clock in the page.
    let cids: Vec<u64> = of(&second).groups[0].newest.iter().map(|row| row.cid).collect();
    assert_eq!((cids, of(&second).at_least, answer(&second)), (vec![23, 22], false, &Answer::Complete));
    assert_eq!(pages(&world), [(0, 64)]);
    passes(&world, 120_000, []);
    assert_eq!(of(&sweep(&mut gatherer, 3).await).count(), 1);
    passes(&world, 180_000, []);
    assert_eq!(of(&sweep(&mut gatherer, 4).await).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_once_is_told_to_the_next_epoch_after_one_in_vain() {
    let (world, mut gatherer) = World::of(vec![Member::new(1)], &[("APP".into(), -1, -1)]);
    let requests =
        [Endpoint::Statsz, Endpoint::Varz, Endpoint::Closed, Endpoint::AccountStatz, Endpoint::Events];
    let plan = |epoch| Plan { requests: requests.into_iter().collect(), accounts: true, ..plan(epoch) };
    let told = |snapshot: &Snapshot| {
        let heard = snapshot.ends.heard.iter().map(|boot| boot.id.to_string()).collect::<Vec<_>>();
        (of(snapshot).count(), snapshot.accounts["APP"].events.closed, heard.concat())
    };
    assert_eq!(told(&gatherer.sweep(&plan(1), rules()).await), (0, 0, String::new()));
    let since = gatherer.last_page_at.clone();
    assert_eq!(since.len(), 1);
    passes(&world, 60_000, [(20, 30_000)]);
    gatherer.events.disconnected("APP");
    gatherer.events.heard("A", "n8");
    assert_eq!(told(&gatherer.sweep(&plan(2), rules()).await), (1, 1, "A".into()));
    gatherer.not_judged();
    assert_eq!(gatherer.last_page_at, since);
    passes(&world, 120_000, [(21, 90_000)]);
    gatherer.events.disconnected("APP");
    gatherer.events.heard("B", "n9");
    let third = gatherer.sweep(&plan(3), rules()).await;
    assert_eq!(told(&third), (2, 2, "BA".into()));
    assert_eq!(gatherer.since, since);
    // That one was judged.
    passes(&world, 180_000, []);
    assert_eq!(told(&gatherer.sweep(&plan(4), rules()).await), (0, 0, String::new()));
}

#[tokio::test(start_paused = true)]
async fn an_epoch_after_one_in_vain_misses_what_that_one_missed() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    let events = |snapshot: &Snapshot| snapshot.coverage.gaps(Endpoint::Events).len();
    world.cut_off();
    assert_eq!(events(&sweep(&mut gatherer, 2).await), 1);
    gatherer.not_judged();
    assert_eq!(events(&sweep(&mut gatherer, 3).await), 1);
    assert_eq!(events(&sweep(&mut gatherer, 4).await), 0);
}

#[tokio::test(start_paused = true)]
async fn what_turns_up_late_is_counted_once_and_what_was_counted_is_not_again() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    passes(&world, 60_000, [(20, 59_900)]);
    assert_eq!(of(&sweep(&mut gatherer, 2).await).count(), 1);
    passes(&world, 120_000, [(21, 59_950), (22, 59_850)]);
    let third = sweep(&mut gatherer, 3).await;
    assert_eq!(of(&third).count(), 2);
    // Epochs that are shorter than what may be late.
    for (epoch, clock) in [(4, 120_300), (5, 120_600)] {
        passes(&world, clock, [(100 + epoch, clock - 100)]);
        assert_eq!(of(&sweep(&mut gatherer, epoch).await).count(), 1, "{epoch}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_are_read_page_by_page_and_too_many_are_a_lower_bound() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    passes(&world, 60_000, (2..=601).map(|cid| (cid, cid as i64)));
    let many = sweep(&mut gatherer, 2).await;
    assert_eq!((of(&many).count(), of(&many).at_least), (600, false));
    assert_eq!(pages(&world), [(0, 64), (64, 512), (576, 512)]);
    passes(&world, 120_000, (1001..=4000).map(|cid| (cid, 60_000 + cid as i64)));
    let more = sweep(&mut gatherer, 3).await;
    assert_eq!((of(&more).count(), of(&more).at_least), (64 + 3 * 512, true));
    let newest = Answer::Partial("only the last 1600 connections that ended were read".into());
    assert_eq!(answer(&more), &newest);
    passes(&world, 180_000, []);
    let quiet = sweep(&mut gatherer, 4).await;
    assert_eq!((of(&quiet).count(), answer(&quiet)), (0, &Answer::Complete));
}

#[test]
fn what_had_no_room_is_missing() {
    let whole = Closed { at_least: true, ..Closed::default() };
    assert_eq!(wholeness(&whole, true, 0), Answer::Complete);
    assert!(matches!(wholeness(&whole, true, 1), Answer::Partial(_)));
    assert!(matches!(wholeness(&Closed { ungrouped: 1, ..whole }, true, 0), Answer::Partial(_)));
}

#[tokio::test(start_paused = true)]
async fn after_an_answer_that_is_lost_the_next_look_reaches_further_back() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    passes(&world, 60_000, [(20, 1_000)]);
    // STATSZ, VARZ, and then the page.
    world.disturb(&[Trouble::Nothing, Trouble::Nothing, Trouble::Lost]);
    let lost = sweep(&mut gatherer, 2).await;
    assert!(lost.server_named("n1").unwrap().closed.is_none());
    assert_eq!(answer(&lost), &Answer::Silent);
    passes(&world, 120_000, [(21, 100_000)]);
    assert_eq!(of(&sweep(&mut gatherer, 3).await).count(), 2);
    // Half a page is of no use, and neither is one of another server.
    passes(&world, 180_000, [(22, 150_000)]);
    world.disturb(&[Trouble::Nothing, Trouble::Nothing, Trouble::Cut(0.5)]);
    let cut = sweep(&mut gatherer, 4).await;
    assert!(matches!(answer(&cut), Answer::Failed(_)), "{:?}", answer(&cut));
    passes(&world, 240_000, []);
    assert_eq!(of(&sweep(&mut gatherer, 5).await).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_later_page_that_is_lost_leaves_a_part() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    passes(&world, 60_000, (1..=100).map(|cid| (cid, cid as i64)));
    world.disturb(&[Trouble::Nothing, Trouble::Nothing, Trouble::Nothing, Trouble::Lost]);
    let part = sweep(&mut gatherer, 2).await;
    assert_eq!((of(&part).count(), of(&part).at_least), (64, true));
    assert!(matches!(answer(&part), Answer::Partial(_)), "{:?}", answer(&part));
}

#[tokio::test(start_paused = true)]
async fn the_agents_own_connection_is_left_out() {
    let (world, mut gatherer) = one();
    sweep(&mut gatherer, 1).await;
    // 1 is the connection that carries these requests.
    passes(&world, 60_000, [(1, 59_900), (2, 1_000)]);
    let snapshot = sweep(&mut gatherer, 2).await;
    assert_eq!(of(&snapshot).groups[0].newest[0].cid, 2);
    let own = |snapshot: &Snapshot| of(snapshot).own.values().sum::<u64>();
    assert_eq!((of(&snapshot).count(), own(&snapshot)), (1, 1));
    // Once.
    passes(&world, 120_000, []);
    assert_eq!(own(&sweep(&mut gatherer, 3).await), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_one_heavy_request_also_beside_its_sweep() {
    let (world, mut gatherer) = World::of((1..=20).map(Member::new).collect(), &[]);
    for epoch in 1..4 {
        world.change(N1, |member| member.latency = PATIENCE / 4);
        let requests = [Endpoint::Statsz, Endpoint::Varz, Endpoint::Connz, Endpoint::Closed].into_iter();
        let plan = Plan { requests: requests.collect(), accounts: false, ..plan(epoch) };
        let snapshot = gatherer.sweep(&plan, rules()).await;
        assert_eq!(snapshot.coverage.gaps(Endpoint::Closed), []);
    }
    let (own, all) = world.most_heavy();
    assert!(own == 1 && all > 8, "{own} {all}");
}

/// Looks at a system of operators: some account is a public key.
async fn sweep_operators(gatherer: &mut Gatherer, epoch: u64) -> Snapshot {
    let requests = [Endpoint::Statsz, Endpoint::Varz, Endpoint::Closed, Endpoint::AccountStatz].into_iter();
    gatherer
        .sweep(&Plan { requests: requests.collect(), accounts: true, ..only_closed(epoch) }, rules())
        .await
}

fn operators() -> (World, Gatherer) {
    World::of(vec![Member::new(1)], &[(key(1), -1, -1)])
}

fn user_key(number: u8) -> String {
    nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [number; 32]).unwrap().public_key()
}

fn user_jwt(number: u8, name: &str) -> String {
    let claims =
        json!({"sub": user_key(number), "iss": key(7), "name": name, "nats": {"issuer_account": key(1)}});
    format!("e30.{}.c2ln", data_encoding::BASE64URL_NOPAD.encode(claims.to_string().as_bytes()))
}

/// Up to 29 with a JWT, then bearers of another account without one, then those that never logged in.
fn by_key(cid: u64) -> Value {
    match cid {
        0..30 => json!({"jwt": user_jwt(1, "worker"), "issuer_key": key(7), "account": key(1),
            "authorized_user": user_key(1)}),
        30..40 => json!({"issuer_key": key(8), "account": key(2), "authorized_user": user_key(2)}),
        40..50 => json!({"jwt": user_jwt(3, "expired"), "reason": "Authentication Failure", "account": "",
            "authorized_user": ""}),
        50..60 => json!({"jwt": user_jwt(1, "worker"), "reason": "Maximum Account Connections Exceeded",
            "account": key(1), "authorized_user": ""}),
        60..70 => json!({"kind": "Leafnode", "account": key(3), "authorized_user": ""}),
        _ => json!({"reason": "Client Closed", "issuer_key": key(9), "account": key(4)}),
    }
}

/// The ids of single ones that were asked for, and whether all pages were asked for without users.
fn singles(asked: &[Asked]) -> (Vec<u64>, bool) {
    let closed: Vec<&Asked> = asked.iter().filter(|asked| asked.body["state"] == 1).collect();
    let mut pages = closed.iter().filter(|asked| asked.body["sort"] == "stop");
    let cids = closed.iter().filter_map(|asked| asked.body["cid"].as_u64()).collect();
    (cids, pages.all(|page| page.body["auth"] == false))
}

#[tokio::test(start_paused = true)]
async fn in_a_system_of_operators_keys_tell_whose_they_were_and_few_are_asked_for() {
    let (world, mut gatherer) = operators();
    world.change(N1, |member| member.ended_as = by_key);
    sweep_operators(&mut gatherer, 1).await;
    passes(&world, 60_000, [20, 21, 30, 31, 32, 40, 50, 60, 70].map(|cid| (cid, cid as i64)));
    let snapshot = sweep_operators(&mut gatherer, 2).await;
    assert_eq!((singles(&world.take_asked()), answer(&snapshot)), ((vec![60, 32], true), &Answer::Complete));
    let group = |account: Option<String>, reason: &str| {
        let mut groups = of(&snapshot).groups.iter();
        let wanted = |group: &&crate::snapshot::ClosedGroup| {
            group.account.as_deref() == account.as_deref() && *group.reason == *reason
        };
        let group = groups.find(wanted).unwrap_or_else(|| panic!("{reason}: {:?}", of(&snapshot).groups));
        let users = group.newest.iter().map(|row| row.user.to_string()).collect::<Vec<_>>();
        (group.count(), users)
    };
    let worker = || "worker".to_owned();
    assert_eq!(group(Some(key(1)), "Read Error"), (2, vec![worker(), worker()]));
    let hidden = || "[hidden]".to_owned();
    assert_eq!(group(Some(key(2)), "Read Error"), (3, vec![user_key(2), hidden(), hidden()]));
    assert_eq!(group(None, "Authentication Failure"), (1, vec!["expired".into()]));
    assert_eq!(group(Some(key(1)), "Maximum Account Connections Exceeded"), (1, vec![worker()]));
    assert_eq!(group(Some(key(3)), "Read Error").0, 1);
    assert_eq!((of(&snapshot).groups.len(), of(&snapshot).reasons["Client Closed"]), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_take_long_are_not_begun_again_soon() {
    let (world, mut gatherer) = operators();
    // Each is an account of its own, which was deleted.
    world.change(N1, |member| {
        member.ended_as = |cid| json!({"issuer_key": format!("K{cid}"), "account": key(cid as u8)});
        member.lookup = Duration::from_millis(1_900);
    });
    sweep_operators(&mut gatherer, 1).await;
    let mut asked = Vec::new();
    for epoch in 2..=8 {
        let now = (epoch as i64 - 1) * 60_000;
        passes(&world, now, (0..3).map(|i| (epoch * 10 + i, now - 1_000)));
        world.take_asked();
        let started = tokio::time::Instant::now();
        let snapshot = sweep_operators(&mut gatherer, epoch).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert_eq!(of(&snapshot).reasons["Read Error"], 3);
        assert!(matches!(answer(&snapshot), Answer::Partial(_)), "{:?}", answer(&snapshot));
        asked.push(singles(&world.take_asked()).0.len());
        tokio::time::advance(Duration::from_secs(60) - started.elapsed()).await;
    }
    assert_eq!(asked, [1, 0, 0, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_looks_up_nothing_is_asked_with_users() {
    let (world, mut gatherer) = operators();
    world.change(N1, |member| member.version = "2.10.29");
    sweep_operators(&mut gatherer, 1).await;
    passes(&world, 60_000, [(20, 1_000)]);
    let snapshot = sweep_operators(&mut gatherer, 2).await;
    assert_eq!(of(&snapshot).groups[0].account.as_deref(), Some("APP"));
    assert_eq!(singles(&world.take_asked()), (vec![], false));
}

#[tokio::test(start_paused = true)]
async fn of_two_servers_with_one_name_none_is_forgotten() {
    let (mut second, first) = (Member::new(2), Member::new(1));
    second.name.clone_from(&first.name);
    let (world, mut gatherer) = World::of(vec![first, second], &[]);
    sweep(&mut gatherer, 1).await;
    for number in [0, 1] {
        world.change(number, |member| (member.clock, member.ended) = (60_000, vec![(20, 1_000)]));
    }
    let snapshot = sweep(&mut gatherer, 2).await;
    let counts: Vec<u64> =
        snapshot.servers.values().map(|server| server.closed.as_ref().unwrap().count()).collect();
    assert_eq!(counts, [1, 1]);
}
