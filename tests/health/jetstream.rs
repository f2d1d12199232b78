//! SERVER_015 and SERVER_016 on a server whose store was damaged. SERVER_001 cannot be provoked: a server whose listener is
//! closed before an agent is connected cannot be reached by it, and no listener closes later. Its answers are those of
//! the server's source, in the unit tests of the check.

use crate::Watched;
use crate::support::{Account, Cluster, eventually};
use async_nats::Client;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Creates a stream as soon as enough servers are known to the meta leader.
pub(crate) async fn create(client: &Client, stream: &str, replicas: u64) {
    let subject = format!("$JS.API.STREAM.CREATE.{stream}");
    let body = json!({"name": stream, "subjects": [format!("{stream}.>")], "num_replicas": replicas, "storage": "file"});
    eventually(&format!("stream {stream} is created"), 40, async || {
        let answer = client.request(subject.clone(), body.to_string().into()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        if answer["error"].is_null() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

fn store(cluster: &Cluster) -> PathBuf {
    cluster.dir().join("n1-jetstream").join("jetstream")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stream_and_a_directory_without_an_account_are_told_until_they_are_mended() {
    let mut cluster =
        Cluster::config(1).jetstream().account(Account::new("APP").jetstream().user("u")).start().await;
    let client = cluster.connect(0, "APP/u", "creator").await;
    for stream in ["FINE", "ORDERS"] {
        create(&client, stream, 1).await;
    }
    drop(client);
    cluster.stop(0).await;
    let damaged = store(&cluster).join("APP/streams/ORDERS");
    let meta = damaged.join("meta.inf");
    assert!(meta.is_file(), "{}", meta.display());
    std::fs::write(&meta, "not what it was").unwrap();
    let gone = store(&cluster).join("GONE");
    std::fs::create_dir_all(gone.join("streams/X")).unwrap();
    cluster.restart(0).await;

    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing("SERVER_015").await;
    assert_eq!(found.subject, "insights.checks.SYS.critical.SERVER_015.server.n1");
    let text = "JetStream stream 'APP > ORDERS' could not be recovered";
    assert_eq!(found.json["summary"], format!("server n1 reports 1 stream broken: {text}"));
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["streams"], json!({"broken": 1, "lagging": 0}));
    assert_eq!(evidence["accounts"], json!([{"name": "APP", "count": 1}]));
    assert_eq!(
        evidence["first"],
        json!([{"state": "broken", "account": "APP", "stream": "ORDERS", "consumer": null, "problem": text}])
    );
    assert!(found.json["epochs"].as_u64() >= Some(2), "{}", found.json);

    let lost = watched.firing("SERVER_016").await;
    assert_eq!(lost.subject, "insights.checks.SYS.warning.SERVER_016.server.n1");
    assert_eq!(
        lost.json["evidence"]["first"],
        json!([{"account": "GONE", "name": null, "loaded_elsewhere": false,
            "problem": "JetStream account 'GONE' could not be resolved"}])
    );

    std::fs::remove_dir_all(&gone).unwrap();
    std::fs::remove_dir_all(&damaged).unwrap();
    watched.resolved("SERVER_016").await;
    watched.resolved("SERVER_015").await;
    let told = watched.findings.history();
    assert!(!told.iter().any(|m| ["SERVER_001", "SERVER_014"].contains(&m.check())), "{told:?}");
    watched.check_everything_published();
}
