//! The log tells changes, once each, with fields.

use crate::support::{Agent, Findings, eventually};
use crate::{SOON, SOON_S, args, nearly_full, shop};
use serde_json::Value;

/// Lines about findings so far.
fn lines(agent: &Agent) -> Vec<Value> {
    let log = agent.stderr();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["check"].is_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_told_when_it_begins_and_when_it_ends() {
    let cluster = shop(1).start().await;
    let clients = nearly_full(&cluster).await;
    let mut findings = Findings::subscribe(&cluster).await;
    // Of the other checks some have something to say as well, each at its own time.
    let agent = Agent::start(args(&cluster, "").chain(["--log-format", "json"]));
    let of_check =
        || lines(&agent).into_iter().filter(|line| line["check"] == "ACCOUNTS_001").collect::<Vec<_>>();
    let firing = findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001").await;
    // It is published in every epoch.
    findings.epochs(4, SOON).await;
    let told = of_check();
    assert_eq!(told.len(), 1, "{told:?}");
    let line = &told[0];
    let expected = [
        ("level", "INFO"),
        ("why", "began"),
        ("severity", "warning"),
        ("status", "firing"),
        ("entity_type", "account"),
        ("entity", &cluster.account_id("SHOP")),
        ("account", &cluster.account_id("SHOP")),
        ("fingerprint", firing.json["fingerprint"].as_str().unwrap()),
        ("message", firing.json["summary"].as_str().unwrap()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line.get("from"), None, "{line}");

    drop(clients);
    let ended = eventually("the end is told", SOON_S, async || {
        let mut told = of_check();
        if told.len() == 2 { Ok(told.remove(1)) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert_eq!((&ended["why"], &ended["status"]), (&"ended".into(), &"resolved".into()));
    // Its second message is not told again.
    findings.epochs(3, SOON).await;
    assert_eq!(of_check().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_told_once() {
    let mut cluster = shop(1).start().await;
    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(args(&cluster, ""));
    findings.epochs(1, SOON).await;
    cluster.stop(0).await;
    let timed_out = "did not take all messages";
    let count = || agent.stderr().matches(timed_out).count();
    eventually("it is told", SOON_S, async || if count() > 0 { Ok(()) } else { Err(agent.stderr()) }).await;
    cluster.restart(0).await;
    eventually("its end is told", SOON_S, async || {
        let log = agent.stderr();
        if log.contains("everything is published again") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(count(), 1, "{}", agent.stderr());
}
