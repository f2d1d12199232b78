//! SERVER_003 and OPT_IDLE_001: too much to do, and too little.

use crate::raw;
use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_found_with_its_source_and_an_idle_server_beside_it() {
    let cluster = Cluster::config(2).account(Account::new("APP").user("u")).start().await;
    // The machine may have many processors, of which one client cannot use all.
    let config = "[checks.SERVER_003]\nwarn_percent = 2.0\n\
                  [[checks.SERVER_003.override]]\nmatch = { server = 'n2' }\nenabled = false\n\
                  [checks.OPT_IDLE_001]\ncpu_percent = 100.0\nwatched_for = '8s'\n";
    let mut watched = Watched::start(&cluster, config).await;
    let mut flood = raw::client(&cluster, 0, "APP/u", "flood").await;
    let clients = cluster.connect_many(0, "APP/u", "web", 12).await;
    let messages = b"PUB a.b.c 16\r\n0123456789abcdef\r\n".repeat(2000);
    let task = tokio::spawn(async move { while flood.write_all(&messages).await.is_ok() {} });
    let found = watched.firing("SERVER_003").await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.SERVER_003.server.n1");
    let evidence = &found.json["evidence"];
    let first = &evidence["most_received_from"][0];
    assert_eq!(
        (&first["name"], &first["account"], &first["user"]),
        (&json!("flood"), &json!("APP"), &json!("u"))
    );
    assert!(first["bytes_from_per_second"].as_u64() > Some(100_000), "{first}");
    assert!(evidence["most_sent_to"].is_array() && evidence["cores"].as_u64() > Some(0), "{evidence}");
    let steps = found.json["remediation"].to_string();
    assert!(steps.contains("Look at flood (connection "), "{steps}");
    task.abort();
    let _ = task.await;
    watched.resolved("SERVER_003").await;

    let found = watched.firing("OPT_IDLE_001").await;
    assert_eq!(found.subject, "insights.checks.SYS.info.OPT_IDLE_001.server.n2");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["most_connections"], &evidence["cluster_idle"]), (&json!(0), &json!(1)));
    assert_eq!(evidence["cluster_servers"], 2);
    assert!(evidence["epochs"].as_u64() >= Some(5), "{evidence}");
    let more = cluster.connect_many(1, "APP/u", "web", 10).await;
    assert_eq!(watched.resolved("OPT_IDLE_001").await.json["entity"]["id"], "n2");
    drop((clients, more));
    watched.check_everything_published();
}
