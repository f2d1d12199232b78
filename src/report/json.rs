//! One JSON document.

use crate::agent::Report;
use crate::finding::{EpochSummary, Finding};
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    epoch: &'a EpochSummary,
    findings: Vec<&'a Finding>,
}

/// `{"epoch": …, "findings": […]}`: the same objects as are published. JSON escapes control characters itself.
pub fn json(report: &Report) -> serde_json::Result<String> {
    let document = Document { epoch: &report.summary, findings: report.findings().collect() };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn holds_the_published_objects() {
        let report = samples::report();
        let document: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!(document["epoch"], serde_json::to_value(&report.summary).unwrap());
        assert_eq!(
            document["findings"],
            serde_json::to_value(report.findings().collect::<Vec<_>>()).unwrap()
        );
        assert_eq!(document.as_object().unwrap().len(), 2);
    }
}
