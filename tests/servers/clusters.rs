//! Servers side by side: their versions, doors, memory and the number of their clients.

use crate::raw;
use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster, Message, server_of_version};
use insights_agent::demo::topology::{Access, ServerConf};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn app() -> Account {
    Account::new("APP").user("u")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_on_its_way_becomes_a_standing_mismatch_and_ends_with_it() {
    let (own, other) = match std::env::var("NATS_SERVER").unwrap_or_default() {
        own if own.contains("2.15.1") => (server_of_version("2.15.1"), "2.14.6"),
        own => (own.into(), "2.15.1"),
    };
    let mut cluster = Cluster::config(3).account(app()).start().await;
    cluster.restart_as(2, &server_of_version(other)).await;
    let mut watched = Watched::start(&cluster, "[checks.SERVER_002]\nrolling_for = '20s'\n").await;
    let found = watched.firing_as("SERVER_002", |json| json["severity"] == "info").await;
    assert_eq!(found.subject, "insights.checks.SYS.info.SERVER_002.server.n3");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["version"], &evidence["rolling"]), (&json!(other), &json!(true)));
    assert_eq!(evidence["versions"][0]["names"], json!(["n1", "n2"]));
    assert_eq!(evidence["last_started"]["server"], "n3");
    let summary = found.json["summary"].as_str().unwrap();
    assert!(summary.ends_with("a rolling upgrade seems to be in progress"), "{summary}");
    let standing = watched.firing_as("SERVER_002", |json| json["severity"] == "warning").await;
    assert_eq!(standing.json["fingerprint"], found.json["fingerprint"]);
    assert!(standing.json["summary"].as_str().unwrap().ends_with("a standing mismatch"));
    cluster.restart_as(2, &own).await;
    watched.resolved("SERVER_002").await;
    watched.check_everything_published();
}

/// In a cluster whose other servers have users in the system account, one without any is open and still part of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_is_found_and_closed() {
    // Only in its own `$SYS` can an open server be asked, which for it cannot be configured.
    let open = |server: usize, conf: &mut ServerConf| {
        if server == 1 {
            conf.access = Access::Open;
        } else if let Access::File { system_account, accounts } = &mut conf.access {
            let system = accounts.iter_mut().find(|account| account.name == *system_account).unwrap();
            system.name = "$SYS".into();
            *system_account = system.name.clone();
        }
    };
    let mut cluster = Cluster::config(3).account(app()).edit(open).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing("SERVER_007").await;
    assert_eq!(found.subject, "insights.checks.$SYS.critical.SERVER_007.server.n2");
    assert_eq!(found.json["evidence"]["closed_servers"], json!(["n1", "n3"]));
    assert_eq!(
        found.json["summary"],
        "server n2 does not require clients to log in, while 2 servers of its cluster do; it lets in only those who come \
         from its own host"
    );
    let access = cluster.conf(0).access.clone();
    cluster.edit(1, |conf| conf.access = access);
    // No reload changes the system account.
    cluster.restart(1).await;
    assert_eq!(watched.resolved("SERVER_007").await.json["entity"]["id"], "n2");
    let others = watched.findings.history().into_iter().filter(|m| m.check() == "SERVER_007");
    assert!(others.into_iter().all(|m| m.json["entity"]["id"] == "n2"));
    watched.check_everything_published();
}

