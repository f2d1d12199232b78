//! Names that a configuration file allows and a subject does not, and names of a thousand bytes.

use insights_agent::snapshot::FollowUp;

use crate::lens::{Lens, account, assert_whole, named};
use crate::support::{Account, Cluster, eventually};

const ACCOUNTS: [&str; 6] = ["dots.in.name", "star*", "gt>", "größe-名前", "with space", "*"];

#[tokio::test(flavor = "multi_thread")]
async fn strange_names_are_counted_and_asked_for() {
    let mut builder = Cluster::config(2);
    for name in ACCOUNTS {
        builder = builder.account(Account::new(name).user(&format!("user of {name}")));
    }
    let cluster = builder.start().await;
    let mut lens = Lens::of(&cluster).await;
    let mut held = Vec::new();
    for (number, name) in ACCOUNTS.iter().enumerate() {
        let login = format!("{name}/user of {name}");
        let clients = cluster.connect_many(1, &login, &format!("{name}.>*"), number + 1).await;
        for subject in ["orders.new", "orders.old", "x"] {
            let mut subscription = clients[0].subscribe(subject).await.unwrap();
            clients[0].flush().await.unwrap();
            held.push(tokio::spawn(async move {
                while futures_util::StreamExt::next(&mut subscription).await.is_some() {}
            }));
        }
        tokio::spawn(async move {
            let _clients = clients;
            std::future::pending::<()>().await;
        });
    }
    let mut snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    let wanted: Vec<FollowUp> =
        ACCOUNTS.iter().map(|name| FollowUp::TopSubscriptions { account: (*name).into() }).collect();
    lens.follow_up(&mut snapshot, &wanted).await;
    assert_whole(&snapshot);
    for (number, name) in ACCOUNTS.iter().enumerate() {
        let account = account(&snapshot, name);
        let clients = number as u64 + 1;
        assert_eq!((account.connections(), account.fold.kinds().nats), (clients, clients), "{name}");
        let user = account.fold.users.get(&format!("user of {name}")).unwrap();
        assert_eq!(user.connections(), clients, "{name}");
        assert_eq!(user.details().unwrap().names.distinct(), clients, "{name}");
        let shapes = &snapshot.follow_ups.subscriptions[*name];
        assert_eq!(shapes.len(), (number + 1).min(5), "{name}");
        assert_eq!(shapes[0].server, named(&snapshot, "n2").id);
        assert_eq!(shapes[0].shape.listed, 3, "{name}");
        let tokens: Vec<(&str, u64)> =
            shapes[0].shape.first_tokens.iter().map(|counted| (&*counted.name, counted.count)).collect();
        assert_eq!(tokens, [("orders", 2), ("x", 1)], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_thousand_bytes_are_kept_apart_and_cut() {
    let long = |last: &str| format!("{}{last}", "ñ".repeat(500));
    let (user, other) = (long("a"), long("b"));
    let (account_a, account_b) = (format!("ACC{}", "x".repeat(1500)), format!("ACC{}", "y".repeat(900)));
    let cluster = Cluster::config(1)
        .account(Account::new(&account_a).user(&user).user(&other))
        .account(Account::new(&account_b).user("b"))
        .start()
        .await;
    let mut lens = Lens::of(&cluster).await;
    let mut held = Vec::new();
    for (login, name) in [
        (format!("{account_a}/{user}"), long("c")),
        (format!("{account_a}/{user}"), long("d")),
        (format!("{account_a}/{other}"), long("c")),
        (format!("{account_b}/b"), long("c")),
    ] {
        held.push(cluster.connect(0, &login, &name).await);
    }
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    let a = snapshot.accounts.values().find(|account| account.id.starts_with("ACCx")).unwrap();
    assert!(a.id.len() <= 1024, "{}", a.id.len());
    assert_eq!((a.connections(), a.fold.kinds().nats), (3, 3));
    assert_eq!(a.fold.users.get(&user).unwrap().connections(), 2);
    assert_eq!(a.fold.users.get(&other).unwrap().connections(), 1);
    let names = a.fold.names.top(9);
    assert_eq!(names.len(), 2);
    assert_eq!(names[0].count, 2);
    assert!(names.iter().all(|counted| counted.name.len() <= 128 && counted.name.starts_with("ñ")));
    assert_eq!(account(&snapshot, &account_b).connections(), 1);

    // Closing is told by an event, for an account with a long name as for any other.
    held.clear();
    eventually("the disconnects are heard", 30, async || {
        let snapshot = lens.sweep().await;
        let a = snapshot.accounts.values().find(|account| account.id.starts_with("ACCx")).unwrap();
        match a.connections() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
}
