//! USER_001 on servers that show bearer tokens and on those that leave them out.

use crate::support::watched::Watched;
use crate::support::{Account, Cluster, at_least, server_of_version};
use serde_json::json;

/// A bearer user, one with two connections, and one that signs; `shows` says whether servers of this version show the token.
async fn fires_for_bearers_only(cluster: Cluster, shows: bool) {
    let mut bearer = cluster.connect_many(0, "APP/browser", "tab", 2).await;
    let worker = cluster.connect_many(0, "APP/worker", "worker", 3).await;
    let (account, user) = (cluster.account_id("APP"), cluster.user_id("APP/browser"));
    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing("USER_001").await;
    assert_eq!(found.subject, format!("insights.checks.{account}.warning.USER_001.user.{user}"));
    assert_eq!(
        found.json["observed"],
        json!({"value": 2, "percent": 100.0, "threshold": 0, "unit": "connections"})
    );
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["bearer"], &evidence["connections"]), (&json!(2), &json!(2)));
    assert_eq!(evidence["by_server"], json!([{"server": "n1", "connections": 2, "percent": 100.0}]));
    assert_eq!(evidence["client_names"]["distinct"], 2);
    let advice = found.json["remediation"].to_string();
    assert_eq!(advice.contains("show bearer tokens in full"), shows, "{advice}");
    // Where a token is shown it is nowhere to be read.
    let creds = std::fs::read_to_string(cluster.creds("APP/browser")).unwrap();
    let token = creds.lines().find(|line| line.starts_with("eyJ")).unwrap();
    let signature = token.rsplit('.').next().unwrap();

    bearer.clear();
    watched.resolved("USER_001").await;
    let others =
        crate::about(&watched, |json| json["check"] == "USER_001" && json["entity"]["id"] != user.as_str());
    assert!(others.is_empty(), "{others:?}");
    let all = watched.findings.history();
    assert!(all.iter().all(|m| !String::from_utf8_lossy(&m.payload).contains(signature)));
    assert!(!watched.agent.stderr().contains(signature));
    drop(worker);
    watched.check_everything_published();
}

fn system() -> crate::support::Builder {
    Cluster::operator(1).account(Account::new("APP").bearer_user("browser").user("worker"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_leaves_them_out() {
    fires_for_bearers_only(system().binary(&at_least("2.15.1")).start().await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_10_26_shows_them() {
    fires_for_bearers_only(system().binary(&server_of_version("2.10.26")).start().await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_11_11_shows_them() {
    fires_for_bearers_only(system().binary(&server_of_version("2.11.11")).start().await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_12_8_leaves_them_out() {
    fires_for_bearers_only(system().binary(&server_of_version("2.12.8")).start().await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_14_6_leaves_them_out() {
    fires_for_bearers_only(system().binary(&server_of_version("2.14.6")).start().await, false).await;
}
