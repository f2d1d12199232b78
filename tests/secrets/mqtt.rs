//! Servers up to 2.11.14 put the password of an MQTT client where others put the JWT.

use std::time::Duration;

use async_nats::ConnectOptions;
use insights_agent::demo::ports::free_port;
use insights_agent::demo::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::server_of_version;
use crate::watch::{assert_silent_about, shown, with_password};

const PASSWORD: &str = "mqtt-s3cr3t-pass";
/// Looks like a JWT to whoever only counts dots.
const DOTTED: &str = "mqtt.s3cr3t-dotted.pass";
const SYSTEM: &str = "sys-pa55word";

/// Logs in as MQTT 3.1.1 does.
async fn mqtt(port: u16, client: &str, user: &str, password: &str) -> TcpStream {
    let field = |text: &str| {
        let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut body = field("MQTT");
    // Level 4; user name, password and a clean session; no keep-alive.
    body.extend([4, 0b1100_0010, 0, 0]);
    for text in [client, user, password] {
        body.extend(field(text));
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0], "accepted");
    stream
}

async fn passwords_stay_inside(version: &str, leaks: bool) {
    let directory = tempfile::tempdir().unwrap();
    let [port, mqtt_port] = [0; 2].map(|_| free_port().unwrap());
    let text = format!(
        r#"
server_name: m1
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{}" }}
mqtt {{ listen: "127.0.0.1:{mqtt_port}" }}
accounts {{
  SYS {{ users: [ {{ user: sys, password: "{SYSTEM}" }} ] }}
  A {{ jetstream: enabled, users: [ {{ user: thing, password: "{PASSWORD}" }}, {{ user: dots, password: "{DOTTED}" }} ] }}
}}
system_account: SYS
"#,
        directory.path().display()
    );
    let file = directory.path().join("m1.conf");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn(&server_of_version(version), "m1", &file, directory.path()).unwrap();
    server.wait_ready(Duration::from_secs(20)).await.unwrap();
    let _things = [
        mqtt(mqtt_port, "thing-1", "thing", PASSWORD).await,
        mqtt(mqtt_port, "thing-2", "thing", PASSWORD).await,
        mqtt(mqtt_port, "dots-1", "dots", DOTTED).await,
    ];
    let url = format!("nats://127.0.0.1:{port}");
    let admin = ConnectOptions::with_user_and_password("sys".into(), SYSTEM.into());
    let admin = admin.connect(&url).await.unwrap();
    shown(&admin, if leaks { PASSWORD } else { "thing-1" }).await;
    if leaks {
        shown(&admin, DOTTED).await;
    }
    let viewpoint = with_password(&url, "sys", SYSTEM);
    let snapshot = viewpoint.snapshot().await;
    assert_eq!(snapshot.accounts["A"].fold.kinds().mqtt, 3);
    assert_eq!(snapshot.accounts["A"].fold.users.get("thing").unwrap().connections(), 2);
    let all = viewpoint.everything(&admin).await;
    assert_silent_about(&all, &[PASSWORD, DOTTED, "s3cr3t-dotted", SYSTEM]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_shown_by_2_10_does_not_come_out() {
    passwords_stay_inside("2.10.26", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_shown_by_2_11_does_not_come_out() {
    passwords_stay_inside("2.11.11", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_clients_of_a_newer_server_are_counted_alike() {
    passwords_stay_inside("2.15.1", false).await;
}
