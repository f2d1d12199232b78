//! ACCOUNTS_001 and ACCOUNTS_006 on a cluster in operator mode.

use crate::support::{Account, Cluster, limits};
use crate::{SOON, Watched};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_near_its_connection_limit_fires_with_numbers_and_ends() {
    let mut cluster = Cluster::operator(3)
        .account(Account::new("PRODUCTION").limits(limits().conn(20)).user("svc").user("batch"))
        .start()
        .await;
    let on_n1 = cluster.connect_many(0, "PRODUCTION/svc", "web", 9).await;
    let on_n2 = cluster.connect_many(1, "PRODUCTION/svc", "worker", 6).await;
    let on_n3 = cluster.connect_many(2, "PRODUCTION/batch", "report", 3).await;
    let account = cluster.account_id("PRODUCTION");

    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing_as("ACCOUNTS_001", |f| f["observed"]["value"] == 18).await;
    assert_eq!(found.subject, format!("insights.checks.{account}.warning.ACCOUNTS_001.account.{account}"));
    let json = &found.json;
    assert_eq!(json["summary"], "account PRODUCTION uses 18 of 20 connections (90.0 %)");
    assert_eq!(
        json["observed"],
        json!({"value": 18, "limit": 20, "percent": 90.0, "threshold": 90.0, "unit": "connections",
               "limit_source": "jwt", "scope": "connections"})
    );
    assert_eq!(json["entity"]["name"], "PRODUCTION");
    assert_eq!(json["entity"]["account"], account.as_str());
    let evidence = &json["evidence"];
    assert_eq!(
        evidence["by_server"],
        json!([{"server": "n1", "connections": 9, "percent": 50.0},
               {"server": "n2", "connections": 6, "percent": 33.3},
               {"server": "n3", "connections": 3, "percent": 16.7}])
    );
    assert_eq!(evidence["kinds"], json!({"nats": 18, "websocket": 0, "mqtt": 0, "leafnode": 0}));
    assert_eq!(
        evidence["users"],
        json!({"top": [{"name": "svc", "count": 15}, {"name": "batch", "count": 3}], "distinct": 2, "exact": true})
    );
    assert_eq!(evidence["addresses"]["top"], json!([{"name": "127.0.0.1", "count": 18}]));
    assert_eq!(evidence["unnamed"], 0);
    assert_eq!(evidence["refused"], 0);
    let remedies = json["remediation"].to_string();
    assert!(remedies.contains("nsc edit account --name 'PRODUCTION' --conns 40"), "{remedies}");

    // Two more fill it; the next are refused, and counted.
    let more = cluster.connect_many(2, "PRODUCTION/batch", "report-more", 2).await;
    for _ in 0..3 {
        cluster.try_connect(1, "PRODUCTION/svc", "late").await.unwrap_err();
    }
    let full = watched.firing_as("ACCOUNTS_001", |f| f["evidence"]["refused"].as_u64() >= Some(3)).await;
    assert_eq!(full.json["observed"]["value"], 20);
    assert_eq!(
        full.json["evidence"]["churn"]["net"].as_i64().unwrap().min(2),
        full.json["evidence"]["churn"]["net"]
    );
    assert_eq!(full.json["first_seen"], json["first_seen"]);
    assert!(full.json["epochs"].as_u64() > json["epochs"].as_u64());

    // A limit lowered below the use is said; then the cause ends.
    cluster.set_limits("PRODUCTION", limits().conn(30)).await;
    watched.resolved("ACCOUNTS_001").await;
    drop((on_n1, on_n2, on_n3, more));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn leafnodes_have_a_limit_of_their_own() {
    let cluster = Cluster::operator(1)
        .account(Account::new("EDGE").limits(limits().conn(10).leaf(1)).user("leaf"))
        .leaf("EDGE/leaf")
        .start()
        .await;
    let mut watched = Watched::start(&cluster, "").await;
    // A leafnode counts before it is listed.
    let found = watched.firing_as("ACCOUNTS_001", |json| json["evidence"]["kinds"]["leafnode"] == 1).await;
    assert_eq!(found.json["summary"], "account EDGE uses 1 of 1 leafnode connections (100.0 %)");
    assert_eq!(found.json["observed"]["unit"], "leafnodes");
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_near_its_subscription_limit_fires_with_its_subjects_and_ends() {
    let cluster = Cluster::operator(3)
        .account(Account::new("ORDERS").limits(limits().subs(100)).user("svc").user_with_subs("small", 40))
        .start()
        .await;
    let few = cluster.connect_many(1, "ORDERS/svc", "quiet", 3).await;
    let many = cluster.connect(0, "ORDERS/svc", "greedy").await;
    let mut subscriptions = Vec::new();
    for i in 0..70 {
        subscriptions.push(many.subscribe(format!("_INBOX.{i}")).await.unwrap());
    }
    for i in 0..25 {
        subscriptions.push(many.subscribe(format!("orders.{i}")).await.unwrap());
    }
    many.flush().await.unwrap();

    let mut watched = Watched::start(&cluster, "").await;
    let found = watched
        .firing_as("ACCOUNTS_006", |f| f["observed"]["scope"] == "connection" && f["observed"]["value"] == 95)
        .await;
    let json = &found.json;
    assert_eq!(json["observed"]["limit"], 100);
    assert_eq!(json["observed"]["percent"], 95.0);
    assert_eq!(json["observed"]["limit_source"], "jwt");
    let row = &json["evidence"]["top_connections"][0];
    assert_eq!(
        (&row["server"], &row["name"], &row["subscriptions"]),
        (&json!("n1"), &json!("greedy"), &json!(95)),
        "{row}"
    );
    let evidence = json["evidence"].to_string();
    assert!(evidence.contains("_INBOX") && evidence.contains("orders"), "{evidence}");

    // The smaller limit of a user decides for its connections.
    let small = cluster.connect(2, "ORDERS/small", "small").await;
    drop((many, subscriptions));
    let mut kept = Vec::new();
    for i in 0..38 {
        kept.push(small.subscribe(format!("small.{i}")).await.unwrap());
    }
    small.flush().await.unwrap();
    let found = watched.firing_as("ACCOUNTS_006", |f| f["observed"]["value"] == 38).await;
    assert_eq!(found.json["observed"]["limit"], 40);
    assert_eq!(found.json["observed"]["limit_source"], "user_jwt");

    drop((small, kept, few));
    watched.findings.forget();
    watched.findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_006" && m.status() == "resolved").await;
    watched.check_everything_published();
}
