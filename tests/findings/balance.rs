//! OPT_BALANCE_002 and OPT_BALANCE_006.

use crate::Watched;
use crate::support::{Account, Cluster, limits};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_server_and_a_concentrated_account_fire_with_the_whole_matrix_and_end() {
    let cluster = Cluster::operator(3)
        .account(Account::new("APP").limits(limits().conn(1000)).user("a").user("b"))
        .start()
        .await;
    // Two users, so that neither has more than a hundred connections.
    let mut hot = cluster.connect_many(0, "APP/a", "web", 75).await;
    hot.extend(cluster.connect_many(0, "APP/b", "web", 75).await);
    let rest = cluster.connect_many(1, "APP/a", "web", 10).await;
    let account = cluster.account_id("APP");
    let mut watched = Watched::start(&cluster, "").await;

    let found = watched.firing("OPT_BALANCE_006").await;
    assert_eq!(
        found.subject,
        format!("insights.checks.{account}.info.OPT_BALANCE_006.account.{account}%2Feast")
    );
    let json = &found.json;
    assert_eq!(json["kind"], "optimization");
    assert_eq!(json["entity"]["cluster"], "east");
    assert_eq!(json["observed"]["percent"], 93.8);
    let evidence = json["evidence"].to_string();
    for row in [
        json!({"server": "n1", "connections": 150, "percent": 93.8}),
        json!({"server": "n2", "connections": 10, "percent": 6.3}),
        json!({"server": "n3", "connections": 0, "percent": 0.0}),
    ] {
        assert!(
            json["evidence"]
                .as_object()
                .unwrap()
                .values()
                .any(|list| { list.as_array().is_some_and(|list| list.contains(&row)) }),
            "{row} in {evidence}"
        );
    }

    let found = watched.firing("OPT_BALANCE_002").await;
    assert_eq!(found.json["entity"]["id"], "n1");
    assert!(found.json["observed"]["value"].as_u64().unwrap() >= 150);

    // The same number, spread.
    let mut spread = cluster.connect_many(1, "APP/b", "web", 40).await;
    spread.extend(cluster.connect_many(2, "APP/b", "web", 50).await);
    hot.truncate(50);
    watched.resolved("OPT_BALANCE_006").await;
    watched.resolved("OPT_BALANCE_002").await;
    drop((rest, spread, hot));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cluster_of_a_super_cluster_is_judged_by_itself() {
    let cluster = Cluster::config(3).account(Account::new("APP").user("a")).second_cluster(1).start().await;
    let hot = cluster.connect_many(0, "APP/a", "web", 12).await;
    let west = cluster.connect_many(3, "APP/a", "web", 30).await;
    let mut watched = Watched::start(&cluster, "[accounts.APP]\nmax_connections = 100\n").await;
    let found = watched.firing("OPT_BALANCE_006").await;
    assert_eq!(found.json["entity"]["id"], "APP/east");
    assert_eq!(found.json["observed"]["percent"], 100.0);
    watched.epoch(|e| e["servers"]["known"] == 4 && e["complete"] == true).await;
    // One server is the whole of the west: nothing there can be uneven.
    assert!(!watched.findings.history().iter().any(|m| m.json["entity"]["id"] == "APP/west"));
    drop((hot, west));
    watched.check_everything_published();
}
