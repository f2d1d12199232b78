//! A client that says of itself what a test wants, and services.

use crate::support::Cluster;
use async_nats::service::{Service, ServiceExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection that subscribes and answers pings, until it is dropped.
pub(crate) struct Raw(JoinHandle<()>);

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client of configuration-file mode with this language and version, subscribed to these subjects.
pub(crate) async fn raw(cluster: &Cluster, server: usize, login: &str, lang: &str, subjects: &[&str]) -> Raw {
    let (user, password) = cluster.password(login);
    let address = cluster.url(server).trim_start_matches("nats://").to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let options = serde_json::json!({
        "verbose": false, "pedantic": false, "user": user, "pass": password, "lang": lang, "version": "1.9.9",
        "name": "raw", "protocol": 1,
    });
    let mut text = format!("CONNECT {options}\r\n");
    for (sid, subject) in subjects.iter().enumerate() {
        text += &format!("SUB {subject} {}\r\n", sid + 1);
    }
    text += "PING\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    let ready = async {
        while !seen.contains("PONG") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the server closed the connection: {seen}");
            seen += &String::from_utf8_lossy(&buffer[..read]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("a PONG");
    Raw(tokio::spawn(async move {
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if text.contains("PING\r\n") && stream.write_all(b"PONG\r\n").await.is_err() {
                return;
            }
        }
    }))
}

/// An instance of a service, by the library that the agent uses itself.
pub(crate) async fn instance(cluster: &Cluster, server: usize, login: &str, name: &str) -> Service {
    let client = cluster.connect(server, login, &format!("{name}-{server}")).await;
    let service = client.service_builder().start(name, "1.0.0").await.unwrap();
    client.flush().await.unwrap();
    service
}
