//! SIGTERM ends the agent in order and soon, whatever it is waiting for. What it waits for in here takes a minute and
//! more, so that an end that waited for it would be noticed.

use crate::support::{Agent, Findings, eventually};
use crate::{SOON, SOON_S, Served, args, shop};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::net::UnixDatagram;

/// The bound is 5 s; the machine may be slow.
const AT_MOST: Duration = Duration::from_secs(20);

/// Sends SIGTERM, and expects an orderly end.
async fn ends_in_order(mut agent: Agent) {
    agent.terminate();
    let status = agent.wait(AT_MOST).await;
    assert_eq!(status.code(), Some(0), "{status}: {}", agent.stderr());
    assert!(!agent.stderr().contains("not everything ended in time"), "{}", agent.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_epochs() {
    let cluster = shop(1).start().await;
    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1h"]));
    findings.epochs(1, SOON).await;
    ends_in_order(agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_in_flight_is_ended_and_published() {
    let mut cluster = shop(3).start().await;
    let admin = cluster.connect(0, "SYS/admin", "test-roll-call").await;
    let mut findings = Findings::subscribe(&cluster).await;
    // A server that does not answer is waited for: 2 s, less than an epoch in flight is given.
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "20s", "--timeout", "2s"]));
    let first = findings.epochs(1, SOON).await;
    cluster.pause(2);
    let mut roll_calls = admin.subscribe("$SYS.REQ.SERVER.PING.STATSZ").await.unwrap();
    tokio::time::timeout(SOON, roll_calls.next()).await.expect("an epoch begins");
    ends_in_order(agent).await;
    let last = findings.wait_for(SOON, |m| m.is_epoch() && m.epoch() > first.epoch()).await;
    assert_eq!(last.json["servers"]["missing"], serde_json::json!(["n3"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_takes_too_long_is_given_up() {
    let mut cluster = shop(3).start().await;
    let admin = cluster.connect(0, "SYS/admin", "test-roll-call").await;
    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "20s", "--timeout", "120s"]));
    findings.epochs(1, SOON).await;
    cluster.pause(2);
    let mut roll_calls = admin.subscribe("$SYS.REQ.SERVER.PING.STATSZ").await.unwrap();
    tokio::time::timeout(SOON, roll_calls.next()).await.expect("an epoch begins");
    ends_in_order(agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_only_server_is_stopped() {
    let mut cluster = shop(1).start().await;
    let served = Served::start(args(&cluster, "").chain(["--timeout", "120s"])).await;
    served.until("/readyz", 200).await;
    cluster.pause(0);
    served.sampled("insights_servers{state=\"responded\"}", |value| value == Some(0.0)).await;
    ends_in_order(served.agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_servers_are_gone() {
    let mut cluster = shop(1).start().await;
    let served = Served::start(args(&cluster, "")).await;
    served.until("/readyz", 200).await;
    cluster.stop(0).await;
    served.sampled("insights_connected", |value| value == Some(0.0)).await;
    ends_in_order(served.agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_connecting_to_a_server_that_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let agent = Agent::start(["run", "--server", &url, "--timeout", "120s"]);
    let connected = tokio::time::timeout(SOON, silent.accept()).await.expect("the agent connects");
    ends_in_order(agent).await;
    drop(connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_waiting_to_connect_again() {
    let agent = Agent::start(["run", "--server", "nats://127.0.0.1:1"]);
    eventually("several attempts", SOON_S, async || {
        let log = agent.stderr();
        if log.contains("retry_in=4s") { Ok(()) } else { Err(log) }
    })
    .await;
    ends_in_order(agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let mut cluster = shop(3).start().await;
    let admin = cluster.connect(0, "SYS/admin", "test-roll-call").await;
    let mut findings = Findings::subscribe(&cluster).await;
    let mut agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "20s", "--timeout", "120s"]));
    findings.epochs(1, SOON).await;
    cluster.pause(2);
    let mut roll_calls = admin.subscribe("$SYS.REQ.SERVER.PING.STATSZ").await.unwrap();
    tokio::time::timeout(SOON, roll_calls.next()).await.expect("an epoch begins");
    agent.terminate();
    eventually("the first signal is heard", SOON_S, async || {
        let log = agent.stderr();
        if log.contains("a second signal ends at once") { Ok(()) } else { Err(log) }
    })
    .await;
    agent.interrupt();
    // 128 and the number of the signal, which the orderly end would not have given.
    assert_eq!(agent.wait(AT_MOST).await.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_the_start_of_life_and_of_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let path = path.to_string_lossy().into_owned();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "200000")];
    let agent = Agent::start_with_env(["run", "--server", "nats://127.0.0.1:1"], &variables);
    let told = async |wanted: &str| {
        let mut buffer = [0; 256];
        let wait = async {
            while let Ok(length) = socket.recv(&mut buffer).await {
                if buffer[..length].trim_ascii() == wanted.as_bytes() {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{wanted} is not told"));
    };
    told("READY=1").await;
    for _ in 0..3 {
        told("WATCHDOG=1").await;
    }
    ends_in_order(agent).await;
    told("STOPPING=1").await;
}
