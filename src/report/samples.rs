//! Reports for the tests of the renderers.

use crate::agent::Report;
use crate::check::{Entity, Observed, Severity, UnknownRow};
use crate::finding::{CheckCounts, EpochSummary, Finding, Said, Scanned, ServerCounts, Status, Why, samples};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

const EPOCH: u64 = 1_763_632_800;
const AT: OffsetDateTime = datetime!(2025-11-20 10:00 UTC);

pub(crate) fn unknown(entity: &str, reason: &str) -> UnknownRow {
    UnknownRow { check: "ACCOUNTS_001".into(), entity: entity.into(), reason: reason.into() }
}

pub(crate) fn finding(severity: Severity, account: &str, connections: u64) -> Finding {
    let entity = Entity::account(account, None);
    Finding {
        severity,
        summary: format!("account {account} uses {connections} of 200 connections"),
        observed: Observed::of_limit(connections, 200, 90.0, "connections", "jwt"),
        evidence: json!({ "unnamed": 3 }),
        remediation: vec![
            "Close connections that are leaked.".into(),
            "Raise the limit: `nsc edit account`.".into(),
        ],
        epoch: EPOCH,
        first_seen: AT,
        last_seen: AT,
        ..samples::finding("ACCOUNTS_001", entity)
    }
}

/// A complete epoch with findings of these severities.
pub(crate) fn with(severities: &[Severity]) -> Report {
    let said = |(n, severity): (u64, &Severity)| Said {
        finding: finding(*severity, &format!("APP{n}"), 180 + n).into(),
        why: Why::Began,
    };
    let summary = EpochSummary {
        duration_ms: 412,
        servers: ServerCounts { known: 3, responded: 3, missing: Vec::new() },
        checks: CheckCounts { evaluated: 7, ..CheckCounts::default() },
        scanned: Scanned { accounts: 12, connections: 5012, streams: 0, consumers: 0 },
        ..samples::summary(EPOCH, AT)
    };
    Report { summary, said: (1..).zip(severities).map(said).collect(), judged: true }
}

/// The finding that is the n-th message.
pub(crate) fn change(report: &mut Report, n: usize) -> &mut Finding {
    std::sync::Arc::make_mut(&mut report.said[n].finding)
}

/// An incomplete epoch with something of everything.
pub(crate) fn report() -> Report {
    let mut report = with(&[Severity::Info, Severity::Warning, Severity::Critical, Severity::Warning]);
    let (ended, long) = (0, 3);
    change(&mut report, ended).status = Status::Resolved;
    change(&mut report, long).summary = format!("account A|B\u{1b}[2J holds {}", "very ".repeat(30));
    report.summary.servers = ServerCounts { known: 3, responded: 2, missing: vec!["n3".into()] };
    report.summary.checks.unknown.push(unknown("*", "server n3 did not answer ACCOUNT STATZ"));
    report.summary.notes.push("2 messages were dropped".into());
    report.summary.complete = false;
    report
}
