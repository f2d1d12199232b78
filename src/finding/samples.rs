//! A finding and a summary of an epoch, for tests: each sets what it is about.

use super::{
    AgentInfo, CheckCounts, EPOCH_TYPE, EpochSummary, FINDING_TYPE, Finding, FindingCounts, Scanned,
    ServerCounts, Status, SummaryCost, fingerprint,
};
use crate::check::{Entity, Observed, Severity};
use crate::checks::find;
use serde_json::json;
use time::OffsetDateTime;

pub(crate) fn agent() -> AgentInfo {
    AgentInfo { id: "id".into(), name: "host".into(), version: "0.0.0".into() }
}

/// A warning of this check that has just begun.
pub(crate) fn finding(check: &str, entity: Entity) -> Finding {
    let meta = find(check).unwrap().meta;
    let at = OffsetDateTime::UNIX_EPOCH;
    Finding {
        kind_of_message: FINDING_TYPE.into(),
        fingerprint: fingerprint("test", meta.id, &entity),
        status: Status::Firing,
        check: meta.id.into(),
        name: meta.name.into(),
        severity: Severity::Warning,
        category: meta.category,
        kind: meta.kind,
        summary: format!("{} fires", entity.label()),
        entity,
        observed: Observed::count(9, 10, "connections"),
        evidence: json!({}),
        remediation: vec!["Do this.".into()],
        docs_url: None,
        epoch: 0,
        first_seen: at,
        last_seen: at,
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

/// A complete epoch that says nothing.
pub(crate) fn summary(epoch: u64, started_at: OffsetDateTime) -> EpochSummary {
    EpochSummary {
        kind_of_message: EPOCH_TYPE,
        epoch,
        started_at,
        duration_ms: 0,
        complete: true,
        servers: ServerCounts::default(),
        coverage: Vec::new(),
        coverage_omitted: None,
        checks: CheckCounts::default(),
        findings: FindingCounts::default(),
        silenced: Vec::new(),
        silenced_omitted: None,
        maintenance: Vec::new(),
        maintenance_omitted: None,
        scanned: Scanned::default(),
        cost: SummaryCost::default(),
        agents: None,
        sink: None,
        notes: Vec::new(),
        config: None,
        system: "test".into(),
        agent: agent(),
    }
}
