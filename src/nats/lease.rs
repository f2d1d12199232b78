//! The lease: one key in a bucket of its own, each write of which names the revision that it replaces.

use super::connect::Connection;
use crate::election::{Holder, LeaseAction, LeaseOutcome};
use crate::text::digest_hex;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::stream::StorageType;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;

/// How long it is not tried again to open the bucket: a user that may not costs a line in the server's log each time.
const OPEN_AGAIN: Duration = Duration::from_secs(10);

/// Where the lease is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePlace {
    /// The bucket; created if missing.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Whether the bucket is to be in memory.
    pub memory: bool,
    /// Copies of it.
    pub replicas: usize,
    /// What one question may take.
    pub patience: Duration,
}

/// The key of the agents with this prefix beside this system: several systems may share a sink.
pub fn lease_key(system: &str, prefix: &str) -> String {
    format!("leader-{}", digest_hex(format!("{system}\n{prefix}").as_bytes(), 8))
}

/// A way to the connection of the key-value store, which may come and go.
type Reach = Box<dyn Fn() -> Option<Connection> + Send + Sync>;

/// The key, as far as it can be reached.
pub struct LeaseKey {
    reach: Reach,
    place: LeasePlace,
    store: Option<Store>,
    /// The bucket could not be opened: when that is tried again.
    open_at: Option<Instant>,
    /// What was logged last, so that it is not repeated.
    problem: Option<String>,
}

impl std::fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseKey").field("place", &self.place).finish_non_exhaustive()
    }
}

impl LeaseKey {
    /// The key at this place.
    pub fn new(place: LeasePlace, reach: impl Fn() -> Option<Connection> + Send + Sync + 'static) -> Self {
        Self { reach: Box::new(reach), place, store: None, open_at: None, problem: None }
    }

    /// Does it, and tells what came of it.
    pub async fn carry_out(&mut self, action: LeaseAction) -> LeaseOutcome {
        let Some(connection) = (self.reach)().filter(|connection| connection.events().connected()) else {
            self.store = None;
            return LeaseOutcome::Unavailable;
        };
        // The client's own timeouts do not cover a connection that is lost meanwhile.
        let patience = self.place.patience;
        let done = tokio::time::timeout(patience, self.ask(&connection, action)).await;
        match done
            .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(patience))))
        {
            Ok(LeaseOutcome::Unavailable) => LeaseOutcome::Unavailable,
            Ok(outcome) => {
                if self.problem.take().is_some() {
                    tracing::info!(bucket = self.place.bucket, "the lease can be reached again");
                }
                outcome
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    tracing::warn!(
                        bucket = self.place.bucket,
                        "the lease cannot be reached, so the agents agree without it: {problem}"
                    );
                    self.problem = Some(problem);
                }
                // The bucket may have been deleted.
                self.store = None;
                LeaseOutcome::Unavailable
            }
        }
    }

    async fn ask(&mut self, connection: &Connection, action: LeaseAction) -> Result<LeaseOutcome, String> {
        let store = match self.store.clone() {
            Some(store) => store,
            None if self.open_at.is_some_and(|at| Instant::now() < at) => {
                return Ok(LeaseOutcome::Unavailable);
            }
            None => {
                // Cleared below, unless this fails or is given up.
                self.open_at = Some(Instant::now() + OPEN_AGAIN);
                self.open(connection).await?
            }
        };
        self.open_at = None;
        self.store = Some(store.clone());
        let key = self.place.key.as_str();
        match action {
            LeaseAction::Look => {
                let entry = store.entry(key).await.map_err(text)?;
                let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) else {
                    return Ok(LeaseOutcome::Seen(None));
                };
                let holder = serde_json::from_slice::<Holder>(&entry.value)
                    .map_err(|error| format!("the key {key} is not that of a lease, delete it: {error}"))?;
                Ok(LeaseOutcome::Seen(Some((entry.revision, holder))))
            }
            LeaseAction::Take { over, holder } => {
                let value = serde_json::to_vec(&holder).map_err(text)?.into();
                match over {
                    Some(revision) => match store.update(key, value, revision).await {
                        Ok(revision) => Ok(LeaseOutcome::Written(revision)),
                        Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                            Ok(LeaseOutcome::Refused)
                        }
                        Err(error) => Err(text(error)),
                    },
                    None => match store.create(key, value).await {
                        Ok(revision) => Ok(LeaseOutcome::Written(revision)),
                        Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => {
                            Ok(LeaseOutcome::Refused)
                        }
                        Err(error) => Err(text(error)),
                    },
                }
            }
            LeaseAction::Release { revision } => {
                match store.delete_expect_revision(key, Some(revision)).await {
                    Ok(()) => Ok(LeaseOutcome::Released),
                    Err(error) if error.to_string().contains("wrong last sequence") => {
                        Ok(LeaseOutcome::Refused)
                    }
                    Err(error) => Err(text(error)),
                }
            }
        }
    }

    async fn open(&self, connection: &Connection) -> Result<Store, String> {
        let LeasePlace { bucket, memory, replicas, patience, .. } = &self.place;
        let context = ContextBuilder::new().timeout(*patience).build(connection.client().clone());
        let missing = match context.get_key_value(bucket).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        if missing.kind() != async_nats::jetstream::context::KeyValueErrorKind::GetBucket {
            return Err(text(missing));
        }
        let config = kv::Config {
            bucket: bucket.clone(),
            description: "Which agent of insights-agent leads".into(),
            history: 1,
            storage: if *memory { StorageType::Memory } else { StorageType::File },
            num_replicas: *replicas,
            ..kv::Config::default()
        };
        let created = context.create_key_value(config).await;
        created.map_err(|error| format!("the bucket cannot be created: {}", text(error)))
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_and_each_prefix_has_a_key_of_its_own() {
        let key = lease_key("SYS", "insights.checks");
        assert!(key.starts_with("leader-") && key.len() == "leader-".len() + 16, "{key}");
        assert_eq!(key, lease_key("SYS", "insights.checks"));
        assert_ne!(key, lease_key("SYS2", "insights.checks"));
        assert_ne!(key, lease_key("SYS", "team.checks"));
    }
}
