//! OPT_IDLE_005 and OPT_IDLE_006, with times of seconds.

use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_nobody_uses_and_a_user_that_is_gone_fire_and_end() {
    let empty = Account::new("EMPTY").user("nobody");
    let cluster =
        Cluster::config(3).account(Account::new("APP").user("job").user("web")).account(empty).start().await;
    let web = cluster.connect_many(0, "APP/web", "web", 2).await;
    let job = cluster.connect_many(1, "APP/job", "job", 3).await;
    let config = "[checks.OPT_IDLE_005]\nidle = \"4s\"\n[checks.OPT_IDLE_006]\ngone_for = \"3s\"\nconnected_for = \"2s\"\nremember = \"20s\"\n";
    let mut watched = Watched::start(&cluster, config).await;

    let found = watched.firing("OPT_IDLE_005").await;
    assert_eq!(found.subject, "insights.checks.EMPTY.info.OPT_IDLE_005.account.EMPTY");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["bytes"], &evidence["inactive_seconds"]), (&json!(0), &json!(null)));
    assert!(evidence["watched_seconds"].as_u64().unwrap() >= 4, "{evidence}");
    assert_eq!(found.json["observed"]["threshold"], 4);

    drop(job);
    let found = watched.firing("OPT_IDLE_006").await;
    assert_eq!(found.subject, "insights.checks.APP.info.OPT_IDLE_006.user.job");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["connections_before"], &evidence["account_connections"]), (&json!(3), &json!(2)));
    assert_eq!(evidence["gone_of_account"], 1);
    assert!(evidence["gone_seconds"].as_u64().unwrap() >= 3, "{evidence}");

    let back = cluster.connect(2, "APP/job", "job").await;
    watched.resolved("OPT_IDLE_006").await;
    let user = cluster.connect(2, "EMPTY/nobody", "somebody").await;
    watched.resolved("OPT_IDLE_005").await;
    // Nobody else: neither the global account, nor the agent's, nor whoever is still there; and what servers say to each other
    // is no fan-out.
    let idle = |json: &serde_json::Value| json["check"] == "OPT_IDLE_005" && json["entity"]["id"] != "EMPTY";
    let others = crate::about(&watched, |json| {
        idle(json) || json["entity"]["id"] == "web" || json["check"] == "OPT_SYS_011"
    });
    assert!(others.is_empty(), "{others:?}");
    drop((web, back, user));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_does_not_come_back_is_forgotten() {
    let cluster = Cluster::config(1).account(Account::new("APP").user("job")).start().await;
    let job = cluster.connect(0, "APP/job", "job").await;
    let config = "[checks.OPT_IDLE_006]\ngone_for = \"2s\"\nconnected_for = \"1s\"\nremember = \"8s\"\n";
    let mut watched = Watched::start(&cluster, config).await;
    let first = watched.epoch(|epoch| epoch["complete"] == true).await.epoch();
    // It has to have been there for a while.
    watched.epoch(|epoch| epoch["epoch"].as_u64().is_some_and(|epoch| epoch >= first + 4)).await;
    drop(job);
    let found = watched.firing("OPT_IDLE_006").await;
    assert!(found.json["remediation"][0].as_str().unwrap().contains("no connection left"));
    let end = watched.resolved("OPT_IDLE_006").await;
    assert_eq!(end.json["fingerprint"], found.json["fingerprint"]);
    watched.check_everything_published();
}
