//! SERVER_014 on a cluster that lost its quorum, and what an orderly restart of every server gives: nothing.

use crate::Watched;
use crate::jetstream::create;
use crate::support::{Account, Cluster, eventually};
use serde_json::json;

async fn three() -> Cluster {
    Cluster::config(3).jetstream().account(Account::new("APP").jetstream().user("u")).start().await
}

/// Creates replicated streams, as soon as there is a meta leader.
async fn streams(cluster: &Cluster) {
    let client = cluster.connect(0, "APP/u", "creator").await;
    eventually("there is a meta leader", 40, async || {
        let answer = client.request("$JS.API.INFO", "".into()).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        if text.contains("\"error\"") { Err(text) } else { Ok(()) }
    })
    .await;
    for stream in ["A", "B", "C"] {
        create(&client, stream, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_server_of_three_says_that_there_is_no_meta_leader_until_another_comes_back() {
    let mut cluster = three().await;
    streams(&cluster).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 3 && e["complete"] == true).await;
    cluster.kill(1);
    cluster.kill(2);
    // Until the last leader gives up, n1 only says that it is behind it.
    let found = watched.firing_as("SERVER_014", |f| f["evidence"]["cause"] == "no_leader").await;
    assert_eq!(found.subject, "insights.checks.SYS.critical.SERVER_014.server.n1");
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["problem"], "JetStream has not established contact with a meta leader");
    assert_eq!(
        evidence["cluster"],
        json!({"name": "east", "answered": 1, "unhealthy": 1, "unhealthy_servers": ["n1"],
            "silent": 2, "silent_servers": ["n2", "n3"]})
    );
    assert!(found.json["remediation"][0].as_str().unwrap().contains("(n2, n3)"), "{}", found.json);
    cluster.start(1);
    watched.resolved("SERVER_014").await;
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_restart_of_every_server_is_no_finding_of_health() {
    let mut cluster = three().await;
    streams(&cluster).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 3 && e["complete"] == true).await;
    for server in [1, 2] {
        cluster.restart(server).await;
        watched.findings.forget();
        watched.epoch(|e| e["servers"]["responded"] == 3).await;
    }
    watched.epoch(|_| true).await;
    let told = watched.findings.history();
    let health: Vec<_> = told.iter().filter(|m| !m.is_epoch() && m.check().starts_with("SERVER_")).collect();
    assert!(health.is_empty(), "{health:?}");
    watched.check_everything_published();
}
