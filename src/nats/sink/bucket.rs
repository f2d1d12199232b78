//! The bucket: one key a finding, and other keys that are none of ours.

use super::error::{SinkError, chain};
use crate::finding::{Finding, Fingerprint, Stored};
use async_nats::Client;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::kv::Store;
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// Headers by which a bucket marks a key that is gone: written by clients, and by the server itself.
const MARKS: [&str; 2] = ["KV-Operation", "Nats-Marker-Reason"];
/// Values that cannot be read are logged once each, so many of them.
const LOGGED: usize = 100;

/// Reads the bucket.
#[derive(Debug, Default)]
pub(super) struct Reader {
    logged: BTreeSet<String>,
}

impl Reader {
    /// Everything in the bucket that is about findings. `patience` is how long the next entry may take.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        store: &Store,
        patience: Duration,
    ) -> Result<Vec<Stored>, SinkError> {
        let failed =
            |reason: String| SinkError::request(format!("cannot read the bucket {}", store.name), reason);
        let consumer = OrderedConfig {
            deliver_subject: client.new_inbox(),
            filter_subject: format!("{}>", store.prefix),
            deliver_policy: DeliverPolicy::LastPerSubject,
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        };
        let consumer = store.stream.create_consumer(consumer).await.map_err(|error| failed(chain(&error)))?;
        let mut left = consumer.cached_info().num_pending;
        let mut entries = consumer.messages().await.map_err(|error| failed(chain(&error)))?;
        let mut stored = Vec::new();
        while left > 0 {
            let Ok(entry) = tokio::time::timeout(patience, entries.next()).await else {
                return Err(failed(format!("{left} entries did not come")));
            };
            let entry = entry.ok_or_else(|| failed("it ended too early".into()))?;
            let entry = entry.map_err(|error| failed(chain(&error)))?;
            let info = entry.info().map_err(|error| failed(error.to_string()))?;
            left = info.pending;
            let Some(fingerprint) = entry.subject.strip_prefix(&*store.prefix).and_then(Fingerprint::parse)
            else {
                continue;
            };
            let gone = entry.headers.as_ref().is_some_and(|headers| {
                MARKS.iter().any(|mark| headers.get(*mark).is_some_and(|value| value.as_str() != "PUT"))
            });
            if gone {
                stored.push(Stored::Purged(fingerprint, info.published));
            } else if let Some(finding) = self.finding(&fingerprint, &entry.payload) {
                stored.push(Stored::Finding(Box::new(finding)));
            }
        }
        Ok(stored)
    }

    fn finding(&mut self, fingerprint: &Fingerprint, value: &[u8]) -> Option<Finding> {
        let problem = match serde_json::from_slice::<Finding>(value) {
            Ok(finding) if finding.fingerprint == *fingerprint => return Some(finding),
            Ok(finding) => format!("it is about the finding {}", finding.fingerprint),
            Err(error) => error.to_string(),
        };
        let key = fingerprint.to_string();
        if self.logged.len() < LOGGED && self.logged.insert(key.clone()) {
            tracing::warn!(key, "the sink's bucket holds something that is left alone: {problem}");
        }
        None
    }
}
