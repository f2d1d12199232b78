//! SERVER_011 on a cluster in configuration-file mode.

use crate::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_near_its_maximum_fires_with_its_neighbours_and_ends() {
    let cluster = Cluster::config(3)
        .account(Account::new("APP").user("svc"))
        .max_connections(1, 50)
        .max_connections(2, 100)
        .start()
        .await;
    let clients = cluster.connect_many(1, "APP/svc", "web", 44).await;
    let elsewhere = cluster.connect_many(2, "APP/svc", "web", 5).await;
    let mut watched = Watched::start(&cluster, "[accounts.APP]\nmax_connections = 1000\n").await;
    let found = watched.firing_as("SERVER_011", |f| f["observed"]["value"] == 44).await;
    let json = &found.json;
    let sys = cluster.account_id("SYS");
    assert_eq!(found.subject, format!("insights.checks.{sys}.warning.SERVER_011.server.n2"));
    assert_eq!(json["entity"]["cluster"], "east");
    assert_eq!(json["observed"]["limit"], 50);
    assert_eq!(json["observed"]["percent"], 88.0);
    assert_eq!(json["observed"]["limit_source"], "server");
    let evidence = &json["evidence"];
    assert_eq!(evidence["top"]["accounts"]["top"], json!([{"name": "APP", "count": 44}]));
    assert_eq!(evidence["cluster"]["has_room"], true);
    let servers = evidence["cluster"]["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    let n3 = servers.iter().find(|row| row["server"] == "n3").unwrap();
    assert_eq!((&n3["connections"], &n3["max_connections"]), (&json!(5), &json!(100)));

    // Six more fill it; what comes then is refused, which the server keeps among its closed connections.
    let more = cluster.connect_many(1, "APP/svc", "late", 6).await;
    for _ in 0..2 {
        cluster.try_connect(1, "APP/svc", "refused").await.unwrap_err();
    }
    let full = watched.firing_as("SERVER_011", |f| f["evidence"]["rejected"].as_u64() >= Some(2)).await;
    assert_eq!(full.json["observed"]["value"], 50);

    drop((clients, more));
    let ended = watched.resolved("SERVER_011").await;
    assert_eq!(ended.subject, found.subject);
    assert_eq!(ended.json["fingerprint"], json["fingerprint"]);
    assert!(ended.json["resolved_at"].is_string());
    drop(elsewhere);
    watched.check_everything_published();
}
