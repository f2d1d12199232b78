//! What exists is used as it is, and it is told where it differs.

use crate::support::{Cluster, Findings};
use crate::{Reader, SOON, fill, sink_account, start, table, tenant};
use async_nats::jetstream::{kv, stream};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_are_told_and_left_alone() {
    let cluster =
        Cluster::config(1).jetstream().account(sink_account()).account(tenant("FULL")).start().await;
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let own = stream::Config {
        name: "INSIGHTS".into(),
        subjects: vec!["insights.>".into()],
        max_age: Duration::from_secs(3600),
        storage: stream::StorageType::Memory,
        num_replicas: 1,
        ..stream::Config::default()
    };
    let before = reader.context.create_stream(own).await.unwrap().cached_info().config.clone();
    let own = kv::Config {
        bucket: "INSIGHTS_STATE".into(),
        history: 5,
        max_age: SOON * 60,
        ..kv::Config::default()
    };
    reader.context.create_key_value(own).await.unwrap();
    let bucket = reader.context.get_stream("KV_INSIGHTS_STATE").await.unwrap().cached_info().config.clone();

    let _clients = fill(&cluster, "FULL").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let agent = start(&cluster, &table(&cluster, "INSIGHTS/sink"));
    reader.findings_until("a finding", |m| m.is("ACCOUNTS_001", "firing")).await;
    reader.state_until("FULL", "its state", |state| state["status"] == "firing").await;
    let told = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["notes"][1].is_string()).await;
    let notes = &told.json["sink"]["notes"];
    assert_eq!(
        notes[0],
        "the stream INSIGHTS exists with other settings, which are left as they are: max_age is 1h where 7days is \
         configured, max_bytes is unlimited where 1073741824 is configured, storage is memory where file is configured"
    );
    assert_eq!(
        notes[1],
        "the bucket INSIGHTS_STATE exists with other settings, which are left as they are: max_age is 1h where for \
         ever is configured"
    );
    for note in notes.as_array().unwrap() {
        assert_eq!(agent.stderr().matches(note.as_str().unwrap()).count(), 1, "{}", agent.stderr());
    }
    let after = reader.context.get_stream("INSIGHTS").await.unwrap().cached_info().config.clone();
    assert_eq!(after, before);
    let after = reader.context.get_stream("KV_INSIGHTS_STATE").await.unwrap().cached_info().config.clone();
    assert_eq!(after, bucket);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_captures_the_subjects_is_named_and_the_agent_goes_on() {
    let cluster =
        Cluster::config(1).jetstream().account(sink_account()).account(tenant("FULL")).start().await;
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let other = stream::Config {
        name: "EVERYTHING".into(),
        subjects: vec!["insights.>".into()],
        ..stream::Config::default()
    };
    reader.context.create_stream(other).await.unwrap();
    let mut heard = Findings::subscribe(&cluster).await;
    let agent = start(&cluster, &table(&cluster, "INSIGHTS/sink"));
    let told = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["last_error"].is_string()).await;
    assert_eq!(
        told.json["sink"]["last_error"],
        "the stream INSIGHTS cannot be created: the stream EVERYTHING captures subjects below insights.checks already"
    );
    assert_eq!(told.json["sink"]["connected"], false);
    heard.epochs(2, SOON).await;
    assert_eq!(agent.stderr().matches("the stream EVERYTHING captures").count(), 1, "{}", agent.stderr());
    assert_eq!(reader.stream("EVERYTHING").await.unwrap().len(), 0);

    // The way out that the sentence suggests works without a restart.
    reader.context.delete_stream("EVERYTHING").await.unwrap();
    heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["connected"] == true).await;
}
