//! The agent's own connection is lost in mid-epoch.

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
    let through = format!("nats://127.0.0.1:{},{}", proxy.port(), cluster.url(0));
    let creds = cluster.creds("SYS/insights").to_string_lossy().into_owned();
    let args = crate::support::AgentArgs::from(["--server", &through, "--creds", &creds]);
    let mut watched =
        Watched::start(&cluster, args, &["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"]).await;

    // The client tries the URLs in any order: it may not have come through the proxy at all.
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