/// A client that does not read keeps its server large: 50 MB wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_far_larger_is_found_with_the_client_that_makes_it_so() {
    let mut cluster = Cluster::config(3).account(app()).extra("write_deadline: \"100s\"\n").start().await;
    // Others stand before both of them by id.
    let others = cluster.connect_many(2, "APP/u", "other", 10).await;
    let mut many = raw::client(&cluster, 2, "APP/u", "many").await;
    for sid in 0..50 {
        many.write_all(format!("SUB many.{sid} {sid}\r\n").as_bytes()).await.unwrap();
    }
    let mut stuck = raw::client(&cluster, 2, "APP/u", "stuck").await;
    stuck.write_all(b"SUB large 1\r\n").await.unwrap();
    let source = cluster.connect(2, "APP/u", "source").await;
    let payload = bytes::Bytes::from(vec![7; 1 << 20]);
    for _ in 0..50 {
        source.publish("large", payload.clone()).await.unwrap();
        source.flush().await.unwrap();
    }
    let mut watched = Watched::start(&cluster, "[checks.CLUSTER_001]\nmin_bytes = 30000000\n").await;
    let found = watched.firing("CLUSTER_001").await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.CLUSTER_001.server.n3");
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["servers"][0]["server"], "n3", "{evidence}");
    assert_eq!(evidence["servers"].as_array().unwrap().len(), 3);
    let first = &evidence["most_pending"][0];
    assert_eq!(
        (&first["name"], &first["account"], &first["user"]),
        (&json!("stuck"), &json!("APP"), &json!("u"))
    );
    assert!(first["pending_bytes"].as_u64() > Some(30_000_000), "{first}");
    let most = &evidence["most_subscriptions"];
    assert_eq!((&most[0]["name"], &most[0]["subscriptions"]), (&json!("many"), &json!(50)));
    assert_eq!(most.as_array().unwrap().len(), 5);
    let step = found.json["remediation"][0].as_str().unwrap();
    assert!(step.contains("begin with stuck (connection "), "{step}");
    // A process gives memory back late; another one is small.
    drop((stuck, many, others, source));
    cluster.restart(2).await;
    assert_eq!(watched.resolved("CLUSTER_001").await.json["entity"]["id"], "n3");
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_and_goes_is_told_each_time() {
    let cluster = Cluster::config(2).account(app()).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.findings.epochs(2, SOON).await;
    // All of them between two epochs.
    watched.agent.pause();
    let mut crowd = Vec::new();
    for number in 0..600 {
        crowd.push(raw::client(&cluster, 1, "APP/u", &format!("crowd-{number}")).await);
    }
    watched.agent.resume();
    let found = watched.firing("CLUSTER_006").await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.CLUSTER_006.server.n2");
    assert_eq!(
        found.json["summary"],
        "server n2 gained 600 client connections since the epoch before: 0 became 600"
    );
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["opened"], &evidence["cluster_change"]), (&json!(600), &json!(600)));
    assert_eq!(evidence["others"], json!([{"server": "n1", "now": 2, "change": 0}]));
    assert_eq!(evidence["top"]["accounts"]["top"], json!([{"name": "APP", "count": 600}]));
    watched.resolved("CLUSTER_006").await;

    watched.findings.forget();
    watched.agent.pause();
    drop(crowd);
    tokio::time::sleep(Duration::from_millis(500)).await;
    watched.agent.resume();
    let found = watched.firing("CLUSTER_006").await;
    assert_eq!(found.json["evidence"]["change"], -600);
    let ended = &found.json["evidence"]["ended"];
    assert_eq!(ended["accounts"]["top"], json!([{"name": "APP", "count": 600}]), "{ended}");
    watched.check_everything_published();
}

/// From 2.11.0 on a server refuses to start with such a name.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_space_is_found_as_long_as_servers_start_with_it() {
    let mut cluster = Cluster::config(2)
        .account(app())
        .binary(&server_of_version("2.10.26"))
        .edit(|_, conf| conf.cluster.iter_mut().for_each(|cluster| cluster.name = "my cluster".into()))
        .start()
        .await;
    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing_as("CLUSTER_004", |json| json["entity"]["id"] == "n2").await;
    assert_eq!(found.json["evidence"], json!({"cluster": "my cluster", "version": "2.10.26", "servers": 2}));
    watched.firing_as("CLUSTER_004", |json| json["entity"]["id"] == "n1").await;
    for server in [0, 1] {
        cluster.stop(server).await;
        cluster.edit(server, |conf| {
            conf.cluster.iter_mut().for_each(|cluster| cluster.name = "mine".into());
        });
    }
    cluster.start(0);
    cluster.start(1);
    let ended = |m: &Message| {
        m.check() == "CLUSTER_004" && m.status() == "resolved" && m.json["entity"]["id"] == "n2"
    };
    watched.findings.wait_for(SOON, ended).await;
    watched.check_everything_published();
}
