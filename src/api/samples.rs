//! A small world for the tests of the endpoints.

use super::View;
use crate::check::{Context, DeclaredLimits, Entity, Severity};
use crate::config::CheckSettings;
use crate::finding::{CheckCounts, EpochSummary, Finding, ServerCounts, samples};
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

fn summary() -> EpochSummary {
    EpochSummary {
        duration_ms: 412,
        servers: ServerCounts { known: 2, responded: 2, missing: Vec::new() },
        checks: CheckCounts { evaluated: 7, ..CheckCounts::default() },
        ..samples::summary(1_700_000_000, at(0))
    }
}

fn finding(check: &str, severity: Severity, entity: Entity) -> Arc<Finding> {
    Arc::new(Finding {
        severity,
        summary: format!("{} is near its limit", entity.label()),
        evidence: json!({"users": "u".repeat(300), "unnamed": 3}),
        epoch: 1_700_000_000,
        first_seen: at(-60),
        last_seen: at(0),
        epochs: 2,
        ..samples::finding(check, entity)
    })
}
