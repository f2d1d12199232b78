//! CONN_001 behind a proxy that holds back what the server says, and CONN_002 with a client that does not read.

use crate::proxy::Proxy;
use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn port(cluster: &Cluster) -> u16 {
    cluster.url(0).rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_far_away_and_one_that_does_not_read_fire_and_end() {
    let account = Account::new("APP").user("far").user("near").user("stuck");
    // The server measures again soon, and does not close who does not read.
    let lines = "ping_interval: \"1s\"\nping_max: 100\nwrite_deadline: \"60s\"\n";
    let cluster = Cluster::config(1).account(account).extra(lines).start().await;
    let proxy = Proxy::start().await;
    proxy.aim(port(&cluster));
    // Far above what a busy machine takes for the others.
    proxy.delay(Duration::from_millis(600));
    let connect = async |user: &str, port: u16| {
        let (user, password) = cluster.password(&format!("APP/{user}"));
        let options = async_nats::ConnectOptions::with_user_and_password(user, password).name("edge");
        options.ignore_discovered_servers().connect(format!("nats://127.0.0.1:{port}")).await.unwrap()
    };
    let far = connect("far", proxy.port()).await;
    let fast = connect("far", port(&cluster)).await;
    let near = connect("near", port(&cluster)).await;
    let mut stuck = stuck(&cluster).await;

    let mut watched = Watched::start(&cluster, "checks.CONN_001.rtt = '500ms'\n").await;
    // More than the sockets of both sides hold.
    for _ in 0..24 {
        near.publish("flood", vec![b'x'; 1_000_000].into()).await.unwrap();
        near.flush().await.unwrap();
    }
    let found = watched.firing("CONN_002").await;
    assert_eq!(found.subject, "insights.checks.APP.warning.CONN_002.connection.stuck");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["backed_up"], &evidence["connections"]), (&json!(1), &json!(1)));
    let row = &evidence["fullest"][0];
    assert!(row["pending_bytes"].as_u64().unwrap() > 1 << 20, "{row}");
    assert_eq!(
        (&row["server"], &row["name"], &row["kind"]),
        (&json!("n1"), &json!("reader"), &json!("nats"))
    );

    let found = watched.firing("CONN_001").await;
    assert_eq!(found.subject, "insights.checks.APP.warning.CONN_001.connection.far");
    let evidence = &found.json["evidence"];
    assert_eq!((&evidence["slow"], &evidence["connections"]), (&json!(1), &json!(2)));
    let row = &evidence["slowest"][0];
    let rtt = row["rtt_ms"].as_f64().unwrap();
    assert!((600.0..3000.0).contains(&rtt), "{row}");
    assert_eq!(
        (&row["server"], &row["name"], &row["address"]),
        (&json!("n1"), &json!("edge"), &json!("127.0.0.1"))
    );
    assert_eq!(found.json["observed"]["percent"], 50.0);

    // The next measurement is a short one, and the reader takes what waits.
    proxy.delay(Duration::ZERO);
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(1..) = stuck.read(&mut buffer).await {}
    });
    watched.resolved("CONN_001").await;
    watched.resolved("CONN_002").await;
    let others = crate::about(&watched, |json| json["entity"]["id"] == "near");
    assert!(others.is_empty(), "{others:?}");
    reading.abort();
    drop((far, fast, near));
    watched.check_everything_published();
}

/// Subscribes and does not read. It answers no PING either: those that wait are as many as a server bears.
async fn stuck(cluster: &Cluster) -> TcpStream {
    let (user, password) = cluster.password("APP/stuck");
    let mut socket = TcpStream::connect(("127.0.0.1", port(cluster))).await.unwrap();
    let connect = json!({"verbose": false, "user": user, "pass": password, "name": "reader"});
    let hello = format!("CONNECT {connect}\r\nSUB flood 1\r\nPING\r\n");
    socket.write_all(hello.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("PONG") {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    socket
}
