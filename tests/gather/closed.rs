//! Connections that ended: what servers print of them, and what of it is kept.

use std::collections::BTreeMap;

use insights_agent::snapshot::{ClosedGroup, Endpoint, Snapshot};

use crate::lens::{Lens, assert_whole, named};
use crate::support::{Account, Cluster, Raw, eventually, flood, limits, server_of_version};

/// All that ended on n1, by account and reason, over the sweeps so far.
#[derive(Default)]
struct Seen(BTreeMap<(Option<String>, String), Vec<ClosedGroup>>);

impl Seen {
    fn take(&mut self, snapshot: &Snapshot) {
        assert_eq!(snapshot.coverage.gaps(Endpoint::Closed), []);
        for group in &named(snapshot, "n1").closed.as_ref().unwrap().groups {
            let account = group.account.as_ref().map(ToString::to_string);
            self.0.entry((account, group.reason.to_string())).or_default().push(group.clone());
        }
    }

    fn of(&self, account: Option<&str>, reason: &str) -> Option<&[ClosedGroup]> {
        self.0.get(&(account.map(Into::into), reason.into())).map(Vec::as_slice)
    }

    fn count(&self, account: Option<&str>, reason: &str) -> u64 {
        self.of(account, reason).map_or(0, |groups| groups.iter().map(ClosedGroup::count).sum())
    }
}

async fn ends_are_told(cluster: Cluster) {
    let before = cluster.connect(0, "APP/u", "gone-before").await;
    drop(before);
    let mut earlier = Lens::of(&cluster).await;
    eventually("it is gone", 20, async || {
        let snapshot = earlier.sweep().await;
        match snapshot.accounts.get("APP").map_or(0, insights_agent::snapshot::Account::connections) {
            0 => Ok(()),
            more => Err(more.to_string()),
        }
    })
    .await;
    let mut lens = Lens::of(&cluster).await;
    let first = lens.sweep().await;
    assert_whole(&first);
    assert_eq!(named(&first, "n1").closed.as_ref().unwrap().count(), 0);

    // One that leaves, one with a wrong password, one that says nothing, one that does not read, one that is cut off.
    let leaves = cluster.connect(0, "APP/u", "leaves").await;
    leaves.flush().await.unwrap();
    drop(leaves);
    let mut wrong = Raw::open(&cluster, 0).await;
    wrong.connect("u", "wrong", "intruder").await;
    // Whoever leaves with something unread is told as a read error.
    let mut silent = Raw::open(&cluster, 0).await;
    silent.read_until("\r\n").await;
    drop(silent);
    let mut slow = Raw::login(&cluster, 0, "APP/u", "never-reads").await;
    slow.subscribe("flood").await;
    let cut = Raw::login(&cluster, 0, "APP/u", "cut-off").await;
    cut.reset();
    let source = cluster.connect(0, "APP/u", "source").await;
    flood(&source, "flood").await;

    let mut seen = Seen::default();
    let app = Some("APP");
    eventually("all of them have ended", 30, async || {
        seen.take(&lens.sweep().await);
        let counts = [
            seen.count(app, "Client Closed"),
            seen.count(None, "Authentication Failure"),
            seen.count(None, "Client Closed"),
            seen.count(app, "Slow Consumer (Pending Bytes)"),
            seen.count(app, "Read Error"),
        ];
        if counts == [1; 5] { Ok(()) } else { Err(format!("{counts:?} {:?}", seen.0.keys())) }
    })
    .await;
    assert_eq!(seen.0.len(), 5, "{:?}", seen.0.keys());
    let newest = |account, reason| seen.of(account, reason).unwrap()[0].newest[0].clone();
    let slow = newest(app, "Slow Consumer (Pending Bytes)");
    assert_eq!((slow.name.as_deref(), &*slow.user, &*slow.address), (Some("never-reads"), "u", "127.0.0.1"));
    assert!(slow.start.unwrap() < slow.stop && slow.cid > 0 && !slow.leafnode);
    assert_eq!(newest(app, "Client Closed").name.as_deref(), Some("leaves"));
    assert_eq!(newest(app, "Read Error").name.as_deref(), Some("cut-off"));
    let wrong = newest(None, "Authentication Failure");
    assert_eq!(wrong.name.as_deref(), Some("intruder"));
    // Servers before 2.10.28 print there what may be a token.
    let hides = lens.sweep().await.servers.values().all(|server| {
        server.version.is_some_and(|version| version < insights_agent::snapshot::Version(2, 10, 28))
    });
    assert_eq!(&*wrong.user, if hides { "[hidden]" } else { "u" });
    assert_eq!(newest(None, "Client Closed").name, None);

    drop((source, earlier));
}

