//! Super-clusters and leafnodes.

use std::path::Path;
use std::time::Duration;

use insights_agent::demo::ports::free_port;
use insights_agent::demo::server::{Server, find_binary};
use insights_agent::demo::topology::{Access, FileAccount, FileUser, LeafLogin, LeafRemote, ServerConf};

use crate::lens::{Lens, account, assert_whole, missing, named};
use crate::support::{Account, Cluster, eventually, server_of_version};

#[tokio::test(flavor = "multi_thread")]
async fn both_clusters_of_a_super_cluster_are_seen() {
    let cluster = Cluster::operator(2).second_cluster(2).account(Account::new("A").user("a")).start().await;
    let mut lens = Lens::of(&cluster).await;
    let mut held = Vec::new();
    for (server, count) in [(0, 3), (1, 1), (2, 70), (3, 2)] {
        held.extend(cluster.connect_many(server, "A/a", "a", count).await);
    }
    let snapshot = lens.sweep().await;
    assert_whole(&snapshot);
    let seen: Vec<(&str, Vec<&str>)> = snapshot
        .clusters()
        .into_iter()
        .map(|(name, servers)| {
            let mut names: Vec<&str> = servers.iter().map(|server| &*server.name).collect();
            names.sort_unstable();
            (&**name, names)
        })
        .collect();
    assert_eq!(seen, [("east", vec!["n1", "n2"]), ("west", vec!["n3", "n4"])]);
    assert_eq!(named(&snapshot, "n3").fold.as_ref().unwrap().clients, 70);
    let account = account(&snapshot, &cluster.account_id("A"));
    assert_eq!((account.connections(), account.fold.kinds().nats), (76, 76));
}

async fn leafnodes_are_told_apart(binary: &Path, listed: u64) {
    for builder in [Cluster::operator(2), Cluster::config(2)] {
        let cluster = builder
            .account(Account::new("EDGE").user("hub").user("leaf"))
            .leaf("EDGE/leaf")
            .binary(binary)
            .start()
            .await;
        let mut lens = Lens::of(&cluster).await;
        let _held = cluster.connect_many(0, "EDGE/hub", "hub", 3).await;
        let snapshot = lens.sweep().await;
        assert_whole(&snapshot);
        // The leaf server's system account is its own: it is not asked.
        assert_eq!(snapshot.servers.len(), 2);
        let hub = named(&snapshot, "n1");
        let fold = hub.fold.as_ref().unwrap();
        assert_eq!((fold.clients, fold.leafnodes), (3, listed));
        let vars = hub.vars.as_ref().unwrap();
        assert_eq!((vars.connections, vars.leafnodes), (4, 1));
        let edge = account(&snapshot, &cluster.account_id("EDGE"));
        assert_eq!((edge.connections(), edge.leafnodes(), edge.leafnodes_on_fullest()), (3, 1, 1));
        assert_eq!((edge.fold.kinds().clients(), edge.fold.kinds().leafnode), (3, listed));
        // A leafnode is no user's connection.
        assert_eq!(edge.fold.users.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leafnodes_are_listed_and_told_apart_by_a_new_server() {
    leafnodes_are_told_apart(&server_of_version("2.15.1"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leafnodes_are_not_listed_by_an_old_server() {
    leafnodes_are_told_apart(&server_of_version("2.10.26"), 0).await;
}

/// A leaf server that shares the system account of its hub, so that it answers like the hub's servers.
async fn leaf_of_the_system_account(cluster: &Cluster) -> Server {
    let hub = std::fs::read_to_string(cluster.dir().join("n1.conf")).unwrap();
    let leafnodes = hub.split("leafnodes {").nth(1).unwrap();
    let listen = leafnodes.split("127.0.0.1:").nth(1).unwrap();
    let port = listen.split('"').next().unwrap().parse().unwrap();
    let system = FileAccount {
        name: "EDGESYS".into(),
        users: vec![FileUser { user: "s".into(), password: "s".into(), ..FileUser::default() }],
        ..FileAccount::default()
    };
    let access = Access::File { system_account: "EDGESYS".into(), accounts: vec![system] };
    let mut conf = ServerConf::new("edge", free_port().unwrap().into(), access);
    let (user, password) = cluster.password("SYS/admin");
    conf.leafnode_remotes.push(LeafRemote {
        port,
        account: Some("EDGESYS".into()),
        login: LeafLogin::Password(user, password),
    });
    let file = cluster.dir().join("edge.conf");
    std::fs::write(&file, conf.to_string()).unwrap();
    let binary = find_binary(None).unwrap();
    let mut server = Server::spawn(&binary, "edge", &file, cluster.dir()).unwrap();
    server.wait_ready(Duration::from_secs(20)).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_server_without_a_cluster_is_no_cluster() {
    let cluster = Cluster::config(2)
        .account(Account::new("EDGE").user("hub").user("leaf"))
        .leaf("EDGE/leaf")
        .start()
        .await;
    let mut leaf = leaf_of_the_system_account(&cluster).await;
    let mut lens = Lens::of(&cluster).await;
    let snapshot = eventually("the leaf server answers", 30, async || {
        let snapshot = lens.sweep().await;
        match snapshot.server_named("edge").is_some_and(|edge| edge.fold.is_some() && edge.vars.is_some()) {
            true => Ok(snapshot),
            false => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
    assert_eq!(named(&snapshot, "edge").cluster, None);
    let clusters: Vec<&str> = snapshot.clusters().into_keys().map(|name| &**name).collect();
    assert_eq!(clusters, ["east"]);
    leaf.kill().unwrap();
    lens.patience = Duration::from_secs(3);
    let after = lens.sweep().await;
    assert_eq!(missing(&after), ["edge"]);
    assert_eq!(after.coverage.missing[0].cluster, None);
}
