//! The lease in the sink.

use async_nats::jetstream;
use insights_agent::config::Config;
use insights_agent::permissions::Permissions;
use serde_json::json;

use crate::support::{Account, Cluster, Message};
use crate::team::{Team, planted};
use crate::{EPOCH, SOON};

fn sink_account() -> Account {
    let Permissions { publish, subscribe, .. } = Permissions::for_sink(&Config::default());
    Account::new("INSIGHTS").jetstream().restricted_user("sink", &publish, &subscribe).user("reader")
}

fn table(store: &Cluster) -> String {
    let urls: Vec<String> = (0..store.len()).map(|server| store.url(server)).collect();
    let (user, password) = store.password("INSIGHTS/sink");
    format!(
        "[sink]\nservers = {urls:?}\nuser = {user:?}\npassword = {password:?}\nreplicas = {}\ntimeout = \"2s\"\n",
        store.len()
    )
}

fn leads_by(basis: &'static str) -> impl Fn(&Message) -> bool {
    move |m: &Message| m.is_epoch() && m.json["agents"]["by"] == basis
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_lease_is_followed_by_another_one_with_it() {
    let cluster = planted(Cluster::operator(3)).start().await;
    let store = Cluster::config(3).jetstream().account(sink_account()).start().await;
    let mut team = Team::start(&cluster, &[0, 1, 2], &table(&store)).await;
    let before = team.finding().await;
    let held = team.findings.wait_for(SOON, leads_by("lease")).await;
    let leader = Team::beside(&held);

    // The key tells who.
    let client = store.connect(0, "INSIGHTS/reader", "reader").await;
    let bucket = jetstream::new(client).get_key_value("INSIGHTS_STATE_LEASE").await.unwrap();
    let keys: Vec<String> =
        futures_util::TryStreamExt::try_collect(bucket.keys().await.unwrap()).await.unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let value = bucket.get(key).await.unwrap().unwrap();
    let holder: serde_json::Value = serde_json::from_slice(&value).unwrap();
    assert_eq!((&holder["id"], &holder["name"]), (&held.json["agent"]["id"], &held.json["agent"]["name"]));

    team.findings.forget();
    let last = team.next().await;
    team.remove(leader).kill();
    let first = team.successor_of(leader).await;
    assert!(first.epoch() - last.epoch() <= 2 * EPOCH, "{:?}\n{}", team.epochs(), team.logs());
    let next = Team::beside(&first);
    team.findings.wait_for(SOON, |m| leads_by("lease")(m) && Team::beside(m) == next).await;
    team.went_on(&before);

    // In order, the lease is given back.
    team.findings.forget();
    team.next().await;
    let mut agent = team.remove(next);
    agent.terminate();
    assert!(agent.wait(SOON).await.success(), "{}", agent.stderr());
    let last = Team::beside(&team.successor_of(next).await);
    team.findings.wait_for(SOON, |m| leads_by("lease")(m) && Team::beside(m) == last).await;
    team.went_on(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_goes_away_changes_no_leader() {
    let cluster = planted(Cluster::operator(2)).start().await;
    let mut store = Cluster::config(1).jetstream().account(sink_account()).start().await;
    let mut team = Team::start(&cluster, &[0, 1], &table(&store)).await;
    let before = team.finding().await;
    let leader = Team::beside(&team.findings.wait_for(SOON, leads_by("lease")).await);

    team.findings.forget();
    store.stop(0).await;
    team.findings.wait_for(SOON, leads_by("presence")).await;
    team.findings.epochs(2, SOON).await;
    store.restart(0).await;
    let seen = team.epochs().len();
    let last = team.findings.history().len();
    crate::support::eventually("the lease is back", 90, async || {
        let history = team.findings.history();
        let found = history.iter().skip(last).any(leads_by("lease"));
        if found { Ok(()) } else { Err(format!("{:?}\n{}", team.epochs(), team.logs())) }
    })
    .await;
    team.findings.epochs(2, SOON).await;
    assert!(team.epochs().len() > seen);
    assert!(team.epochs().iter().all(|(_, by)| *by == leader), "{:?}\n{}", team.epochs(), team.logs());
    team.went_on(&before);
    assert_eq!(json!(leader), json!(Team::beside(&team.next().await)));
}
