//! SERVER_005, SERVER_017 and SERVER_019: streams against what is set aside for them.

use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster, Message};
use async_nats::Client;
use bytes::Bytes;
use insights_agent::demo::topology::quote;
use serde_json::{Value, json};

async fn api(client: &Client, what: &str, body: Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let answer = client.request(format!("$JS.API.{what}"), body).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
}

async fn stream(client: &Client, name: &str, storage: &str, max_bytes: i64) {
    let config = json!({"name": name, "subjects": [name], "storage": storage, "max_bytes": max_bytes});
    api(client, &format!("STREAM.CREATE.{name}"), config).await;
}

/// So many messages of 10,000 bytes.
async fn fill(client: &Client, name: &'static str, messages: usize) {
    for _ in 0..messages {
        let answer = client.request(name, Bytes::from(vec![7; 10_000])).await.unwrap();
        assert!(answer.payload.starts_with(b"{\"stream\""), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_near_what_is_reserved_and_jetstream_near_its_maximum() {
    let cluster = Cluster::config(1)
        .account(Account::new("APP").user("u").jetstream())
        .jetstream()
        .edit(|_, conf| {
            let dir = conf.jetstream.take().unwrap();
            let dir = quote(&dir.to_string_lossy());
            conf.extra
                .push_str(&format!("jetstream {{ store_dir: {dir}, max_mem: 10MB, max_file: 2000000 }}\n"));
        })
        .start()
        .await;
    let client = cluster.connect(0, "APP/u", "filler").await;
    stream(&client, "MEM", "memory", 1_000_000).await;
    stream(&client, "FILE", "file", 1_000_000).await;
    fill(&client, "MEM", 80).await;
    fill(&client, "FILE", 80).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.findings.epochs(2, SOON).await;
    let of = |m: &Message| m.check().starts_with("SERVER_0");
    assert!(!watched.findings.history().iter().any(of), "80 % is not enough");

    fill(&client, "MEM", 12).await;
    fill(&client, "FILE", 12).await;
    let found = watched.firing("SERVER_005").await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.SERVER_005.server.n1");
    assert_eq!(found.json["observed"]["limit"], 1_000_000);
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["reserved"], &evidence["most"]), (&json!(1_000_000), &json!(10_485_760)));
    assert!(evidence["used"].as_u64() >= Some(900_000), "{evidence}");
    let found = watched.firing("SERVER_017").await;
    assert_eq!(
        (&found.json["observed"]["limit"], &found.json["severity"]),
        (&json!(1_000_000), &json!("warning"))
    );

    // A stream without `max_bytes` reserves nothing and takes what is left: what is used then tells nothing of what is
    // reserved.
    stream(&client, "MORE", "file", -1).await;
    fill(&client, "MORE", 90).await;
    let found = watched.firing_as("SERVER_019", |json| json["severity"] == "warning").await;
    assert_eq!(
        (&found.json["entity"]["id"], &found.json["observed"]["limit"]),
        (&json!("n1"), &json!(2_000_000))
    );
    watched.resolved("SERVER_017").await;
    fill(&client, "MORE", 10).await;
    let found = watched.firing_as("SERVER_019", |json| json["severity"] == "critical").await;
    assert_eq!(found.json["observed"]["threshold"], 95.0);

    for name in ["MEM", "FILE", "MORE"] {
        api(&client, &format!("STREAM.PURGE.{name}"), Value::Null).await;
    }
    for check in ["SERVER_005", "SERVER_019"] {
        watched.resolved(check).await;
    }
    watched.check_everything_published();
}
