//! SERVER_008 and SERVER_009: what ends without a word, and what says that it does.

use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster};
use serde_json::{Value, json};

const CONFIG: &str = "maintenance.grace = '1s'\n[checks.SERVER_008]\nshow_for = '8s'\n";

async fn three() -> Cluster {
    Cluster::config(3).account(Account::new("APP").user("u")).start().await
}

fn told(watched: &Watched, check: &str) -> Vec<Value> {
    let of_check = watched.findings.history().into_iter().filter(|message| message.check() == check);
    of_check.map(|message| message.json).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_until_it_is_a_while_ago_and_two_are_a_loop() {
    let mut cluster = three().await;
    let mut watched = Watched::start(&cluster, CONFIG).await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    cluster.kill(2);
    // It is missed for an epoch before it is back.
    watched.epoch(|e| e["servers"]["missing"] == json!(["n3"])).await;
    cluster.restart(2).await;
    let found = watched.firing("SERVER_008").await;
    assert_eq!(found.subject, "insights.checks.SYS.critical.SERVER_008.server.n3");
    assert_eq!(found.json["entity"]["cluster"], "east");
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["restart"]["announced"], false);
    assert_eq!(evidence["restart"]["version"], evidence["restart"]["version_before"]);
    assert!(evidence["restart"]["started"].as_str() > evidence["restart"]["previous_start"].as_str());
    assert_eq!((&evidence["within_the_hour"], &evidence["others"]), (&json!(1), &json!([])));
    assert!(evidence["running_seconds"].as_u64() < Some(8), "{evidence}");
    assert!(told(&watched, "SERVER_009").is_empty());
    let end = watched.resolved("SERVER_008").await;
    assert_eq!(end.json["entity"]["id"], "n3");

    watched.findings.forget();
    cluster.kill(2);
    cluster.restart(2).await;
    let found = watched.firing("SERVER_009").await;
    assert_eq!(found.json["severity"], "critical");
    assert_eq!(found.json["observed"]["value"], 2);
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["unannounced"], &evidence["announced"]), (&json!(2), &json!(0)));
    let starts: Vec<&str> =
        evidence["restarts"].as_array().unwrap().iter().map(|row| row["started"].as_str().unwrap()).collect();
    assert!(starts.len() == 2 && starts[0] > starts[1], "{starts:?}");
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_that_it_ends_has_not_crashed() {
    let mut cluster = three().await;
    let mut watched = Watched::start(&cluster, CONFIG).await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    // The agent's own server among them, and one of them twice: a rolling restart, and another one.
    for server in [2, 1, 0, 2] {
        cluster.restart(server).await;
        watched.findings.epochs(2, SOON).await;
    }
    cluster.lame_duck(1);
    watched.epoch(|e| e["maintenance"].to_string().contains("lame_duck")).await;
    // It would take two minutes to end by itself.
    cluster.kill(1);
    cluster.restart(1).await;
    watched.findings.forget();
    watched.epoch(|e| e["servers"]["responded"] == 3 && e["complete"] == true).await;
    watched.findings.epochs(2, SOON).await;
    for check in ["SERVER_008", "SERVER_009"] {
        assert!(told(&watched, check).is_empty(), "{:?}", told(&watched, check));
    }
    watched.check_everything_published();
}

/// Its last words would have come before the end of the connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_server_is_judged_although_the_connection_was_lost() {
    let mut cluster = three().await;
    let findings =
        crate::support::Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.checks.>").await;
    let mut watched = Watched::start(&cluster, CONFIG).await;
    watched.findings = findings;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    cluster.kill(0);
    cluster.restart(0).await;
    let found = watched.firing("SERVER_008").await;
    assert_eq!(found.json["entity"]["id"], "n1");
    watched.check_everything_published();
}
