//! Looks at servers of a scripted system, in virtual time.

use crate::nats::gather::members::Member;
use crate::nats::gather::world::{PATIENCE, Trouble, World, plan, rules};
use crate::nats::gather::{Gatherer, Plan, Sweep};
use crate::snapshot::{Answer, Closed, Endpoint, Snapshot};

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
    assert_eq!(answer(&more), &Answer::Complete);
    passes(&world, 180_000, []);
    assert_eq!(of(&sweep(&mut gatherer, 4).await).count(), 0);
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
