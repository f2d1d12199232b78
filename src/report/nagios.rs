//! A monitoring plugin's output: a line with the state, performance data behind a bar, then the long text.

use super::{Status, by_weight, firing, first_remedy, looked_at, printable, status, totals, unknown, word};
use crate::agent::Report;
use crate::check::Severity;
use crate::finding::Status as State;

/// The longest first line; common servers read 8 KB in all and show far less.
const LINE_CHARS: usize = 1_000;

/// The plugin output of a report; its state is that of the exit status.
pub fn nagios(report: &Report, fail_on: Severity) -> String {
    let state = status(report, fail_on);
    let findings = by_weight(report);
    let mut line = format!("INSIGHTS {} - {}", state.word(), totals(report));
    if state == Status::Unknown {
        line.push_str(", but nothing could be judged");
    }
    let ongoing = findings.iter().filter(|finding| finding.status == State::Firing);
    let summaries: Vec<String> = ongoing.map(|finding| text(&finding.summary)).collect();
    if !summaries.is_empty() {
        line.push_str(": ");
        line.push_str(&summaries.join("; "));
    }
    if line.chars().count() > LINE_CHARS {
        line = line.chars().take(LINE_CHARS - 1).collect();
        line.push('…');
    }
    let summary = &report.summary;
    // A range `0` alerts on everything above 0.
    let mut output = format!(
        "{line}|critical={};;0 warning={};0 info={} unknown={} servers={};;;0;{} time={:.3}s\n",
        firing(report, Severity::Critical),
        firing(report, Severity::Warning),
        firing(report, Severity::Info),
        summary.checks.unknown.len() as u64 + summary.checks.unknown_omitted.unwrap_or(0),
        summary.servers.responded,
        summary.servers.known,
        summary.duration_ms as f64 / 1000.0,
    );
    for finding in findings {
        output.push_str(&text(&format!("[{}] {}: {}", word(finding), finding.check, finding.summary)));
        output.push('\n');
        if let Some(remedy) = first_remedy(finding) {
            output.push_str(&text(&format!("  {remedy}")));
            output.push('\n');
        }
    }
    for row in unknown(report) {
        output.push_str(&text(&format!("[unknown] {row}")));
        output.push('\n');
    }
    output.push_str(&text(&looked_at(report)));
    output.push('\n');
    output
}

/// A bar would begin performance data, anywhere in the output.
fn text(text: &str) -> String {
    printable(text).replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_state_line_with_performance_data_and_long_text() {
        insta::assert_snapshot!(nagios(&samples::report(), Severity::Warning));
    }

    #[test]
    fn an_empty_report() {
        insta::assert_snapshot!(nagios(&samples::with(&[]), Severity::Warning), @r"
        INSIGHTS OK - 0 critical, 0 warnings, 0 info|critical=0;;0 warning=0;0 info=0 unknown=0 servers=3;;;0;3 time=0.412s
        3 of 3 servers answered, 12 accounts and 5012 connections looked at in 412 ms
        ");
    }

    #[test]
    fn no_name_can_begin_performance_data_or_a_line() {
        let mut report = samples::with(&[Severity::Warning]);
        samples::change(&mut report, 0).summary = "account a|critical=0\nINSIGHTS OK\u{1b}[1A".into();
        let output = nagios(&report, Severity::Warning);
        assert_eq!(output.matches('|').count(), 1, "{output}");
        assert!(!output.contains('\u{1b}') && !output.contains("\nINSIGHTS"), "{output}");
        samples::change(&mut report, 0).summary = "x".repeat(5_000);
        let output = nagios(&report, Severity::Warning);
        let first = output.lines().next().unwrap();
        assert!(first.len() < 1_200 && first.contains("…|critical="), "{first}");
    }
}
