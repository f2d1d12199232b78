//! A JSON object per line.

use crate::agent::Report;

/// The findings, a line each, and the summary of the epoch as the last line; `type` tells them apart.
pub fn ndjson(report: &Report) -> serde_json::Result<String> {
    let mut lines = String::new();
    for finding in report.findings() {
        lines.push_str(&serde_json::to_string(finding)?);
        lines.push('\n');
    }
    lines.push_str(&serde_json::to_string(&report.summary)?);
    lines.push('\n');
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_line_per_finding_then_the_summary() {
        let report = samples::report();
        let text = ndjson(&report).unwrap();
        let types: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].as_str().unwrap().into()
            })
            .collect();
        assert_eq!(types.len(), report.said.len() + 1);
        assert_eq!(types.last().unwrap(), crate::finding::EPOCH_TYPE);
        assert!(types[..types.len() - 1].iter().all(|kind| kind == crate::finding::FINDING_TYPE));
    }
}
