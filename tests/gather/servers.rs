//! Servers that stop, crash, leave and come back.

use std::time::Duration;

use insights_agent::snapshot::{Answer, Endpoint, Snapshot};

use crate::lens::{Lens, account, answer, assert_whole, assert_whole_but, missing, named};
use crate::support::{Account, Cluster, eventually};

async fn three() -> (Cluster, Vec<async_nats::Client>, Lens) {
    let cluster = Cluster::operator(3).account(Account::new("A").user("a")).start().await;
    let mut held = Vec::new();
    for server in 0..3 {
        held.extend(cluster.connect_many(server, "A/a", "a", server + 2).await);
    }
    let mut lens = Lens::of(&cluster).await;
    lens.patience = Duration::from_secs(3);
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    assert_eq!(account(&snapshot, &cluster.account_id("A")).connections(), 9);
    (cluster, held, lens)
}

/// Waits until each thread of the process stands still: the signal takes effect a little later.
async fn frozen(pid: u32) {
    eventually("it is frozen", 20, async || {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap();
            if !state.contains("T (stopped)") {
                return Err(state.to_owned());
            }
        }
        Ok(())
    })
    .await;
}

fn clients(snapshot: &Snapshot, server: &str) -> u64 {
    named(snapshot, server).fold.as_ref().unwrap().clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_missing_and_all_others_are_whole() {
    let (mut cluster, _held, mut lens) = three().await;
    cluster.pause(2);
    frozen(cluster.server_pid(2)).await;
    for _ in 0..2 {
        let snapshot = lens.sweep().await;
        assert_whole_but(&snapshot, &["n3"]);
        assert_eq!((clients(&snapshot, "n1"), clients(&snapshot, "n2")), (2, 3));
        assert_eq!(account(&snapshot, &cluster.account_id("A")).connections(), 5);
        assert_eq!(snapshot.coverage.missing[0].last_epoch, Some(1));
        assert!(!snapshot.coverage.missing[0].lame_duck);
    }
    cluster.resume(2);
    eventually("it is back", 30, async || {
        let snapshot = lens.sweep().await;
        match missing(&snapshot).is_empty() && named(&snapshot, "n3").fold.is_some() {
            true => Ok(()),
            false => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_server_is_missing_by_name_until_it_is_back_under_it() {
    let (mut cluster, _held, mut lens) = three().await;
    let before = lens.sweep().await;
    cluster.kill(1);
    for _ in 0..2 {
        assert_whole_but(&lens.sweep().await, &["n2"]);
    }
    cluster.restart(1).await;
    eventually("it is known again", 30, async || {
        let snapshot = lens.sweep().await;
        if !missing(&snapshot).is_empty() || snapshot.servers.len() != 3 {
            return Err(format!("{:?}", snapshot.coverage));
        }
        assert_ne!(named(&snapshot, "n2").id, named(&before, "n2").id);
        assert!(named(&snapshot, "n2").start > named(&before, "n2").start);
        Ok(())
    })
    .await;
    eventually("all is whole again", 30, async || {
        let snapshot = lens.sweep().await;
        let gaps = snapshot.coverage.gaps(Endpoint::Connz);
        if gaps.is_empty() { Ok(()) } else { Err(format!("{gaps:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shut_down_in_order_is_not_missed() {
    let (mut cluster, _held, mut lens) = three().await;
    cluster.stop(2).await;
    eventually("it has left", 30, async || {
        let snapshot = lens.sweep().await;
        match missing(&snapshot).is_empty() && snapshot.servers.len() == 2 {
            true => Ok(()),
            false => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
    assert_whole(&lens.sweep().await);
    cluster.restart(2).await;
    eventually("it is back", 30, async || match lens.sweep().await.servers.len() {
        3 => Ok(()),
        other => Err(format!("{other} servers")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_is_missing_and_it_is_told_why() {
    let (mut cluster, _held, mut lens) = three().await;
    cluster.lame_duck(2);
    let snapshot = eventually("it is silent and has said why", 30, async || {
        let snapshot = lens.sweep().await;
        match snapshot.coverage.missing.first() {
            Some(missing) if missing.lame_duck => Ok(snapshot),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(missing(&snapshot), ["n3"]);
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert!(gaps[0].reason.contains("lame-duck"), "{gaps:?}");
    // Nobody waits for it.
    lens.patience = Duration::from_secs(15);
    let started = tokio::time::Instant::now();
    let again = lens.sweep().await;
    assert_eq!(missing(&again), ["n3"]);
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_own_connection_leaves_a_gap_in_the_events_only_once() {
    let (mut cluster, _held, first) = three().await;
    drop(first);
    let mut lens = Lens::at(&cluster, &[0, 1, 2]).await;
    lens.patience = Duration::from_secs(3);
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    let own = lens.connection.server_id();
    let name = snapshot.servers[&*own].name.to_string();
    let index = (0..3).find(|server| cluster.server_name(*server) == name).unwrap();
    cluster.kill(index);
    eventually("the agent is at another server", 30, async || {
        let events = lens.connection.events();
        match events.connected() && events.connects() >= 2 {
            true => Ok(()),
            false => Err(format!("{:?}", events.last_problem())),
        }
    })
    .await;
    let others: Vec<String> = (0..3)
        .filter(|server| *server != index)
        .map(|server| cluster.server_name(server).to_owned())
        .collect();
    let snapshot = lens.sweep().await;
    assert_eq!(missing(&snapshot), [name.as_str()]);
    for other in &others {
        let Answer::Partial(why) = answer(&snapshot, Endpoint::Events, other) else {
            panic!("{:?}", snapshot.coverage);
        };
        assert!(why.contains("connection was lost"), "{why}");
        assert_eq!(answer(&snapshot, Endpoint::Connz, other), &Answer::Complete);
    }
    assert_whole_but(&lens.sweep().await, &[name.as_str()]);
    cluster.restart(index).await;
    eventually("all is whole", 30, async || {
        let snapshot = lens.sweep().await;
        match snapshot.servers.len() == 3 && missing(&snapshot).is_empty() {
            true => Ok(()),
            false => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
    assert_whole(&lens.sweep().await);
}
