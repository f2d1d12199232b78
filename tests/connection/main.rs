//! Connecting to real servers, in every way the `nats` CLI can, and saying what is wrong when it does not work.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod faults;
mod jwt;
mod login;
mod reconnect;
mod server;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use insights_agent::connection::ConnectionOptions;
use insights_agent::nats::connect::{ConnectError, Connection, connect};
use insights_agent::nats::events::ClientEvents;
use insights_agent::nats::selftest::{Identity, Needs, SelfTestError, self_test};
use server::Server;

/// A server with a system account and a tenant, users with passwords.
const ACCOUNTS: &str = r#"
accounts {
  SYS: { users: [ { user: sys, password: "s3cret/pw" } ] }
  APP: { users: [ { user: app, password: app } ] }
}
system_account: SYS
"#;

fn options(url: &str) -> ConnectionOptions {
    ConnectionOptions {
        servers: vec![url.to_owned()],
        timeout: Some(Duration::from_secs(3)),
        ..ConnectionOptions::default()
    }
}

fn user(url: &str, user: &str, password: &str) -> ConnectionOptions {
    ConnectionOptions { user: Some(user.to_owned()), password: Some(password.into()), ..options(url) }
}

fn needs() -> Needs {
    Needs {
        publish: vec!["$SYS.REQ.SERVER.*.VARZ".to_owned(), "$SYS.REQ.SERVER.*.CONNZ".to_owned()],
        subscribe: vec!["_INBOX_INSIGHTS.>".to_owned()],
    }
}

async fn connected(options: &ConnectionOptions) -> Connection {
    connect(options, ClientEvents::new()).await.unwrap()
}

async fn refused(options: &ConnectionOptions) -> ConnectError {
    connect(options, ClientEvents::new()).await.err().unwrap()
}

async fn tested(options: &ConnectionOptions) -> Result<Identity, SelfTestError> {
    self_test(&connected(options).await, &needs()).await
}

fn write(server: &Server, name: &str, text: &str) -> PathBuf {
    let path = server.directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Looks until something holds; the test fails when it does not within ten seconds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen");
}
