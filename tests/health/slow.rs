//! SERVER_004, SERVER_013 and ACCOUNTS_002.

use crate::Watched;
use crate::support::{Account, Builder, Cluster, Raw, at_least, flood};
use serde_json::json;
use std::time::Duration;

const PENDING: &str = "Slow Consumer (Pending Bytes)";

/// n1 keeps as much for a client as servers do by default, n2 one megabyte.
fn system() -> Builder {
    let cluster = Cluster::config(2)
        .account(Account::new("APP").user("u").user("v"))
        .account(Account::new("B").user("b"));
    let edit = |index, conf: &mut insights_agent::demo::topology::ServerConf| {
        conf.extra.push_str(if index == 1 { "max_pending: 1MB\n" } else { "write_deadline: \"60s\"\n" });
    };
    cluster.edit(edit)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_are_named_by_server_and_account_and_the_findings_end() {
    let cluster = system().start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 2).await;
    watched.epoch(|e| e["complete"] == true).await;

    let mut slow = Vec::new();
    for name in ["never-reads-1", "never-reads-2"] {
        let mut raw = Raw::login(&cluster, 1, "APP/u", name).await;
        raw.subscribe("flood").await;
        slow.push(raw);
    }
    let source = cluster.connect(1, "APP/v", "source").await;
    flood(&source, "flood").await;

    let found = watched.firing("SERVER_004").await;
    assert_eq!(found.subject, "insights.checks.SYS.critical.SERVER_004.server.n2");
    let json = &found.json;
    let events = json["observed"]["value"].as_u64().unwrap();
    assert!(events >= 2, "{json}");
    let evidence = &json["evidence"];
    assert_eq!(evidence["by_kind"], json!({"clients": events, "routes": 0, "gateways": 0, "leafs": 0}));
    assert_eq!((&evidence["since_start"], &evidence["max_pending"]), (&json!(events), &json!(1 << 20)));
    let closed = &evidence["closed"];
    assert_eq!((&closed["connections"], &closed["at_least"]), (&json!(2), &json!(false)));
    assert_eq!(closed["reasons"], json!([{"name": PENDING, "count": 2}]));
    assert_eq!(closed["accounts"]["top"], json!([{"name": "APP", "count": 2}]));
    assert_eq!(closed["users"]["top"], json!([{"name": "u", "count": 2}]));
    assert_eq!(closed["addresses"]["top"], json!([{"name": "127.0.0.1", "count": 2}]));
    let mut names: Vec<&str> =
        closed["newest"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["never-reads-1", "never-reads-2"]);
    let row = &closed["newest"][0];
    assert_eq!(
        (&row["server"], &row["kind"], &row["reason"]),
        (&json!("n2"), &json!("client"), &json!(PENDING))
    );
    assert!(row["started"].as_str() < row["ended"].as_str(), "{row}");
    assert!(
        json["summary"].as_str().unwrap().contains("the last that was closed is `never-reads-"),
        "{json}"
    );
    assert!(json["remediation"][0].as_str().unwrap().ends_with("more than 1 MB waited."), "{json}");

    let of_account = watched.firing("ACCOUNTS_002").await;
    assert_eq!(of_account.subject, "insights.checks.APP.critical.ACCOUNTS_002.account.APP");
    assert_eq!(of_account.json["observed"]["value"], events);
    let evidence = &of_account.json["evidence"];
    assert_eq!(evidence["servers"], json!([{"server": "n2", "events": events, "since_start": events}]));
    assert_eq!(evidence["closed"]["connections"], 2);
    assert!(evidence["not_compared"].is_null(), "{evidence}");

    let disconnects = watched.firing("CONN_003").await;
    assert_eq!(
        disconnects.subject,
        "insights.checks.APP.info.CONN_003.connection.Slow%20Consumer%20%28Pending%20Bytes%29"
    );
    assert_eq!(disconnects.json["observed"]["value"], 2);

    for (check, first) in [("SERVER_004", &found), ("ACCOUNTS_002", &of_account), ("CONN_003", &disconnects)]
    {
        let ended = watched.resolved(check).await;
        assert_eq!(ended.json["fingerprint"], first.json["fingerprint"]);
    }
    // Of account B, of n1 and of stalls there was nothing to say.
    let others = watched.findings.history().into_iter().filter(|m| !m.is_epoch());
    let others: Vec<_> = others
        .filter(|m| !["SERVER_004", "ACCOUNTS_002", "CONN_003", "SERVER_013"].contains(&m.check()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    drop((slow, source));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_that_wait_for_a_reader_are_told_with_the_reader_and_it_ends_with_it() {
    let cluster = system().binary(&at_least("2.12.8")).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["servers"]["responded"] == 2).await;
    let mut sleepy = Raw::login(&cluster, 0, "APP/u", "sleepy").await;
    sleepy.subscribe("s").await;
    let source = cluster.connect(0, "APP/v", "source").await;
    // More than three quarters of 64 MB wait for it, with what kernels take in, and less than all: nothing is closed.
    for _ in 0..(56 * 16) {
        source.publish("s", vec![b'x'; 64 * 1024].into()).await.unwrap();
    }
    source.flush().await.unwrap();
    // From here on every message is waited for.
    let publisher = source.clone();
    let publishing = tokio::spawn(async move {
        loop {
            publisher.publish("s", "x".into()).await.unwrap();
            publisher.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let found = watched.firing_as("SERVER_013", |f| f["evidence"]["readers"] != json!([])).await;
    assert_eq!(found.subject, "insights.checks.SYS.warning.SERVER_013.server.n1");
    let json = &found.json;
    assert!(json["observed"]["value"].as_f64().unwrap() >= 600.0, "{json}");
    let readers = json["evidence"]["readers"].as_array().unwrap();
    assert_eq!(readers.len(), 1, "{readers:?}");
    let reader = &readers[0];
    assert_eq!(
        (&reader["name"], &reader["user"], &reader["account"], &reader["address"]),
        (&json!("sleepy"), &json!("u"), &json!("APP"), &json!("127.0.0.1"))
    );
    assert!(reader["pending"].as_u64() > Some(48 << 20) && reader["stalls"].as_u64() > Some(0), "{reader}");
    assert!(
        json["summary"].as_str().unwrap().contains("most often for `sleepy` (user u of account APP)"),
        "{json}"
    );
    publishing.abort();
    drop((sleepy, source));
    watched.resolved("SERVER_013").await;
    assert!(!watched.findings.history().iter().any(|m| m.check() == "SERVER_004"));
    watched.check_everything_published();
}
