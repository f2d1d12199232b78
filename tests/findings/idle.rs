//! OPT_IDLE_007, with a lowered idle time.

use crate::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_reported_once_per_user_and_end() {
    let cluster = Cluster::config(3).account(Account::new("APP").user("silent").user("busy")).start().await;
    let mut silent = cluster.connect_many(0, "APP/silent", "forgotten", 4).await;
    silent.extend(cluster.connect_many(2, "APP/silent", "forgotten", 3).await);
    let busy = cluster.connect_many(1, "APP/busy", "busy", 5).await;
    for client in &busy {
        client.publish("hello", "world".into()).await.unwrap();
        client.flush().await.unwrap();
    }
    let config = "[checks.OPT_IDLE_007]\nidle = \"3s\"\n[accounts.APP]\nmax_connections = 100\n";
    let mut watched = Watched::start(&cluster, config).await;
    let found = watched.firing_as("OPT_IDLE_007", |f| f["observed"]["value"] == 7).await;
    assert_eq!(found.subject, "insights.checks.APP.info.OPT_IDLE_007.connection.silent");
    let oldest = found.json["evidence"]["longest_idle"].as_array().unwrap();
    assert_eq!(oldest.len(), 5);
    for connection in oldest {
        assert!(connection["idle_seconds"].as_u64().unwrap() >= 3, "{connection}");
        assert!(["n1", "n3"].contains(&connection["server"].as_str().unwrap()), "{connection}");
    }
    assert_eq!(
        (&found.json["evidence"]["idle"], &found.json["evidence"]["connections"]),
        (&json!(7), &json!(7))
    );

    // A message, however late, makes a connection one that is used.
    for client in &silent {
        client.publish("hello", "world".into()).await.unwrap();
        client.flush().await.unwrap();
    }
    watched.resolved("OPT_IDLE_007").await;
    let about_busy = watched.findings.history().iter().any(|m| m.json["entity"]["id"] == json!("busy"));
    assert!(!about_busy);
    drop((silent, busy));
    watched.check_everything_published();
}
