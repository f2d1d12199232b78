//! The command `watch` beside a real agent.

use insights_agent::demo::topology::{Access, FileUser, ServerConf};
use serde_json::Value;

use crate::ask::{Asked, SOON, planted};
use crate::support::{Account, Agent, AgentArgs, Cluster, Findings, eventually, limits};

/// A running `watch` whose changes are read.
struct Watching(Agent);

impl Watching {
    fn start(args: AgentArgs, more: &[&str]) -> Self {
        let args = args.chain(["watch", "--epoch", "2s", "--format", "ndjson"]).chain(more);
        Self(Agent::start(args))
    }

    fn changes(&self) -> Vec<Value> {
        let told = self.0.stdout();
        let whole = told.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often this has happened to a finding of a check.
    fn count(&self, change: &str, check: &str) -> usize {
        let changes = self.changes();
        changes.iter().filter(|c| c["change"] == change && c["finding"]["check"] == check).count()
    }

    async fn wait_for(&self, change: &str, check: Option<&str>) -> Value {
        eventually(&format!("{change} {check:?}"), SOON.as_secs(), async || {
            let changes = self.changes();
            let is = |c: &&Value| {
                c["change"] == change && check.is_none_or(|check| c["finding"]["check"] == check)
            };
            changes.iter().find(is).cloned().ok_or_else(|| format!("{changes:?}\n{}", self.0.stderr()))
        })
        .await
    }

    async fn interrupt(mut self) {
        self.0.interrupt();
        let status = self.0.wait(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", self.0.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_told_at_once_and_then_every_change_once() {
    let mut asked = Asked::start().await;
    let watching = Watching::start(asked.cluster.agent_args_as(1, "SYS/admin"), &["--account", "FULL"]);
    let open = watching.wait_for("open", Some("ACCOUNTS_001")).await;
    assert_eq!(open["finding"]["entity"]["name"], "FULL");
    // Told by an agent, not heard in the next epoch.
    assert!(!watching.0.stderr().contains("after one epoch"), "{}", watching.0.stderr());
    asked.findings.epochs(2, SOON).await;
    assert_eq!(watching.count("open", "ACCOUNTS_001"), 1);
    assert_eq!(watching.count("open", "SERVER_011"), 0, "it belongs to no account");

    asked.clients.drain(..10).for_each(drop);
    let ended = watching.wait_for("ended", Some("ACCOUNTS_001")).await;
    assert_eq!(
        (&ended["finding"]["status"], &ended["finding"]["fingerprint"]),
        (&"resolved".into(), &open["finding"]["fingerprint"])
    );
    // The end is published in two epochs.
    asked.findings.epochs(3, SOON).await;
    assert_eq!(watching.count("ended", "ACCOUNTS_001"), 1);
    asked.clients.extend(asked.cluster.connect_many(0, "FULL/full", "again", 10).await);
    watching.wait_for("began", Some("ACCOUNTS_001")).await;
    let told: Vec<String> =
        watching.changes().iter().map(|c| c["change"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told.iter().filter(|change| *change == "began").count(), 1, "{told:?}");
    watching.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_lines_for_people() {
    let asked = Asked::start().await;
    let args = |more: &[&str]| asked.cluster.agent_args_as(1, "SYS/admin").chain(["watch"]).chain(more);
    let critical = Agent::start(args(&["--severity", "critical"]));
    let servers = Agent::start(args(&["--check", "server_*"]));
    let two = Agent::start(args(&["--check", "SERVER_011", "--check", "ACCOUNTS_001"]));
    eventually("both findings as lines", SOON.as_secs(), async || {
        let (servers, two) = (servers.stdout(), two.stdout());
        let whole = servers.contains(" open warning SERVER_011 server n1: ")
            && two.contains("SERVER_011")
            && two.contains(" open warning ACCOUNTS_001 account FULL: account FULL uses 19 of 20");
        if whole { Ok(()) } else { Err(format!("{servers}\n{two}")) }
    })
    .await;
    assert_eq!((servers.stdout().lines().count(), two.stdout().lines().count()), (1, 2));
    assert_eq!(critical.stdout(), "");
    let wrong = Agent::run(args(&["--check", "ACCOUNT_001"]), SOON).await;
    assert!(wrong.code == Some(3) && wrong.stderr.contains("ACCOUNTS_001"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_is_missed_and_what_was_open_is_stale_until_it_is_heard_again() {
    let mut asked = Asked::start().await;
    let watching = Watching::start(asked.cluster.agent_args_as(1, "SYS/admin"), &[]);
    watching.wait_for("open", Some("ACCOUNTS_001")).await;
    // The length of an epoch has been learnt.
    asked.findings.epochs(2, SOON).await;
    asked.agent.kill();
    let silent = watching.wait_for("silent", None).await;
    assert!(silent["epochs"].as_u64().unwrap() >= 2, "{silent}");
    watching.wait_for("stale", Some("ACCOUNTS_001")).await;
    let _again = Agent::start(asked.cluster.agent_args().chain(["run", "--epoch", "2s"]));
    watching.wait_for("heard", None).await;
    watching.wait_for("back", Some("ACCOUNTS_001")).await;
    assert_eq!(watching.count("ended", "ACCOUNTS_001"), 0);
    assert_eq!(watching.changes().iter().filter(|c| c["change"] == "silent").count(), 1);
}

/// A tenant that imports its own findings: it can ask nobody, and hears no summaries.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_watches_its_own_findings() {
    let full = Account::new("FULL").limits(limits().conn(20)).user("full").imports_findings();
    let cluster = Cluster::operator(1).max_connections(0, 26).account(full).start().await;
    let _clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
    let mut findings = Findings::subscribe(&cluster).await;
    let _agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
    findings.wait_for(SOON, |m| m.check() == "SERVER_011" && m.status() == "firing").await;
    let watching = Watching::start(cluster.agent_args_as(0, "FULL/full"), &[]);
    let open = watching.wait_for("open", Some("ACCOUNTS_001")).await;
    assert_eq!(open["finding"]["entity"]["name"], "FULL");
    assert!(watching.0.stderr().contains("after one epoch"), "{}", watching.0.stderr());
    findings.epochs(3, SOON).await;
    let checks: Vec<Value> = watching.changes().into_iter().map(|c| c["finding"]["check"].clone()).collect();
    assert_eq!(checks, ["ACCOUNTS_001"]);
    watching.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_listen_is_told_so() {
    let deaf = FileUser {
        user: "deaf".into(),
        password: "deaf".into(),
        publish: vec!["nothing".into()],
        subscribe: vec!["_INBOX_INSIGHTS.>".into()],
        responses: false,
    };
    let with_deaf = move |_: usize, conf: &mut ServerConf| {
        if let Access::File { accounts, .. } = &mut conf.access {
            accounts[0].users.push(deaf.clone());
        }
    };
    let cluster = planted(Cluster::config(1)).edit(with_deaf).start().await;
    let args = ["watch", "--server", &cluster.url(0), "--user", "deaf", "--password", "deaf"];
    let ended = Agent::run(args, SOON).await;
    assert!(
        ended.code == Some(3) && ended.stderr.contains("may not subscribe to insights.checks.>"),
        "{ended:?}"
    );
}
