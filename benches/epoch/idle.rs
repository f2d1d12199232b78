//! The agent with nothing to do: size of the program, memory and CPU beside three idle servers.

use crate::figures::Figures;
use crate::process;
use crate::support::{Account, Agent, Cluster, Findings};
use std::time::Duration;

const EPOCHS: usize = 20;

/// Section `idle`.
pub(crate) async fn measure(figures: &mut Figures) {
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_insights-agent")).unwrap().len();
    figures.at_most("size of the program", binary as f64 / 1e6, 8.0, " MB");

    let cluster = Cluster::operator(3).account(Account::new("APP").user("app")).start().await;
    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s"]));
    findings.epochs(2, Duration::from_secs(60)).await;
    let before = process::cpu(agent.id());
    findings.forget();
    findings.epochs(EPOCHS, Duration::from_secs(120)).await;
    let took = process::cpu(agent.id()) - before;
    let (peak, now) = process::memory(agent.id()).unwrap();
    figures.at_most("resident beside three idle servers", now, 20.0, " MiB");
    figures.note("its peak", format!("{peak:.1} MiB"));
    figures.note("CPU of an epoch there", format!("{:.1} ms", took.as_secs_f64() * 1000.0 / EPOCHS as f64));
}
