//! A small world for the tests of the endpoints.

use super::View;
use crate::check::{Context, DeclaredLimits, Entity, Observed, Severity};
use crate::checks::find;
use crate::config::CheckSettings;
use crate::finding::{
    AgentInfo, CheckCounts, EPOCH_TYPE, EpochSummary, FINDING_TYPE, Finding, FindingCounts, Scanned,
    ServerCounts, Status, SummaryCost, fingerprint,
};
use crate::snapshot::build::{System, at};
use crate::snapshot::{History, Snapshot};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an agent has after an epoch.
pub(super) struct World {
    pub(super) checks: CheckSettings,
    summary: Option<EpochSummary>,
    open: Vec<Arc<Finding>>,
    snapshot: Snapshot,
    history: History,
    declared: BTreeMap<String, DeclaredLimits>,
}

impl World {
    /// Before the first epoch.
    pub(super) fn empty() -> Self {
        Self {
            checks: CheckSettings::new(),
            summary: None,
            open: Vec::new(),
            snapshot: Snapshot::empty(0, at(0)),
            history: History::default(),
            declared: BTreeMap::new(),
        }
    }

    /// Four findings, and a snapshot in which the user `svc` has three connections.
    pub(super) fn with_findings() -> Self {
        let snapshot = System::of(2).connect("n1", "APROD", "svc", 3, |_, _| {}).done();
        Self {
            summary: Some(summary()),
            open: vec![
                finding("ACCOUNTS_001", Severity::Info, Entity::account("ASTAG", Some(&"STAGING".into()))),
                finding(
                    "ACCOUNTS_001",
                    Severity::Warning,
                    Entity::account("APROD", Some(&"PRODUCTION".into())),
                ),
                finding(
                    "USER_002",
                    Severity::Warning,
                    Entity::user("APROD", Some(&"PRODUCTION".into()), "UORDERS", Some(&"orders".into())),
                ),
                finding("SERVER_011", Severity::Critical, Entity::server(&"n1".into(), Some(&"east".into()))),
            ],
            snapshot,
            ..Self::empty()
        }
    }

    /// No server listed its connections.
    pub(super) fn silent() -> Self {
        let snapshot = System::of(2).without_sweep("n1").without_sweep("n2").done();
        Self { summary: Some(summary()), snapshot, ..Self::empty() }
    }

    pub(super) fn view(&self) -> View<'_> {
        let context =
            Context { now: &self.snapshot, previous: None, history: &self.history, declared: &self.declared };
        View {
            summary: self.summary.as_ref(),
            open: &self.open,
            checks: &self.checks,
            context: self.summary.is_some().then_some(context),
        }
    }
}

fn agent() -> AgentInfo {
    AgentInfo { id: "id".into(), name: "host".into(), version: "0.0.0".into() }
}

fn summary() -> EpochSummary {
    EpochSummary {
        kind_of_message: EPOCH_TYPE,
        epoch: 1_700_000_000,
        started_at: at(0),
        duration_ms: 412,
        complete: true,
        servers: ServerCounts { known: 2, responded: 2, missing: Vec::new() },
        coverage: Vec::new(),
        coverage_omitted: None,
        checks: CheckCounts { evaluated: 7, ..CheckCounts::default() },
        silenced: Vec::new(),
        silenced_omitted: None,
        maintenance: Vec::new(),
        maintenance_omitted: None,
        config: None,
        sink: None,
        agents: None,
        findings: FindingCounts::default(),
        scanned: Scanned::default(),
        cost: SummaryCost::default(),
        notes: Vec::new(),
        system: "test".into(),
        agent: agent(),
    }
}

fn finding(check: &str, severity: Severity, entity: Entity) -> Arc<Finding> {
    let meta = find(check).unwrap().meta;
    Arc::new(Finding {
        kind_of_message: FINDING_TYPE.into(),
        fingerprint: fingerprint("test", meta.id, &entity),
        status: Status::Firing,
        check: meta.id.into(),
        name: meta.name.into(),
        severity,
        category: meta.category,
        kind: meta.kind,
        summary: format!("{} is near its limit", entity.label()),
        entity,
        observed: Observed::count(9, 10, "connections"),
        evidence: json!({"users": "u".repeat(300), "unnamed": 3}),
        remediation: vec!["Do this.".into()],
        docs_url: None,
        epoch: 1_700_000_000,
        first_seen: at(-60),
        last_seen: at(0),
        resolved_at: None,
        epochs: 2,
        successor: None,
        flaps: 0,
        clear_epochs: 0,
        held: None,
        silenced: None,
        system: "test".into(),
        agent: agent(),
    })
}
