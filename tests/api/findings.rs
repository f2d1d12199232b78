//! What is open, the last epoch, and the catalogue.

use insights_agent::api::Endpoint;
use serde_json::{Value, json};

use crate::ask::{Asked, assert_schema};
use crate::support::Agent;

fn checks(answer: &Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().map(|f| f["check"].as_str().unwrap()).collect()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().map(|f| f["entity"]["id"].as_str().unwrap()).collect()
}

/// Whether a finding is one of those that are asked for.
type Wanted<'a> = &'a dyn Fn(&Value) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_what_was_published_and_refuses_what_it_cannot_use() {
    let mut asked = Asked::start().await;
    let full = asked.cluster.account_id("FULL");

    let all = asked.ask("insights.api.findings", "").await.unwrap();
    assert_schema(Endpoint::Findings, &all);
    assert_eq!((all["total"].as_u64(), all["omitted"].as_u64()), (Some(ids(&all).len() as u64), Some(0)));
    assert!(checks(&all).contains(&"ACCOUNTS_001") && checks(&all).contains(&"SERVER_011"), "{all}");
    // Each filter lets through what it names, of everything that is open.
    let keeps: [(Value, Wanted<'_>); 10] = [
        (json!({"severity": "warning"}), &|f| f["severity"] != "info"),
        (json!({"severity": "critical"}), &|f| f["severity"] == "critical"),
        (json!({"check": "ACCOUNTS_001"}), &|f| f["check"] == "ACCOUNTS_001"),
        (json!({"check": "SERVER_*"}), &|f| f["check"] == "SERVER_011"),
        (json!({"account": full}), &|f| f["entity"]["account"] == full),
        (json!({"account": "FULL"}), &|f| f["entity"]["account"] == full),
        (json!({"account": "FU*"}), &|f| f["entity"]["account"] == full),
        (json!({"entity": full}), &|f| f["entity"]["id"] == full),
        (json!({"type": "account"}), &|f| f["entity"]["type"] == "account"),
        (json!({"type": "server"}), &|f| f["entity"]["type"] == "server"),
    ];
    for (request, keeps) in keeps {
        let told = asked.ask("insights.api.findings", &request.to_string()).await.unwrap();
        let kept = all["findings"].as_array().unwrap().iter().filter(|f| keeps(f));
        let kept: Vec<&str> = kept.map(|f| f["fingerprint"].as_str().unwrap()).collect();
        let got = told["findings"].as_array().unwrap().iter();
        let got: Vec<&str> = got.map(|f| f["fingerprint"].as_str().unwrap()).collect();
        assert_eq!(got, kept, "{request}");
    }
    // Pages.
    let one = asked.ask("insights.api.findings", r#"{"limit": 1}"#).await.unwrap();
    assert_eq!((ids(&one).len() as u64, &one["omitted"]), (1, &json!(all["total"].as_u64().unwrap() - 1)));
    let next = asked.ask("insights.api.findings", r#"{"limit": 1, "offset": 1}"#).await.unwrap();
    assert_eq!(next["findings"][0]["fingerprint"], all["findings"][1]["fingerprint"]);

    // One finding is the message of its subject, of a later epoch.
    let published = asked.findings.history();
    let published = published.iter().rfind(|m| m.check() == "ACCOUNTS_001").unwrap();
    let fingerprint = published.json["fingerprint"].as_str().unwrap();
    let told = asked.ask(&format!("insights.api.finding.{fingerprint}"), "").await.unwrap();
    for key in ["type", "fingerprint", "status", "check", "entity", "first_seen", "system", "agent"] {
        assert_eq!(told[key], published.json[key], "{key}");
    }
    assert!(told["epoch"].as_u64().unwrap() >= published.epoch());

    // The last epoch.
    let summary = asked.ask("insights.api.epoch", "{}").await.unwrap();
    assert_eq!(
        (&summary["type"], &summary["servers"]["known"]),
        (&json!("io.nats.insights.v1.epoch"), &json!(2))
    );

    // The catalogue is what the command prints.
    let catalog = asked.ask("insights.api.catalog", "").await.unwrap();
    assert_schema(Endpoint::Catalog, &catalog);
    let printed = Agent::run(["catalog", "list", "--format", "json"], crate::ask::SOON).await;
    assert_eq!(catalog["checks"], serde_json::from_str::<Value>(&printed.stdout).unwrap());
    let user = asked.ask("insights.api.catalog", r#"{"check": "USER_002"}"#).await.unwrap();
    assert_eq!((&user["total"], &user["checks"][0]["id"]), (&json!(1), &json!("USER_002")));

    // Refusals, each with its code and with what it is about.
    for (subject, request, code, named) in [
        ("insights.api.findings", r#"{"severty": "info"}"#, 400, "severty"),
        ("insights.api.findings", r#"{"severity": "urgent"}"#, 400, "urgent"),
        ("insights.api.findings", r#"{"check": "ACCOUNT_001"}"#, 400, "ACCOUNTS_001"),
        ("insights.api.findings", r#"{"limit": 0}"#, 400, "limit = 0"),
        ("insights.api.findings", "not json", 400, "JSON"),
        ("insights.api.findings", "[]", 400, "JSON object"),
        ("insights.api.epoch", r#"{"which": 1}"#, 400, "which"),
        ("insights.api.finding.nonsense", "", 400, "nonsense"),
        ("insights.api.finding.00000000000000000000000000000000", "", 404, "0000"),
        ("insights.api.catalog", r#"{"check": "USR_002"}"#, 404, "USER_002"),
        ("insights.api.check.USR_002", "", 404, "USER_002"),
    ] {
        let (told, text) = asked.ask(subject, request).await.unwrap_err();
        assert!(told == code && text.contains(named), "{subject} {request}: {told} {text}");
    }

    // What ends is open no more.
    asked.clients.truncate(3);
    let ended = |m: &crate::support::Message| m.check() == "ACCOUNTS_001" && m.status() == "resolved";
    asked.findings.wait_for(crate::ask::SOON, ended).await;
    let gone = asked.ask(&format!("insights.api.finding.{fingerprint}"), "").await.unwrap_err();
    assert_eq!(gone.0, 404);
    // Nothing of this was a problem to the agent.
    assert!(!asked.agent.stderr().contains("WARN"), "{}", asked.agent.stderr());
}
