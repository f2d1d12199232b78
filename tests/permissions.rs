//! What `permissions` prints is a server's configuration as it stands, and enough for the agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use futures_util::StreamExt;
use insights_agent::demo::guard::{DIR_PREFIX, Guard};
use insights_agent::demo::server::{Server, find_binary};
use std::time::Duration;
use support::Agent;

const AT_MOST: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_the_printed_user_and_the_agent_needs_no_more() {
    let printed = Agent::run(["permissions", "--format", "nats-server"], AT_MOST).await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_insights-agent"));
    let mut guard = Guard::spawn(program).unwrap();
    guard.own_dir(dir.path()).unwrap();
    let config = dir.path().join("server.conf");
    std::fs::write(&config, format!("listen: \"127.0.0.1:-1\"\n{}", printed.stdout)).unwrap();
    let mut server = Server::spawn(&find_binary(None).unwrap(), "n1", &config, dir.path()).unwrap();
    guard.watch(server.id()).unwrap();
    let port = server.wait_ready(AT_MOST).await.unwrap();

    let url = format!("nats://127.0.0.1:{port}");
    let login = ["--server", &url, "--user", "insights", "--password", "REPLACE_ME"];
    let args = |more: &[&str]| -> Vec<String> { login.iter().chain(more).map(ToString::to_string).collect() };
    let looked =
        Agent::run(support::AgentArgs::default().chain(args(&["check", "--format", "json"])), AT_MOST).await;
    assert_eq!(looked.code, Some(0), "{}\n{}", looked.stdout, looked.stderr);
    let report: serde_json::Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(report["epoch"]["complete"], true, "{report}");

    // Publishing is allowed as well, and only below the prefix.
    let client = async_nats::ConnectOptions::with_user_and_password("insights".into(), "REPLACE_ME".into())
        .custom_inbox_prefix("_INBOX_INSIGHTS")
        .connect(&url)
        .await
        .unwrap();
    client.publish("insights.checks.SYS.epoch", "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    let agent = Agent::start(support::AgentArgs::default().chain(args(&["run", "--epoch", "1s"])));
    support::eventually("the agent watches", 20, async || {
        let told = agent.stderr();
        if told.contains("watching") { Ok(()) } else { Err(told) }
    })
    .await;
    // A few epochs, in which a missing permission would show; this user may not listen to what it publishes.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert!(!log.contains("Permissions Violation"), "{log}");
    assert!(!agent.stderr().contains("WARN") && !agent.stderr().contains("ERROR"), "{}", agent.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_subject_is_named_and_the_rest_is_still_judged() {
    let printed = Agent::run(["permissions", "--format", "nats-server"], AT_MOST).await.stdout;
    let subject = "$SYS.REQ.ACCOUNT.*.STATZ";
    let less = printed.replace(&format!("\"{subject}\""), "").replacen(
        "users = [",
        "users = [ { user: admin, password: admin }",
        1,
    );
    assert_ne!(less, printed);
    let dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir().unwrap();
    let mut guard = Guard::spawn(std::path::Path::new(env!("CARGO_BIN_EXE_insights-agent"))).unwrap();
    guard.own_dir(dir.path()).unwrap();
    let config = dir.path().join("server.conf");
    std::fs::write(&config, format!("listen: \"127.0.0.1:-1\"\nmax_connections: 3\n{less}")).unwrap();
    let mut server = Server::spawn(&find_binary(None).unwrap(), "n1", &config, dir.path()).unwrap();
    guard.watch(server.id()).unwrap();
    let url = format!("nats://127.0.0.1:{}", server.wait_ready(AT_MOST).await.unwrap());
    let agent = support::AgentArgs::default().chain([
        "--server",
        &url,
        "--user",
        "insights",
        "--password",
        "REPLACE_ME",
        "--epoch",
        "2s",
    ]);

    // One look judges what it can: the denied subject is a warning, and no reason to say nothing of the rest.
    let looked = Agent::run(agent.clone().chain(["check", "--format", "json"]), AT_MOST).await;
    assert_eq!(looked.code, Some(1), "{}", looked.stderr);
    assert!(looked.stderr.contains(subject), "{}", looked.stderr);
    let report: serde_json::Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(report["findings"][0]["check"], "AGENT_002", "{report}");
    assert_eq!(report["findings"][0]["entity"]["id"], subject, "{report}");
    assert_eq!(report["epoch"]["coverage"][0]["answer"], "denied", "{report}");
    // Without the roll call there is nothing to judge.
    let roll_call = "$SYS.REQ.SERVER.*.STATSZ";
    std::fs::write(
        &config,
        std::fs::read_to_string(&config).unwrap().replace(&format!("\"{roll_call}\""), ""),
    )
    .unwrap();
    let mut blind = Server::spawn(&find_binary(None).unwrap(), "blind", &config, dir.path()).unwrap();
    guard.watch(blind.id()).unwrap();
    let url_of_blind = format!("nats://127.0.0.1:{}", blind.wait_ready(AT_MOST).await.unwrap());
    let args = ["check", "--server", &url_of_blind, "--user", "insights", "--password", "REPLACE_ME"];
    let looked = Agent::run(args, AT_MOST).await;
    assert_eq!(looked.code, Some(3), "{}", looked.stdout);
    assert!(looked.stderr.contains(roll_call), "{}", looked.stderr);

    let client = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into())
        .connect(&url)
        .await
        .unwrap();
    let others = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into())
        .connect(&url)
        .await
        .unwrap();
    let mut messages = client.subscribe("insights.checks.>").await.unwrap();
    client.flush().await.unwrap();
    let running = Agent::start(agent.chain(["run"]));
    let (mut full, mut unknown) = (false, String::new());
    tokio::time::timeout(AT_MOST, async {
        while !full || unknown.is_empty() {
            let message = messages.next().await.unwrap();
            full |= message.subject.contains(".SERVER_011.");
            let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            for row in json["checks"]["unknown"].as_array().into_iter().flatten() {
                if row["check"] == "ACCOUNTS_001" {
                    unknown = row["reason"].as_str().unwrap().to_owned();
                }
            }
        }
    })
    .await
    .unwrap();
    assert!(unknown.contains("may not publish to $SYS.REQ.ACCOUNT."), "{unknown}");
    assert!(running.stderr().contains(subject), "{}", running.stderr());
    drop(others);
}
