//! Accounts of a configuration file: their limits are shown by no server.

use crate::Watched;
use crate::support::{Account, Cluster, limits};
use serde_json::Value;

fn unknown(summary: &Value, check: &str, entity: &str) -> Option<String> {
    let rows = summary["checks"]["unknown"].as_array().unwrap();
    let row = rows.iter().find(|row| row["check"] == check && row["entity"] == entity)?;
    Some(row["reason"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_is_unknown_declared_is_judged_and_refusals_are_critical() {
    let cluster = Cluster::config(2)
        .account(Account::new("HIDDEN").limits(limits().conn(3)).user("h"))
        .account(Account::new("DECLARED").limits(limits().conn(10).subs(50)).user("d"))
        .start()
        .await;
    let hidden = cluster.connect_many(0, "HIDDEN/h", "h", 3).await;
    let declared = cluster.connect_many(1, "DECLARED/d", "d", 9).await;
    let config = "[accounts.DECLARED]\nmax_connections = 10\nmax_subscriptions = 50\n";
    let mut watched = Watched::start(&cluster, config).await;

    let found = watched.firing("ACCOUNTS_001").await;
    assert_eq!(found.json["entity"]["id"], "DECLARED");
    assert_eq!(found.json["observed"]["limit_source"], "declared");
    assert_eq!(found.json["observed"]["percent"], 90.0);
    let summary = watched.epoch(|e| unknown(e, "ACCOUNTS_001", "HIDDEN").is_some()).await;
    let reason = unknown(&summary.json, "ACCOUNTS_001", "HIDDEN").unwrap();
    assert!(reason.contains("configuration file") && reason.contains("max_connections"), "{reason}");
    assert!(unknown(&summary.json, "ACCOUNTS_006", "HIDDEN").is_some(), "{}", summary.json);
    assert_eq!(unknown(&summary.json, "ACCOUNTS_001", "DECLARED"), None);

    for _ in 0..4 {
        cluster.try_connect(1, "HIDDEN/h", "refused").await.unwrap_err();
    }
    let critical = watched.firing_as("ACCOUNTS_001", |f| f["entity"]["id"] == "HIDDEN").await;
    assert_eq!(critical.subject, "insights.checks.HIDDEN.critical.ACCOUNTS_001.account.HIDDEN");
    assert!(critical.json["evidence"]["refused"].as_u64() >= Some(1));
    // Nobody is refused any more, which the events prove although the limit stays unseen.
    let ended = watched
        .findings
        .wait_for(crate::SOON, |m| m.status() == "resolved" && m.json["entity"]["id"] == "HIDDEN")
        .await;
    assert_eq!(ended.json["fingerprint"], critical.json["fingerprint"]);
    drop((hidden, declared));
    watched.check_everything_published();
}
