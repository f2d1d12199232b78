//! An agent over a system with planted findings, and what must hold for everything it publishes.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::Client;
use serde_json::{Value, json};

use crate::support::{Account, Agent, AgentArgs, Builder, Cluster, Findings, Message, limits};

/// For anything that is expected to be published.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A check and the id of its entity.
pub(crate) type Finding = (String, String);

/// The accounts behind the planted findings: FULL is near its limit, FINE is not.
pub(crate) fn planted(builder: Builder) -> Builder {
    builder
        .account(Account::new("FULL").limits(limits().conn(20)).user("full"))
        .account(Account::new("FINE").limits(limits().conn(100)).user("fine"))
}

/// Clients that make account FULL fire on server 0 alone, and server `crowded` (with a `max_connections` of 14) fire.
pub(crate) async fn crowd(cluster: &Cluster, crowded: usize) -> Vec<Client> {
    let mut clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
    clients.extend(cluster.connect_many(crowded, "FINE/fine", "fine", 12).await);
    clients
}

pub(crate) struct Watched {
    pub(crate) findings: Findings,
    pub(crate) agent: Agent,
    planted: BTreeSet<Finding>,
}

impl Watched {
    /// Starts the agent, and waits until a whole epoch has found at least these checks.
    pub(crate) async fn start(cluster: &Cluster, args: AgentArgs, checks: &[&str]) -> Self {
        let findings = Findings::subscribe(cluster).await;
        // Patience with one answer is two fifths of an epoch: a busy machine must not be taken for a fault.
        let agent = Agent::start(args.chain(["run", "--epoch", "2s"]));
        let mut watched = Self { findings, agent, planted: BTreeSet::new() };
        for check in checks {
            watched.firing(check, |_| true).await;
        }
        let whole = watched.epoch(|e| e["complete"] == true).await;
        watched.planted = watched.firing_in(&whole);
        for check in checks {
            assert!(watched.planted.iter().any(|(id, _)| id == check), "{check}: {:?}", watched.planted);
        }
        watched
    }

    /// What fires in the epoch of this summary.
    pub(crate) fn firing_in(&self, summary: &Message) -> BTreeSet<Finding> {
        let history = self.findings.history();
        let of_epoch = history
            .iter()
            .filter(|m| !m.is_epoch() && m.epoch() == summary.epoch() && m.status() == "firing");
        of_epoch.map(name).collect()
    }

    /// The first message of a check that fires and that `wanted` accepts.
    pub(crate) async fn firing(&mut self, check: &str, wanted: impl Fn(&Value) -> bool) -> Message {
        let firing = |m: &Message| m.check() == check && m.status() == "firing" && wanted(&m.json);
        self.findings.wait_for(SOON, firing).await
    }

    /// The first message of a check that ends and that `wanted` accepts.
    pub(crate) async fn resolved(&mut self, check: &str, wanted: impl Fn(&Value) -> bool) -> Message {
        let resolved = |m: &Message| m.check() == check && m.status() == "resolved" && wanted(&m.json);
        self.findings.wait_for(SOON, resolved).await
    }

    /// The first summary that `wanted` accepts.
    pub(crate) async fn epoch(&mut self, wanted: impl Fn(&Value) -> bool) -> Message {
        self.findings.wait_for(SOON, |m| m.is_epoch() && wanted(&m.json)).await
    }

    /// A summary that misses these servers, each for the roll call with a reason that has these words, and nothing else.
    pub(crate) async fn epoch_without(&mut self, missing: &[(&str, &str)]) -> Message {
        let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
        let rows = |e: &Value| {
            let rows: Vec<(String, String)> =
                rows(e).into_iter().map(|(server, asked, _)| (server, asked)).collect();
            rows.iter()
                .map(|(server, asked)| (&**server, &**asked))
                .eq(names.iter().map(|name| (*name, "STATSZ")))
        };
        let summary = self.epoch(|e| e["servers"]["missing"] == json!(names) && rows(e)).await;
        let e = &summary.json;
        assert_eq!(e["complete"], false, "{e}");
        assert_eq!(
            e["servers"]["known"].as_u64().unwrap(),
            e["servers"]["responded"].as_u64().unwrap() + names.len() as u64,
            "{e}"
        );
        for (row, (name, words)) in e["coverage"].as_array().unwrap().iter().zip(missing) {
            assert_eq!((&row["server"], &row["answer"]), (&json!(name), &json!("silent")), "{e}");
            assert!(row["reason"].as_str().unwrap().contains(words), "{words:?} in {e}");
        }
        summary
    }

