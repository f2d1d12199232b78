//! Messages as far as watching needs them. What a later agent adds is passed over.

use crate::check::Severity;
use crate::finding::{EPOCH_TYPE, FINDING_TYPE, Status};
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Ordering;
use time::OffsetDateTime;

/// A message of an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// About a finding.
    Finding(Box<Row>),
    /// The summary of an epoch.
    Epoch(Epoch),
}

impl Message {
    /// The message that this JSON is; none for anything else, which others may publish below the same prefix.
    pub fn read(json: Value) -> Option<Self> {
        match json.get("type").and_then(Value::as_str) {
            Some(FINDING_TYPE) => Row::read(json).map(|row| Self::Finding(Box::new(row))),
            Some(EPOCH_TYPE) => Epoch::deserialize(&json).ok().map(Self::Epoch),
            _ => None,
        }
    }
}

/// The summary of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Epoch {
    /// Its id, Unix time in seconds.
    pub epoch: u64,
    /// Whether every answer that was needed came.
    pub complete: bool,
    /// A name for the whole NATS system.
    pub system: String,
}

/// What was said of a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its identity.
    pub fingerprint: String,
    /// Whether it holds.
    pub status: Status,
    /// How much it matters.
    pub severity: Severity,
    /// The check's id.
    pub check: String,
    /// What it is about: type and name.
    pub entity: String,
    /// Id and name of the account that owns the entity.
    pub account: [Option<String>; 2],
    /// One sentence with the numbers.
    pub summary: String,
    /// The epoch of the message, Unix time in seconds.
    pub epoch: u64,
    /// When it began.
    pub first_seen: OffsetDateTime,
    /// The severity under which it goes on, where a change of severity ended it.
    pub successor: Option<Severity>,
    /// Why it could not be judged in this epoch.
    pub held: Option<String>,
    /// A name for the whole NATS system.
    pub system: String,
    /// The message.
    pub json: Value,
}

impl Row {
    fn read(json: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            fingerprint: String,
            status: Status,
            severity: Severity,
            check: String,
            entity: WireEntity,
            summary: String,
            epoch: u64,
            #[serde(with = "time::serde::rfc3339")]
            first_seen: OffsetDateTime,
            successor: Option<Severity>,
            held: Option<String>,
            #[serde(default)]
            system: String,
        }
        #[derive(Deserialize)]
        struct WireEntity {
            #[serde(rename = "type")]
            kind: String,
            id: String,
            name: Option<String>,
            account: Option<String>,
            account_name: Option<String>,
        }
        let wire = Wire::deserialize(&json).ok()?;
        let entity = wire.entity;
        Some(Self {
            fingerprint: wire.fingerprint,
            status: wire.status,
            severity: wire.severity,
            check: wire.check,
            entity: format!("{} {}", entity.kind, entity.name.unwrap_or(entity.id)),
            account: [entity.account, entity.account_name],
            summary: wire.summary,
            epoch: wire.epoch,
            first_seen: wire.first_seen,
            successor: wire.successor,
            held: wire.held,
            system: wire.system,
            json,
        })
    }

    /// Whether it fires.
    pub const fn fires(&self) -> bool {
        matches!(self.status, Status::Firing)
    }

    /// Which of two messages of one finding holds: that of the later epoch; within an epoch the one that says that it
    /// fires, since a change of severity ends it first. What two agents say differently of one epoch is settled as well,
    /// so that it does not depend on which is heard first.
    pub(super) fn later(&self, other: &Self) -> Ordering {
        let rank =
            |row: &Self| (row.epoch, row.fires(), row.successor.is_none(), row.severity, row.successor);
        rank(self).cmp(&rank(other)).then_with(|| self.summary.cmp(&other.summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::finding;
    use serde_json::json;

    #[test]
    fn other_messages_and_unknown_keys_are_passed_over() {
        let mut told = finding("USER_002", Severity::Warning, "svc", 60);
        told["entity"]["type"] = json!("galaxy");
        told["new_key"] = json!([1]);
        let Some(Message::Finding(row)) = Message::read(told) else { panic!() };
        assert_eq!((row.entity.as_str(), row.check.as_str()), ("galaxy svc", "USER_002"));
        for other in
            [json!(null), json!({}), json!({"type": FINDING_TYPE}), json!({"type": EPOCH_TYPE}), json!([1])]
        {
            assert_eq!(Message::read(other), None);
        }
    }
}
