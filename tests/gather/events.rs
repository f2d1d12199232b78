//! What events count: refusals by limits, and connections that ended.

use insights_agent::snapshot::{AccountEvents, Snapshot};

use crate::lens::{Lens, account, assert_whole};
use crate::support::{Account, Cluster, eventually, limits};

/// Sums the events of one account over the sweeps until `enough`.
async fn heard(lens: &mut Lens, id: &str, enough: impl Fn(&AccountEvents) -> bool) -> AccountEvents {
    let mut sum = AccountEvents::default();
    eventually("the events are heard", 30, async || {
        let snapshot = lens.sweep().await;
        assert_whole(&snapshot);
        let events = account(&snapshot, id).events;
        sum.refused_connections += events.refused_connections;
        sum.refused_subscriptions += events.refused_subscriptions;
        sum.closed += events.closed;
        if enough(&sum) { Ok(sum) } else { Err(format!("{sum:?}")) }
    })
    .await
}

async fn counted(mut cluster: Cluster) {
    let mut lens = Lens::of(&cluster).await;
    let id = cluster.account_id("TIGHT");
    let held = cluster.connect_many(1, "TIGHT/a", "kept", 2).await;
    let nothing = lens.sweep().await;
    assert_whole(&nothing);
    assert_eq!(account(&nothing, &id).events, AccountEvents::default());

    eventually("the limit holds on another server", 20, async || {
        match cluster.try_connect(2, "TIGHT/a", "refused").await {
            Ok(_) => Err("accepted".into()),
            Err(_) => Ok(()),
        }
    })
    .await;
    for _ in 0..2 {
        assert!(cluster.try_connect(2, "TIGHT/a", "refused").await.is_err());
    }
    let refused = heard(&mut lens, &id, |sum| sum.refused_connections >= 3).await;
    assert_eq!(refused.refused_subscriptions, 0);

    // A subscription beyond the limit is refused, and only its client is told: the connection stays, without an event.
    let mut subscriptions = Vec::new();
    for number in 0..4 {
        subscriptions.push(held[0].subscribe(format!("s.{number}")).await.unwrap());
    }
    let user = cluster.user_id("TIGHT/a");
    let most = |snapshot: &Snapshot| {
        let fold = &account(snapshot, &id).fold;
        let top = &fold.top_subscriptions[0];
        assert_eq!(fold.users.at(top.user).unwrap().id(), &*user);
        (fold.users.get(&user).unwrap().connections(), top.subscriptions)
    };
    let quiet = eventually("the subscriptions are counted", 30, async || {
        let snapshot = lens.sweep().await;
        match most(&snapshot) {
            (2, 3) => Ok(snapshot),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(account(&quiet, &id).events.refused_subscriptions, 0);
    // The connection is closed when the limit sinks below what it has.
    cluster.set_limits("TIGHT", limits().conn(2).subs(1)).await;
    heard(&mut lens, &id, |sum| sum.refused_subscriptions >= 1).await;

    drop(held);
    let other = cluster.account_id("LOOSE");
    let clients = cluster.connect_many(1, "LOOSE/b", "b", 7).await;
    let before = lens.sweep().await;
    assert_eq!(account(&before, &other).events.closed, 0);
    drop(clients);
    let closed = heard(&mut lens, &other, |sum| sum.closed >= 7).await;
    let expected = AccountEvents { closed: 7, ..AccountEvents::default() };
    assert_eq!(closed, expected);
    cluster.kill(0);
}

fn accounts() -> [Account; 2] {
    [Account::new("TIGHT").limits(limits().conn(2).subs(3)).user("a"), Account::new("LOOSE").user("b")]
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_ends_are_counted_in_operator_mode() {
    let [tight, loose] = accounts();
    counted(Cluster::operator(3).account(tight).account(loose).start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_ends_are_counted_in_configuration_file_mode() {
    let [tight, loose] = accounts();
    counted(Cluster::config(3).account(tight).account(loose).start().await).await;
}
