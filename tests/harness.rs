//! The harness itself: the systems it starts are what the other tests take them for.

// Helpers of tests may stop the test as the tests themselves may; clippy allows that only below `#[test]`.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use insights_agent::demo::guard::Guard;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Account, Agent, Cluster, Findings, eventually, limits};

/// The answers to a request, exactly `expected` of them.
async fn answerers(cluster: &Cluster, subject: &str, expected: usize) -> Vec<Value> {
    let client = cluster.connect(0, "SYS/admin", "asker").await;
    let mut answers = client.subscribe("_INBOX_INSIGHTS.1").await.unwrap();
    client.publish_with_reply(subject.to_owned(), "_INBOX_INSIGHTS.1", "".into()).await.unwrap();
    let mut all = Vec::new();
    while all.len() < expected {
        let answer = tokio::time::timeout(Duration::from_secs(5), answers.next()).await.unwrap().unwrap();
        all.push(serde_json::from_slice(&answer.payload).unwrap());
    }
    all
}

fn process_exists(pid: u32) -> bool {
    // A zombie still has a directory, but no executable.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cluster_enforces_and_changes_limits() {
    let account = Account::new("PRODUCTION").limits(limits().conn(3).subs(5)).user("svc");
    let mut cluster = Cluster::operator(3).account(account).max_connections(1, 50).start().await;

    let mut clients = cluster.connect_many(0, "PRODUCTION/svc", "worker", 2).await;
    clients.extend(cluster.connect_many(1, "PRODUCTION/svc", "other", 1).await);
    eventually("the limit holds on another server", 20, async || {
        match cluster.try_connect(2, "PRODUCTION/svc", "too-many").await {
            Ok(_) => Err("a fourth client was accepted".into()),
            Err(error) => Ok(error),
        }
    })
    .await;

    cluster.set_limits("PRODUCTION", limits().conn(4)).await;
    clients.extend(cluster.connect_many(2, "PRODUCTION/svc", "fits", 1).await);

    let subject = format!("$SYS.REQ.ACCOUNT.{}.INFO", cluster.account_id("PRODUCTION"));
    for answer in answerers(&cluster, &subject, 3).await {
        assert_eq!(answer["data"]["decoded_jwt"]["nats"]["limits"]["conn"], 4, "{answer}");
    }
    cluster.set_max_connections(1, 60).await;
    let varz = answerers(&cluster, "$SYS.REQ.SERVER.PING.VARZ", 3).await;
    let second = varz.iter().find(|answer| answer["server"]["name"] == "n2").unwrap();
    assert_eq!(second["data"]["max_connections"], 60);
    assert_eq!(second["server"]["cluster"], "east");
    assert_eq!(clients.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_cluster_enforces_and_changes_limits() {
    let account = Account::new("BATCH").limits(limits().conn(2)).user("job");
    let mut cluster = Cluster::config(3).account(account).start().await;
    let mut clients = cluster.connect_many(0, "BATCH/job", "worker", 2).await;
    assert!(cluster.try_connect(0, "BATCH/job", "too-many").await.is_err());
    cluster.set_limits("BATCH", limits()).await;
    clients.extend(cluster.connect_many(0, "BATCH/job", "fits", 3).await);
    assert_eq!(answerers(&cluster, "$SYS.REQ.SERVER.PING.STATSZ", 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_super_cluster_forms_and_the_least_privilege_user_sees_all_of_it() {
    let cluster = Cluster::operator(2).second_cluster(2).start().await;
    let client = cluster.connect(0, "SYS/insights", "agent").await;
    let mut answers = client.subscribe("_INBOX_INSIGHTS.x").await.unwrap();
    client.publish_with_reply("$SYS.REQ.SERVER.PING.STATSZ", "_INBOX_INSIGHTS.x", "".into()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = tokio::time::timeout(Duration::from_secs(5), answers.next()).await.unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        seen.push(format!("{}/{}", answer["server"]["cluster"], answer["server"]["name"]).replace('"', ""));
    }
    seen.sort();
    assert_eq!(seen, ["east/n1", "east/n2", "west/n3", "west/n4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leafnode_connects_and_carries_messages_in_both_modes() {
    for builder in [Cluster::operator(2), Cluster::config(2)] {
        let builder = builder.account(Account::new("EDGE").user("hub").user("leaf"));
        let cluster = builder.leaf("EDGE/leaf").start().await;
        let hub = cluster.connect(1, "EDGE/hub", "hub").await;
        let edge = cluster.connect(2, "LOCAL/edge", "edge").await;
        let mut messages = hub.subscribe("x").await.unwrap();
        hub.flush().await.unwrap();
        eventually("a message comes through the leafnode", 20, async || {
            edge.publish("x", "1".into()).await.unwrap();
            let got = tokio::time::timeout(Duration::from_millis(200), messages.next()).await;
            got.map_err(|_| "nothing".to_owned())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_stop_crash_freeze_and_come_back() {
    let mut cluster = Cluster::operator(3).start().await;
    cluster.stop(2).await;
    cluster.restart(2).await;
    cluster.kill(1);
    cluster.restart(1).await;
    cluster.pause(2);
    assert_eq!(answerers(&cluster, "$SYS.REQ.SERVER.PING.STATSZ", 2).await.len(), 2);
    cluster.resume(2);
    cluster.wait_formed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_collects_and_a_tenant_gets_its_own_findings_only() {
    for builder in [Cluster::operator(2), Cluster::config(2)] {
        let builder = builder.account(Account::new("T1").user("t1").imports_findings());
        let cluster = builder.account(Account::new("T2").user("t2")).start().await;
        let mut all = Findings::subscribe(&cluster).await;
        let mut own = Findings::subscribe_at(&cluster, 1, "T1/t1", "insights.checks.>").await;
        let agent = cluster.connect(0, "SYS/insights", "agent").await;
        let (t1, t2) = (cluster.account_id("T1"), cluster.account_id("T2"));
        let publish = async |account: &str, payload: &str| {
            let subject = format!("insights.checks.{account}.info.X.account.{account}");
            agent.publish(subject, payload.to_owned().into()).await.unwrap();
        };
        // Interest of another server's account needs a moment to arrive here.
        eventually("the import works", 20, async || {
            publish(&t2, r#"{"check":"T2","status":"firing"}"#).await;
            publish(&t1, r#"{"check":"T1","status":"firing"}"#).await;
            own.find_within(Duration::from_millis(300), |m| m.check() == "T1").await.ok_or("nothing".into())
        })
        .await;
        assert!(own.history().iter().all(|m| m.check() == "T1"));
        all.wait_for(Duration::from_secs(5), |m| m.check() == "T2" && m.status() == "firing").await;
        all.forget();
        let summary = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            publish(&t1, r#"{"type":"io.nats.insights.v1.epoch","epoch":60}"#).await;
        };
        let (last, ()) = tokio::join!(all.epochs(1, Duration::from_secs(20)), summary);
        assert_eq!(last.epoch(), 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_gives_its_status_and_output() {
    let ended = Agent::run(["no-such-command"], Duration::from_secs(10)).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("no-such-command") && ended.stdout.is_empty(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_guard_is_noticed() {
    let mut guard = Guard::spawn(Path::new(env!("CARGO_BIN_EXE_insights-agent"))).unwrap();
    assert!(guard.try_wait().unwrap().is_none());
    let pid = Pid::from_raw(guard.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("its end is seen", 20, async || guard.try_wait().unwrap().ok_or("it runs".into())).await;
    assert!(guard.watch(1_000_000).is_err());
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_waits_to_be_killed() {
    let Some(report) = std::env::var_os("INSIGHTS_HARNESS_REPORT") else {
        return;
    };
    let cluster = Cluster::operator(3).start().await;
    let pids: Vec<String> = (0..3).map(|server| cluster.server_pid(server).to_string()).collect();
    let report = Path::new(&report);
    std::fs::write(report.with_extension("tmp"), format!("{}\n{}", pids.join(" "), cluster.dir().display()))
        .unwrap();
    std::fs::rename(report.with_extension("tmp"), report).unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_parent_leaves_no_server_and_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_waits_to_be_killed"])
        .env("INSIGHTS_HARNESS_REPORT", &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = eventually("the child starts its cluster", 60, async || {
        std::fs::read_to_string(&report).map_err(|error| error.to_string())
    })
    .await;
    let (pids, servers_dir) = text.split_once('\n').unwrap();
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| process_exists(*pid)));
    assert!(Path::new(servers_dir).is_dir());

    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the guard cleans up", 20, async || {
        let left: Vec<_> = pids.iter().filter(|pid| process_exists(**pid)).collect();
        let dir_left = Path::new(servers_dir).exists();
        if left.is_empty() && !dir_left { Ok(()) } else { Err(format!("{left:?}, directory: {dir_left}")) }
    })
    .await;
}
