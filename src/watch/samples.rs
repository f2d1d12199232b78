//! Messages for the tests.

use super::{Message, Row};
use crate::check::Severity;
use crate::finding::{EPOCH_TYPE, FINDING_TYPE};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(super) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

/// A firing finding about a user of the account APP.
pub(super) fn finding(check: &str, severity: Severity, user: &str, epoch: u64) -> Value {
    json!({
        "type": FINDING_TYPE, "fingerprint": format!("{check}-{user}"), "status": "firing", "check": check,
        "severity": severity.as_str(), "summary": format!("user {user} has {epoch} connections"), "epoch": epoch,
        "entity": {"type": "user", "id": user, "account": "AAPP", "account_name": "APP"},
        "first_seen": "1970-01-01T00:01:00Z", "last_seen": "1970-01-01T00:01:00Z", "resolved_at": null,
        "epochs": 1, "system": "test"
    })
}

pub(super) fn firing(user: &str, severity: Severity, epoch: u64) -> Row {
    row(finding("USER_002", severity, user, epoch))
}

pub(super) fn resolved(user: &str, severity: Severity, epoch: u64, successor: Option<Severity>) -> Row {
    let mut told = finding("USER_002", severity, user, epoch);
    told["status"] = json!("resolved");
    if let Some(successor) = successor {
        told["successor"] = json!(successor.as_str());
    }
    row(told)
}

fn row(json: Value) -> Row {
    match Message::read(json) {
        Some(Message::Finding(row)) => *row,
        other => panic!("{other:?}"),
    }
}

pub(super) fn epoch(epoch: u64) -> Message {
    Message::read(json!({"type": EPOCH_TYPE, "epoch": epoch, "complete": true, "system": "test"})).unwrap()
}
