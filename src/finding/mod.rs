//! A finding: what it is called, how it lives, and the JSON that is published.

mod fit;
mod flaps;
mod identity;
mod ledger;
mod maintenance;
mod mirror;
mod outbox;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod script;
mod silence;
mod step;
mod summary;

pub(crate) use fit::trim_evidence;
pub use fit::{Trim, fit};
pub use identity::{Fingerprint, epoch_subject, fingerprint, message_id, subject, token};
pub use ledger::Ledger;
pub use maintenance::{Maintenance, Window};
pub use mirror::{Due, Mirror, Stored};
pub use outbox::{Content, Failed, Letter, Outbox};
pub use silence::{Matcher, Silence, Silences};
pub use step::{Held, Moment, Said, Step, Terms, Why, step};
pub use summary::{
    AgentsAtWork, AnswerKind, CheckCounts, CoverageRow, EpochSummary, FindingCounts, MaintenanceRow, Scanned,
    ServerCounts, SilencedRow, SinkStatus, StaleConfig, SummaryCost,
};

use crate::check::{Category, Entity, Kind, Observed, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use time::OffsetDateTime;

/// `type` of a finding.
pub const FINDING_TYPE: &str = "io.nats.insights.v1.finding";
/// `type` of the summary of an epoch.
pub const EPOCH_TYPE: &str = "io.nats.insights.v1.epoch";

/// Whether a finding holds or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds.
    Firing,
    /// It has ended, and the data to prove it was there.
    Resolved,
}

impl Status {
    /// The word used in JSON and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Who published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// New at every start.
    pub id: String,
    /// The agent's name, by default that of its host.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// Where findings come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A name for the whole system, from the configuration, else the system account's key.
    pub system: String,
    /// The system account, which owns what belongs to no tenant.
    pub system_account: String,
    /// Who publishes.
    pub agent: AgentInfo,
}

/// A silence of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silenced {
    /// Why, in the operator's words.
    pub reason: String,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: OffsetDateTime,
}

/// A finding as published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Always `io.nats.insights.v1.finding`.
    #[serde(rename = "type")]
    pub kind_of_message: Cow<'static, str>,
    /// The same for the same check and entity of the same system, for ever. Hexadecimal.
    pub fingerprint: Fingerprint,
    /// Whether it holds.
    pub status: Status,
    /// The check's id.
    pub check: Cow<'static, str>,
    /// The check's name.
    pub name: Cow<'static, str>,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of trouble.
    pub category: Category,
    /// Who acts on it.
    pub kind: Kind,
    /// What it is about.
    pub entity: Entity,
    /// One sentence with the numbers.
    pub summary: String,
    /// The value against its limit.
    pub observed: Observed,
    /// What the runbook would have you look up next; the schema is the check's. Where it had to be cut to fit a
    /// message, `trimmed` in it names what was left out.
    pub evidence: Value,
    /// What to do, in the order that the evidence suggests.
    pub remediation: Vec<String>,
    /// Further reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs_url: Option<Cow<'static, str>>,
    /// Epoch of this message, Unix time in seconds.
    pub epoch: u64,
    /// When it began, as far as this agent saw.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first_seen: OffsetDateTime,
    /// When it was last seen to hold.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_seen: OffsetDateTime,
    /// When it was seen to have ended; null while it holds.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub resolved_at: Option<OffsetDateTime>,
    /// Epochs in which it was seen to hold.
    pub epochs: u64,
    /// Where a change of severity ended it: the severity under which it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Severity>,
    /// How often it began again, or changed its severity, within the last hour.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flaps: u64,
    /// Epochs for which it has been clear without having ended: it must be clear for more, by `keep` or because it flaps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clear_epochs: u64,
    /// Why it could not be judged in this epoch. It goes on as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The silence that keeps it from being published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Silenced>,
    /// A name for the whole NATS system.
    pub system: String,
    /// Who published.
    pub agent: AgentInfo,
}

/// What serde's attributes can call.
const fn is_zero(n: &u64) -> bool {
    *n == 0
}
