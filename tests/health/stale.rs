//! SERVER_012, by the counter of newer servers and by the closed connections of older ones.

use crate::Watched;
use crate::support::{Account, Builder, Cluster, Message, Raw, at_least, server_of_version};
use serde_json::json;

fn system() -> Builder {
    Cluster::config(1)
        .account(Account::new("APP").user("u").user("v"))
        .extra("ping_interval: \"1s\"\nping_max: 1\n")
}

/// A client that answers no ping: the finding, once it has been seen to begin and to end.
async fn provoked(cluster: &Cluster) -> Message {
    let awake = cluster.connect(0, "APP/v", "awake").await;
    let mut watched = Watched::start(cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 1).await;
    watched.epoch(|e| e["complete"] == true).await;
    // One: the pings of two may end in two epochs.
    let asleep = Raw::login(cluster, 0, "APP/u", "asleep").await;
    let found = watched.firing("SERVER_012").await;
    assert_eq!(found.json["observed"]["value"], 1);
    assert_eq!(found.subject, "insights.checks.SYS.warning.SERVER_012.server.n1");
    let closed = &found.json["evidence"]["closed"];
    assert_eq!(closed["reasons"], json!([{"name": "Stale Connection", "count": 1}]));
    assert_eq!(closed["client_names"]["top"], json!([{"name": "asleep", "count": 1}]));
    assert_eq!(closed["accounts"]["top"], json!([{"name": "APP", "count": 1}]));
    let steps = found.json["remediation"].to_string();
    assert!(steps.contains("All come from 127.0.0.1") && steps.contains("`asleep`"), "{steps}");
    watched.resolved("SERVER_012").await;
    watched.check_everything_published();
    drop((asleep, awake));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_answer_no_ping_are_counted_and_named() {
    let cluster = system().binary(&at_least("2.12.8")).start().await;
    let found = provoked(&cluster).await;
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["source"], &evidence["since_start"]), (&json!("counter"), &json!(1)));
    assert_eq!(evidence["by_kind"], json!({"clients": 1, "routes": 0, "gateways": 0, "leafs": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_without_a_counter_is_judged_by_its_closed_connections() {
    let cluster = system().binary(&server_of_version("2.11.11")).start().await;
    let found = provoked(&cluster).await;
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["source"], &evidence["since_start"]), (&json!("closed"), &json!(null)));
}
