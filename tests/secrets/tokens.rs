//! Servers before 2.10.28 and 2.11.2 print login tokens where others print a user's name.

use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;
use insights_agent::demo::ports::free_port;
use insights_agent::demo::server::Server;

use crate::support::server_of_version;
use crate::watch::{assert_silent_about, shown, with_password};

const TOKEN: &str = "s3cr3t-login-t0ken";
const PASSWORD: &str = "sys-pa55word";

/// A server that takes only a token has no system user: a peer of its cluster has.
async fn start(directory: &tempfile::TempDir, binary: &Path) -> (Vec<Server>, String, String) {
    let [client, peer, route, peer_route] = [0; 4].map(|_| free_port().unwrap());
    let cluster = |own: u16| {
        format!(
            "cluster {{ name: T, listen: \"127.0.0.1:{own}\", \
             routes: [\"nats://127.0.0.1:{route}\", \"nats://127.0.0.1:{peer_route}\"] }}"
        )
    };
    let configurations = [
        (
            "tok",
            format!(
                "server_name: tok\nlisten: \"127.0.0.1:{client}\"\nauthorization {{ token: \"{TOKEN}\" }}\n{}\n",
                cluster(route)
            ),
        ),
        (
            "peer",
            format!(
                "server_name: peer\nlisten: \"127.0.0.1:{peer}\"\n\
                 accounts {{ $SYS: {{ users: [ {{ user: sys, password: \"{PASSWORD}\" }} ] }} }}\n{}\n",
                cluster(peer_route)
            ),
        ),
    ];
    let mut servers = Vec::new();
    for (name, text) in configurations {
        let file = directory.path().join(format!("{name}.conf"));
        std::fs::write(&file, text).unwrap();
        let mut server = Server::spawn(binary, name, &file, directory.path()).unwrap();
        server.wait_ready(Duration::from_secs(20)).await.unwrap();
        servers.push(server);
    }
    let url = |port| format!("nats://127.0.0.1:{port}");
    (servers, url(client), url(peer))
}

async fn tokens_stay_inside(version: &str, clear: bool) {
    let directory = tempfile::tempdir().unwrap();
    let (_servers, token_url, peer_url) = start(&directory, &server_of_version(version)).await;
    let mut clients = Vec::new();
    for number in 0..3 {
        let options = ConnectOptions::with_token(TOKEN.into()).name(format!("worker-{number}"));
        clients.push(options.connect(&token_url).await.unwrap());
    }
    let admin = ConnectOptions::with_user_and_password("sys".into(), PASSWORD.into());
    let admin = admin.connect(&peer_url).await.unwrap();
    shown(&admin, if clear { TOKEN } else { "[REDACTED]" }).await;
    let all = with_password(&peer_url, "sys", PASSWORD).everything(&admin).await;
    // The connections themselves are told of.
    assert!(all.contains("worker-0"));
    assert!(all.contains(if clear { "[hidden]" } else { "[token]" }));
    assert_silent_about(&all, &[TOKEN, PASSWORD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_shown_in_clear_does_not_come_out() {
    tokens_stay_inside("2.10.26", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_token_is_told_as_one() {
    tokens_stay_inside("2.15.1", false).await;
}
