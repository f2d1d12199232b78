//! The facts about a check that do not depend on any system.

use crate::snapshot::{Endpoint, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is at risk.
    Info,
    /// Will become a problem, or already is one for a part.
    Warning,
    /// Users are hurt now, or will be at once.
    Critical,
}

impl Severity {
    /// The word used in subjects, JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What kind of trouble a check looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// A resource comes near its limit, or is used unevenly.
    Saturation,
    /// Something is broken or about to break.
    Health,
    /// Something changed.
    Change,
    /// Resources are held without use.
    Waste,
}

impl Category {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Saturation => "saturation",
            Self::Health => "health",
            Self::Change => "change",
            Self::Waste => "waste",
        }
    }
}

/// Who acts on a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody on duty.
    Operational,
    /// Somebody with time to improve things.
    Optimization,
}

impl Kind {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Optimization => "optimization",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntityType {
    /// A tenant.
    Account,
    /// A nats-server process, by its name.
    Server,
    /// One user identity of an account.
    User,
    /// Client connections of one user of an account.
    Connection,
    /// The link of a server to another one of its cluster.
    Route,
    /// The link of a server to another cluster.
    Gateway,
    /// The link of a leafnode to an account.
    Leafnode,
    /// A service of an account, by the name that its instances answer to.
    Service,
    /// What an account imports from another.
    Import,
    /// What an account exports to others.
    Export,
    /// A subject, with its wildcards.
    Subject,
    /// The agent that publishes the finding.
    Agent,
}

impl EntityType {
    /// The word used in subjects, JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Server => "server",
            Self::User => "user",
            Self::Connection => "connection",
            Self::Route => "route",
            Self::Gateway => "gateway",
            Self::Leafnode => "leafnode",
            Self::Service => "service",
            Self::Import => "import",
            Self::Export => "export",
            Self::Subject => "subject",
            Self::Agent => "agent",
        }
    }
}

/// Whose answers a verdict about one entity depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every server of the system: values are summed over all of them.
    System,
    /// Every server of the entity's cluster.
    Cluster,
    /// The server that the entity is or lives on.
    Server,
}

/// What may be concluded while an answer within the [`Scope`] is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// The value only grows with more answers: what exceeds the threshold already is firing.
    CanFire,
    /// The value may move either way: unknown until every answer is there.
    CannotFire,
}

/// What a server that leaves in order, or comes back, can make look bad for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbed {
    /// Nothing: a finding that begins then is as true as at any other time.
    Never,
    /// What is or lives on that server.
    Own,
    /// Whatever is of its cluster, or of no cluster.
    Cluster,
    /// Anything: a group of JetStream reaches over all clusters.
    System,
}

/// Identity, texts and needs of a check.
#[derive(Debug)]
pub struct Meta {
    /// Stable id, never reused.
    pub id: &'static str,
    /// Short name that reads as the bad state.
    pub name: &'static str,
    /// Severity unless the verdict sets its own or the operator sets one, which holds for every verdict.
    pub severity: Severity,
    /// See [`Category`].
    pub category: Category,
    /// See [`Kind`].
    pub kind: Kind,
    /// See [`EntityType`].
    pub entity: EntityType,
    /// The group under which `catalog list` shows an optimization, e.g. `balance`.
    pub group: Option<&'static str>,
    /// First nats-server version that shows the needed fields through the system account.
    pub since: &'static str,
    /// Earlier or other ids under which operators may know the check.
    pub aliases: &'static [&'static str],
    /// Further reading, where there is any.
    pub docs_url: Option<&'static str>,
    /// One sentence on where the rule differs from the public catalogue's of the same id, and what servers do that makes
    /// it differ.
    pub differs: Option<&'static str>,
    /// The rule in one sentence, with the default thresholds in words.
    pub rule: &'static str,
    /// Why it matters and how servers behave; paragraphs separated by an empty line.
    pub why: &'static str,
    /// What to do, in general; a finding orders and completes it from its evidence.
    pub remedy: &'static [&'static str],
    /// Requests without whose answers nothing can be judged. None for a check that is about missing answers: it is judged
    /// in every epoch.
    pub needs: &'static [Endpoint],
    /// Requests whose answers complete the evidence, or make the verdict surer; it is given without them.
    pub evidence_from: &'static [Endpoint],
    /// Events without which it cannot tell what it looks for: while one of them is denied, what it would find is unknown.
    pub needs_events: &'static [Event],
    /// Events that complete the evidence, or explain what would be found without them.
    pub evidence_from_events: &'static [Event],
    /// See [`Scope`].
    pub scope: Scope,
    /// See [`Partial`].
    pub partial: Partial,
}

impl Meta {
    /// What most checks leave as it is, for `..Meta::PLAIN`. A check gives all the rest; a law holds it to that.
    pub const PLAIN: Self = Self {
        id: "",
        name: "",
        severity: Severity::Info,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        group: None,
        since: "",
        aliases: &[],
        docs_url: None,
        differs: None,
        rule: "",
        why: "",
        remedy: &[],
        needs: &[],
        evidence_from: &[],
        needs_events: &[],
        evidence_from_events: &[],
        scope: Scope::System,
        partial: Partial::CannotFire,
    };
}
