//! 10,000 real connections on three servers: the agent's epoch against a bare fetch of the same requests.

use crate::bare::{Bare, record};
use crate::figures::{Figures, Spread};
use crate::holder::Holder;
use crate::process;
use crate::support::{Account, Agent, Cluster, Findings};
use std::time::Duration;

const SERVERS: usize = 3;
const CONNECTIONS: usize = 10_000;
const ACCOUNTS: usize = 25;
const USERS: usize = 8;
const ROUNDS: usize = 4;
const EPOCHS_PER_ROUND: usize = 6;
const EPOCH: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(120);

/// A system whose clients never have to answer a ping, with the logins of its users.
pub(crate) async fn system(servers: usize) -> (Cluster, Vec<String>) {
    let mut builder = Cluster::operator(servers).extra("ping_interval: \"1h\"\nmax_connections: 100000\n");
    let mut logins = Vec::new();
    for account in 0..ACCOUNTS {
        let mut described = Account::new(&format!("A{account}"));
        for user in 0..USERS {
            described = described.user(&format!("u{account}-{user}"));
            logins.push(format!("A{account}/u{account}-{user}"));
        }
        builder = builder.account(described);
    }
    (builder.start().await, logins)
}

/// Section `real`.
pub(crate) async fn measure(figures: &mut Figures, quick: bool) {
    let (cluster, logins) = system(SERVERS).await;
    let share = |server| CONNECTIONS / SERVERS + usize::from(server < CONNECTIONS % SERVERS);
    let _holders: Vec<Holder> =
        (0..SERVERS).map(|server| Holder::open(&cluster, server, &logins, share(server))).collect();

    let mut findings = Findings::subscribe(&cluster).await;
    let agent = || Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
    let first = agent();
    findings.epochs(1, WAIT).await;
    let requests = record(&cluster).await;
    drop(first);
    let mut bare = Bare::connect(&cluster, SERVERS, requests).await;

    let rounds = if quick { 2 } else { ROUNDS };
    let (mut epochs, mut fetches, mut cpu, mut bytes) = (Vec::new(), Vec::new(), 0.0, 0);
    for _ in 0..rounds {
        let agent = agent();
        // The first epoch learns who is there.
        findings.forget();
        findings.epochs(1, WAIT).await;
        let before = process::cpu(agent.id());
        findings.forget();
        findings.epochs(EPOCHS_PER_ROUND, WAIT).await;
        cpu += (process::cpu(agent.id()) - before).as_secs_f64();
        for summary in findings.history().iter().filter(|message| message.is_epoch()) {
            assert_eq!(summary.json["complete"], true, "{}", summary.json);
            // Beside those of the holders: the one that hears the findings, and the bare one.
            assert_eq!(summary.json["scanned"]["connections"], CONNECTIONS as u64 + 2, "{}", summary.json);
            epochs.push(summary.json["duration_ms"].as_f64().unwrap());
            bytes = summary.json["cost"]["bytes"].as_u64().unwrap();
        }
        if let Some((peak, _)) = process::memory(agent.id()) {
            figures.note("peak of the agent, 10,000 connections", format!("{peak:.1} MiB"));
        }
        drop(agent);
        for _ in 0..EPOCHS_PER_ROUND {
            // At the pace of the agent: servers that have rested answer later.
            tokio::time::sleep(EPOCH).await;
            fetches.push(bare.fetch().await.as_secs_f64() * 1000.0);
        }
    }
    let counted = epochs.len() as f64;
    let (epochs, fetches) = (Spread::of(epochs), Spread::of(fetches));
    figures.note("epoch, 10,000 real connections on 3 servers", format!("{epochs} ms"));
    figures.note("bare fetch of the same requests", format!("{fetches} ms"));
    figures.at_most("epoch against bare fetch", epochs.median / fetches.median, 1.25, " times");
    figures.note("CPU of the agent for such an epoch", format!("{:.0} ms", cpu * 1000.0 / counted));
    figures.note("answers of such an epoch", format!("{:.2} MB", bytes as f64 / 1e6));
}