    /// Since [`Findings::forget`], nothing that was planted has ended, and nothing fires that was not planted; the checks
    /// of the agent itself may tell of these entities, and a reload is told of servers.
    pub(crate) fn nothing_ended_or_invented(&self, about: &[&str]) {
        for message in self.findings.history().iter().filter(|m| !m.is_epoch()) {
            let found = name(message);
            if self.planted.contains(&found) {
                let went_on = message.json["successor"].is_string();
                assert!(message.status() == "firing" || went_on, "ended by silence: {}", message.json);
            } else {
                let may_tell = found.0.starts_with("AGENT_") || found.0 == "CHANGE_001";
                let told = may_tell && about.contains(&&*found.1);
                assert!(told, "invented: {}", message.json);
            }
        }
    }

    /// AGENT_001 of a server: a warning first, then critical; gives both messages.
    pub(crate) async fn silence_of(&mut self, server: &str) -> (Message, Message) {
        let of = |f: &Value, severity: &str| f["entity"]["id"] == *server && f["severity"] == *severity;
        let warning = self.firing("AGENT_001", |f| of(f, "warning")).await;
        assert!(warning.json["observed"]["value"].as_u64() >= Some(2), "{}", warning.json);
        let critical = self.firing("AGENT_001", |f| of(f, "critical")).await;
        assert!(critical.json["observed"]["value"].as_u64() >= Some(5), "{}", critical.json);
        assert!(critical.epoch() > warning.epoch());
        let ended = self.resolved("AGENT_001", |f| of(f, "warning")).await;
        assert_eq!(ended.json["successor"], "critical");
        assert_eq!(critical.json["fingerprint"], warning.json["fingerprint"]);
        let account = critical.subject.split('.').nth(2).unwrap().to_owned();
        assert_eq!(critical.subject, format!("insights.checks.{account}.critical.AGENT_001.server.{server}"));
        (warning, critical)
    }

    /// All is well again: the silence has ended, an epoch is whole, and finds what was planted and nothing else.
    pub(crate) async fn recovers(&mut self, silent: &[&str]) {
        self.recovers_with(silent, &[]).await;
    }

    /// The same, with findings that the fault leaves behind for a while.
    pub(crate) async fn recovers_with(&mut self, silent: &[&str], behind: &[(&str, &str)]) {
        for server in silent {
            self.resolved("AGENT_001", |f| f["entity"]["id"] == **server && f["successor"].is_null()).await;
        }
        let mut planted = self.planted.clone();
        planted.extend(behind.iter().map(|(check, id)| ((*check).to_owned(), (*id).to_owned())));
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let summary = self.findings.epochs(1, SOON).await;
            let firing = self.firing_in(&summary);
            if summary.json["complete"] == true && firing == planted {
                assert_eq!(summary.json["coverage"], json!([]));
                assert_eq!(summary.json["servers"]["missing"], json!([]));
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{planted:?}, but {firing:?}\n{}", summary.json);
        }
    }
}

/// Rows of a summary's coverage: server, endpoint and answer.
pub(crate) fn rows(summary: &Value) -> Vec<(String, String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = summary["coverage"].as_array().unwrap().iter();
    rows.map(|row| (text(row, "server"), text(row, "endpoint"), text(row, "answer"))).collect()
}

fn name(message: &Message) -> Finding {
    (message.check().to_owned(), message.json["entity"]["id"].as_str().unwrap().to_owned())
}
