//! Agents, each beside a server of its own, over a system with a lasting finding.

use std::collections::BTreeMap;

use async_nats::Client;
use serde_json::Value;

use crate::support::{Account, Agent, Builder, Cluster, Findings, Message, busy_host, limits};
use crate::{EPOCH, SOON};

/// A system in which account FULL will warn.
pub(crate) fn planted(builder: Builder) -> Builder {
    builder.account(Account::new("FULL").limits(limits().conn(20)).user("full"))
}

pub(crate) struct Team {
    pub(crate) findings: Findings,
    agents: BTreeMap<usize, Agent>,
    config: String,
    _clients: Vec<Client>,
}

impl Team {
    /// Starts an agent beside each of these servers, and waits until one of them has published the finding.
    pub(crate) async fn start(cluster: &Cluster, servers: &[usize], config: &str) -> Self {
        let clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
        let findings = Findings::subscribe(cluster).await;
        let mut team = Self { findings, agents: BTreeMap::new(), config: config.into(), _clients: clients };
        for server in servers {
            team.add(cluster, *server);
        }
        let others = servers.len() as u64 - 1;
        team.findings.wait_for(SOON, |m| m.is_epoch() && m.json["agents"]["standby"] == others).await;
        team.finding().await;
        team
    }

    /// Starts an agent beside this server; its name is that of the server.
    pub(crate) fn add(&mut self, cluster: &Cluster, server: usize) {
        self.add_as(cluster, server, "SYS/insights");
    }

    /// Like [`Team::add`], as this user.
    pub(crate) fn add_as(&mut self, cluster: &Cluster, server: usize, login: &str) {
        let name = cluster.server_name(server);
        let file = cluster.dir().join(format!("insights-{name}.toml"));
        let config = format!("name = \"{name}\"\nepoch = \"{EPOCH}s\"\n{}", self.config);
        std::fs::write(&file, busy_host(&config)).unwrap();
        let file = file.to_string_lossy().into_owned();
        let agent = Agent::start(cluster.agent_args_as(server, login).chain(["run", "--config", &file]));
        self.agents.insert(server, agent);
    }

    pub(crate) fn agent(&mut self, server: usize) -> &mut Agent {
        self.agents.get_mut(&server).unwrap()
    }

    pub(crate) fn remove(&mut self, server: usize) -> Agent {
        self.agents.remove(&server).unwrap()
    }

    /// The next summary, whose publisher leads.
    pub(crate) async fn next(&mut self) -> Message {
        self.findings.epochs(1, SOON).await
    }

    /// The server beside which the agent is that published this.
    pub(crate) fn beside(message: &Message) -> usize {
        let name = message.json["agent"]["name"].as_str().unwrap();
        name.strip_prefix('n').unwrap().parse::<usize>().unwrap() - 1
    }

    /// The finding, as it is published from now on.
    pub(crate) async fn finding(&mut self) -> Value {
        let seen = self.findings.history().len();
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let new = self.findings.history().into_iter().skip(seen).find(|m| m.check() == "ACCOUNTS_001");
            if let Some(found) = new {
                assert_eq!(found.status(), "firing");
                return found.json;
            }
            assert!(tokio::time::Instant::now() < deadline, "the finding is not repeated");
            self.findings.epochs(1, SOON).await;
        }
    }

    /// The first summary of another agent than the one beside `server`.
    pub(crate) async fn successor_of(&mut self, server: usize) -> Message {
        self.findings.wait_for(SOON, |m| m.is_epoch() && Self::beside(m) != server).await
    }

    /// What the logs of all agents say.
    pub(crate) fn logs(&self) -> String {
        self.agents.iter().map(|(server, agent)| format!("--- {server}\n{}", agent.stderr())).collect()
    }

    /// The epochs since [`Findings::forget`], in order, and who published each.
    pub(crate) fn epochs(&self) -> Vec<(u64, usize)> {
        let summaries = self.findings.history().into_iter().filter(Message::is_epoch);
        summaries.map(|m| (m.epoch(), Self::beside(&m))).collect()
    }

    /// Forgets what the agent beside `server` said of `epoch` after another one had published.
    pub(crate) fn leave_out_late(&mut self, server: usize, epoch: u64) {
        let mut followed = false;
        self.findings.retain(|m| {
            followed |= Self::beside(m) != server;
            !(followed && Self::beside(m) == server && m.epoch() == epoch)
        });
    }

    /// Since [`Findings::forget`]: each epoch was published once, at most one in a row is missing, and the finding has gone on
    /// as it was before.
    pub(crate) fn went_on(&self, before: &Value) {
        let epochs = self.epochs();
        for pair in epochs.windows(2) {
            let step = pair[1].0.checked_sub(pair[0].0).map(|seconds| seconds / EPOCH);
            assert!(matches!(step, Some(1..=2)), "{epochs:?}\n{}", self.logs());
        }
        self.is_the_same(before);
    }

    /// Since [`Findings::forget`] nothing has ended, and the finding is the one of before.
    pub(crate) fn is_the_same(&self, before: &Value) {
        let history = self.findings.history();
        let about = history.iter().filter(|m| m.check() == "ACCOUNTS_001");
        for message in about {
            for key in ["fingerprint", "first_seen", "status"] {
                assert_eq!(message.json[key], before[key], "{}\n{}", message.json, self.logs());
            }
        }
        let ended: Vec<_> = history.iter().filter(|m| m.status() == "resolved").collect();
        assert!(ended.is_empty(), "{ended:?}\n{}", self.logs());
    }
}

impl Team {
    /// The server beside which the agent is that said this on the subject of agents.
    pub(crate) fn beside_name(presence: &Message) -> usize {
        presence.json["name"].as_str().unwrap().strip_prefix('n').unwrap().parse::<usize>().unwrap() - 1
    }
}
