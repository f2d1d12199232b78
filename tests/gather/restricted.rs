//! Sweeps that the configuration restricts, and servers that join.

use insights_agent::nats::gather::Sweep;
use insights_agent::snapshot::{AccountLimits, Endpoint, FollowUp, Snapshot};

use crate::lens::{Lens, account, assert_whole, named};
use crate::support::{Account, Cluster, eventually, limits};

fn swept(snapshot: &Snapshot, id: &str) -> u64 {
    account(snapshot, id).fold.kinds().clients()
}

/// Everything but the list of connections is whole, and it is said why that is not.
fn assert_said(snapshot: &Snapshot, why: &str) {
    assert_eq!(snapshot.servers.len(), 3);
    for endpoint in [Endpoint::Statsz, Endpoint::Varz, Endpoint::AccountStatz, Endpoint::Accountz] {
        assert_eq!(snapshot.coverage.gaps(endpoint), [], "{endpoint:?}");
    }
    let gaps = snapshot.coverage.gaps(Endpoint::Connz);
    assert!(gaps.len() == 3 && gaps.iter().all(|gap| gap.reason.contains(why)), "{gaps:?}");
    assert!(snapshot.servers.values().all(|server| server.fold.is_none()));
    assert_eq!(snapshot.coverage.notes, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_near_a_limit_are_listed_and_no_others() {
    let cluster = Cluster::operator(3)
        .account(Account::new("TIGHT").limits(limits().conn(160)).user("t"))
        .account(Account::new("WIDE").limits(limits().conn(1000)).user("w"))
        .start()
        .await;
    let mut held = Vec::new();
    for (server, count) in [(0, 100), (1, 20), (2, 1)] {
        held.extend(cluster.connect_many(server, "TIGHT/t", "t", count).await);
        held.extend(cluster.connect_many(server, "WIDE/w", "w", count).await);
    }
    let mut lens = Lens::of(&cluster).await;
    lens.sweep = Sweep::Flagged;
    let (tight, wide) = (cluster.account_id("TIGHT"), cluster.account_id("WIDE"));
    for _ in 0..2 {
        let snapshot = lens.sweep().await;
        assert_said(&snapshot, "restricted to flagged accounts");
        assert_eq!((swept(&snapshot, &tight), swept(&snapshot, &wide)), (121, 0));
        assert_eq!(account(&snapshot, &wide).connections(), 121);
        let user = &account(&snapshot, &tight).fold.users.get(&cluster.user_id("TIGHT/t")).unwrap();
        assert_eq!(user.connections(), 121);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_limits_flag_an_account_of_any_name() {
    let cluster = Cluster::config(3).account(Account::new("A.b").user("a")).start().await;
    let _held = cluster.connect_many(1, "A.b/a", "a", 8).await;
    let mut lens = Lens::of(&cluster).await;
    lens.sweep = Sweep::Flagged;
    assert_eq!(swept(&lens.sweep().await, "A.b"), 0);
    lens.declare("A.b", AccountLimits { connections: 10, subscriptions: -1, leafnodes: -1 });
    let snapshot = lens.sweep().await;
    assert_said(&snapshot, "restricted to flagged accounts");
    assert_eq!(swept(&snapshot, "A.b"), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_listed_where_that_is_turned_off() {
    let cluster = Cluster::config(3).account(Account::new("A").user("a")).start().await;
    let _held = cluster.connect_many(0, "A/a", "a", 5).await;
    let mut lens = Lens::of(&cluster).await;
    lens.sweep = Sweep::Off;
    let mut snapshot = lens.sweep().await;
    lens.follow_up(&mut snapshot, &[FollowUp::TopSubscriptions { account: "A".into() }]).await;
    assert_said(&snapshot, "turns it off");
    assert!(snapshot.follow_ups.subscriptions.is_empty());
    assert_eq!((account(&snapshot, "A").connections(), swept(&snapshot, "A")), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_joins_is_whole_at_once() {
    let mut cluster = Cluster::config(3).account(Account::new("A").user("a")).start().await;
    cluster.stop(2).await;
    let mut lens = Lens::of(&cluster).await;
    eventually("two servers are there", 30, async || match lens.sweep().await.servers.len() {
        2 => Ok(()),
        other => Err(format!("{other} servers")),
    })
    .await;
    cluster.restart(2).await;
    let _held = cluster.connect_many(2, "A/a", "a", 70).await;
    // The epoch that meets it for the first time, whichever that is.
    let snapshot = eventually("the third has answered", 30, async || {
        let snapshot = lens.sweep().await;
        if snapshot.servers.len() == 3 { Ok(snapshot) } else { Err(format!("{:?}", snapshot.coverage)) }
    })
    .await;
    assert_eq!(named(&snapshot, "n3").fold.as_ref().unwrap().clients, 70);
    assert_eq!(account(&snapshot, "A").connections(), 70);
    assert_whole(&lens.sweep().await);
}
