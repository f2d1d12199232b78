//! What has been heard so far: which findings are new, and whether all that were provoked have been seen.

use crate::finding::{EPOCH_TYPE, FINDING_TYPE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an epoch brought.
#[derive(Debug)]
pub(super) struct Chapter {
    /// Findings that are new, changed or resolved, the worst first.
    pub(super) news: Vec<Value>,
    /// The summary of the epoch.
    pub(super) summary: Value,
    /// Whether this epoch completes what was provoked.
    pub(super) completes: bool,
}

/// What makes a finding worth telling again: status, severity and value.
type State = (String, String, String);

/// Follows findings from epoch to epoch.
#[derive(Debug)]
pub(super) struct Story {
    provoked: Vec<&'static str>,
    seen: BTreeSet<&'static str>,
    known: BTreeMap<String, State>,
    news: Vec<Value>,
    epochs: u64,
}

impl Story {
    /// Nothing has been heard; all of these are expected.
    pub(super) fn new(provoked: Vec<&'static str>) -> Self {
        Self { provoked, seen: BTreeSet::new(), known: BTreeMap::new(), news: Vec::new(), epochs: 0 }
    }

    /// Takes in a message. The summary of an epoch, which comes last, closes a chapter.
    pub(super) fn hear(&mut self, message: Value) -> Option<Chapter> {
        match text(&message, "type") {
            FINDING_TYPE => {
                self.finding(message);
                None
            }
            EPOCH_TYPE => {
                self.epochs += 1;
                let before = self.missing().len();
                let firing = self.known.iter().filter(|(_, (status, ..))| status == "firing");
                let checks: BTreeSet<&str> = firing.filter_map(|(id, _)| id.split(' ').next()).collect();
                self.seen.extend(self.provoked.iter().copied().filter(|check| checks.contains(check)));
                let mut news = std::mem::take(&mut self.news);
                news.sort_by_key(|finding| (weight(finding), text(finding, "check").to_owned()));
                Some(Chapter { news, summary: message, completes: before > 0 && self.missing().is_empty() })
            }
            _ => None,
        }
    }

    fn finding(&mut self, finding: Value) {
        let id = format!("{} {}", text(&finding, "check"), text(&finding, "fingerprint"));
        let state = (
            text(&finding, "status").to_owned(),
            text(&finding, "severity").to_owned(),
            finding["observed"]["value"].to_string(),
        );
        if self.known.get(&id) != Some(&state) {
            self.known.insert(id, state);
            self.news.push(finding);
        }
    }

    /// Epochs so far.
    pub(super) const fn epochs(&self) -> u64 {
        self.epochs
    }

    /// What was provoked and not seen yet.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.provoked.iter().copied().filter(|check| !self.seen.contains(check)).collect()
    }
}

/// A text of a message; empty where there is none.
pub(super) fn text<'a>(message: &'a Value, key: &str) -> &'a str {
    message[key].as_str().unwrap_or_default()
}

fn weight(finding: &Value) -> u8 {
    match (text(finding, "status"), text(finding, "severity")) {
        ("resolved", _) => 3,
        (_, "critical") => 0,
        (_, "warning") => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn finding(check: &str, status: &str, value: u64) -> Value {
        json!({
            "type": FINDING_TYPE, "check": check, "fingerprint": "f", "status": status, "severity": "info",
            "observed": { "value": value },
        })
    }

    #[test]
    fn what_stays_as_it_was_is_told_once() {
        let epoch = || json!({ "type": EPOCH_TYPE });
        let mut story = Story::new(vec!["A_1", "B_2"]);
        let mut chapter = |findings: &[Value]| {
            for finding in findings {
                assert!(story.hear(finding.clone()).is_none());
            }
            let chapter = story.hear(epoch()).unwrap();
            (chapter.news.len(), chapter.completes)
        };
        let (a, b) = (finding("A_1", "firing", 1), finding("B_2", "firing", 1));
        assert_eq!(chapter(std::slice::from_ref(&a)), (1, false));
        assert_eq!(chapter(&[a.clone(), b.clone()]), (1, true));
        assert_eq!(chapter(&[a, finding("B_2", "firing", 2)]), (1, false));
        assert_eq!(chapter(&[finding("A_1", "resolved", 1)]), (1, false));
        assert_eq!(chapter(&[]), (0, false));
        assert_eq!(story.epochs(), 5);
        assert!(story.missing().is_empty());
    }

    #[test]
    fn a_finding_that_only_ends_was_not_found() {
        let mut story = Story::new(vec!["A_1"]);
        story.hear(finding("A_1", "resolved", 1));
        story.hear(json!({ "type": EPOCH_TYPE }));
        story.hear(json!(["something", "else"]));
        assert_eq!(story.missing(), ["A_1"]);
    }
}
