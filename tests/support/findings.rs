//! An independent subscriber to what the agent publishes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Cluster;

/// One published message.
#[derive(Clone, Debug)]
pub struct Message {
    pub subject: String,
    pub headers: HeaderMap,
    /// The payload; `Null` if it is not JSON.
    pub json: Value,
    /// The payload as it came.
    pub payload: Vec<u8>,
}

impl Message {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }
    /// `io.nats.insights.v1.finding` or `io.nats.insights.v1.epoch`.
    pub fn kind(&self) -> &str {
        self.text("type")
    }
    /// The check's id; empty for an epoch's summary.
    pub fn check(&self) -> &str {
        self.text("check")
    }
    /// `firing` or `resolved`; empty for an epoch's summary.
    pub fn status(&self) -> &str {
        self.text("status")
    }
    /// The epoch's id.
    pub fn epoch(&self) -> u64 {
        self.json["epoch"].as_u64().unwrap_or_default()
    }
    /// Whether it is an epoch's summary.
    pub fn is_epoch(&self) -> bool {
        self.kind().ends_with(".epoch")
    }
    /// A header's value, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.as_str()).unwrap_or_default()
    }
}

/// Collects everything on `insights.checks.>`.
pub struct Findings {
    history: Arc<Mutex<Vec<Message>>>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
    _client: Client,
}

impl Findings {
    /// Subscribes as `SYS/admin` on server 0.
    pub async fn subscribe(cluster: &Cluster) -> Self {
        Self::subscribe_at(cluster, 0, "SYS/admin", "insights.checks.>").await
    }

    /// Subscribes on this server, as this user, to this subject.
    pub async fn subscribe_at(cluster: &Cluster, server: usize, login: &str, subject: &str) -> Self {
        let client = cluster.connect(server, login, "test-subscriber").await;
        let mut messages = client.subscribe(subject.to_owned()).await.expect("a subscription");
        // The server knows the subscription before the test goes on.
        client.flush().await.expect("a flush");
        let history = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let kept = Arc::clone(&history);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                kept.lock().unwrap().push(Message {
                    subject: message.subject.to_string(),
                    headers: message.headers.unwrap_or_default(),
                    json: serde_json::from_slice(&message.payload).unwrap_or_default(),
                    payload: message.payload.to_vec(),
                });
                sender.send_modify(|count| *count += 1);
            }
        });
        Self { history, count, task, _client: client }
    }

    /// All messages since the subscription, or since [`Findings::forget`].
    pub fn history(&self) -> Vec<Message> {
        self.history.lock().unwrap().clone()
    }

    /// Forgets the messages so far: later waits look only at new ones.
    pub fn forget(&mut self) {
        self.history.lock().unwrap().clear();
    }

    /// Forgets those of the messages so far that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&Message) -> bool) {
        self.history.lock().unwrap().retain(keep);
    }

    /// The first message, old or new, that `wanted` accepts; panics with a list of those seen at the deadline.
    pub async fn wait_for(&mut self, at_most: Duration, wanted: impl Fn(&Message) -> bool) -> Message {
        let found = self.find_within(at_most, wanted).await;
        found.unwrap_or_else(|| panic!("not seen within {at_most:?}; instead:\n{}", self.digest()))
    }

    /// Like [`Findings::wait_for`], `None` at the deadline.
    pub async fn find_within(
        &mut self,
        at_most: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> Option<Message> {
        let search = async {
            loop {
                // Marked as seen first, so that a message that comes during the search wakes us again.
                self.count.borrow_and_update();
                if let Some(found) = self.history.lock().unwrap().iter().find(|m| wanted(m)) {
                    return Some(found.clone());
                }
                if self.count.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(at_most, search).await.ok().flatten()
    }

    /// Waits for `count` more summaries of epochs and gives the last one.
    pub async fn epochs(&mut self, count: usize, at_most: Duration) -> Message {
        let summaries = |history: &[Message]| history.iter().filter(|m| m.is_epoch()).count();
        let goal = summaries(&self.history.lock().unwrap()) + count;
        let wait = async {
            loop {
                self.count.borrow_and_update();
                let history = self.history();
                if summaries(&history) >= goal {
                    return history.into_iter().rfind(Message::is_epoch);
                }
                if self.count.changed().await.is_err() {
                    return None;
                }
            }
        };
        let last = tokio::time::timeout(at_most, wait).await.ok().flatten();
        last.unwrap_or_else(|| panic!("no {count} epochs within {at_most:?}; instead:\n{}", self.digest()))
    }

    fn digest(&self) -> String {
        let history = self.history();
        if history.is_empty() {
            return "nothing at all".into();
        }
        let line = |m: &Message| format!("{} {} {}", m.subject, m.status(), m.json["summary"]);
        history.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        self.task.abort();
    }
}
