//! Judging now, on the last snapshot, with thresholds of the request.

use insights_agent::api::Endpoint;
use serde_json::{Value, json};

use crate::ask::{Asked, assert_schema};

fn accounts(answer: &Value) -> Vec<&str> {
    answer["firing"].as_array().unwrap().iter().map(|f| f["entity"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_threshold_fires_where_the_epoch_did_not_and_publishes_nothing() {
    let mut asked = Asked::start().await;
    let subject = "insights.api.check.ACCOUNTS_001";
    let usual = asked.ask(subject, "").await.unwrap();
    assert_schema(Endpoint::Check, &usual);
    assert_eq!((accounts(&usual), &usual["thresholds"]["warn_percent"]), (vec!["FULL"], &json!(90.0)));

    let strict = asked.ask(subject, r#"{"thresholds": {"warn_percent": 10}}"#).await.unwrap();
    assert_schema(Endpoint::Check, &strict);
    let mut names = accounts(&strict);
    names.sort_unstable();
    assert_eq!((names, &strict["thresholds"]["warn_percent"]), (vec!["FULL", "SPARE"], &json!(10.0)));
    let spare = strict["firing"].as_array().unwrap().iter().find(|f| f["entity"]["name"] == "SPARE").unwrap();
    assert_eq!((&spare["observed"]["value"], &spare["observed"]["limit"]), (&json!(12), &json!(100)));
    // The same entity has the same fingerprint as in what is published.
    let full = usual["firing"][0]["fingerprint"].as_str().unwrap();
    assert!(asked.ask(&format!("insights.api.finding.{full}"), "").await.is_ok());

    let lenient = asked.ask(subject, r#"{"thresholds": {"warn_percent": 100}}"#).await.unwrap();
    assert!(accounts(&lenient).is_empty());
    for (request, named) in [
        (r#"{"thresholds": {"warn_percnt": 10}}"#, "warn_percnt"),
        (r#"{"thresholds": {"warn_percent": 0}}"#, "warn_percent = 0 is out of range"),
        (r#"{"threshold": {}}"#, "threshold"),
        (r#"{"thresholds": []}"#, "expected a map"),
    ] {
        let (code, text) = asked.ask(subject, request).await.unwrap_err();
        assert!(code == 400 && text.contains(named), "{request}: {code} {text}");
    }

    // Neither the ledger nor anybody else has heard of it.
    asked.findings.epochs(2, crate::ask::SOON).await;
    let open = asked.ask("insights.api.findings", r#"{"check": "ACCOUNTS_001"}"#).await.unwrap();
    assert_eq!((&open["total"], &open["findings"][0]["fingerprint"]), (&json!(1), &json!(full)));
    let spoken = asked.findings.history();
    assert!(spoken.iter().all(|m| m.check() != "ACCOUNTS_001" || m.json["entity"]["name"] == "FULL"));
}
