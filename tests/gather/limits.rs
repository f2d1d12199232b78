//! Limits of accounts, and that they are read again when they change.

use insights_agent::snapshot::{AccountLimits, Limits};

use crate::lens::{Lens, account, assert_whole};
use crate::support::{Account, Cluster, eventually, limits};

const fn jwt(connections: i64, subscriptions: i64, leafnodes: i64) -> Limits {
    Limits::Jwt(AccountLimits { connections, subscriptions, leafnodes })
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_jwts_are_read_and_read_again_when_they_change() {
    let mut cluster = Cluster::operator(3)
        .account(Account::new("TIGHT").limits(limits().conn(20).subs(30).leaf(4)).user("a"))
        .account(Account::new("WIDE").user("b"))
        .account(Account::new("NONE").limits(limits().conn(0)).user("c"))
        .start()
        .await;
    let mut lens = Lens::of(&cluster).await;
    let (tight, wide) = (cluster.account_id("TIGHT"), cluster.account_id("WIDE"));
    let _held = [cluster.connect(1, "TIGHT/a", "x").await, cluster.connect(2, "WIDE/b", "y").await];
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    assert_eq!(account(&snapshot, &tight).limits, jwt(20, 30, 4));
    assert_eq!(account(&snapshot, &wide).limits, jwt(-1, -1, -1));
    assert_eq!(account(&snapshot, &wide).label(), "WIDE");
    // A server leaves out a limit of zero: nobody may connect.
    assert!(cluster.try_connect(0, "NONE/c", "z").await.is_err());
    let none = cluster.account_id("NONE");
    eventually("a limit of zero is read as zero", 20, async || {
        let snapshot = lens.sweep().await;
        match snapshot.accounts.get(&*none).map(|account| account.limits.clone()) {
            Some(limits) if limits == jwt(0, -1, -1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    cluster.set_limits("TIGHT", limits().conn(25).subs(35).leaf(5)).await;
    eventually("the new limits are read", 20, async || {
        let snapshot = lens.sweep().await;
        let limits = account(&snapshot, &tight).limits.clone();
        if limits == jwt(25, 35, 5) { Ok(()) } else { Err(format!("{limits:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_configuration_file_are_not_visible() {
    let account_with_limits = Account::new("TIGHT").limits(limits().conn(20).subs(30).leaf(4));
    let cluster = Cluster::config(2).account(account_with_limits.user("a")).start().await;
    let snapshot = Lens::of(&cluster).await.sweep().await;
    assert_whole(&snapshot);
    assert_eq!(account(&snapshot, "TIGHT").limits, Limits::NotVisible);
    assert_eq!(account(&snapshot, "SYS").limits, Limits::NotVisible);
    assert_eq!(account(&snapshot, "$G").limits, Limits::None);
}
