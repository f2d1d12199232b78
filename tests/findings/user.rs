//! USER_002 in both modes.

use crate::Watched;
use crate::support::{Account, Cluster, limits};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_too_many_connections_fires_over_all_servers_and_ends() {
    let cluster = Cluster::operator(3)
        .account(Account::new("BATCH").limits(limits().conn(1000)).user("job").user("other"))
        .start()
        .await;
    let mut clients = cluster.connect_many(0, "BATCH/job", "worker", 60).await;
    clients.extend(cluster.connect_many(1, "BATCH/job", "worker", 41).await);
    let others = cluster.connect_many(2, "BATCH/other", "other", 20).await;
    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing_as("USER_002", |f| f["observed"]["value"] == 101).await;
    let (account, user) = (cluster.account_id("BATCH"), cluster.user_id("BATCH/job"));
    assert_eq!(found.subject, format!("insights.checks.{account}.warning.USER_002.user.{user}"));
    let json = &found.json;
    assert_eq!(json["observed"]["threshold"], 100);
    assert_eq!(json["entity"]["user"], user.as_str());
    assert_eq!(json["entity"]["user_name"], "job");
    let evidence = &json["evidence"];
    assert_eq!(
        evidence["by_server"],
        json!([{"server": "n1", "connections": 60, "percent": 59.4},
               {"server": "n2", "connections": 41, "percent": 40.6}])
    );
    assert_eq!(evidence["addresses"]["top"], json!([{"name": "127.0.0.1", "count": 101}]));
    clients.truncate(100);
    let ended = watched.resolved("USER_002").await;
    assert_eq!(ended.json["fingerprint"], json["fingerprint"]);
    drop(others);
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_narrowed_by_account_and_user() {
    let cluster = Cluster::config(1).account(Account::new("APP").user("svc").user("crowd")).start().await;
    let svc = cluster.connect_many(0, "APP/svc", "a", 6).await;
    let crowd = cluster.connect_many(0, "APP/crowd", "b", 6).await;
    let config = "[checks.USER_002]\nmax_connections = 5\n\
                  [[checks.USER_002.override]]\nmatch = { account = \"A*\", user = \"crowd\" }\nmax_connections = 6\n";
    let mut watched = Watched::start(&cluster, config).await;
    let found = watched.firing("USER_002").await;
    assert_eq!((&found.json["entity"]["id"], &found.json["observed"]["value"]), (&json!("svc"), &json!(6)));
    watched.findings.epochs(2, crate::SOON).await;
    let about_crowd = watched.findings.history().iter().any(|m| m.json["entity"]["id"] == "crowd");
    assert!(!about_crowd, "six connections of crowd are allowed");
    drop((svc, crowd));
    watched.check_everything_published();
}
