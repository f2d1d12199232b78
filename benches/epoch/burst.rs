//! Ten thousand findings in one epoch: all of them reach a subscriber, and how fast.

use crate::figures::Figures;
use crate::simulated::Simulator;
use crate::support::{Agent, Cluster};
use futures_util::StreamExt;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Findings that are asked for.
const FINDINGS: u64 = 10_000;
/// Epochs that are looked at.
const EPOCHS: usize = 5;

/// Section `burst`.
pub(crate) async fn measure(figures: &mut Figures) {
    let cluster = Cluster::config(1).extra("max_payload: 64MB\n").start().await;
    let options =
        ["--servers", "6", "--accounts", "1200", "--users-per-account", "10", "--connections", "36000"];
    let _simulator = Simulator::with(&cluster, options.iter().map(|word| (*word).to_owned()));
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), "[checks.USER_002]\nmax_connections = 1\n").unwrap();
    let client = cluster.connect(0, "SYS/admin", "subscriber").await;
    let mut messages = client.subscribe("insights.checks.>").await.unwrap();
    client.flush().await.unwrap();
    let config = file.path().to_str().unwrap().to_owned();
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "5s", "--config", &config]));
    let (mut took, mut counts, mut lost) = (Vec::new(), Vec::new(), 0);
    let mut first: Option<Instant> = None;
    let mut heard = 0_u64;
    while took.len() < EPOCHS {
        let message = tokio::time::timeout(Duration::from_secs(60), messages.next()).await;
        let Ok(Some(message)) = message else { panic!("no messages: {}", agent.stderr()) };
        if !message.subject.ends_with(".epoch") {
            first.get_or_insert_with(Instant::now);
            heard += 1;
            continue;
        }
        let summary: Value = serde_json::from_slice(&message.payload).unwrap();
        let of = |key: &str| summary["findings"][key].as_u64().unwrap();
        let said = of("critical") + of("warning") + of("info");
        if let Some(first) = first.take() {
            took.push(first.elapsed().as_secs_f64());
            counts.push(heard);
            lost += said.saturating_sub(heard);
        }
        heard = 0;
    }
    figures.must(
        "burst: 10,000 findings in an epoch",
        counts.iter().all(|n| *n >= FINDINGS),
        format!("{counts:?}"),
    );
    figures.must("burst: none is lost", lost == 0, lost);
    let slowest = took.iter().copied().fold(0.0, f64::max);
    figures.at_most("burst: from the first message to the summary behind the last", slowest, 1.0, " s");
}
