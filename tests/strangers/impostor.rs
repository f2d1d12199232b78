//! The one who answers.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// The id of a server that does not exist.
pub(crate) const GHOST: &str = "NGHOSTGHOSTGHOSTGHOSTGHOSTGHOSTGHOSTGHOSTGHOSTGHOSTGHOST";

/// A request as everybody in the system account can read it.
pub(crate) struct Request {
    /// `PING`, a server's id, or an account's.
    pub(crate) to: String,
    /// `VARZ`, …
    pub(crate) endpoint: String,
    pub(crate) of_account: bool,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn is(&self, to: &str, endpoint: &str) -> bool {
        self.to == to && self.endpoint == endpoint
    }
}

/// One answer.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) payload: Bytes,
    pub(crate) encoding: Option<&'static str>,
    pub(crate) delay: Duration,
}

impl Reply {
    pub(crate) fn bytes(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::bytes(in_order(value))
    }
}

/// Servers write who they are first.
fn in_order(value: &Value) -> String {
    match value["server"].is_object() {
        false => value.to_string(),
        true => {
            let mut rest = value.clone();
            let server = rest.as_object_mut().unwrap().remove("server").unwrap();
            let rest = rest.to_string();
            let comma = if rest == "{}" { "" } else { "," };
            format!("{{\"server\":{server}{comma}{}", &rest[1..])
        }
    }
}

/// The envelope's server.
pub(crate) fn server(id: &str, name: &str) -> Value {
    json!({"name": name, "host": "127.0.0.1", "id": id, "cluster": "east", "ver": "2.15.1",
        "jetstream": false, "flags": 7, "seq": 1, "time": "2026-01-01T00:00:00Z"})
}

/// Answers until it is dropped.
pub(crate) struct Impostor {
    client: Client,
    _task: AbortOnDropHandle<()>,
}

impl Impostor {
    pub(crate) async fn start(
        client: Client,
        answers: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Self {
        let servers = client.subscribe("$SYS.REQ.SERVER.*.*").await.unwrap();
        let accounts = client.subscribe("$SYS.REQ.ACCOUNT.*.*").await.unwrap();
        client.flush().await.unwrap();
        let mut requests = futures_util::stream::select(servers, accounts);
        let (answers, speaker) = (Arc::new(answers), client.clone());
        let task = tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                let tokens: Vec<&str> = message.subject.split('.').collect();
                let Some(reply_to) = message.reply.clone() else {
                    continue;
                };
                let request = Request {
                    to: tokens[3].into(),
                    endpoint: tokens[4].into(),
                    of_account: tokens[2] == "ACCOUNT",
                    body: serde_json::from_slice(&message.payload).unwrap_or_default(),
                };
                for reply in answers(&request) {
                    let (client, to) = (speaker.clone(), reply_to.clone());
                    let mut headers = HeaderMap::new();
                    if let Some(encoding) = reply.encoding {
                        headers.insert("Content-Encoding", encoding);
                    }
                    let speak = async move {
                        tokio::time::sleep(reply.delay).await;
                        client.publish_with_headers(to, headers, reply.payload).await.unwrap();
                    };
                    if reply.delay.is_zero() {
                        speak.await;
                    } else {
                        tokio::spawn(speak);
                    }
                }
            }
        });
        Self { client, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }
}
