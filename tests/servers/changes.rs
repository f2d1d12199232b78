//! CHANGE_001 and CHANGE_002: what changed since the epoch before.

use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use insights_agent::demo::topology::{ServerConf, quote};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_told_once_with_what_it_changed() {
    let mut cluster = Cluster::config(3).account(Account::new("APP").user("u")).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    // Every server reads its file again; only that of the second one is another.
    cluster.set_max_connections(1, 1234).await;
    let changed = watched.firing_as("CHANGE_001", |json| json["entity"]["id"] == "n2").await;
    assert_eq!(changed.subject, "insights.checks.SYS.info.CHANGE_001.server.n2");
    let evidence = &changed.json["evidence"];
    assert!(evidence["loaded"].as_str() > evidence["loaded_before"].as_str(), "{evidence}");
    let unchanged = watched.firing_as("CHANGE_001", |json| json["entity"]["id"] == "n1").await;
    // Before 2.11 there is no digest.
    let has_digest = evidence["digest"].is_string();
    let expected = |changed: bool| if has_digest { json!(changed) } else { Value::Null };
    assert_eq!(evidence["content_changed"], expected(true), "{evidence}");
    assert_eq!(unchanged.json["evidence"]["content_changed"], expected(false));
    if has_digest {
        assert_ne!(evidence["digest"], evidence["digest_before"]);
        let summary = unchanged.json["summary"].as_str().unwrap();
        assert!(summary.contains("; its content is unchanged"), "{summary}");
    }
    for server in ["n1", "n2", "n3"] {
        let ended = |m: &crate::support::Message| {
            m.check() == "CHANGE_001" && m.status() == "resolved" && m.json["entity"]["id"] == server
        };
        watched.findings.wait_for(crate::support::watched::SOON, ended).await;
    }
    watched.check_everything_published();
}

/// JetStream with a domain, instead of what the harness gives it.
fn domain(conf: &mut ServerConf, name: &str, before: Option<&str>) {
    if let Some(dir) = conf.jetstream.take() {
        let dir = quote(&dir.to_string_lossy());
        conf.extra.push_str(&format!("jetstream {{ store_dir: {dir}, domain: {name} }}\n"));
    }
    if let Some(before) = before {
        conf.extra = conf.extra.replace(&format!("domain: {before} "), &format!("domain: {name} "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_domain_is_told_over_the_restart() {
    let mut cluster = Cluster::config(3)
        .account(Account::new("APP").user("u").jetstream())
        .jetstream()
        .edit(|_, conf| domain(conf, "hub", None))
        .start()
        .await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    cluster.stop(2).await;
    // It is away for whole epochs.
    watched.epoch(|e| e["servers"]["known"] == 2).await;
    cluster.edit(2, |conf| domain(conf, "edge", Some("hub")));
    cluster.start(2);
    let found = watched.firing("CHANGE_002").await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.CHANGE_002.server.n3");
    assert_eq!(found.json["summary"], "JetStream of server n3 has domain edge now; it had domain hub");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["domain"], &evidence["domain_before"]), (&json!("edge"), &json!("hub")));
    assert_eq!((&evidence["restarted"], &evidence["others_differ"]), (&json!(true), &json!(["n1", "n2"])));
    assert_eq!(watched.resolved("CHANGE_002").await.json["entity"]["id"], "n3");
    watched.check_everything_published();
}
