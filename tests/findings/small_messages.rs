//! A server that takes small messages only.

use crate::Watched;
use crate::support::{Account, Cluster, limits};
use serde_json::json;

const MAX_PAYLOAD: usize = 2400;

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_cut_to_the_size_that_the_server_takes_and_says_so() {
    let cluster = Cluster::operator(1)
        .account(Account::new("APP").limits(limits().conn(20)).user("u"))
        .extra(&format!("max_payload: {MAX_PAYLOAD}\n"))
        .start()
        .await;
    let name = "a-client-with-a-rather-long-name-so-that-its-evidence-takes-some-room-in-the-message";
    let clients = cluster.connect_many(0, "APP/u", name, 19).await;
    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing("ACCOUNTS_001").await;
    assert!(found.payload.len() < MAX_PAYLOAD, "{}", found.payload.len());
    let trimmed = found.json["evidence"]["trimmed"].as_array().unwrap();
    assert!(trimmed.contains(&json!("client_names")), "{trimmed:?}");
    assert_eq!(found.json["observed"]["value"], 19);
    assert!(!watched.agent.stderr().contains("ERROR"), "{}", watched.agent.stderr());
    drop(clients);
    watched.check_everything_published();
}
