//! Reports for the tests of the renderers.

use crate::agent::Report;
use crate::check::{Category, Entity, Kind, Observed, Severity, UnknownRow};
use crate::finding::{
    AgentInfo, CheckCounts, EPOCH_TYPE, EpochSummary, FINDING_TYPE, Finding, FindingCounts, Said, Scanned,
    ServerCounts, Status, SummaryCost, Why, fingerprint,
};
use serde_json::json;
use time::macros::datetime;

fn agent() -> AgentInfo {
    AgentInfo { id: "id".into(), name: "host".into(), version: "0.0.0".into() }
}

pub(crate) fn unknown(entity: &str, reason: &str) -> UnknownRow {
    UnknownRow { check: "ACCOUNTS_001".into(), entity: entity.into(), reason: reason.into() }
}

pub(crate) fn finding(severity: Severity, account: &str, connections: u64) -> Finding {
    let entity = Entity::account(account, None);
    let observed = Observed::of_limit(connections, 200, 90.0, "connections", "jwt");
    Finding {
        kind_of_message: FINDING_TYPE.into(),
        fingerprint: fingerprint("test", "ACCOUNTS_001", &entity),
        status: Status::Firing,
        check: "ACCOUNTS_001".into(),
        name: "Account Connection Limit".into(),
        severity,
        category: Category::Saturation,
        kind: Kind::Operational,
        summary: format!("account {account} uses {connections} of 200 connections"),
        entity,
        observed,
        evidence: json!({ "unnamed": 3 }),
        remediation: vec![
            "Close connections that are leaked.".into(),
            "Raise the limit: `nsc edit account`.".into(),
        ],
        docs_url: None,
        epoch: 1_763_632_800,
        first_seen: datetime!(2025-11-20 10:00 UTC),
        last_seen: datetime!(2025-11-20 10:00 UTC),
        resolved_at: None,
        epochs: 1,
        successor: None,
        flaps: 0,
        clear_epochs: 0,
        held: None,
        silenced: None,
        system: "test".into(),
        agent: agent(),
    }
}

/// A complete epoch with findings of these severities.
pub(crate) fn with(severities: &[Severity]) -> Report {
    let said = |(n, severity): (u64, &Severity)| Said {
        finding: finding(*severity, &format!("APP{n}"), 180 + n).into(),
        why: Why::Began,
    };
    let summary = EpochSummary {
        kind_of_message: EPOCH_TYPE,
        epoch: 1_763_632_800,
        started_at: datetime!(2025-11-20 10:00 UTC),
        duration_ms: 412,
        complete: true,
        servers: ServerCounts { known: 3, responded: 3, missing: Vec::new() },
        coverage: Vec::new(),
        coverage_omitted: None,
        checks: CheckCounts { evaluated: 7, ..CheckCounts::default() },
        findings: FindingCounts::default(),
        silenced: Vec::new(),
        silenced_omitted: None,
        maintenance: Vec::new(),
        maintenance_omitted: None,
        scanned: Scanned { accounts: 12, connections: 5012, streams: 0, consumers: 0 },
        cost: SummaryCost::default(),
        agents: None,
        sink: None,
        notes: Vec::new(),
        config: None,
        system: "test".into(),
        agent: agent(),
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