fn system() -> crate::support::Builder {
    Cluster::config(1).account(Account::new("APP").user("u")).extra("max_pending: 1MB\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told_once_with_its_account_and_reason() {
    ends_are_told(system().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_tells_the_same_and_no_token() {
    ends_are_told(system().binary(&server_of_version("2.10.26")).start().await).await;
}

/// There the server is asked without users, and the JWTs and keys tell.
#[tokio::test(flavor = "multi_thread")]
async fn jwts_and_keys_tell_whose_they_were() {
    for version in ["2.15.1", "2.12.8", "2.11.11"] {
        const FULL: &str = "Maximum Account Connections Exceeded";
        let app = Account::new("APP").user("u").bearer_user("b").limits(limits().conn(1));
        let cluster = Cluster::operator(1).account(app).binary(&server_of_version(version)).start().await;
        let (app, user, bearer) =
            (cluster.account_id("APP"), cluster.user_id("APP/u"), cluster.user_id("APP/b"));
        let mut lens = Lens::of(&cluster).await;
        assert_whole(&lens.sweep().await);
        let first = cluster.connect(0, "APP/u", "first").await;
        assert!(cluster.try_connect(0, "APP/u", "second").await.is_err());
        assert!(cluster.try_connect(0, "APP/b", "third").await.is_err());
        drop(first);
        let mut seen = Seen::default();
        let of_app = Some(&*app);
        eventually("they have ended", 30, async || {
            seen.take(&lens.sweep().await);
            let (full, closed) = (seen.of(of_app, FULL), seen.of(of_app, "Client Closed"));
            let full_users = || full.into_iter().flatten().flat_map(|group| &group.newest);
            let all = full_users().count() >= 2 && closed.is_some();
            if all { Ok(()) } else { Err(format!("{:?}", seen.0.keys())) }
        })
        .await;
        assert!(seen.of(None, FULL).is_none(), "{:?}", seen.0.keys());
        let closed = &seen.of(of_app, "Client Closed").unwrap()[0].newest[0];
        assert!(["u", &*user].contains(&&*closed.user), "{version}: {closed:?}, not {user}, {bearer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_connections_that_were_lost_between_two_looks_are_left_out() {
    let cluster = Cluster::config(1).start().await;
    let mut lens = Lens::of(&cluster).await;
    lens.sweep().await;
    let before = lens.connection.own().1;
    let mut last = before;
    for _ in 0..2 {
        lens.connection.client().force_reconnect().await.unwrap();
        eventually("it is back", 30, async || match lens.connection.own().1 {
            cid if cid != last => Ok(()),
            cid => Err(cid.to_string()),
        })
        .await;
        last = lens.connection.own().1;
    }
    let snapshot = lens.sweep().await;
    let closed = named(&snapshot, "n1").closed.as_ref().unwrap();
    let cids = closed.groups.iter().flat_map(|group| &group.newest).map(|row| row.cid);
    assert_eq!(cids.filter(|cid| (before..=last).contains(cid)).collect::<Vec<_>>(), [0u64; 0]);
    assert_eq!(named(&snapshot, "n1").own_connections(), 1);
}
