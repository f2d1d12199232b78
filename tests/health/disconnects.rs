//! CONN_003.

use crate::Watched;
use crate::support::{Account, Cluster, Raw, at_least};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_and_failed_logins_are_told_apart_and_ordinary_ends_are_not_told() {
    // Older ones leave out the name of a user of the global account, and of one that could not log in.
    let cluster =
        Cluster::config(2).account(Account::new("APP").user("u")).binary(&at_least("2.12.8")).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 2).await;
    watched.epoch(|e| e["complete"] == true).await;

    // Ordinary: a client that leaves, and probes that see whether the port is open.
    drop(cluster.connect(0, "APP/u", "leaves").await);
    for _ in 0..3 {
        Raw::open(&cluster, 0).await.reset();
        drop(Raw::open(&cluster, 1).await);
    }
    let mut intruders = Vec::new();
    for server in [0, 1, 1] {
        let mut raw = Raw::open(&cluster, server).await;
        raw.connect("root", "guess", "intruder").await;
        raw.read_until("-ERR").await;
        intruders.push(raw);
    }
    Raw::login(&cluster, 1, "APP/u", "crashes").await.reset();

    let failed =
        |f: &serde_json::Value| f["entity"]["id"] == "Authentication Failure" && f["observed"]["value"] == 3;
    let found = watched.firing_as("CONN_003", failed).await;
    assert_eq!(found.subject, "insights.checks.SYS.info.CONN_003.connection.Authentication%20Failure");
    assert!(found.json["entity"]["account"].is_null());
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["closed"]["users"]["top"], json!([{"name": "root", "count": 3}]));
    assert_eq!(evidence["closed"]["client_names"]["top"], json!([{"name": "intruder", "count": 3}]));
    assert_eq!(
        evidence["servers"],
        json!([{"server": "n2", "connections": 2, "percent": 66.7}, {"server": "n1", "connections": 1, "percent": 33.3}])
    );
    assert!(evidence["meaning"].as_str().unwrap().contains("does not accept"), "{evidence}");

    let broken = watched.firing_as("CONN_003", |f| f["entity"]["id"] == "Read Error").await;
    assert_eq!(broken.subject, "insights.checks.APP.info.CONN_003.connection.Read%20Error");
    let row = &broken.json["evidence"]["closed"]["newest"][0];
    assert_eq!(
        (&row["name"], &row["user"], &row["account"]),
        (&json!("crashes"), &json!("u"), &json!("APP"))
    );

    for first in [&found, &broken] {
        let id = &first.json["fingerprint"];
        let ended = |m: &crate::support::Message| m.status() == "resolved" && m.json["fingerprint"] == *id;
        watched.findings.wait_for(crate::support::watched::SOON, ended).await;
    }
    let others = watched.findings.history().into_iter().filter(|m| !m.is_epoch());
    let others: Vec<_> = others
        .filter(|m| {
            !["Authentication Failure", "Read Error"].contains(&m.json["entity"]["id"].as_str().unwrap())
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    drop(intruders);
    watched.check_everything_published();
}
