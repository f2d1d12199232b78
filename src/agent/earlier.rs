//! What an agent that begins makes of the findings that are open already.

use crate::check::EntityType;
use crate::finding::Finding;
use crate::nats::gather::Expected;

/// The check whose findings tell how long a server has been silent.
const SILENT: &str = "AGENT_001";

/// The servers that open findings are about: one that does not answer now is missed, and the finding is not over.
pub(super) fn expected<'a>(open: impl Iterator<Item = &'a Finding>) -> Vec<Expected> {
    open.filter_map(of).collect()
}

fn of(finding: &Finding) -> Option<Expected> {
    let entity = &finding.entity;
    let name = match entity.kind {
        EntityType::Server => Some(&*entity.id),
        _ => entity.server.as_deref(),
    };
    // `*/east` stands for a cluster of which no server is known.
    let name = name.filter(|name| !name.starts_with("*/"))?;
    let silent = finding.check == SILENT;
    let epochs = finding.evidence.get("silent_epochs").and_then(serde_json::Value::as_u64);
    Some(Expected {
        name: name.into(),
        cluster: entity.cluster.as_deref().map(Into::into),
        silent_epochs: epochs.filter(|_| silent).unwrap_or(0),
        silent_since: silent.then_some(finding.first_seen),
    })
}
