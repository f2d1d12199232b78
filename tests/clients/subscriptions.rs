//! OPT_BALANCE_003, OPT_SYS_011, OPT_SYS_012 and OPT_SYS_022.

use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_server_an_anomalous_subject_and_a_churning_client_fire_and_end() {
    let account = Account::new("APP").user("fan").user("churn");
    let cluster = Cluster::config(3).account(account).start().await;
    let fan = cluster.connect(0, "APP/fan", "fan").await;
    // A hundred to one subject, and two to each of two hundred others.
    let mut subscriptions = Vec::new();
    for subject in (0..100).map(|_| "all".to_owned()).chain((0..400).map(|i| format!("one.{}", i % 200))) {
        subscriptions.push(fan.subscribe(subject).await.unwrap());
    }
    fan.flush().await.unwrap();
    for subject in (0..200).map(|i| format!("one.{i}")).chain(["all".to_owned()]) {
        fan.publish(subject, "x".into()).await.unwrap();
    }
    fan.flush().await.unwrap();
    let mut watched = Watched::start(&cluster, "[checks.OPT_SYS_012]\nmax_changes = 1000\n").await;

    let found = watched.firing("OPT_BALANCE_003").await;
    assert_eq!(found.subject, "insights.checks.SYS.info.OPT_BALANCE_003.server.n1");
    // With the one that this test listens by.
    assert_eq!(found.json["observed"]["value"], 501);
    let evidence = &found.json["evidence"];
    assert_eq!(evidence["servers"][0], json!({"server": "n1", "subscriptions": 501, "percent": 100.0}));
    assert_eq!((&evidence["times_average"], evidence["servers"].as_array().unwrap().len()), (&json!(3.0), 3));
    assert_eq!(
        evidence["top"]["accounts"],
        json!([{"name": "APP", "count": 500}, {"name": "SYS", "count": 1}])
    );
    let first = &evidence["top"]["connections"][0];
    assert_eq!((&first["user"], &first["subscriptions"]), (&json!("fan"), &json!(500)));

    let found = watched.firing_as("OPT_SYS_011", |f| f["entity"]["id"] == "n1").await;
    assert_eq!(found.json["observed"]["value"], 100);
    let average = found.json["evidence"]["avg_fanout"].as_f64().unwrap();
    assert!((1.5..10.0).contains(&average), "{average}");
    let others =
        crate::about(&watched, |json| json["check"] == "OPT_SYS_011" && json["entity"]["id"] != "n1");
    assert!(others.is_empty(), "{others:?}");

    // Both end with their subscriptions.
    drop(subscriptions);
    fan.flush().await.unwrap();
    let churn = cluster.connect(1, "APP/churn", "churn").await;
    let churning = tokio::spawn(async move {
        let mut number = 0u64;
        loop {
            for _ in 0..500 {
                number += 1;
                drop(churn.subscribe(format!("work.{number}")).await.unwrap());
            }
            churn.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let found = watched.firing_as("OPT_SYS_012", |f| f["evidence"]["on_all"] == true).await;
    assert_eq!(found.json["entity"]["id"], "east/*");
    let evidence = &found.json["evidence"];
    assert_eq!(
        (&evidence["servers_compared"], evidence["servers"].as_array().unwrap().len()),
        (&json!(3), 3)
    );
    let first = &evidence["servers"][0];
    let changes = first["inserts"].as_u64().unwrap() + first["removes"].as_u64().unwrap();
    let rate = found.json["observed"]["value"].as_f64().unwrap();
    // Epochs are shorter than a minute, so that what was counted is not scaled.
    assert!((rate - changes as f64).abs() < 0.1 && changes > 1000, "{evidence}");
    assert!((evidence["changes_per_minute"].as_f64().unwrap() - rate).abs() < 0.1, "{evidence}");
    churning.abort();
    watched.resolved("OPT_SYS_012").await;
    watched.resolved("OPT_BALANCE_003").await;
    watched.resolved("OPT_SYS_011").await;
    let fired =
        crate::about(&watched, |json| json["check"] == "OPT_SYS_012" && json["entity"]["id"] != "east/*");
    assert!(fired.is_empty(), "{fired:?}");
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leak_fires_on_the_server_of_its_client_and_ends_when_it_is_given_back() {
    let cluster = Cluster::config(2).account(Account::new("APP").user("leaky").user("web")).start().await;
    let web = cluster.connect_many(1, "APP/web", "web", 3).await;
    let rest = cluster.connect_many(0, "APP/web", "web", 3).await;
    let leaky = cluster.connect(0, "APP/leaky", "leaky").await;
    let mut held = Vec::new();
    for number in 0..200 {
        held.push(leaky.subscribe(format!("s.{number}")).await.unwrap());
    }
    leaky.flush().await.unwrap();
    let mut watched = Watched::start(&cluster, "").await;
    let leaking = tokio::spawn(async move {
        for number in 200.. {
            held.push(leaky.subscribe(format!("s.{number}")).await.unwrap());
            leaky.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let found = watched.firing("OPT_SYS_022").await;
    assert_eq!(found.subject, "insights.checks.SYS.info.OPT_SYS_022.server.n1");
    let evidence = &found.json["evidence"];
    let (from, to) = (evidence["from"].as_u64().unwrap(), evidence["to"].as_u64().unwrap());
    assert_eq!(found.json["observed"]["value"], to - from);
    assert!(to as f64 > from as f64 * 1.2 && evidence["epochs"].as_u64().unwrap() >= 10, "{evidence}");
    assert_eq!(evidence["connections_from"], evidence["connections_to"]);
    let first = &evidence["top"]["connections"][0];
    assert_eq!((&first["user"], &first["server"]), (&json!("leaky"), &json!("n1")));
    assert_eq!(evidence["accounts"][0]["account"], "APP");

    // Its client ends, and with it what it held.
    leaking.abort();
    watched.resolved("OPT_SYS_022").await;
    let others =
        crate::about(&watched, |json| json["check"] == "OPT_SYS_022" && json["entity"]["id"] != "n1");
    assert!(others.is_empty(), "n2 knows as many by its route: {others:?}");
    drop((web, rest));
    watched.check_everything_published();
}
