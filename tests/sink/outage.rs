//! A sink that goes away and comes back.

use crate::support::{Cluster, Findings, Message};
use crate::{Reader, SOON, Stored, fill, sink_account, start, table, tenant};
use std::collections::BTreeSet;

fn about(m: &Message, account: &str, status: &str) -> bool {
    m.check() == "ACCOUNTS_001" && m.json["entity"]["id"] == account && m.status() == status
}

/// Beginnings and ends of a check's findings as the system account heard them, each once, by their ids.
fn transitions(heard: &Findings) -> Vec<String> {
    let mut firing = BTreeSet::new();
    let mut ids = Vec::new();
    for m in heard.history().iter().filter(|m| m.check() == "ACCOUNTS_001") {
        let (fingerprint, id) = (m.json["fingerprint"].to_string(), m.header("Nats-Msg-Id").to_owned());
        let new = match m.status() {
            "firing" => firing.insert(fingerprint),
            _ => firing.remove(&fingerprint),
        };
        if new {
            ids.push(id);
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_of_the_meantime_arrive_once_and_in_order() {
    let tenants = ["BEFORE", "DURING", "SHORT"];
    let mut cluster = Cluster::operator(1);
    for name in tenants {
        cluster = cluster.account(tenant(name));
    }
    let cluster = cluster.start().await;
    let mut store = Cluster::config(3).jetstream().account(sink_account()).start().await;
    let [before, during, short] = tenants.map(|name| cluster.account_id(name));
    let mut heard = Findings::subscribe(&cluster).await;
    let of_before = fill(&cluster, "BEFORE").await;
    let agent = start(&cluster, &format!("{}replicas = 3\n", table(&store, "INSIGHTS/sink")));
    {
        let reader = Reader::new(&store, "INSIGHTS/reader").await;
        reader.state_until(&before, "the first state", |state| state["status"] == "firing").await;
    }

    // Killed, not stopped: what was under way may or may not have been stored.
    for server in 0..3 {
        store.kill(server);
    }
    heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["connected"] == false).await;
    let _of_during = fill(&cluster, "DURING").await;
    heard.wait_for(SOON, |m| about(m, &during, "firing")).await;
    let of_short = fill(&cluster, "SHORT").await;
    heard.wait_for(SOON, |m| about(m, &short, "firing")).await;
    drop(of_before);
    heard.wait_for(SOON, |m| about(m, &before, "resolved")).await;
    drop(of_short);
    heard.wait_for(SOON, |m| about(m, &short, "resolved")).await;
    let told = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["buffered"].as_u64() >= Some(4)).await;
    assert_eq!(told.json["sink"]["dropped"], 0);

    for server in 0..3 {
        store.start(server);
    }
    store.wait_formed().await;
    heard
        .wait_for(SOON, |m| m.is_epoch() && m.epoch() > told.epoch() && m.json["sink"]["connected"] == true)
        .await;
    let reader = Reader::new(&store, "INSIGHTS/reader").await;
    let end = |account: &str| {
        let account = account.to_owned();
        move |m: &Stored| m.is("ACCOUNTS_001", "resolved") && m.json["entity"]["id"] == account
    };
    reader.findings_until("the last end", end(&short)).await;
    let all = reader.findings_until("a message of the time after", |m| {
        m.json["type"] == "io.nats.insights.v1.epoch" && m.json["epoch"].as_u64() > Some(told.epoch())
    });
    let all = all.await;
    let ids: Vec<String> = all.iter().map(Stored::id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "none is there twice: {ids:#?}");
    let expected = transitions(&heard);
    let places: Vec<Option<usize>> =
        expected.iter().map(|id| ids.iter().position(|stored| stored == id)).collect();
    assert!(places.iter().all(Option::is_some), "none is missing: {expected:#?} in {ids:#?}");
    assert!(places.is_sorted(), "{places:?}");
    let epochs: Vec<u64> = all.iter().map(|m| m.json["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");

    reader.state_until(&before, "an end of the meantime", |state| state["status"] == "resolved").await;
    reader.state_until(&during, "a beginning of the meantime", |state| state["status"] == "firing").await;
    reader.state_until(&short, "what was short", |state| state["status"] == "resolved").await;
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_transitions_than_may_wait_are_counted_and_told() {
    let cluster = Cluster::config(1).account(tenant("A")).account(tenant("B")).start().await;
    let mut store = Cluster::config(1).jetstream().account(sink_account()).start().await;
    let config = format!("{}buffer = 1\n", table(&store, "INSIGHTS/sink"));
    store.stop(0).await;
    let mut heard = Findings::subscribe(&cluster).await;
    let of_a = fill(&cluster, "A").await;
    let agent = start(&cluster, &config);
    heard.wait_for(SOON, |m| about(m, "A", "firing")).await;
    let _of_b = fill(&cluster, "B").await;
    heard.wait_for(SOON, |m| about(m, "B", "firing")).await;
    drop(of_a);
    heard.wait_for(SOON, |m| about(m, "A", "resolved")).await;
    let told = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["dropped"].as_u64() >= Some(2)).await;
    assert_eq!(told.json["sink"]["buffered"], 1);
    assert!(told.json["sink"]["last_error"].as_str().unwrap().contains("cannot reach"), "{}", told.json);
    let tells = "more transitions wait for the sink than it may keep";
    assert_eq!(agent.stderr().matches(tells).count(), 1, "{}", agent.stderr());

    // The state is whole nevertheless.
    store.restart(0).await;
    let reader = Reader::new(&store, "INSIGHTS/reader").await;
    reader.state_until("B", "what fires", |state| state["status"] == "firing").await;
    reader.state_until("A", "what ended", |state| state["status"] == "resolved").await;
}
