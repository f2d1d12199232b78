//! An agent on a cluster, and an independent subscriber that holds what is published to its promises.

use super::{Agent, Cluster, Findings, Message, busy_host};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// For anything that is expected to be published.
pub const SOON: Duration = Duration::from_secs(40);

/// An agent on a cluster, and an independent subscriber that was there before it.
pub struct Watched {
    pub findings: Findings,
    pub agent: Agent,
}

impl Watched {
    /// Starts the agent as the least-privilege user, with this configuration file (see [`busy_host`]).
    pub async fn start(cluster: &Cluster, config: &str) -> Self {
        let findings = Findings::subscribe(cluster).await;
        let path = cluster.dir().join("insights.toml");
        std::fs::write(&path, busy_host(config)).unwrap();
        let path = path.to_string_lossy().into_owned();
        let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s", "--config", &path]));
        Self { findings, agent }
    }

    /// The first firing message of a check.
    pub async fn firing(&mut self, check: &str) -> Message {
        self.findings.wait_for(SOON, |m| m.check() == check && m.status() == "firing").await
    }

    /// The first message of a check that fires and that `wanted` accepts.
    pub async fn firing_as(&mut self, check: &str, wanted: impl Fn(&Value) -> bool) -> Message {
        self.findings
            .wait_for(SOON, |m| m.check() == check && m.status() == "firing" && wanted(&m.json))
            .await
    }

    /// The end of a check's finding.
    pub async fn resolved(&mut self, check: &str) -> Message {
        self.findings.wait_for(SOON, |m| m.check() == check && m.status() == "resolved").await
    }

    /// The next epoch's summary that `wanted` accepts.
    pub async fn epoch(&mut self, wanted: impl Fn(&Value) -> bool) -> Message {
        self.findings.wait_for(SOON, |m| m.is_epoch() && wanted(&m.json)).await
    }

    /// Every message so far keeps the promises that hold for all of them.
    pub fn check_everything_published(&self) {
        let schemas = Schemas::printed();
        let history = self.findings.history();
        assert!(!history.is_empty());
        let mut ends: HashMap<String, Vec<&Message>> = HashMap::new();
        for message in &history {
            schemas.check(message);
            assert_eq!(message.header("Insights-Type"), message.kind());
            if message.is_epoch() {
                continue;
            }
            let json = &message.json;
            let fingerprint = json["fingerprint"].as_str().unwrap();
            assert!(fingerprint.len() >= 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
            let id = format!("{fingerprint}-{}-{}", message.epoch(), message.status());
            assert_eq!(message.header("Nats-Msg-Id"), id);
            let tokens: Vec<&str> = message.subject.split('.').collect();
            assert_eq!(tokens.len(), 7, "{}", message.subject);
            assert_eq!(tokens[3], json["severity"], "{}", message.subject);
            assert_eq!(tokens[4], json["check"], "{}", message.subject);
            assert_eq!(tokens[5], json["entity"]["type"], "{}", message.subject);
            if let Some(account) = json["entity"]["account"].as_str() {
                assert_eq!(tokens[2], account);
            }
            if message.status() == "resolved" {
                ends.entry(id).or_default().push(message);
            }
        }
        for (id, said) in ends {
            assert!(said.len() <= 2, "{id} {} times", said.len());
            assert!(
                said.iter().all(|end| end.json == said[0].json && end.subject == said[0].subject),
                "{id}"
            );
        }
    }
}

/// The schemas as the program prints them.
pub struct Schemas {
    finding: jsonschema::Validator,
    epoch: jsonschema::Validator,
    evidence: HashMap<&'static str, jsonschema::Validator>,
}

impl Schemas {
    pub fn printed() -> Self {
        let printed = |what: &str| -> Value {
            let program = std::process::Command::new(env!("CARGO_BIN_EXE_insights-agent"))
                .args(["catalog", "schema", what])
                .output()
                .unwrap();
            assert!(program.status.success(), "{what}");
            serde_json::from_slice(&program.stdout).unwrap()
        };
        let validator = |schema: &Value| jsonschema::validator_for(schema).unwrap();
        let evidence = insights_agent::checks::catalogue()
            .map(|entry| (entry.meta.id, validator(&printed(entry.meta.id)["evidence"])))
            .collect();
        Self { finding: validator(&printed("finding")), epoch: validator(&printed("epoch")), evidence }
    }

    pub fn check(&self, message: &Message) {
        let schema = if message.is_epoch() { &self.epoch } else { &self.finding };
        let errors: Vec<String> = schema.iter_errors(&message.json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}\n{}", message.subject, message.json);
        if !message.is_epoch() {
            let schema = &self.evidence[message.check()];
            let errors: Vec<String> =
                schema.iter_errors(&message.json["evidence"]).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}\n{}", message.subject, message.json["evidence"]);
        }
    }
}

/// Checks of the findings that were seen to hold in the summary's epoch.
pub fn firing_in(watched: &Watched, epoch: &Message) -> Vec<String> {
    let of_epoch = |m: &Message| {
        !m.is_epoch() && m.epoch() == epoch.epoch() && m.status() == "firing" && m.json["held"].is_null()
    };
    watched.findings.history().into_iter().filter(of_epoch).map(|m| m.check().to_owned()).collect()
}
