//! Rolling restarts and a rolling upgrade.

// A run tells what it saw.
#![allow(clippy::print_stderr)]

use crate::support::watched::Watched;
use crate::support::{Account, Cluster, Findings, Message, limits, server_of_version};
use crate::traffic;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const OLD: &str = "2.12.8";
const NEW: &str = "2.15.1";

/// Short, so that the test sees what lies behind it.
const GRACE: &str = "maintenance.grace = '15s'\n";

/// How a server is told to go.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    /// SIGTERM, as systemd does.
    Terminate,
    /// SIGUSR2, and SIGTERM when it takes too long, as the Kubernetes chart does.
    LameDuck,
}

/// What an agent publishes, heard on two servers of which one is always there.
struct Heard {
    watched: Watched,
    other: Findings,
}

impl Heard {
    async fn start(cluster: &Cluster, config: &str) -> Self {
        let other = Findings::subscribe_at(cluster, 1, "SYS/admin", "insights.checks.>").await;
        Self { watched: Watched::start(cluster, config).await, other }
    }

    fn messages(&self) -> Vec<Message> {
        let mut messages = self.watched.findings.history();
        let key = |m: &Message| (m.subject.clone(), m.header("Nats-Msg-Id").to_owned(), m.epoch());
        let known: Vec<_> = messages.iter().map(key).collect();
        messages.extend(self.other.history().into_iter().filter(|m| !known.contains(&key(m))));
        messages.sort_by_key(Message::epoch);
        messages
    }

    /// Waits until nothing is under maintenance any more, and ten epochs more; gives the id of the next.
    async fn settled(&mut self) -> u64 {
        let findings = &mut self.watched.findings;
        let now = findings.history().iter().filter(|m| m.is_epoch()).map(Message::epoch).max();
        let over = |m: &Message| m.json["maintenance"].is_null() && m.json["complete"] == true;
        findings
            .wait_for(Duration::from_secs(90), |m| m.is_epoch() && Some(m.epoch()) > now && over(m))
            .await;
        findings.epochs(11, Duration::from_secs(60)).await.epoch()
    }
}

async fn roll(cluster: &mut Cluster, servers: &[usize], leave: Leave, binary: &Path) {
    for server in servers {
        if leave == Leave::LameDuck {
            cluster.lame_duck(*server);
            // The server begins to send its clients away after its grace period.
            tokio::time::sleep(Duration::from_secs(14)).await;
        }
        cluster.stop_or_ended(*server).await;
        cluster.restart_as(*server, binary).await;
        // Somebody who upgrades waits until a server is ready before the next one goes.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
}

async fn stays_quiet(mut cluster: Cluster, servers: &[usize], leave: Leave) {
    let (old, new) = (server_of_version(OLD), server_of_version(NEW));
    let _traffic = traffic::start(&cluster, servers, "APP/a", 3).await;
    let mut heard = Heard::start(&cluster, GRACE).await;
    heard.watched.findings.epochs(3, Duration::from_secs(60)).await;

    roll(&mut cluster, servers, leave, &old).await;
    let first = heard.settled().await;
    roll(&mut cluster, servers, leave, &new).await;
    let last = heard.settled().await;

    let messages = heard.messages();
    let lines = crate::told(&messages);
    eprintln!(
        "all findings of a rolling restart and upgrade of {} servers:\n{}",
        servers.len(),
        crate::list(&lines)
    );
    let critical: Vec<&String> = lines.keys().filter(|line| line.starts_with("critical")).collect();
    assert!(critical.is_empty(), "{critical:#?}");
    for settled in [first, last] {
        let left: Vec<&Message> = messages
            .iter()
            .filter(|m| !m.is_epoch() && m.epoch() == settled && m.status() == "firing")
            .collect();
        assert!(left.is_empty(), "{}", crate::list(&crate::told(left)));
    }
    // It looked all the time: the maintenance of every server was seen, and something waited for it to be over.
    let maintained = |m: &Message| m.json["maintenance"].as_array().cloned().unwrap_or_default();
    let rows: Vec<_> = messages.iter().filter(|m| m.is_epoch()).flat_map(maintained).collect();
    let seen: BTreeSet<&str> = rows.iter().filter_map(|row| row["server"].as_str()).collect();
    let expected: BTreeSet<&str> = servers.iter().map(|server| cluster.server_name(*server)).collect();
    assert_eq!(seen, expected);
    assert!(rows.iter().any(|row| row["held"].as_u64() > Some(0)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_restarted_and_upgraded_as_lame_ducks() {
    let app = Account::new("APP").limits(limits().conn(1000).subs(1000)).user("a").jetstream();
    let cluster = Cluster::operator(3)
        .jetstream()
        .account(app)
        .extra("lame_duck_grace_period: 1s\nlame_duck_duration: 30s\n")
        .binary(&server_of_version(OLD))
        .start()
        .await;
    stays_quiet(cluster, &[0, 1, 2], Leave::LameDuck).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_super_cluster_with_a_leafnode_that_is_restarted_and_upgraded() {
    stays_quiet(crate::super_cluster(OLD).await, &[0, 1, 2, 3, 4], Leave::Terminate).await;
}
