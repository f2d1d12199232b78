//! The stream and the bucket are made, by the least-privilege user, and hold what the agent finds.

use crate::support::{Cluster, Findings, eventually};
use crate::{Reader, SECONDS, SOON, fill, sink_account, start, table, tenant};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy, StorageType};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_keep_three_copies_of_what_is_found() {
    let cluster =
        Cluster::operator(3).jetstream().account(sink_account()).account(tenant("FULL")).start().await;
    let clients = fill(&cluster, "FULL").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let config = format!(
        "{}replicas = 3\nmax_age = \"1day\"\nmax_bytes = 104857600\n",
        table(&cluster, "INSIGHTS/sink")
    );
    let agent = start(&cluster, &config);
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let firing = reader.findings_until("a finding", |m| m.is("ACCOUNTS_001", "firing")).await;

    let stream = reader.context.get_stream("INSIGHTS").await.unwrap();
    let made = &stream.cached_info().config;
    assert_eq!(made.subjects, ["insights.checks.>"]);
    assert_eq!((made.num_replicas, made.storage, made.max_bytes), (3, StorageType::File, 104_857_600));
    assert_eq!(
        (made.max_age, made.duplicate_window),
        (Duration::from_secs(86_400), Duration::from_secs(120))
    );
    assert_eq!((made.retention, made.discard), (RetentionPolicy::Limits, DiscardPolicy::Old));
    let bucket = reader.context.get_stream("KV_INSIGHTS_STATE").await.unwrap();
    let made = &bucket.cached_info().config;
    assert_eq!((made.num_replicas, made.max_messages_per_subject, made.max_age), (3, 1, Duration::ZERO));

    // The same message as in the system account, under the same subject and headers.
    let stored = firing.iter().find(|m| m.is("ACCOUNTS_001", "firing")).unwrap();
    let published = heard.wait_for(SOON, |m| m.header("Nats-Msg-Id") == stored.id()).await;
    assert_eq!((&published.subject, &published.json), (&stored.subject, &stored.json));
    assert_eq!(published.header("Insights-Type"), stored.header("Insights-Type"));
    let summary = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["connected"] == true).await;
    assert!(summary.json["sink"].get("last_error").is_none(), "{}", summary.json);
    let summary =
        heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["published"].as_u64() > Some(1)).await;
    assert_eq!((&summary.json["sink"]["buffered"], &summary.json["sink"]["failed"]), (&0.into(), &0.into()));
    reader.findings_until("a summary", |m| m.json["type"] == "io.nats.insights.v1.epoch").await;

    // Who comes late learns from the bucket what is firing now: what the next epoch publishes.
    let account = cluster.account_id("FULL");
    reader.state_until(&account, "the state", |state| state["status"] == "firing").await;
    heard.forget();
    let epoch = heard.epochs(2, SOON).await.epoch();
    let now: BTreeSet<String> = heard
        .history()
        .iter()
        .filter(|m| m.epoch() == epoch && m.status() == "firing")
        .map(|m| m.json["fingerprint"].as_str().unwrap().to_owned())
        .collect();
    eventually("the bucket holds what fires", SECONDS, async || {
        let states = reader.states().await?;
        let firing = states.iter().filter(|(_, state)| state["status"] == "firing");
        let firing: BTreeSet<String> = firing.map(|(key, _)| key.clone()).collect();
        if firing == now { Ok(()) } else { Err(format!("{firing:?} and not {now:?}")) }
    })
    .await;

    drop(clients);
    reader.findings_until("its end", |m| m.is("ACCOUNTS_001", "resolved")).await;
    let ended = reader.state_until(&account, "the end", |state| state["status"] == "resolved").await;
    assert_eq!(ended["first_seen"], stored.json["first_seen"]);
    let all = reader.stream("INSIGHTS").await.unwrap();
    assert_eq!(all.iter().filter(|m| m.is("ACCOUNTS_001", "resolved")).count(), 1);
    let ids: BTreeSet<String> = all.iter().map(|m| m.id()).collect();
    assert_eq!(ids.len(), all.len());
    for server in 0..3 {
        let log = std::fs::read_to_string(cluster.dir().join(format!("n{}.log", server + 1))).unwrap();
        assert!(!log.contains("Permissions Violation"), "{log}");
    }
    assert!(!agent.stderr().contains("may not"), "{}", agent.stderr());
}
