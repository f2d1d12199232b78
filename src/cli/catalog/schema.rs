//! JSON Schemas of what is published and configured.

use crate::check::Entry;
use crate::check::published_schema;
use crate::finding::{EpochSummary, Finding};
use serde_json::{Value, json};

pub(super) fn finding() -> Value {
    published_schema::<Finding>().to_value()
}

pub(super) fn epoch() -> Value {
    published_schema::<EpochSummary>().to_value()
}

/// Both schemas of a check in one document.
pub(super) fn check(entry: &Entry) -> Value {
    json!({
        "check": entry.meta.id,
        "thresholds": entry.thresholds_schema().to_value(),
        "evidence": entry.evidence_schema().to_value(),
    })
}
