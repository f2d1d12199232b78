//! Healthy systems, missing servers, and what holds for every epoch.

use crate::support::{Account, Cluster, default_version, is_too_old, limits};
use crate::{SOON, Watched, firing_in};
use serde_json::{Value, json};

async fn stays_silent(cluster: &Cluster, config: &str) {
    let mut clients = Vec::new();
    for server in 0..3 {
        clients.extend(cluster.connect_many(server, "APP/svc", "web", 5).await);
    }
    let mut watched = Watched::start(cluster, config).await;
    let first = watched.epoch(|_| true).await;
    // Some checks look at several epochs.
    let needed = insights_agent::checks::catalogue().map(|entry| entry.epochs).max().unwrap();
    let last = watched.findings.epochs(usize::try_from(needed).unwrap(), SOON).await;
    assert!(last.epoch() > first.epoch());
    assert_eq!(last.subject, format!("insights.checks.{}.epoch", cluster.account_id("SYS")));
    let summary = &last.json;
    assert_eq!(summary["complete"], true, "{summary}");
    assert_eq!(summary["servers"], json!({"known": 3, "responded": 3, "missing": []}));
    let rows = summary["checks"]["unknown"].as_array().unwrap().iter();
    let told = |row: &&Value| !is_too_old(default_version(), row["check"].as_str().unwrap());
    assert_eq!(rows.filter(told).collect::<Vec<_>>(), [] as [&Value; 0]);
    let old = insights_agent::checks::catalogue()
        .filter(|entry| is_too_old(default_version(), entry.meta.id))
        .count();
    let evaluated = usize::try_from(summary["checks"]["evaluated"].as_u64().unwrap()).unwrap();
    let all = insights_agent::checks::catalogue().count();
    assert!((all - old..=all).contains(&evaluated), "{summary}");
    assert_eq!(summary["scanned"]["connections"], 15 + 1, "the clients and the subscriber");
    assert!(summary["cost"]["requests"].as_u64() < Some(25), "{summary}");
    let findings: Vec<_> = watched.findings.history().into_iter().filter(|m| !m.is_epoch()).collect();
    assert!(findings.is_empty(), "{findings:?}");
    watched.check_everything_published();

    watched.agent.terminate();
    let status = watched.agent.wait(SOON).await;
    assert!(status.success(), "{status}: {}", watched.agent.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_in_operator_mode_is_silent() {
    let app = Account::new("APP").limits(limits().conn(100).subs(1000).leaf(5)).user("svc");
    let cluster = Cluster::operator(3).account(app).start().await;
    stays_silent(&cluster, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_in_configuration_file_mode_is_silent() {
    let cluster = Cluster::config(3).account(Account::new("APP").user("svc")).start().await;
    // The limits of every account that is used, the system account's among them.
    let config = "[accounts.APP]\nmax_connections = 100\nmax_subscriptions = 1000\n\
                  [accounts.SYS]\nmax_connections = 100\nmax_subscriptions = 1000\n";
    stays_silent(&cluster, config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_server_makes_verdicts_unknown_and_resolves_nothing() {
    let mut cluster = Cluster::operator(3)
        .account(Account::new("FULL").limits(limits().conn(20)).user("u"))
        .account(Account::new("FINE").limits(limits().conn(20)).user("u"))
        .max_connections(2, 12)
        .start()
        .await;
    let full = cluster.connect_many(0, "FULL/u", "full", 19).await;
    let there = cluster.connect_many(2, "FINE/u", "fine", 11).await;
    let mut watched = Watched::start(&cluster, "").await;
    for check in ["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"] {
        watched.firing(check).await;
    }

    cluster.pause(2);
    watched.findings.forget();
    let summary = watched.epoch(|e| e["servers"]["missing"] == json!(["n3"])).await;
    let json = &summary.json;
    assert_eq!(json["complete"], false);
    assert_eq!((&json["servers"]["known"], &json["servers"]["responded"]), (&json!(3), &json!(2)));
    let rows = json["checks"]["unknown"].to_string();
    for check in
        ["ACCOUNTS_006", "SERVER_011", "USER_002", "OPT_BALANCE_002", "OPT_BALANCE_006", "OPT_IDLE_007"]
    {
        assert!(rows.contains(check), "{check} in {rows}");
    }
    assert!(rows.contains("server n3 did not answer"), "{rows}");
    // What the others hold is above the threshold already; what hangs on n3 can neither fire nor end.
    watched.findings.epochs(2, SOON).await;
    let last = watched.epoch(|e| e["findings"]["held"].as_u64() >= Some(1)).await;
    let firing = firing_in(&watched, &last);
    assert!(firing.contains(&"ACCOUNTS_001".to_owned()), "{firing:?}");
    assert!(!firing.contains(&"SERVER_011".to_owned()), "{firing:?}");
    let history = watched.findings.history();
    let held = history.iter().find(|m| m.check() == "SERVER_011" && m.epoch() == last.epoch()).unwrap();
    assert_eq!(held.status(), "firing");
    assert!(held.json["held"].as_str().unwrap().contains("server n3 did not answer"), "{}", held.json);
    assert!(held.json["last_seen"].as_str() < last.json["started_at"].as_str(), "{}", held.json);
    let resolved: Vec<_> =
        watched.findings.history().into_iter().filter(|m| m.status() == "resolved").collect();
    assert!(resolved.is_empty(), "{resolved:?}");

    cluster.resume(2);
    watched.findings.forget();
    watched.epoch(|e| e["complete"] == true && e["servers"]["responded"] == 3).await;
    watched.firing("SERVER_011").await;
    drop((full, there));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_in_order_is_not_missed() {
    let mut cluster =
        Cluster::operator(3).account(Account::new("APP").limits(limits().conn(10)).user("u")).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["known"] == 3).await;
    cluster.stop(2).await;
    watched.findings.forget();
    let summary = watched.epoch(|e| e["servers"]["known"] == 2).await;
    assert_eq!(summary.json["servers"], json!({"known": 2, "responded": 2, "missing": []}));
    cluster.kill(1);
    watched.epoch(|e| e["servers"]["missing"] == json!(["n2"])).await;
    cluster.restart(1).await;
    watched.findings.forget();
    watched.epoch(|e| e["complete"] == true && e["servers"]["known"] == 2).await;
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_findings_and_no_others() {
    let cluster = Cluster::operator(2)
        .account(Account::new("MINE").limits(limits().conn(10)).user("u").imports_findings())
        .account(Account::new("OTHER").limits(limits().conn(10)).user("u").imports_findings())
        .start()
        .await;
    let mine = cluster.connect_many(0, "MINE/u", "m", 9).await;
    let other = cluster.connect_many(0, "OTHER/u", "o", 8).await;
    let mut seen = crate::support::Findings::subscribe_at(&cluster, 1, "OTHER/u", "insights.checks.>").await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.firing_as("ACCOUNTS_001", |f| f["entity"]["name"] == "MINE").await;
    let found = seen.wait_for(SOON, |m| m.check() == "ACCOUNTS_001").await;
    assert_eq!(found.json["entity"]["name"], "OTHER");
    watched.findings.epochs(2, SOON).await;
    let strange: Vec<_> =
        seen.history().into_iter().filter(|m| m.json["entity"]["name"] != "OTHER").collect();
    assert!(strange.is_empty(), "{strange:?}");
    drop((mine, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_server_tries_again_and_a_lost_connection_ends_nothing() {
    let app = Account::new("APP").limits(limits().conn(10)).user("u");
    let mut cluster = Cluster::operator(2).account(app).start().await;
    let clients = cluster.connect_many(1, "APP/u", "u", 9).await;
    cluster.kill(0);
    let agent = crate::support::Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
    crate::support::eventually("it tells why it waits", 30, async || {
        let told = agent.stderr();
        if told.matches("cannot reach").count() >= 2 && told.contains("retry_in=2s") {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    let mut findings =
        crate::support::Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.checks.>").await;
    cluster.restart(0).await;
    let first = findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001").await;

    // Its server is restarted under it: what it knew goes on.
    cluster.kill(0);
    cluster.restart(0).await;
    findings.forget();
    let again = findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001").await;
    assert_eq!(again.json["first_seen"], first.json["first_seen"]);
    findings.wait_for(SOON, |m| m.is_epoch() && m.json["complete"] == true).await;
    let resolved = findings.history().iter().any(|m| m.status() == "resolved");
    assert!(!resolved, "{:?}", findings.history());
    drop((clients, agent));
}
