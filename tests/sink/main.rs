//! The sink on real servers with JetStream: what it stores, what survives the agent, what happens while it is away; and how
//! findings reach a stream without one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alone;
mod created;
mod existing;
mod outage;
mod permissions;
mod plain;
mod restart;
#[path = "../support/mod.rs"]
mod support;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};
use futures_util::{StreamExt, TryStreamExt};
use insights_agent::config::Config;
use insights_agent::permissions::Permissions;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Account, Agent, Cluster, busy_host, eventually, limits};

/// For anything that is expected to happen.
const SOON: Duration = Duration::from_secs(60);
const SECONDS: u64 = 60;

/// A tenant that warns as soon as it has 19 connections, of 20.
fn tenant(name: &str) -> Account {
    Account::new(name).limits(limits().conn(20)).user(&format!("{}-u", name.to_lowercase()))
}

/// Fills a tenant, so that it warns; it ends when these are dropped.
async fn fill(cluster: &Cluster, name: &str) -> Vec<async_nats::Client> {
    let login = format!("{name}/{}-u", name.to_lowercase());
    cluster.connect_many(0, &login, "worker", 19).await
}

/// The account of the sink: the least user, and one that may do everything.
fn sink_account() -> Account {
    let least = Permissions::for_sink(&Config::default()).asked();
    let account = Account::new("INSIGHTS").jetstream();
    account.answering_user("sink", &least.publish, &least.subscriptions()).user("reader")
}

/// The `[sink]` table that logs in to the first server as this user.
fn table(cluster: &Cluster, login: &str) -> String {
    let how = if cluster.is_operator() {
        format!("creds = {:?}", cluster.creds(login))
    } else {
        let (user, password) = cluster.password(login);
        format!("user = {user:?}\npassword = {password:?}")
    };
    format!("[sink]\nservers = [{:?}]\n{how}\ntimeout = \"2s\"\n", cluster.url(0))
}

/// Starts the agent with epochs of a second and this configuration.
fn start(cluster: &Cluster, config: &str) -> Agent {
    let path = cluster.dir().join("insights.toml");
    // No server tells the limits of accounts that stand in its configuration file.
    let declared = |name: &&str| format!("\n[accounts.{name}]\nmax_connections = 20\n");
    let declared: String = ["FULL", "A", "B", "SHOP", "BANK"].iter().map(declared).collect();
    std::fs::write(&path, busy_host(&format!("{config}{declared}"))).unwrap();
    let path = path.to_string_lossy().into_owned();
    Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s", "--config", &path]))
}

/// Looks into the account of the sink.
struct Reader {
    context: Context,
}

/// A message of a stream.
#[derive(Debug)]
struct Stored {
    subject: String,
    headers: HeaderMap,
    json: Value,
}

impl Stored {
    fn id(&self) -> String {
        self.header("Nats-Msg-Id")
    }
    fn header(&self, name: &str) -> String {
        self.headers.get(name).map(ToString::to_string).unwrap_or_default()
    }
    fn is(&self, check: &str, status: &str) -> bool {
        self.json["check"] == check && self.json["status"] == status
    }
}

impl Reader {
    async fn new(cluster: &Cluster, login: &str) -> Self {
        let client = cluster.connect(0, login, "reader").await;
        Self { context: jetstream::new(client) }
    }

    /// Everything in a stream, in its order; nothing if there is no such stream yet.
    async fn stream(&self, name: &str) -> Result<Vec<Stored>, String> {
        let stream = self.context.get_stream(name).await.map_err(|error| error.to_string())?;
        let mut left = stream.cached_info().state.messages;
        let consumer = jetstream::consumer::push::OrderedConfig {
            deliver_subject: self.context.client().new_inbox(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(consumer).await.map_err(|error| error.to_string())?;
        let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while left > 0 {
            let next = tokio::time::timeout(Duration::from_secs(10), messages.next()).await;
            let Ok(Some(Ok(message))) = next else { return Err(format!("{left} messages did not come")) };
            left = message.info().unwrap().pending;
            all.push(Stored {
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                json: serde_json::from_slice(&message.payload).unwrap(),
            });
        }
        Ok(all)
    }

    /// The stream of the sink, once it holds a message that `wanted` accepts.
    async fn findings_until(&self, what: &str, wanted: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        eventually(what, SECONDS, async || {
            let all = self.stream("INSIGHTS").await?;
            let list = || all.iter().map(|m| format!("{} {}\n", m.subject, m.id())).collect::<String>();
            if all.iter().any(&wanted) { Ok(all) } else { Err(list()) }
        })
        .await
    }

    /// What the bucket holds under fingerprints.
    async fn states(&self) -> Result<BTreeMap<String, Value>, String> {
        let store = self.context.get_key_value("INSIGHTS_STATE").await.map_err(|error| error.to_string())?;
        let keys = store.keys().await.map_err(|error| error.to_string())?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|error| error.to_string())?;
        let mut states = BTreeMap::new();
        for key in keys {
            if let Some(value) = store.get(&key).await.map_err(|error| error.to_string())? {
                states.insert(key, serde_json::from_slice(&value).map_err(|error| error.to_string())?);
            }
        }
        Ok(states)
    }

    /// The state of what a check says of an account, once `wanted` accepts it.
    async fn state_until(&self, account: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SECONDS, async || {
            let states = self.states().await?;
            let found = states.values().find(|state| {
                state["check"] == "ACCOUNTS_001" && state["entity"]["id"] == account && wanted(state)
            });
            found.cloned().ok_or_else(|| format!("{states:#?}"))
        })
        .await
    }
}
