//! What becomes of the leader.

use crate::support::{Cluster, Findings};
use crate::team::{Team, planted};
use crate::{EPOCH, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_publishes_and_when_it_is_killed_another_one_goes_on() {
    let cluster = planted(Cluster::operator(3)).start().await;
    let mut team = Team::start(&cluster, &[0, 1, 2], "").await;
    let before = team.finding().await;

    // Nobody else publishes.
    team.findings.forget();
    team.findings.epochs(3, SOON).await;
    let leader = Team::beside(&team.next().await);
    assert!(team.epochs().iter().all(|(_, by)| *by == leader), "{:?}", team.epochs());
    let last = team.next().await;
    assert_eq!(last.json["agents"]["by"], "presence");
    assert_eq!(
        (&last.json["agents"]["standby"], &last.json["agents"]["leader"]),
        (&2.into(), &last.json["agent"]["id"])
    );

    team.remove(leader).kill();
    let first = team.successor_of(leader).await;
    assert!(first.epoch() - last.epoch() <= 2 * EPOCH, "{:?}\n{}", team.epochs(), team.logs());
    team.findings.epochs(3, SOON).await;
    team.went_on(&before);
    let next = Team::beside(&first);
    assert_eq!(team.epochs().iter().filter(|(_, by)| *by != leader && *by != next).count(), 0);
    assert!(team.finding().await["epochs"].as_u64() > before["epochs"].as_u64());

    // And once more, until there is one left. One that starts again takes nothing over.
    team.findings.forget();
    team.remove(next).kill();
    let last = Team::beside(&team.successor_of(next).await);
    team.add(&cluster, leader);
    team.findings.wait_for(SOON, |m| m.is_epoch() && m.json["agents"]["standby"] == 1).await;
    team.findings.epochs(2, SOON).await;
    team.went_on(&before);
    assert!(team.epochs().iter().all(|(_, by)| *by == next || *by == last), "{:?}", team.epochs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_and_goes_on_finds_another_one_at_work() {
    let cluster = planted(Cluster::operator(3)).start().await;
    let mut team = Team::start(&cluster, &[0, 1], "").await;
    let before = team.finding().await;
    for _ in 0..2 {
        team.findings.forget();
        // In the middle of an epoch's messages, as far as that can be had.
        let found = team.findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001").await;
        let leader = Team::beside(&found);
        team.agent(leader).pause();
        let next = Team::beside(&team.successor_of(leader).await);
        team.findings.epochs(1, SOON).await;
        team.agent(leader).resume();
        crate::support::eventually("the returned one stands by", 60, async || {
            let told = team.agent(leader).stderr();
            let last = told.lines().rfind(|line| line.contains("agent::election"));
            if last.is_some_and(|line| line.contains("stands by leader=")) { Ok(()) } else { Err(told) }
        })
        .await;
        team.findings.epochs(3, SOON).await;
        // What its connection had taken when it was stopped goes out late, and nothing else.
        team.leave_out_late(leader, found.epoch());
        team.went_on(&before);
        let epochs = team.epochs();
        let turn = epochs.iter().position(|(_, by)| *by == next).unwrap();
        assert!(epochs[turn..].iter().all(|(_, by)| *by == next), "{epochs:?}\n{}", team.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_in_order_says_so_and_the_next_one_begins_at_once() {
    let cluster = planted(Cluster::operator(3)).start().await;
    let mut team = Team::start(&cluster, &[0, 1], "").await;
    let before = team.finding().await;
    let mut heard = Findings::subscribe_at(&cluster, 2, "SYS/admin", "insights.agents.*").await;
    team.findings.forget();
    let leader = Team::beside(&team.next().await);
    let mut agent = team.remove(leader);
    agent.terminate();
    assert!(agent.wait(SOON).await.success(), "{}", agent.stderr());
    let left = heard.wait_for(SOON, |m| m.json["leaving"] == true).await;
    assert_eq!((&left.json["leading"], Team::beside_name(&left)), (&false.into(), leader));
    let first = team.successor_of(leader).await;
    let epochs = team.epochs();
    let last = epochs.iter().rfind(|(_, by)| *by == leader).unwrap().0;
    assert!(first.epoch() - last <= 2 * EPOCH, "{epochs:?}\n{}", team.logs());
    team.findings.epochs(2, SOON).await;
    team.went_on(&before);
}
