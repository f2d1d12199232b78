//! The agent's own connections, that of its sink included, are in no finding: also after it had to connect again.

use crate::support::watched::SOON;
use crate::support::{Account, Agent, Cluster, Findings};
use insights_agent::config::Config;
use insights_agent::permissions::Permissions;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_sinks_connection_is_in_no_finding_also_after_a_reconnect() {
    let least = Permissions::for_sink(&Config::default()).asked();
    let sink = Account::new("INSIGHTS").jetstream();
    let sink = sink.answering_user("sink", &least.publish, &least.subscriptions());
    let app = Account::new("APP").user("pair");
    let mut cluster = Cluster::config(1).account(sink).account(app).jetstream().start().await;
    let (user, password) = cluster.password("INSIGHTS/sink");
    let config = format!(
        "[sink]\nservers = [{:?}]\nuser = {user:?}\npassword = {password:?}\nreplicas = 1\n\
         [checks.USER_002]\nmax_connections = 1\n",
        cluster.url(0)
    );
    let path = cluster.dir().join("own.toml");
    std::fs::write(&path, config).unwrap();
    let mut findings = Findings::subscribe(&cluster).await;
    // With its own, the user of the sink would have two connections.
    let other = cluster.connect(0, "INSIGHTS/sink", "other").await;
    let pair = cluster.connect_many(0, "APP/pair", "pair", 2).await;
    let path = path.to_string_lossy().into_owned();
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s", "--config", &path]));

    for _ in 0..2 {
        let works = |m: &Value| m["sink"]["connected"] == true && m["complete"] == true;
        findings.wait_for(SOON, |m| m.is_epoch() && works(&m.json)).await;
        findings.wait_for(SOON, |m| m.check() == "USER_002" && m.json["entity"]["id"] == "pair").await;
        findings.epochs(3, SOON).await;
        let last = findings.history().into_iter().rfind(|m| m.is_epoch()).unwrap();
        assert_eq!(last.json["sink"]["connected"], json!(true));
        let seen: Vec<String> = findings
            .history()
            .iter()
            .filter(|m| !m.is_epoch() && m.json["entity"]["account"] == "INSIGHTS")
            .filter(|m| m.check().starts_with("USER_") || m.check().starts_with("CONN_"))
            .map(|m| m.json["summary"].to_string())
            .collect();
        assert!(seen.is_empty(), "{seen:?}");
        // It comes back with another id on a server with another id.
        cluster.restart(0).await;
        findings.forget();
    }
    drop((other, pair, agent));
}
