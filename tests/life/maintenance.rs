//! Servers that leave in order.

use crate::support::{Account, Cluster, limits};
use crate::{SOON, Watched};
use async_nats::Client;
use serde_json::{Value, json};

/// Twelve clients on n1, two on n2 and ten on n3: nothing is uneven.
async fn balanced() -> (Cluster, Vec<Client>, Vec<Client>) {
    let app = Account::new("APP").limits(limits().conn(1000)).user("u");
    let cluster = Cluster::operator(3).account(app).start().await;
    let mut stay = cluster.connect_many(0, "APP/u", "a", 12).await;
    stay.extend(cluster.connect_many(1, "APP/u", "b", 2).await);
    let move_on = cluster.connect_many(2, "APP/u", "c", 10).await;
    (cluster, stay, move_on)
}

fn of_n3(summary: &Value) -> Option<Value> {
    summary["maintenance"].as_array()?.iter().find(|row| row["server"] == "n3").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_restart_raises_nothing_and_a_crash_does() {
    let (mut cluster, stay, there) = balanced().await;
    let mut watched = Watched::start(&cluster, "maintenance.grace = '40s'\n").await;
    let first = watched.epoch(|e| e["servers"]["responded"] == 3).await;
    assert!(first.json["maintenance"].is_null(), "{}", first.json);
    // Its clients go to n1, and when it is back all of them are still there.
    cluster.stop(2).await;
    drop(there);
    let moved = cluster.connect_many(0, "APP/u", "c", 10).await;
    cluster.restart(2).await;
    let summary = watched.epoch(|e| of_n3(e).is_some_and(|row| row["held"] == 1)).await;
    let row = of_n3(&summary.json).unwrap();
    assert_eq!((&row["how"], summary.json["maintenance"].as_array().unwrap().len()), (&json!("shutdown"), 1));
    assert!(row["until"].as_str() > row["since"].as_str(), "{row}");
    assert_eq!(summary.json["findings"]["pending"], 1);

    // They come back in time.
    let back = cluster.connect_many(2, "APP/u", "c", 10).await;
    drop(moved);
    watched.findings.forget();
    watched.epoch(|e| e["findings"]["pending"] == 0).await;
    // Another server dies without a word, within the grace period of the first.
    cluster.kill(1);
    let found = watched.told("AGENT_001", |_| true).await;
    assert_eq!((found.status(), &found.json["entity"]["name"]), ("firing", &json!("n2")));
    watched.epoch(|e| e["maintenance"].is_null()).await;
    let told = watched.findings.history();
    let others: Vec<_> = told.iter().filter(|m| !m.is_epoch() && m.check() != "AGENT_001").collect();
    assert!(others.is_empty(), "{others:?}");
    drop((stay, back));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_grace_period_begins_then() {
    let (mut cluster, stay, there) = balanced().await;
    let mut watched = Watched::start(&cluster, "maintenance.grace = '12s'\n").await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    cluster.stop(2).await;
    drop(there);
    let moved = cluster.connect_many(0, "APP/u", "c", 10).await;
    cluster.restart(2).await;
    let held = watched.epoch(|e| of_n3(e).is_some_and(|row| row["held"] == 1)).await;
    let began = watched.told("OPT_BALANCE_006", |_| true).await;
    let over = watched.findings.wait_for(SOON, |m| m.is_epoch() && m.epoch() == began.epoch()).await;
    assert!(began.epoch() > held.epoch() && of_n3(&over.json).is_none(), "{}", over.json);
    assert!(began.json["epochs"].as_u64() > Some(1), "it waited: {}", began.json);
    drop((stay, moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_is_in_maintenance_from_its_word_on_and_none_is_without_grace() {
    let (mut cluster, stay, there) = balanced().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 3).await;
    cluster.lame_duck(2);
    let summary = watched.epoch(|e| of_n3(e).is_some()).await;
    assert_eq!(of_n3(&summary.json).unwrap()["how"], "lame_duck");
    watched.reload("maintenance.grace = '0s'\n");
    watched.findings.forget();
    watched.epoch(|e| e["maintenance"].is_null()).await;
    let findings: Vec<_> = watched.findings.history().into_iter().filter(|m| !m.is_epoch()).collect();
    assert!(findings.is_empty(), "{findings:?}");
    drop((stay, there));
}
