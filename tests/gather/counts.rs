//! Connections per server, account and user, over many pages.

use insights_agent::snapshot::{AccountLimits, Limits, Snapshot};

use crate::lens::{Lens, account, assert_whole, named};
use crate::support::{Account, Builder, Cluster, limits};

/// More than five pages of 64 on one server.
const MANY: usize = 330;

fn clients(snapshot: &Snapshot) -> Vec<(&str, u64, u64)> {
    let mut clients: Vec<_> = snapshot
        .servers
        .values()
        .map(|server| {
            let fold = server.fold.as_ref().unwrap();
            (&*server.name, fold.clients, fold.own)
        })
        .collect();
    clients.sort();
    clients
}

async fn counted(builder: Builder) -> (Cluster, Snapshot) {
    let cluster = builder.start().await;
    let mut lens = Lens::of(&cluster).await;
    let mut held = cluster.connect_many(0, "ORDERS/app", "worker", MANY).await;
    held.extend(cluster.connect_many(1, "ORDERS/app", "spare", 5).await);
    held.extend(cluster.connect_many(2, "ORDERS/other", "lone", 3).await);
    held.extend(cluster.connect_many(2, "BILLING/svc", "bill", 2).await);
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    assert_eq!(clients(&snapshot), [("n1", 330, 1), ("n2", 5, 0), ("n3", 5, 0)]);
    assert_eq!(snapshot.connections_seen(), 340);
    // The own connection is among what the server counts, and in no fold.
    assert_eq!(named(&snapshot, "n1").vars.as_ref().unwrap().connections, 331);
    assert_eq!(*snapshot.system_account, *cluster.account_id("SYS"));
    let system = account(&snapshot, &snapshot.system_account);
    assert_eq!((system.connections(), system.fold.users.len()), (1, 0));

    let orders = account(&snapshot, &cluster.account_id("ORDERS"));
    assert_eq!((orders.connections(), orders.leafnodes()), (338, 0));
    assert_eq!(orders.fold.kinds().nats, 338);
    assert_eq!(orders.fold.users.len(), 2);
    let app = orders.fold.users.get(&cluster.user_id("ORDERS/app")).unwrap();
    assert_eq!(app.connections(), 335);
    let on = |server| app.details().unwrap().on(named(&snapshot, server).fold.as_ref().unwrap());
    assert_eq!(["n1", "n2", "n3"].map(on), [330, 5, 0]);
    assert_eq!(orders.fold.users.get(&cluster.user_id("ORDERS/other")).unwrap().connections(), 3);
    let billing = account(&snapshot, &cluster.account_id("BILLING"));
    assert_eq!((billing.connections(), billing.fold.kinds().nats), (2, 2));
    assert_eq!(orders.fold.unnamed, 0);

    // A second look at the same clients gives the same numbers, and none of them is new.
    let again = lens.sweep().await;
    assert_whole(&again);
    assert_eq!(clients(&again), clients(&snapshot));
    assert_eq!(account(&again, &cluster.account_id("ORDERS")).fold.opened, 0);
    drop(held);
    (cluster, snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cluster_is_counted_exactly() {
    let builder = Cluster::operator(3)
        .account(
            Account::new("ORDERS")
                .limits(limits().conn(500).subs(1000))
                .user("app")
                .user_with_subs("other", 40),
        )
        .account(Account::new("BILLING").user("svc"));
    let (cluster, snapshot) = counted(builder).await;
    let orders = account(&snapshot, &cluster.account_id("ORDERS"));
    assert_eq!(orders.name.as_deref(), Some("ORDERS"));
    let expected = AccountLimits { connections: 500, subscriptions: 1000, leafnodes: -1 };
    assert_eq!(orders.limits, Limits::Jwt(expected));
    let of = |login: &str| {
        let user = orders.fold.users.get(&cluster.user_id(login)).unwrap();
        (user.name().unwrap(), user.subscription_limit())
    };
    assert_eq!(of("ORDERS/app"), ("app", None));
    assert_eq!(of("ORDERS/other"), ("other", Some(40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_cluster_is_counted_exactly() {
    let builder = Cluster::config(3)
        .account(Account::new("ORDERS").limits(limits().conn(500)).user("app").user("other"))
        .account(Account::new("BILLING").user("svc"));
    let (_cluster, snapshot) = counted(builder).await;
    let orders = account(&snapshot, "ORDERS");
    assert_eq!((orders.name.as_deref(), &orders.limits), (None, &Limits::NotVisible));
    let app = orders.fold.users.get("app").unwrap();
    assert_eq!((app.name(), app.subscription_limit()), (None, None));
    assert_eq!(account(&snapshot, "$G").limits, Limits::None);
    assert_eq!(account(&snapshot, "$G").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_own_connection_is_not_taken_for_an_open_one() {
    let mut cluster = Cluster::config(1).account(Account::new("A").user("a")).start().await;
    let mut lens = Lens::of(&cluster).await;
    for _ in 0..2 {
        let snapshot = lens.sweep().await;
        assert_eq!(clients(&snapshot), [("n1", 0, 1)]);
        // Back at the same server, with another id there.
        let connects = lens.connection.events().connects();
        lens.connection.client().force_reconnect().await.unwrap();
        crate::support::eventually("the agent is back", 20, async || {
            match lens.connection.events().connects() > connects {
                true => Ok(()),
                false => Err("not yet".into()),
            }
        })
        .await;
    }
    let _held = cluster.connect_many(0, "A/a", "a", 2).await;
    // The server may not have noticed yet that the connection before is gone.
    crate::support::eventually("one own connection is left", 30, async || {
        let snapshot = lens.sweep().await;
        let seen = format!("{:?}", clients(&snapshot));
        if clients(&snapshot) == [("n1", 2, 1)] { Ok(()) } else { Err(seen) }
    })
    .await;
    cluster.kill(0);
}
