//! Running the agent: what it tells about itself over HTTP and in its log, how it ends, and alerts that reach Alertmanager.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod alerts;
mod fake;
mod log;
mod real;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod web;

use async_nats::Client;
use std::net::SocketAddr;
use std::time::Duration;
use support::{Account, Agent, AgentArgs, Builder, Cluster, busy_host, eventually, limits};
use web::get;

/// For anything that is expected to happen.
const SOON: Duration = Duration::from_secs(40);
/// The same in seconds.
const SOON_S: u64 = 40;

/// A system with an account `SHOP` that may have ten connections, and its user `SHOP/u`.
fn shop(servers: usize) -> Builder {
    Cluster::operator(servers).account(Account::new("SHOP").limits(limits().conn(10)).user("u"))
}

/// Nine of the ten connections: ACCOUNTS_001 fires while they are open.
async fn nearly_full(cluster: &Cluster) -> Vec<Client> {
    cluster.connect_many(0, "SHOP/u", "shop", 9).await
}

/// Arguments for an agent on this cluster, with epochs of a second and this configuration file.
fn args(cluster: &Cluster, config: &str) -> AgentArgs {
    let path = cluster.dir().join("insights.toml");
    std::fs::write(&path, busy_host(config)).unwrap();
    let path = path.to_string_lossy().into_owned();
    cluster.agent_args().chain(["run", "--epoch", "1s", "--config", &path])
}

/// An agent that can be asked how it is.
struct Served {
    agent: Agent,
    address: SocketAddr,
}

impl Served {
    /// Starts it, and waits until it listens.
    async fn start(args: impl Into<AgentArgs>) -> Self {
        let agent = Agent::start(args.into().chain(["--listen", "127.0.0.1:0"]));
        let address = Self::address(&agent).await;
        Self { agent, address }
    }

    /// Where an agent says that it listens.
    async fn address(agent: &Agent) -> SocketAddr {
        eventually("the agent listens", SOON_S, async || {
            let log = agent.stderr();
            let told =
                log.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            told.ok_or(log)
        })
        .await
    }

    async fn status(&self, path: &str) -> u16 {
        get(self.address, path).await.map_or(0, |answer| answer.status)
    }

    /// Waits until a page answers with this status, and gives its text.
    async fn until(&self, path: &str, status: u16) -> String {
        eventually(&format!("{path} answers with {status}"), SOON_S, async || {
            let answer = get(self.address, path).await?;
            if answer.status == status {
                Ok(answer.body)
            } else {
                Err(format!("{} {}", answer.status, answer.body))
            }
        })
        .await
    }

    /// The value of a sample, by its name with labels.
    async fn sample(&self, name: &str) -> Option<f64> {
        let page = get(self.address, "/metrics").await.ok()?.body;
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))?;
        line.parse().ok()
    }

    /// Waits until a sample has a value that is accepted.
    async fn sampled(&self, name: &str, wanted: impl Fn(Option<f64>) -> bool) {
        eventually(name, SOON_S, async || {
            let value = self.sample(name).await;
            if wanted(value) { Ok(()) } else { Err(format!("{value:?}")) }
        })
        .await;
    }
}
