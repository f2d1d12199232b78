//! Beside a sink: the service in the sink's account, and `watch` that begins with what the bucket has.

use insights_agent::config::Config;
use insights_agent::permissions::Permissions;
use serde_json::Value;

use crate::ask::{SOON, ask, planted};
use crate::support::{Account, Agent, Cluster, Findings, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_sinks_account_can_be_asked_as_well_and_its_bucket_begins_the_watching() {
    let least = Permissions::for_sink(&Config::default()).asked();
    let sink = Account::new("INSIGHTS").jetstream();
    let sink = sink.answering_user("sink", &least.publish, &least.subscriptions()).user("reader");
    let cluster = planted(Cluster::operator(1)).jetstream().account(sink).start().await;
    let _clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
    let config = cluster.dir().join("sink.toml");
    let (url, creds) = (cluster.url(0), cluster.creds("INSIGHTS/sink"));
    std::fs::write(&config, format!("[sink]\nservers = [{url:?}]\ncreds = {creds:?}\n")).unwrap();
    let config = config.to_string_lossy().into_owned();
    let mut findings = Findings::subscribe(&cluster).await;
    let mut agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s", "--config", &config]));
    findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.status() == "firing").await;

    let reader = cluster.connect(0, "INSIGHTS/reader", "asker").await;
    let told = ask(&reader, "insights.api.findings", r#"{"account": "FULL"}"#).await.unwrap();
    assert_eq!(told["findings"][0]["check"], "ACCOUNTS_001", "{told}");
    assert!(ask(&reader, "$SRV.INFO.insights", "").await.is_ok());
    let told = agent.stderr();
    assert!(!told.contains("nobody can ask there") && !told.contains("allow_responses"), "{told}");

    // Without an agent, the bucket still knows what was open.
    agent.terminate();
    agent.wait(SOON).await;
    let args = cluster.agent_args_as(0, "SYS/admin");
    let args = args.chain(["watch", "--format", "ndjson", "--account", "FULL", "--config", &config]);
    let watching = Agent::start(args);
    let open = eventually("what is open", SOON.as_secs(), async || {
        let told = watching.stdout();
        let line = told.lines().next().ok_or_else(|| watching.stderr())?;
        serde_json::from_str::<Value>(line).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!((&open["change"], &open["finding"]["check"]), (&"open".into(), &"ACCOUNTS_001".into()));
    assert_eq!(watching.stderr(), "");
}
