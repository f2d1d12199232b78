//! What is wrong, in one clear sentence.

use std::net::TcpListener;

use insights_agent::connection::ConnectionOptions;

use super::jwt::Operator;
use super::*;

/// 2020-09-13T12:26:40Z, long past.
const PAST: i64 = 1_600_000_000;

#[tokio::test]
async fn expired_credentials() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let user = operator.user(&operator.system, Some(PAST));
    let path = write(&server, "old.creds", &user.creds);
    let error = refused(&ConnectionOptions { creds: Some(path), ..options(&server.url()) }).await;
    assert!(matches!(error, ConnectError::Expired { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("old.creds expired at 2020-09-13T12:26:40Z"), "{text}");
}

#[tokio::test]
async fn refused_credentials() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let stranger = Operator::new();
    let user = stranger.user(&stranger.system, None);
    let path = write(&server, "foreign.creds", &user.creds);
    let error = refused(&ConnectionOptions { creds: Some(path), ..options(&server.url()) }).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");

    let server = Server::start(ACCOUNTS);
    let error = refused(&user_of(&server, "hush")).await;
    let text = format!("{error} {error:?}");
    assert!(text.contains("refused user `sys` and its password") && !text.contains("hush"), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{}", server.port)), "{text}");
}

#[tokio::test]
async fn unusable_credentials_are_said_before_the_server_is_asked() {
    let server = Server::start(ACCOUNTS);
    let bad = write(&server, "bad.creds", "SUAHUSH");
    let error = refused(&ConnectionOptions { creds: Some(bad), ..options("127.0.0.1:1") }).await;
    let text = format!("{error} {error:?}");
    assert!(text.contains("bad.creds is malformed") && !text.contains("HUSH"), "{text}");
    let missing = server.directory.path().join("missing.creds");
    let error = refused(&ConnectionOptions { creds: Some(missing), ..options("127.0.0.1:1") }).await;
    assert!(error.to_string().contains("missing.creds"), "{error}");
}

#[tokio::test]
async fn a_tenant_of_operator_mode_is_told_its_account() {
    let (text, account) = tenant(|operator| operator.configuration()).await;
    assert!(text.starts_with(&format!("the user's account {account} is not the system account:")), "{text}");
}

#[tokio::test]
async fn operator_mode_without_a_system_account_is_said() {
    let (text, _) = tenant(|operator| operator.without_system_account()).await;
    assert!(text.contains("or the server has none"), "{text}");
}

/// What a tenant's user is told, and its account.
async fn tenant(configuration: impl Fn(&Operator) -> String) -> (String, String) {
    let operator = Operator::new();
    let server = Server::start(&configuration(&operator));
    let user = operator.user(&operator.tenant, None);
    let creds = Some(write(&server, "tenant.creds", &user.creds));
    let error = tested(&ConnectionOptions { creds, ..options(&server.url()) }).await.unwrap_err();
    assert!(matches!(error, SelfTestError::WrongAccount { .. }), "{error:?}");
    (error.to_string(), operator.tenant.public_key())
}

#[tokio::test]
async fn a_server_without_accounts_has_no_system_user() {
    let server = Server::start("");
    let error = tested(&options(&server.url())).await.unwrap_err();
    assert!(matches!(error, SelfTestError::NoSystemAccount), "{error:?}");
}

#[tokio::test]
async fn denied_subjects_are_named() {
    let server = Server::start(
        r#"accounts { SYS: { users: [ { user: sys, password: p, permissions: {
             publish: ["$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.*.VARZ", "$SYS.REQ.SERVER.*.STATSZ"]
             subscribe: "_INBOX_INSIGHTS.>" } } ] } }
           system_account: SYS"#,
    );
    let error = tested(&user(&server.url(), "sys", "p")).await.unwrap_err();
    let SelfTestError::Denied { publish, subscribe } = &error else { panic!("{error:?}") };
    assert_eq!((publish.as_slice(), subscribe.len()), (["$SYS.REQ.SERVER.*.CONNZ".to_owned()].as_slice(), 0));
}

#[tokio::test]
async fn subjects_are_named_even_when_the_user_may_not_ask_who_it_is() {
    let server = Server::start(
        r#"accounts { SYS: { users: [ { user: sys, password: p, permissions: {
             publish: "$SYS.REQ.SERVER.*.STATSZ", subscribe: "_INBOX_INSIGHTS.>" } } ] } }
           system_account: SYS"#,
    );
    let error = tested(&user(&server.url(), "sys", "p")).await.unwrap_err();
    let SelfTestError::Denied { publish, .. } = &error else { panic!("{error:?}") };
    assert_eq!(publish, &["$SYS.REQ.SERVER.*.VARZ"]);
}

#[tokio::test]
async fn a_denied_inbox_is_told_from_silence() {
    let server = Server::start(
        r#"accounts { SYS: { users: [ { user: sys, password: p, permissions: {
             publish: "$SYS.REQ.>", subscribe: "_INBOX.>" } } ] } }
           system_account: SYS"#,
    );
    let error = tested(&user(&server.url(), "sys", "p")).await.unwrap_err();
    assert!(matches!(error, SelfTestError::InboxDenied { .. }), "{error:?}");
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&options(&format!("nats://u:hush@127.0.0.1:{dead}"))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("cannot reach 127.0.0.1:{dead}")) && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let error = refused(&options("nats://no-such-host.invalid:4222")).await;
    assert!(matches!(error, ConnectError::Dns { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-host.invalid:4222"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let hurried = ConnectionOptions { timeout: Some(Duration::from_millis(300)), ..options(&url) };
    let error = refused(&hurried).await;
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_server_is_quoted() {
    let server = Server::start(&format!("{ACCOUNTS}\nmax_connections: 1\n"));
    let sys = user_of(&server, "s3cret/pw");
    let _first = connected(&sys).await;
    let error = refused(&sys).await;
    assert!(matches!(error, ConnectError::Rejected { .. }), "{error:?}");
    assert!(error.to_string().contains("maximum connections exceeded"), "{error}");
}

fn user_of(server: &Server, password: &str) -> ConnectionOptions {
    user(&server.url(), "sys", password)
}
