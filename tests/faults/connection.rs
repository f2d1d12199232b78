//! The agent's own connection: lost in mid-epoch, or too slow.

use std::time::Duration;

use serde_json::json;

use crate::proxy::Proxy;
use crate::support::{Cluster, eventually};
use crate::watch::{Watched, crowd, planted, rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_between_two_requests_ends_and_invents_nothing() {
    let proxy = Proxy::start().await;
    let cluster = planted(Cluster::operator(3)).max_connections(2, 14).start().await;
    let clients = crowd(&cluster, 2).await;
    proxy.aim(cluster.url(1).rsplit(':').next().unwrap().parse().unwrap());
    // The servers tell of each other, so that the agent knows where to go when this one URL fails.
    let through = format!("nats://127.0.0.1:{}", proxy.port());
    let creds = cluster.creds("SYS/insights").to_string_lossy().into_owned();
    let args = crate::support::AgentArgs::from(["--server", &through, "--creds", &creds]);
    let mut watched =
        Watched::start(&cluster, args, &["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"]).await;

    watched.findings.forget();
    proxy.cut_before(b"$SYS.REQ.SERVER.PING.VARZ");
    let mut tries = 0;
    eventually("the connection is cut", 60, async || {
        tries += 1;
        if proxy.is_cut() { Ok(()) } else { Err(format!("{tries} looks\n{}", watched.agent.stderr())) }
    })
    .await;
    let summary = watched
        .epoch(|e| {
            let silent = |server: &str| (server.to_owned(), "VARZ".to_owned(), "silent".to_owned());
            let rows = rows(e);
            ["n1", "n2", "n3"].iter().all(|server| rows.contains(&silent(server)))
        })
        .await;
    let e = &summary.json;
    assert_eq!((&e["complete"], &e["servers"]["responded"]), (&json!(false), &json!(3)), "{e}");
    assert_eq!(e["servers"]["missing"], json!(["n1", "n2", "n3"]), "{e}");
    assert!(e["checks"]["unknown"].to_string().contains("SERVER_011"), "{e}");
    watched.nothing_ended_or_invented(&[]);
    watched.recovers(&[]).await;
    watched.nothing_ended_or_invented(&[]);
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_too_slow_for_the_epochs_is_a_finding() {
    let proxy = Proxy::start().await;
    let cluster = planted(Cluster::operator(2)).max_connections(1, 14).start().await;
    let clients = crowd(&cluster, 1).await;
    proxy.aim(cluster.url(0).rsplit(':').next().unwrap().parse().unwrap());
    let creds = cluster.creds("SYS/insights").to_string_lossy().into_owned();
    let through = format!("nats://127.0.0.1:{}", proxy.port());
    let args = crate::support::AgentArgs::from(["--server", &through, "--creds", &creds]);
    let mut watched = Watched::start(&cluster, args, &["ACCOUNTS_001", "SERVER_011"]).await;

    watched.findings.forget();
    // Three requests, one after another, take longer than the 1.6 s that an epoch of 2 s gathers.
    proxy.delay(Duration::from_millis(600));
    let overrun = watched.firing("AGENT_003", |_| true).await;
    let json = &overrun.json;
    assert_eq!((&json["entity"]["type"], &json["entity"]["id"]), (&json!("agent"), &json["agent"]["name"]));
    assert_eq!((&json["evidence"]["cut"], &json["evidence"]["interval_ms"]), (&json!(true), &json!(2000)));
    assert!(json["evidence"]["missing"].as_array().is_some_and(|missing| !missing.is_empty()), "{json}");
    assert!(json["observed"]["value"].as_u64() >= Some(2), "{json}");
    let agent = json["agent"]["name"].as_str().unwrap().to_owned();
    watched.nothing_ended_or_invented(&[&agent, "n1", "n2"]);

    proxy.delay(Duration::ZERO);
    watched.resolved("AGENT_003", |_| true).await;
    watched.recovers(&[]).await;
    drop(clients);
}
