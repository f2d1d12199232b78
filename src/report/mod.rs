//! A one-shot check on paper: pure functions from a report to text, and to the exit status that goes with it.

mod json;
mod markdown;
mod nagios;
mod ndjson;
mod printable;
mod status;
mod table;
mod wrap;

#[cfg(test)]
pub(crate) mod samples;

pub use json::json;
pub use markdown::markdown;
pub use nagios::nagios;
pub use ndjson::ndjson;
pub use printable::printable;
pub use status::{Status, status};
pub use table::{DEFAULT_WIDTH, table};
pub(crate) use table::{grid, lines};
pub(crate) use wrap::wrap;

use crate::agent::Report;
use crate::check::{Severity, count};
use crate::finding::{Finding, Status as State};

/// Findings in the order in which people read them: worst first, then by check and entity; what ended last.
fn by_weight(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = report.findings().collect();
    findings.sort_by(|a, b| {
        let weight =
            |finding: &Finding| (finding.status == State::Resolved, std::cmp::Reverse(finding.severity));
        (weight(a), &a.check, &a.entity).cmp(&(weight(b), &b.check, &b.entity))
    });
    findings
}

/// Firing findings of a severity.
fn firing(report: &Report, severity: Severity) -> u64 {
    let is = |finding: &&Finding| finding.status == State::Firing && finding.severity == severity;
    report.findings().filter(is).count() as u64
}

/// `critical`, `warning`, `info`, or `resolved` for what has ended.
const fn word(finding: &Finding) -> &'static str {
    match finding.status {
        State::Firing => finding.severity.as_str(),
        State::Resolved => "resolved",
    }
}

/// What to do first; nothing about what has ended.
fn first_remedy(finding: &Finding) -> Option<&str> {
    finding.remediation.first().filter(|_| finding.status == State::Firing).map(String::as_str)
}

/// `1 critical, 2 warnings, 0 info`, and how many silences keep from being told.
fn totals(report: &Report) -> String {
    let silenced = match report.summary.findings.silenced {
        0 => String::new(),
        silenced => format!(", {silenced} silenced"),
    };
    format!(
        "{} critical, {}, {} info{silenced}",
        firing(report, Severity::Critical),
        count(firing(report, Severity::Warning), "warning"),
        firing(report, Severity::Info),
    )
}

/// `3 of 3 servers answered, 12 accounts and 5012 connections looked at in 412 ms`.
fn looked_at(report: &Report) -> String {
    let summary = &report.summary;
    format!(
        "{} of {} answered, {} and {} looked at in {} ms",
        summary.servers.responded,
        count(summary.servers.known, "server"),
        count(summary.scanned.accounts, "account"),
        count(summary.scanned.connections, "connection"),
        summary.duration_ms,
    )
}

/// Everything that was missing, a sentence each, bounded: the JSON has it all.
fn unknown(report: &Report) -> Vec<String> {
    const MOST: usize = 20;
    let summary = &report.summary;
    let mut lines = Vec::new();
    if !summary.servers.missing.is_empty() {
        lines.push(format!("no or not every answer from {}", summary.servers.missing.join(", ")));
    }
    let rows = &summary.checks.unknown;
    lines.extend(rows.iter().take(MOST).map(|row| format!("{} {}: {}", row.check, row.entity, row.reason)));
    let more = rows.len().saturating_sub(MOST) as u64 + summary.checks.unknown_omitted.unwrap_or(0);
    if more > 0 {
        lines.push(format!("and {more} more, which the format json lists"));
    }
    lines.extend(summary.notes.iter().cloned());
    lines
}
