//! Making a message fit the server's `max_payload`: evidence goes first, and the message says so.

use super::{CheckCounts, EpochSummary, Finding};
use serde_json::Value;

/// A message that can be made smaller without losing what it is about.
pub trait Trim: serde::Serialize + Clone {
    /// Takes away a part, the least needed first; false when nothing more can go.
    fn trim(&mut self) -> bool;
}

/// The message as JSON of at most `limit` bytes; none if it cannot be made that small.
pub fn fit<T: Trim>(message: &T, limit: usize) -> Option<Vec<u8>> {
    let whole = serde_json::to_vec(message).ok()?;
    if whole.len() <= limit {
        return Some(whole);
    }
    let mut message = message.clone();
    while message.trim() {
        let bytes = serde_json::to_vec(&message).ok()?;
        if bytes.len() <= limit {
            return Some(bytes);
        }
    }
    None
}

/// Takes away the largest part of evidence, and names it under `trimmed`; false when none is left.
pub(crate) fn trim_evidence(evidence: &mut Value) -> bool {
    let Value::Object(evidence) = evidence else {
        return false;
    };
    let size = |value: &Value| value.to_string().len();
    let largest = evidence
        .iter()
        .filter(|(key, _)| *key != "trimmed")
        .max_by_key(|(_, value)| size(value))
        .map(|(key, _)| key.clone());
    let Some(key) = largest else {
        return false;
    };
    evidence.remove(&key);
    let trimmed = evidence.entry("trimmed").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(names) = trimmed {
        names.push(Value::String(key));
    }
    true
}

impl Trim for Finding {
    fn trim(&mut self) -> bool {
        if trim_evidence(&mut self.evidence) {
            return true;
        }
        if self.remediation.is_empty() {
            return false;
        }
        self.remediation.clear();
        true
    }
}

impl Trim for EpochSummary {
    fn trim(&mut self) -> bool {
        let CheckCounts { unknown, unknown_omitted, .. } = &mut self.checks;
        if halve(unknown, unknown_omitted)
            || halve(&mut self.coverage, &mut self.coverage_omitted)
            || halve(&mut self.silenced, &mut self.silenced_omitted)
            || halve(&mut self.maintenance, &mut self.maintenance_omitted)
        {
            return true;
        }
        let names = self.servers.missing.len();
        if names > 0 {
            self.servers.missing.truncate(names / 2);
            return true;
        }
        self.notes.pop().is_some()
    }
}

