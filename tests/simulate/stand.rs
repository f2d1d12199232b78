//! A simulation behind a real server, and what it says.

use crate::support::{Agent, AgentArgs, Cluster, Output, eventually};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Long enough for a slow machine.
pub(crate) const AT_MOST: Duration = Duration::from_secs(60);

/// Check, severity, type and id of the entity, and its account.
pub(crate) type Sight = (String, String, String, String, String);

/// One real server whose user may do everything.
pub(crate) async fn real_server() -> Cluster {
    Cluster::config(1).extra("max_payload: 8MB\n").start().await
}

/// `insights-agent simulate`, as the administrator of the system account.
pub(crate) fn arguments(cluster: &Cluster, options: &[&str]) -> AgentArgs {
    cluster.agent_args_as(0, "SYS/admin").chain(["simulate"]).chain(options)
}

/// A simulation that serves.
pub(crate) struct Simulation {
    process: Agent,
    /// The line that says that it serves.
    pub(crate) line: Value,
}

impl Simulation {
    pub(crate) async fn start(cluster: &Cluster, options: &[&str]) -> Self {
        let process = Agent::start(arguments(cluster, options));
        let line = eventually("the simulation serves", 60, async || {
            let out = process.stdout();
            match out.split_once('\n') {
                Some((line, _)) => Ok(serde_json::from_str(line).unwrap()),
                None => Err(process.stderr()),
            }
        })
        .await;
        Self { process, line }
    }

    /// The findings that the agent must give.
    pub(crate) fn expected(&self) -> BTreeSet<Sight> {
        let rows = self.line["expected"].as_array().unwrap().iter();
        rows.map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (text("check"), text("severity"), text("entity_type"), text("entity"), text("account"))
        })
        .collect()
    }

    /// Names of the servers with faults.
    pub(crate) fn faulty(&self) -> Vec<String> {
        let rows = self.line["faults"].as_array().unwrap().iter();
        rows.map(|row| row["server"].as_str().unwrap().to_owned()).collect()
    }

    /// Interrupts it; what it says at its end.
    pub(crate) async fn stop(self) -> Value {
        self.process.interrupt();
        let Output { code, stdout, stderr } = self.process.finish(AT_MOST).await;
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
    }
}

/// What a finding is about.
pub(crate) fn sight(finding: &Value) -> Sight {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entity = &finding["entity"];
    let kind = text(&entity["type"]);
    let account = if kind == "server" { String::new() } else { text(&entity["account"]) };
    (text(&finding["check"]), text(&finding["severity"]), kind, text(&entity["id"]), account)
}

/// Looks once.
pub(crate) async fn check(cluster: &Cluster, more: &[&str]) -> Value {
    let arguments =
        cluster.agent_args().chain(["check", "--format", "json", "--fail-on", "critical"]).chain(more);
    let Output { code, stdout, stderr } = Agent::run(arguments, AT_MOST).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Findings of a report about the system itself. What the agent says of its own sight (`AGENT_…`) is no condition of it.
pub(crate) fn found(report: &Value) -> BTreeSet<Sight> {
    let findings = report["findings"].as_array().unwrap().iter().map(sight);
    let mut found: BTreeSet<Sight> = findings.filter(|sight| !sight.0.starts_with("AGENT_")).collect();
    // A server with most clients has most of their subscriptions too, unless others have more each.
    let hot: BTreeSet<String> =
        found.iter().filter(|sight| sight.0 == "OPT_BALANCE_002").map(|sight| sight.3.clone()).collect();
    found.retain(|sight| sight.0 != "OPT_BALANCE_003" || !hot.contains(&sight.3));
    found
}
