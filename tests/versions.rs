//! The main job from end to end on each supported version of nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::{Account, Agent, Cluster, Findings, is_too_old, limits, server_of_version};

const SOON: Duration = Duration::from_secs(40);

/// Three servers, an account near its limits and a user with many connections: both are found with the right numbers,
/// what needs more is judged as well, and the end is seen.
async fn smoke(version: &str) {
    let cluster = Cluster::operator(3)
        .binary(&server_of_version(version))
        .account(Account::new("APP").limits(limits().conn(130).subs(50)).user("svc"))
        .start()
        .await;
    let mut clients = cluster.connect_many(0, "APP/svc", "web", 60).await;
    clients.extend(cluster.connect_many(2, "APP/svc", "web", 60).await);
    let greedy = &clients[0];
    let mut subscriptions = Vec::new();
    for i in 0..46 {
        subscriptions.push(greedy.subscribe(format!("_INBOX.{i}")).await.unwrap());
    }
    greedy.flush().await.unwrap();

    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
    let mut firing = async |check: &str| {
        findings.wait_for(SOON, |m| m.check() == check && m.status() == "firing").await.json
    };
    let connections = firing("ACCOUNTS_001").await;
    assert_eq!(connections["summary"], "account APP uses 120 of 130 connections (92.3 %)");
    assert_eq!(connections["evidence"]["kinds"]["nats"], 120);
    let user = firing("USER_002").await;
    assert_eq!(user["observed"]["value"], 120);
    assert_eq!(user["entity"]["user_name"], "svc");
    let subscriptions_of_one = firing("ACCOUNTS_006").await;
    assert_eq!(subscriptions_of_one["observed"]["value"], 46);
    assert_eq!(subscriptions_of_one["observed"]["scope"], "connection");

    drop((clients, subscriptions));
    for check in ["ACCOUNTS_001", "USER_002", "ACCOUNTS_006"] {
        findings.wait_for(SOON, |m| m.check() == check && m.status() == "resolved").await;
    }
    findings.forget();
    let summary = findings.wait_for(SOON, |m| m.is_epoch()).await.json;
    assert_eq!(summary["complete"], true, "{summary}");
    assert_eq!(summary["servers"], json!({"known": 3, "responded": 3, "missing": []}));
    let rows = summary["checks"]["unknown"].as_array().unwrap();
    let unknown: Vec<_> =
        rows.iter().filter(|row| !is_too_old(version, row["check"].as_str().unwrap())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    drop(agent);
}

macro_rules! on {
    ($($test:ident: $version:literal),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            smoke($version).await;
        }
    )+};
}

on! {
    nats_server_2_10_26: "2.10.26",
    nats_server_2_11_11: "2.11.11",
    nats_server_2_12_8: "2.12.8",
    nats_server_2_14_6: "2.14.6",
    nats_server_2_15_1: "2.15.1",
}
