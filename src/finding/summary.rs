//! The summary of an epoch, as published.

use super::{AgentInfo, Fingerprint};
use crate::check::UnknownRow;
use crate::snapshot::Leaving;
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use time::OffsetDateTime;

/// The summary of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EpochSummary {
    /// Always `io.nats.insights.v1.epoch`.
    #[serde(rename = "type")]
    pub kind_of_message: &'static str,
    /// Unix time in seconds at which the epoch was scheduled to start.
    pub epoch: u64,
    /// When the gather began.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: OffsetDateTime,
    /// From the start of the gather to the publishing, in milliseconds.
    pub duration_ms: u64,
    /// False as soon as one answer that an enabled check needed is missing or cut short.
    pub complete: bool,
    /// Who answered.
    pub servers: ServerCounts,
    /// Everything that was asked and did not come whole, by server and request; at most 1,000 rows, and fewer where the
    /// message would be too large. A server that did not answer the roll call (STATSZ) is asked nothing more and stands
    /// here once.
    pub coverage: Vec<CoverageRow>,
    /// Rows left out of `coverage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_omitted: Option<u64>,
    /// What could be judged.
    pub checks: CheckCounts,
    /// What was found.
    pub findings: FindingCounts,
    /// Findings that hold and are not published because of a silence, by fingerprint; at most 1,000 rows, and fewer where
    /// the message would be too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silenced: Vec<SilencedRow>,
    /// Rows left out of `silenced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_omitted: Option<u64>,
    /// Servers that left in order, or came back, within the grace period; at most 1,000 rows, and fewer where the message
    /// would be too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<MaintenanceRow>,
    /// Rows left out of `maintenance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_omitted: Option<u64>,
    /// What was looked at.
    pub scanned: Scanned,
    /// What it cost.
    pub cost: SummaryCost,
    /// Who shares the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentsAtWork>,
    /// How the sink does; only where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkStatus>,
    /// Anything else that was incomplete, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Left out unless the configuration could not be read again, so that the agent goes on with the one it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<StaleConfig>,
    /// A name for the whole NATS system.
    pub system: String,
    /// Who published.
    pub agent: AgentInfo,
}

/// A finding that holds and is not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SilencedRow {
    /// Which one.
    pub fingerprint: Fingerprint,
    /// The check's id.
    pub check: Cow<'static, str>,
    /// The entity's name.
    #[schemars(with = "String")]
    pub entity: Name,
    /// Why, in the operator's words.
    pub reason: String,
    /// When the silence ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: OffsetDateTime,
}

/// A server that left in order or came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MaintenanceRow {
    /// The server's name.
    #[schemars(with = "String")]
    pub server: Name,
    /// What it announced last.
    pub how: Leaving,
    /// When the agent heard that.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: OffsetDateTime,
    /// Until when findings that may be because of it do not begin; later, if it comes back or leaves again.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: OffsetDateTime,
    /// Findings that would have begun in this epoch; of those of several servers each is counted with the first.
    pub held: u64,
}

/// That the agent goes on with an earlier configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StaleConfig {
    /// How often it was read again with success since the agent started.
    pub reloads: u64,
    /// Why the last attempt failed, with the file and the line.
    pub failed: String,
}

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServerCounts {
    /// Servers known from this epoch and earlier ones.
    pub known: u64,
    /// Servers that answered the roll call of this epoch.
    pub responded: u64,
    /// Names of the servers that did not answer, or not everything that an enabled check needed.
    pub missing: Vec<String>,
}

/// Something that was asked and did not come whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct CoverageRow {
    /// The server's name; `*/<cluster>` for a cluster that only gateways tell of.
    #[schemars(with = "String")]
    pub server: Name,
    /// What it was asked: `STATSZ` (the roll call), `VARZ`, `CONNZ`, …; `events` for what is subscribed to.
    pub endpoint: &'static str,
    /// How it answered.
    pub answer: AnswerKind,
    /// One clause on what is missing, and why.
    pub reason: String,
}

/// How a server answered, where the answer is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// A part is missing.
    Partial,
    /// Not within the time given.
    Silent,
    /// The agent's user may not ask.
    Denied,
    /// With an error, or with something unreadable.
    Failed,
    /// Its version does not know the request.
    Unsupported,
}

/// What could be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckCounts {
    /// Checks for which there was enough data to judge anything.
    pub evaluated: u64,
    /// What could not be judged.
    pub unknown: Vec<UnknownRow>,
    /// Rows left out of `unknown`: a summary has at most 1,000, and fewer where the message would be too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_omitted: Option<u64>,
    /// Checks that the configuration disables.
    pub disabled: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FindingCounts {
    /// Firing critical findings.
    pub critical: u64,
    /// Firing warnings.
    pub warning: u64,
    /// Firing hints.
    pub info: u64,
    /// Findings that ended in this epoch.
    pub resolved: u64,
    /// Those of the firing ones that could not be judged in this epoch.
    pub held: u64,
    /// Findings that have not been seen in as many epochs as it takes to fire.
    pub pending: u64,
    /// Findings that hold and are not published because of a silence. They are not counted above.
    pub silenced: u64,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Scanned {
    /// Accounts.
    pub accounts: u64,
    /// Client connections, without the agent's own.
    pub connections: u64,
    /// Streams; none is looked at by the present checks.
    pub streams: u64,
    /// Consumers; none is looked at by the present checks.
    pub consumers: u64,
}

/// What it cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SummaryCost {
    /// Requests sent.
    pub requests: u64,
    /// Answers used.
    pub responses: u64,
    /// Bytes of those answers as they came over the network.
    pub bytes: u64,
    /// Longest time to the answer of one server, in milliseconds.
    pub slowest_server_ms: u64,
    /// Answers dropped because the same server had answered already.
    pub duplicates: u64,
    /// Messages to the agent's inbox that belonged to no open request.
    pub strangers: u64,
}

/// Who shares the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AgentsAtWork {
    /// The id of the agent that gathers and publishes.
    pub leader: String,
    /// How many others it hears that stand by.
    pub standby: u64,
    /// What makes it the leader: `lease`, `presence`, or `alone` where it cannot or shall not know of others.
    pub by: &'static str,
}

/// How the sink does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SinkStatus {
    /// Whether it takes messages now.
    pub connected: bool,
    /// Beginnings, changes and ends of findings that it has not taken yet.
    pub buffered: u64,
    /// Those that were dropped because too many waited, since the agent started.
    pub dropped: u64,
    /// Messages that its stream acknowledged, since the agent started.
    pub published: u64,
    /// Attempts to store a message or a state that failed, since the agent started. All but messages that are too large
    /// are tried again.
    pub failed: u64,
    /// What keeps it from working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Where the stream and the bucket differ from the configuration, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
