//! SERVICE_001 and SERVICE_002.

use crate::raw::{instance, raw};
use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster, Message};
use async_nats::service::ServiceExt;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn libraries_that_differ_and_services_that_are_down_are_told() {
    let cluster = Cluster::config(2).account(Account::new("APP").user("svc")).start().await;
    let echo = instance(&cluster, 0, "APP/svc", "echo").await;
    let other = instance(&cluster, 1, "APP/svc", "other").await;
    let old = raw(&cluster, 1, "APP/svc", "go", &["$SRV.PING", "$SRV.PING.echo", "$SRV.PING.echo.OLD"]).await;
    let mut watched = Watched::start(&cluster, "").await;

    let found = watched.firing("SERVICE_001").await;
    let json = &found.json;
    assert_eq!(found.subject, "insights.checks.APP.warning.SERVICE_001.service.echo");
    let libraries = json["evidence"]["libraries"].as_array().unwrap();
    assert!(libraries.contains(&json!({"language": "go", "version": "1.9.9", "instances": 1})), "{json}");
    assert!(libraries.iter().any(|row| row["language"] == "rust" && row["instances"] == 1), "{json}");
    assert_eq!((&json["evidence"]["instances"], &json["observed"]["value"]), (&json!(2), &json!(2)));
    assert_eq!(json["evidence"]["several_languages"], true);
    drop(old);
    watched.resolved("SERVICE_001").await;

    // All instances of one service end; the other goes on.
    echo.stop().await.unwrap();
    let found = watched.firing("SERVICE_002").await;
    let json = &found.json;
    assert_eq!((&json["severity"], &json["entity"]["id"]), (&json!("critical"), &json!("echo")));
    let evidence = &json["evidence"];
    assert_eq!(
        (&evidence["down"], &evidence["up"], &evidence["services"][0]["instances"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(evidence["services"][0]["servers"], json!(["n1"]));
    // It stays, although nothing shows any more that it was there.
    let later = json["epochs"].as_u64().unwrap() + 2;
    watched.firing_as("SERVICE_002", |json| json["epochs"].as_u64() >= Some(later)).await;
    let back = instance(&cluster, 1, "APP/svc", "echo").await;
    watched.resolved("SERVICE_002").await;
    let others = watched.findings.history().into_iter().filter(|m| m.json["entity"]["id"] == "other");
    assert_eq!(others.count(), 0);
    // The agent is a service itself, which no finding is about.
    assert!(!watched.findings.history().iter().any(|m: &Message| m.json["entity"]["id"] == "insights"));
    drop((other, back));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_ends_after_its_time_and_a_rolling_restart_brings_none() {
    let mut cluster = Cluster::config(3).account(Account::new("APP").user("svc")).start().await;
    // It knows all servers, as clients should.
    let (user, password) = cluster.password("APP/svc");
    let urls: Vec<String> = [1, 2, 0].map(|server| cluster.url(server)).into();
    let client = async_nats::ConnectOptions::with_user_and_password(user, password)
        .name("roaming")
        .retain_servers_order()
        .connect(urls)
        .await
        .unwrap();
    let roaming = client.service_builder().start("roaming", "1.0.0").await.unwrap();
    let short = instance(&cluster, 0, "APP/svc", "short").await;
    let mut watched = Watched::start(&cluster, "[checks.SERVICE_002]\nshow_for = \"15s\"\n").await;
    watched.findings.epochs(2, SOON).await;
    short.stop().await.unwrap();
    let found = watched.firing("SERVICE_002").await;
    assert_eq!(found.json["entity"]["id"], "short");
    watched.resolved("SERVICE_002").await;

    for server in [1, 2] {
        cluster.lame_duck(server);
        cluster.restart(server).await;
        watched.epoch(|epoch| epoch["servers"]["responded"] == 3).await;
    }
    watched.findings.epochs(3, SOON).await;
    let of_roaming = watched.findings.history().into_iter().filter(|m| m.json["entity"]["id"] == "roaming");
    assert_eq!(of_roaming.count(), 0);
    drop((roaming, client));
    watched.check_everything_published();
}
