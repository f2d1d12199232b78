//! What the bucket knows survives the agent.

use crate::support::{Agent, Cluster, Findings};
use crate::{Reader, SOON, fill, sink_account, start, table, tenant};
use serde_json::Value;

fn epochs(state: &Value) -> u64 {
    state["epochs"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_goes_on_where_it_was() {
    let cluster = Cluster::operator(3)
        .jetstream()
        .account(sink_account())
        .account(tenant("STAYS"))
        .account(tenant("ENDS"))
        .start()
        .await;
    let config = format!("{}replicas = 3\n", table(&cluster, "INSIGHTS/sink"));
    let (stays, ends) = (cluster.account_id("STAYS"), cluster.account_id("ENDS"));
    let _staying = fill(&cluster, "STAYS").await;
    let ending = fill(&cluster, "ENDS").await;
    let mut agent = start(&cluster, &config);
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let known = reader.state_until(&stays, "a state of a few epochs", |state| epochs(state) > 5).await;
    let ended = reader.state_until(&ends, "the other state", |state| state["status"] == "firing").await;
    agent.kill();

    drop(ending);
    let mut heard = Findings::subscribe(&cluster).await;
    let again = start(&cluster, &config);
    let about = |m: &crate::support::Message, account: &str| {
        m.check() == "ACCOUNTS_001" && m.json["entity"]["id"] == account
    };
    let first = heard.wait_for(SOON, |m| about(m, &stays)).await;
    assert_eq!(first.json["fingerprint"], known["fingerprint"]);
    assert_eq!(first.json["first_seen"], known["first_seen"]);
    assert!(epochs(&first.json) > epochs(&known), "{} after {known}", first.json);
    assert_ne!(first.json["agent"]["id"], known["agent"]["id"]);
    let resolved = heard.wait_for(SOON, |m| about(m, &ends)).await;
    assert_eq!((resolved.status(), &resolved.json["first_seen"]), ("resolved", &ended["first_seen"]));
    reader.state_until(&ends, "its end", |state| state["status"] == "resolved").await;
    let written = reader.state_until(&stays, "the new agent's state", |state| {
        state["agent"]["id"] == first.json["agent"]["id"]
    });
    assert_eq!(written.await["first_seen"], known["first_seen"]);
    // In the stream it has begun once, and ended never.
    let all = reader.stream("INSIGHTS").await.unwrap();
    let mut about = all.iter().filter(|m| m.json["fingerprint"] == known["fingerprint"]);
    assert!(about.all(|m| m.json["first_seen"] == known["first_seen"] && m.json["status"] == "firing"));
    assert_running(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_comes_late_still_knows_when_it_began() {
    let cluster = Cluster::operator(1).account(tenant("STAYS")).account(tenant("ENDS")).start().await;
    let mut store = Cluster::config(1).jetstream().account(sink_account()).start().await;
    let config = table(&store, "INSIGHTS/sink");
    let (stays, ends) = (cluster.account_id("STAYS"), cluster.account_id("ENDS"));
    let _staying = fill(&cluster, "STAYS").await;
    let ending = fill(&cluster, "ENDS").await;
    let mut agent = start(&cluster, &config);
    let known = {
        let reader = Reader::new(&store, "INSIGHTS/reader").await;
        reader.state_until(&ends, "the other state", |state| state["status"] == "firing").await;
        reader.state_until(&stays, "a state", |state| state["status"] == "firing").await
    };
    agent.kill();
    store.stop(0).await;
    drop(ending);

    // A run that hears nothing of the earlier one, at first.
    let mut heard = Findings::subscribe(&cluster).await;
    let again = start(&cluster, &config);
    let about = |m: &crate::support::Message, account: &str| {
        m.check() == "ACCOUNTS_001" && m.json["entity"]["id"] == account
    };
    let first = heard.wait_for(SOON, |m| about(m, &stays)).await;
    assert_ne!(first.json["first_seen"], known["first_seen"]);
    heard.epochs(2, SOON).await;
    store.restart(0).await;
    heard.wait_for(SOON, |m| about(m, &stays) && m.json["first_seen"] == known["first_seen"]).await;
    // What this run never saw, and what no longer holds.
    heard.wait_for(SOON, |m| about(m, &ends) && m.status() == "resolved").await;
    let reader = Reader::new(&store, "INSIGHTS/reader").await;
    reader.state_until(&ends, "its end", |state| state["status"] == "resolved").await;
    let written = reader.state_until(&stays, "the new agent's state", |state| {
        state["agent"]["id"] == first.json["agent"]["id"]
    });
    assert_eq!(written.await["first_seen"], known["first_seen"]);
    assert!(!heard.history().iter().any(|m| about(m, &stays) && m.status() == "resolved"));
    assert_running(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_has_sent_all_and_foreign_values_are_left_alone() {
    let cluster =
        Cluster::config(1).jetstream().account(sink_account()).account(tenant("FULL")).start().await;
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let config = async_nats::jetstream::kv::Config { bucket: "INSIGHTS_STATE".into(), ..Default::default() };
    let store = reader.context.create_key_value(config).await.unwrap();
    let foreign = "0123456789abcdef0123456789abcdef";
    store.put(foreign, "{\"status\":\"firing\"}".into()).await.unwrap();
    store.put("lease", "somebody".into()).await.unwrap();
    let _clients = fill(&cluster, "FULL").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let mut agent = start(&cluster, &table(&cluster, "INSIGHTS/sink"));
    heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["published"].as_u64() > Some(1)).await;
    agent.terminate();
    assert!(agent.wait(SOON).await.success(), "{}", agent.stderr());
    let last = heard.history().into_iter().rfind(crate::support::Message::is_epoch).unwrap();
    let all = reader.stream("INSIGHTS").await.unwrap();
    assert_eq!(all.last().unwrap().id(), last.header("Nats-Msg-Id"), "{}", agent.stderr());
    assert_eq!(&*store.get(foreign).await.unwrap().unwrap(), b"{\"status\":\"firing\"}");
    assert_eq!(&*store.get("lease").await.unwrap().unwrap(), b"somebody");
    assert_eq!(agent.stderr().matches("holds something that is left alone").count(), 1, "{}", agent.stderr());
}

fn assert_running(mut agent: Agent) {
    assert!(agent.is_running(), "{}", agent.stderr());
}
