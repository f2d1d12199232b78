//! Every way to log in.

use std::net::TcpListener;

use insights_agent::connection::{ConnectionOptions, Secret};
use insights_agent::nats::context::{Environment, apply};

use super::jwt::Operator;
use super::*;

#[tokio::test]
async fn user_and_password() {
    let server = Server::start(ACCOUNTS);
    let identity = tested(&user(&server.url(), "sys", "s3cret/pw")).await.unwrap();
    assert_eq!((identity.user.as_deref(), identity.account.as_str()), (Some("sys"), "SYS"));
    assert_eq!(identity.servers.len(), 1);
}

#[tokio::test]
async fn user_and_password_in_the_url() {
    let server = Server::start(ACCOUNTS);
    let url = format!("nats://sys:s3cret%2Fpw@127.0.0.1:{}", server.port);
    assert_eq!(tested(&options(&url)).await.unwrap().account, "SYS");
}

#[tokio::test]
async fn credentials_file_and_jwt_in_operator_mode() {
    let operator = Operator::new();
    let server = Server::start(&operator.configuration());
    let user = operator.user(&operator.system, None);
    let from_file =
        ConnectionOptions { creds: Some(write(&server, "sys.creds", &user.creds)), ..options(&server.url()) };
    let identity = tested(&from_file).await.unwrap();
    assert_eq!(identity.user, Some(user.public_key.clone()));
    assert_eq!(identity.account, operator.system.public_key());

    let json = serde_json::json!({"url": server.url(), "user_jwt": user.jwt, "user_seed": user.seed});
    let from_context = context(&server, &json.to_string(), ConnectionOptions::default());
    assert_eq!(tested(&from_context).await.unwrap().user, Some(user.public_key));
}

#[tokio::test]
async fn nkey_file() {
    let key = nkeys::KeyPair::new_user();
    let server = Server::start(&format!(
        "accounts {{ SYS: {{ users: [ {{ nkey: {} }} ] }} }}\nsystem_account: SYS\n",
        key.public_key()
    ));
    let path = write(&server, "sys.nk", &key.seed().unwrap());
    let identity = tested(&ConnectionOptions { nkey: Some(path), ..options(&server.url()) }).await.unwrap();
    assert_eq!(identity.user, Some(key.public_key()));
}

#[tokio::test]
async fn a_token_logs_in_and_leads_to_no_system_account() {
    let server = Server::start("authorization { token: \"t0ken\" }\n");
    let as_token = ConnectionOptions { token: Some(Secret::from("t0ken")), ..options(&server.url()) };
    let as_user = ConnectionOptions { user: Some("t0ken".to_owned()), ..options(&server.url()) };
    let in_url = options(&format!("nats://t0ken@127.0.0.1:{}", server.port));
    for options in [as_token, as_user, in_url] {
        let error = tested(&options).await.unwrap_err();
        assert!(matches!(error, SelfTestError::NoSystemAccount), "{error}");
        assert!(!error.to_string().contains("t0ken"));
    }
}

#[tokio::test]
async fn a_context_of_the_cli() {
    let server = Server::start(ACCOUNTS);
    let json = serde_json::json!({"description": "", "url": server.url(), "user": "sys", "password": "s3cret/pw",
                                  "color_scheme": "x", "jetstream_domain": ""});
    let from_context = context(&server, &json.to_string(), ConnectionOptions::default());
    assert_eq!(tested(&from_context).await.unwrap().account, "SYS");

    let over =
        ConnectionOptions { user: Some("app".into()), password: Some("app".into()), ..Default::default() };
    let error = tested(&context(&server, &json.to_string(), over)).await.unwrap_err();
    assert!(error.to_string().starts_with("the user's account APP is not the system account"), "{error}");
}

#[tokio::test]
async fn a_list_of_urls_whose_first_is_dead() {
    let server = Server::start(ACCOUNTS);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let list = format!("nats://127.0.0.1:{dead}, 127.0.0.1:{}", server.port);
    assert_eq!(tested(&user(&list, "sys", "s3cret/pw")).await.unwrap().account, "SYS");
}

#[tokio::test]
async fn the_inbox_prefix_is_the_one_given() {
    let server = Server::start(
        r#"accounts { SYS: { users: [ { user: sys, password: p, permissions: {
             publish: "$SYS.REQ.>", subscribe: "_INBOX_OTHER.>" } } ] } }
           system_account: SYS"#,
    );
    let other = ConnectionOptions {
        inbox_prefix: Some("_INBOX_OTHER".to_owned()),
        ..user(&server.url(), "sys", "p")
    };
    let needs = Needs { subscribe: vec!["_INBOX_OTHER.>".to_owned()], ..needs() };
    assert_eq!(self_test(&connected(&other).await, &needs).await.unwrap().account, "SYS");
}

/// The options of a context file, as the CLI would have written it.
fn context(server: &Server, json: &str, over: ConnectionOptions) -> ConnectionOptions {
    let home = server.directory.path().to_owned();
    std::fs::create_dir_all(home.join("nats/context")).unwrap();
    std::fs::write(home.join("nats/context/sys.json"), json).unwrap();
    let variable = |name: &str| (name == "XDG_CONFIG_HOME").then(|| home.clone().into_os_string());
    let named = ConnectionOptions { context: Some("sys".to_owned()), ..over };
    apply(&named, &Environment { variable: &variable }).unwrap()
}
