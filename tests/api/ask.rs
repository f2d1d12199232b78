//! Asking as `nats req` does, and systems worth asking about.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use insights_agent::api::{Endpoint, schema};
use serde_json::Value;

use crate::support::{Account, Agent, Builder, Cluster, Findings, eventually, limits};

/// For anything that is expected.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// An answer: JSON, or the code and the sentence of a refusal.
pub(crate) type Answer = Result<Value, (u16, String)>;

/// One request as it is.
pub(crate) async fn try_ask(client: &Client, subject: &str, payload: &str) -> Result<Answer, String> {
    let request = client.request(subject.to_owned(), payload.to_owned().into());
    let message = tokio::time::timeout(SOON, request).await.map_err(|_| "no answer".to_owned())?;
    let message = message.map_err(|error| error.to_string())?;
    let headers = message.headers.unwrap_or_default();
    let text = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let Some(code) = text(&headers, "Nats-Service-Error-Code") else {
        return Ok(Ok(serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?));
    };
    assert!(message.payload.is_empty(), "a refusal has no payload");
    Ok(Err((code.parse().unwrap(), text(&headers, "Nats-Service-Error").unwrap())))
}

/// One request, repeated while nobody answers yet, and while no snapshot is there to be judged.
pub(crate) async fn ask(client: &Client, subject: &str, payload: &str) -> Answer {
    eventually(&format!("an answer on {subject}"), 60, async || {
        match try_ask(client, subject, payload).await? {
            Err((503, text)) => Err(text),
            answer => Ok(answer),
        }
    })
    .await
}

/// An answer of an endpoint that has a schema of its own.
pub(crate) fn assert_schema(endpoint: Endpoint, answer: &Value) {
    let schema = schema(endpoint.response_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{answer}");
}

/// FULL is near its limit of connections, SPARE is not near its own.
pub(crate) fn planted(builder: Builder) -> Builder {
    builder
        .account(Account::new("FULL").limits(limits().conn(20)).user("full"))
        .account(Account::new("SPARE").limits(limits().conn(100)).user("spare"))
}

/// A system with planted findings, its clients, and an agent that has published an epoch in which they fire.
pub(crate) struct Asked {
    pub(crate) cluster: Cluster,
    pub(crate) clients: Vec<Client>,
    pub(crate) findings: Findings,
    pub(crate) agent: Agent,
    pub(crate) admin: Client,
}

impl Asked {
    pub(crate) async fn start() -> Self {
        // 19 clients, the agent and the subscriber.
        Self::start_on(Cluster::operator(2).max_connections(0, 24)).await
    }

    pub(crate) async fn start_on(builder: Builder) -> Self {
        let cluster = planted(builder).start().await;
        let last = cluster.len() - 1;
        let mut clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
        clients.extend(cluster.connect_many(last, "SPARE/spare", "spare", 12).await);
        let mut findings = Findings::subscribe(&cluster).await;
        let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
        if last > 0 {
            findings.wait_for(SOON, |m| m.check() == "SERVER_011" && m.status() == "firing").await;
        }
        findings.epochs(2, SOON).await;
        let admin = cluster.connect(last, "SYS/admin", "asker").await;
        Self { cluster, clients, findings, agent, admin }
    }

    pub(crate) async fn ask(&self, subject: &str, payload: &str) -> Answer {
        ask(&self.admin, subject, payload).await
    }
}
