//! CHANGE_003.

use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster};
use insights_agent::demo::topology::FileAccount;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_come_and_go_are_told_and_many_at_once_are_one() {
    let mut cluster = Cluster::config(2).account(Account::new("APP").user("app")).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    // The first epoch has nothing to compare with.
    watched.findings.epochs(2, SOON).await;
    let named = |name: &str| FileAccount { name: name.into(), ..FileAccount::default() };
    cluster.change_file_accounts(|accounts| accounts.push(named("NEW"))).await;
    let found = watched.firing("CHANGE_003").await;
    let json = &found.json;
    assert_eq!((&json["entity"]["id"], &json["summary"]), (&json!("NEW"), &json!("account NEW is new")));
    assert_eq!((&json["severity"], &json["evidence"]["change"]), (&json!("info"), &json!("added")));
    assert_eq!(json["evidence"]["added_accounts"], json!(["NEW"]));
    watched.resolved("CHANGE_003").await;

    cluster.change_file_accounts(|accounts| accounts.retain(|account| account.name != "NEW")).await;
    let gone = |json: &serde_json::Value| json["evidence"]["change"] == "removed";
    let found = watched.firing_as("CHANGE_003", gone).await;
    assert_eq!(found.json["summary"], "account NEW is there no longer");

    cluster.change_file_accounts(|accounts| accounts.extend((0..11).map(|i| named(&format!("T{i}"))))).await;
    let many = |json: &serde_json::Value| json["evidence"]["change"] == "several";
    let found = watched.firing_as("CHANGE_003", many).await;
    assert_eq!(found.json["entity"]["id"], "SYS");
    assert_eq!(
        (&found.json["observed"]["value"], &found.json["evidence"]["added"]),
        (&json!(11), &json!(11))
    );

    // A server that is away may be the only one that has an account, and one that is started anew has none more.
    cluster.restart(1).await;
    watched.findings.epochs(3, SOON).await;
    let of_tenants = watched.findings.history().into_iter().filter(|m| {
        m.check() == "CHANGE_003" && m.json["entity"]["id"].as_str().is_some_and(|id| id.starts_with('T'))
    });
    assert_eq!(of_tenants.count(), 0);
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_operator_mode_the_first_use_is_told_and_a_restart_is_not() {
    let mut cluster = Cluster::operator(2)
        .account(Account::new("APP").user("app"))
        .account(Account::new("LATE").user("late"))
        .start()
        .await;
    let app = cluster.connect(0, "APP/app", "app").await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.findings.epochs(2, SOON).await;
    let late = cluster.connect(1, "LATE/late", "late").await;
    let found = watched.firing("CHANGE_003").await;
    assert_eq!(
        found.json["summary"],
        "account LATE is used, for the first time that this agent saw within a day"
    );
    assert_eq!(found.json["evidence"]["operator_mode"], true);
    watched.resolved("CHANGE_003").await;
    watched.findings.forget();
    drop(late);
    cluster.restart(1).await;
    watched.epoch(|epoch| epoch["servers"]["known"] == 2 && epoch["complete"] == true).await;
    watched.findings.epochs(3, SOON).await;
    let removed = watched.findings.history().into_iter().filter(|m| m.json["evidence"]["removed"] == 1);
    assert_eq!(removed.count(), 0);
    drop(app);
    watched.check_everything_published();
}
