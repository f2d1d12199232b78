//! What an operator expects of findings, on real servers: when they begin and end, silences, maintenance, and a
//! configuration that changes under a running agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod maintenance;
mod policies;
mod reload;
mod silences;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use support::{Agent, Cluster, Findings, Message, busy_host};

/// For anything that is expected to be published.
const SOON: Duration = Duration::from_secs(60);

/// In the file, the line of this one of the configuration that a test gives.
fn line(of: usize) -> usize {
    // The length of epochs stands before it as well.
    busy_host("").lines().count() + 1 + of
}

/// An agent on a cluster whose configuration file can be changed, and an independent subscriber that was there before it.
struct Watched {
    findings: Findings,
    agent: Agent,
    file: PathBuf,
}

impl Watched {
    async fn start(cluster: &Cluster, config: &str) -> Self {
        let findings = Findings::subscribe(cluster).await;
        let file = cluster.dir().join("insights.toml");
        std::fs::write(&file, busy_host(&format!("epoch = '2s'\n{config}"))).unwrap();
        let path = file.to_string_lossy().into_owned();
        let agent = Agent::start(cluster.agent_args().chain(["run", "--config", &path]));
        Self { findings, agent, file }
    }

    /// Writes another configuration file and has the agent read it.
    fn reload(&self, config: &str) {
        std::fs::write(&self.file, busy_host(&format!("epoch = '2s'\n{config}"))).unwrap();
        self.agent.hangup();
    }

    /// The first message of a check, old or new, that `wanted` accepts.
    async fn told(&mut self, check: &str, wanted: impl Fn(&Value) -> bool) -> Message {
        self.findings.wait_for(SOON, |m| m.check() == check && wanted(&m.json)).await
    }

    /// The first summary, old or new, that `wanted` accepts.
    async fn epoch(&mut self, wanted: impl Fn(&Value) -> bool) -> Message {
        self.findings.wait_for(SOON, |m| m.is_epoch() && wanted(&m.json)).await
    }

    /// Every finding's message of a check so far, in the order in which they came.
    fn all(&self, check: &str) -> Vec<Value> {
        self.findings.history().into_iter().filter(|m| m.check() == check).map(|m| m.json).collect()
    }

    /// Waits until the log has this text.
    async fn logged(&self, text: &str) -> String {
        support::eventually(&format!("the log says {text}"), 60, async || {
            let told = self.agent.stderr();
            if told.contains(text) { Ok(()) } else { Err(told) }
        })
        .await;
        self.agent.stderr()
    }
}
