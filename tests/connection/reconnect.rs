//! Staying connected: new credentials are used, and a server that refuses is not hammered.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use insights_agent::connection::ConnectionOptions;

use super::jwt::Operator;
use super::*;

#[tokio::test]
async fn a_rotated_credentials_file_is_used_at_the_next_connect() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let (old, new) = (operator.user(&operator.system, None), operator.user(&operator.system, None));
    let path = write(&server, "sys.creds", &old.creds);
    let connection =
        connected(&ConnectionOptions { creds: Some(path.clone()), ..options(&server.url()) }).await;
    let before = self_test(&connection, &needs()).await.unwrap();
    assert_eq!(before.user, Some(old.public_key));

    std::fs::write(&path, &new.creds).unwrap();
    kick(&connection).await;
    eventually("a reconnect", || connection.events().connects() == 2).await;
    let after = self_test(&connection, &needs()).await.unwrap();
    assert_eq!(after.user, Some(new.public_key));
    assert_eq!(connection.events().disconnects(), 1);
}

#[tokio::test]
async fn a_credentials_file_that_breaks_is_said_and_its_repair_is_enough() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let user = operator.user(&operator.system, None);
    let path = write(&server, "sys.creds", &user.creds);
    let connection =
        connected(&ConnectionOptions { creds: Some(path.clone()), ..options(&server.url()) }).await;
    std::fs::write(&path, "half a file").unwrap();
    kick(&connection).await;
    let events = connection.events();
    eventually("a note of the broken file", || {
        events.last_problem().is_some_and(|text| text.contains("sys.creds is malformed"))
    })
    .await;
    std::fs::write(&path, &user.creds).unwrap();
    eventually("a reconnect", || events.connects() == 2).await;
    assert_eq!(events.last_problem(), None);
    assert!(self_test(&connection, &needs()).await.is_ok());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the server compares the expiry with the real clock")]
async fn credentials_that_expire_while_connected_are_said_and_replaced() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let soon = operator.user(&operator.system, i64::try_from(now).ok().map(|now| now + 2));
    let path = write(&server, "sys.creds", &soon.creds);
    let connection =
        connected(&ConnectionOptions { creds: Some(path.clone()), ..options(&server.url()) }).await;
    let events = connection.events();
    eventually("a note of the expiry", || {
        events.last_problem().is_some_and(|text| text.contains("sys.creds expired at"))
    })
    .await;
    let lasting = operator.user(&operator.system, None);
    std::fs::write(&path, &lasting.creds).unwrap();
    // Servers 2.10 and 2.11 let credentials in once more in the second in which they expire, so connects are not counted.
    for _ in 0..10 {
        let identity = self_test(&connection, &needs()).await;
        if identity.is_ok_and(|identity| identity.user.as_ref() == Some(&lasting.public_key)) {
            return;
        }
    }
    panic!("the new credentials were not used");
}

/// Has the server close this connection. The server ignores the request without a reply subject.
async fn kick(connection: &Connection) {
    let client = connection.client();
    let info = client.server_info();
    let subject = format!("$SYS.REQ.SERVER.{}.KICK", info.server_id);
    let body = format!("{{\"cid\":{}}}", info.client_id);
    client.publish_with_reply(subject, client.new_inbox(), body.into()).await.unwrap();
}

#[derive(Clone, Copy)]
enum Behaviour {
    RefuseLogin,
    CloseAfterLogin,
    CloseAtOnce,
}

#[tokio::test]
async fn a_server_that_refuses_the_login_is_asked_a_few_times_only() {
    count_reconnects(Behaviour::RefuseLogin).await;
}

#[tokio::test]
async fn a_server_that_closes_after_the_login_is_asked_a_few_times_only() {
    count_reconnects(Behaviour::CloseAfterLogin).await;
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_asked_a_few_times_only() {
    count_reconnects(Behaviour::CloseAtOnce).await;
}

/// With delays from 250 ms that double, three seconds hold two to four attempts; without a floor, thousands.
async fn count_reconnects(behaviour: Behaviour) {
    let (port, accepted) = fake_server(behaviour);
    let _connection = connected(&user(&format!("nats://127.0.0.1:{port}"), "u", "p")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let attempts = accepted.load(Ordering::SeqCst) - 1;
    assert!((1..=6).contains(&attempts), "{attempts} reconnects within three seconds");
}

/// A server that lets the first client in and closes its connection; later ones meet the behaviour.
fn fake_server(behaviour: Behaviour) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let behaviour = if first { Behaviour::CloseAfterLogin } else { behaviour };
            serve(stream.unwrap(), behaviour).ok();
        }
    });
    (port, accepted)
}

fn serve(mut stream: TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    if matches!(behaviour, Behaviour::CloseAtOnce) {
        return Ok(());
    }
    stream.write_all(
        b"INFO {\"server_id\":\"NFAKE\",\"version\":\"2.12.0\",\"proto\":1,\"max_payload\":1048576}\r\n",
    )?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while !lines.next().transpose()?.is_none_or(|line| line.starts_with("PING")) {}
    let answer: &[u8] = match behaviour {
        Behaviour::RefuseLogin => b"-ERR 'Authorization Violation'\r\n",
        _ => b"PONG\r\n",
    };
    stream.write_all(answer)
}