/// Leaves half of the rows out and counts them; false if there are none.
fn halve<T>(rows: &mut Vec<T>, omitted: &mut Option<u64>) -> bool {
    if rows.is_empty() {
        return false;
    }
    let kept = rows.len() / 2;
    *omitted = Some(omitted.unwrap_or(0) + (rows.len() - kept) as u64);
    rows.truncate(kept);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, UnknownRow};
    use crate::finding::{
        AnswerKind, CoverageRow, MaintenanceRow, ServerCounts, SilencedRow, fingerprint, samples,
    };
    use crate::snapshot::Leaving;
    use proptest::prelude::*;
    use serde_json::{Map, json};
    use std::collections::BTreeSet;
    use time::OffsetDateTime;

    fn finding(evidence: Value) -> Finding {
        Finding {
            evidence,
            remediation: vec!["Do this.".into(), "Then that.".into()],
            ..samples::finding("ACCOUNTS_001", Entity::account("APP", None))
        }
    }

    fn bytes(finding: &Finding) -> usize {
        serde_json::to_vec(finding).unwrap().len()
    }

    /// The finding with everything trimmed that can be.
    fn bare(mut finding: Finding) -> Finding {
        while finding.trim() {}
        finding
    }

    #[test]
    fn what_fits_is_left_alone() {
        let whole = finding(json!({"users": ["a", "b"], "unnamed": 3}));
        let size = bytes(&whole);
        assert_eq!(fit(&whole, size).unwrap(), serde_json::to_vec(&whole).unwrap());
        let smaller: Value = serde_json::from_slice(&fit(&whole, size - 1).unwrap()).unwrap();
        assert!(smaller["evidence"]["trimmed"].is_array());
    }

    #[test]
    fn the_largest_part_goes_first_and_the_remedy_last() {
        let whole = finding(json!({"names": "n".repeat(900), "users": "u".repeat(500), "unnamed": 3}));
        let limit = bytes(&whole) - 500;
        let cut: Value = serde_json::from_slice(&fit(&whole, limit).unwrap()).unwrap();
        assert_eq!(cut["evidence"], json!({"users": "u".repeat(500), "unnamed": 3, "trimmed": ["names"]}));
        assert_eq!(cut["remediation"], json!(["Do this.", "Then that."]));
        let least = bare(whole.clone());
        assert_eq!(least.evidence, json!({"trimmed": ["names", "users", "unnamed"]}));
        assert!(least.remediation.is_empty());
        let size = bytes(&least);
        let cut: Value = serde_json::from_slice(&fit(&whole, size).unwrap()).unwrap();
        assert_eq!(cut["summary"], whole.summary);
        assert_eq!(fit(&whole, size - 1), None);
    }

    #[test]
    fn evidence_that_is_no_object_is_no_reason_to_loop() {
        let none = finding(Value::Null);
        assert!(fit(&none, bytes(&none)).is_some());
        assert!(fit(&none, 10).is_none());
    }

    fn any_evidence() -> impl Strategy<Value = Map<String, Value>> {
        let value = prop_oneof![
            any::<u64>().prop_map(Value::from),
            "\\PC{0,200}".prop_map(Value::from),
            prop::collection::vec("[a-z]{0,9}", 0..40).prop_map(Value::from),
        ];
        prop::collection::btree_map("[a-s_]{1,12}", value, 0..8).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_limit_down_to_the_bare_finding_is_met_and_what_went_is_named(
            evidence in any_evidence(), share in 0.0f64..1.5,
        ) {
            let whole = finding(Value::Object(evidence.clone()));
            let (least, most) = (bytes(&bare(whole.clone())), bytes(&whole));
            let limit = (most.max(least) as f64 * share) as usize;
            let Some(json) = fit(&whole, limit) else {
                prop_assert!(limit < least);
                return Ok(());
            };
            prop_assert!(json.len() <= limit);
            let cut: Value = serde_json::from_slice(&json).unwrap();
            let kept = cut["evidence"].as_object().unwrap();
            let trimmed: Vec<&str> =
                kept.get("trimmed").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            prop_assert_eq!(trimmed.is_empty(), most <= limit || evidence.is_empty());
            let names: BTreeSet<&str> =
                kept.keys().map(String::as_str).filter(|key| *key != "trimmed").chain(trimmed.iter().copied()).collect();
            prop_assert_eq!(names, evidence.keys().map(String::as_str).collect::<BTreeSet<_>>());
            for (key, value) in &evidence {
                prop_assert!(trimmed.contains(&key.as_str()) || kept[key] == *value);
            }
            let mut same = serde_json::to_value(&whole).unwrap();
            same["evidence"] = cut["evidence"].clone();
            same["remediation"] = cut["remediation"].clone();
            prop_assert_eq!(same, cut);
        }
    }

    #[test]
    fn a_summary_counts_the_rows_that_it_leaves_out() {
        let row = |i| UnknownRow {
            check: "USER_002".into(),
            entity: format!("user{i}").as_str().into(),
            reason: "r".repeat(50),
        };
        let short = |i| CoverageRow {
            server: format!("n{i}").as_str().into(),
            endpoint: "CONNZ",
            answer: AnswerKind::Silent,
            reason: "r".repeat(50),
        };
        let silenced = |i| SilencedRow {
            fingerprint: fingerprint("test", "USER_002", &Entity::account(&format!("{i}"), None)),
            check: "USER_002".into(),
            entity: "a".into(),
            reason: "r".repeat(50),
            until: OffsetDateTime::UNIX_EPOCH,
        };
        let maintained = |i| MaintenanceRow {
            server: format!("n{i}").as_str().into(),
            how: Leaving::Shutdown,
            since: OffsetDateTime::UNIX_EPOCH,
            until: OffsetDateTime::UNIX_EPOCH,
            held: 0,
        };
        let summary = EpochSummary {
            complete: false,
            servers: ServerCounts {
                known: 90,
                responded: 0,
                missing: (0..90).map(|i| format!("n{i}")).collect(),
            },
            coverage: (0..50).map(short).collect(),
            coverage_omitted: Some(7),
            checks: CheckCounts { unknown: (0..100).map(row).collect(), ..CheckCounts::default() },
            silenced: (0..20).map(silenced).collect(),
            maintenance: (0..20).map(maintained).collect(),
            maintenance_omitted: Some(1),
            notes: vec!["note".into()],
            ..samples::summary(1, OffsetDateTime::UNIX_EPOCH)
        };
        let cut = |limit| -> Value { serde_json::from_slice(&fit(&summary, limit).unwrap()).unwrap() };
        let whole = cut(1_000_000);
        assert_eq!(whole["checks"]["unknown_omitted"], Value::Null);
        let part = cut(6000);
        let rows = part["checks"]["unknown"].as_array().unwrap().len() as u64;
        assert_eq!(rows + part["checks"]["unknown_omitted"].as_u64().unwrap(), 100);
        let least = cut(1100);
        assert_eq!(least["checks"]["unknown_omitted"], 100);
        assert_eq!((&least["coverage"], &least["coverage_omitted"]), (&json!([]), &json!(57)));
        assert_eq!((&least["silenced_omitted"], &least["maintenance_omitted"]), (&json!(20), &json!(21)));
        assert_eq!(least["servers"]["known"], 90);
        assert!(fit(&summary, 100).is_none());
    }
}
