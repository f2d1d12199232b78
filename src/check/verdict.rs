//! What a rule says about an entity.

use super::{EntityType, Severity};
use crate::snapshot::{Account, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::borrow::Cow;

/// What a verdict is about. All fields but the readable names are its identity, so they hold nothing that
/// changes while the entity stays the same: no server id, no value, no leader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Entity {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Unique among the entities of its type and account; the last token of the subject.
    #[schemars(with = "String")]
    pub id: Name,
    /// What people call it, where that differs from the id or is the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
    /// The owning account: public key in operator mode, its name otherwise. Left out for what belongs to no tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub account: Option<Name>,
    /// The readable name of the account, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub account_name: Option<Name>,
    /// The cluster, where the entity is of one cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cluster: Option<Name>,
    /// The server's name, where the entity is or lives on one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub server: Option<Name>,
    /// The user identity, where the entity is of one user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user: Option<Name>,
    /// The readable name of the user (of its JWT), where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user_name: Option<Name>,
    /// The stream, where the entity is or lives on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stream: Option<Name>,
}

impl Entity {
    fn bare(kind: EntityType, id: Name) -> Self {
        Self {
            kind,
            id,
            name: None,
            account: None,
            account_name: None,
            cluster: None,
            server: None,
            user: None,
            user_name: None,
            stream: None,
        }
    }

    /// An account, over the whole system.
    pub fn account(id: &str, name: Option<&Name>) -> Self {
        let id = Name::from(id);
        Self {
            name: Some(name.unwrap_or(&id).clone()),
            account: Some(id.clone()),
            account_name: name.cloned(),
            ..Self::bare(EntityType::Account, id)
        }
    }

    /// An account that servers tell of.
    pub fn of_account(account: &Account) -> Self {
        Self::account(&account.id, account.name.as_ref())
    }

    /// An account in one cluster of the system.
    pub fn account_in_cluster(id: &str, name: Option<&Name>, cluster: &Name) -> Self {
        Self {
            id: Name::from(format!("{id}/{cluster}")),
            cluster: Some(cluster.clone()),
            ..Self::account(id, name)
        }
    }

    /// A server, by its name.
    pub fn server(name: &Name, cluster: Option<&Name>) -> Self {
        Self {
            name: Some(name.clone()),
            server: Some(name.clone()),
            cluster: cluster.cloned(),
            ..Self::bare(EntityType::Server, name.clone())
        }
    }

    /// A server that answered.
    pub fn of_server(server: &Server) -> Self {
        Self::server(&server.name, server.cluster.as_ref())
    }

    /// Servers of a cluster, whichever they are: what all of them show because of one.
    pub fn servers_of(cluster: &Name) -> Self {
        let id = Name::from(format!("{cluster}/*"));
        Self { name: Some(id.clone()), cluster: Some(cluster.clone()), ..Self::bare(EntityType::Server, id) }
    }

    /// A user of an account.
    pub fn user(account: &str, account_name: Option<&Name>, user: &str, user_name: Option<&Name>) -> Self {
        let user = Name::from(user);
        Self {
            name: Some(user_name.unwrap_or(&user).clone()),
            account: Some(Name::from(account)),
            account_name: account_name.cloned(),
            user: Some(user.clone()),
            user_name: user_name.cloned(),
            ..Self::bare(EntityType::User, user)
        }
    }

    /// The client connections of a user of an account.
    pub fn connections(
        account: &str,
        account_name: Option<&Name>,
        user: &str,
        user_name: Option<&Name>,
    ) -> Self {
        Self { kind: EntityType::Connection, ..Self::user(account, account_name, user, user_name) }
    }

    /// The link of a server to another one of its cluster, by its name.
    pub fn route(server: &Name, cluster: Option<&Name>, peer: &Name) -> Self {
        Self::link(EntityType::Route, server, cluster, peer)
    }

    /// The link of a server to another cluster.
    pub fn gateway(server: &Name, cluster: Option<&Name>, remote: &Name) -> Self {
        Self::link(EntityType::Gateway, server, cluster, remote)
    }

    fn link(kind: EntityType, server: &Name, cluster: Option<&Name>, other: &Name) -> Self {
        let id = Name::from(format!("{server}/{other}"));
        Self {
            name: Some(id.clone()),
            server: Some(server.clone()),
            cluster: cluster.cloned(),
            ..Self::bare(kind, id)
        }
    }

    /// The link of a leafnode, by the name of its server, to an account. The server that it is connected to is no part of
    /// its identity: it may be another one after every reconnect.
    pub fn leafnode(account: &str, account_name: Option<&Name>, leaf: &Name) -> Self {
        Self::in_account(EntityType::Leafnode, account, account_name, leaf)
    }

    /// A service of an account.
    pub fn service(account: &str, account_name: Option<&Name>, service: &Name) -> Self {
        Self::in_account(EntityType::Service, account, account_name, service)
    }

    /// What an account imports; `id` tells it from its other imports.
    pub fn import(account: &str, account_name: Option<&Name>, id: &Name) -> Self {
        Self::in_account(EntityType::Import, account, account_name, id)
    }

    /// What an account exports; `id` tells it from its other exports.
    pub fn export(account: &str, account_name: Option<&Name>, id: &Name) -> Self {
        Self::in_account(EntityType::Export, account, account_name, id)
    }

    /// Connections of an account that have something in common other than their user.
    pub fn connections_by(account: &str, account_name: Option<&Name>, what: &Name) -> Self {
        Self::in_account(EntityType::Connection, account, account_name, what)
    }

    /// Connections that never got as far as an account, and have something in common.
    pub fn connections_of_nobody(what: &Name) -> Self {
        Self { name: Some(what.clone()), ..Self::bare(EntityType::Connection, what.clone()) }
    }

    fn in_account(kind: EntityType, account: &str, account_name: Option<&Name>, id: &Name) -> Self {
        Self {
            name: Some(id.clone()),
            account: Some(Name::from(account)),
            account_name: account_name.cloned(),
            ..Self::bare(kind, id.clone())
        }
    }

    /// A subject.
    pub fn subject(subject: &Name) -> Self {
        Self { name: Some(subject.clone()), ..Self::bare(EntityType::Subject, subject.clone()) }
    }

    /// An agent, by its name.
    pub fn agent(name: &Name) -> Self {
        Self { name: Some(name.clone()), ..Self::bare(EntityType::Agent, name.clone()) }
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// The measured value against its limit or threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// What was measured.
    pub value: Number,
    /// The limit it is compared with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Number>,
    /// The value in percent of its limit (or of the total it is a share of), to one decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What the value, or its percentage, was judged by.
    pub threshold: Number,
    /// Unit of value and limit.
    pub unit: Cow<'static, str>,
    /// Where the limit comes from: `jwt` (the account's), `user_jwt`, `server` (its configuration), `declared`
    /// (this agent's configuration).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_source: Option<Cow<'static, str>>,
    /// Which of several ways of judging fired, where a check has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Cow<'static, str>>,
    /// The account's connections together with the leafnodes of the server that has most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_on_fullest_server: Option<u64>,
}

impl Observed {
    /// A count judged by a threshold, without a limit.
    pub fn count(value: u64, threshold: impl Into<Number>, unit: &'static str) -> Self {
        Self {
            value: value.into(),
            limit: None,
            percent: None,
            threshold: threshold.into(),
            unit: unit.into(),
            limit_source: None,
            scope: None,
            value_on_fullest_server: None,
        }
    }

    /// The same, as a share of a whole.
    #[must_use]
    pub fn part_of(self, whole: u64) -> Self {
        let percent = self.value.as_u64().and_then(|value| percent_of(value, whole));
        Self { percent, ..self }
    }

    /// A count judged by its percentage of a limit. Of a limit of 0 there is no percentage.
    pub fn of_limit(
        value: u64,
        limit: u64,
        warn_percent: f64,
        unit: &'static str,
        source: &'static str,
    ) -> Self {
        Self {
            limit: Some(limit.into()),
            percent: percent_of(value, limit),
            limit_source: Some(source.into()),
            ..Self::count(value, rounded(warn_percent), unit)
        }
    }
}

/// `part` in percent of `whole`, to one decimal; none of nothing.
pub fn percent_of(part: u64, whole: u64) -> Option<f64> {
    // Counts are far below 2^52, where f64 is exact.
    (whole > 0).then(|| (part as f64 * 1000.0 / whole as f64).round() / 10.0)
}

/// A number of JSON from a finite f64, to three decimals; 0 for what is not finite.
pub fn rounded(value: f64) -> Number {
    let value = (value * 1000.0).round() / 1000.0;
    Number::from_f64(value).unwrap_or_else(|| 0.into())
}

/// `1 connection`, `2 connections`.
pub fn count(n: u64, singular: &str) -> String {
    if n == 1 { format!("1 {singular}") } else { format!("{n} {singular}s") }
}

/// A verdict that fires.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    /// Set where it is not the check's own.
    pub severity: Option<Severity>,
    /// One sentence with the entity and the numbers.
    pub summary: String,
    /// The value against its limit.
    pub observed: Observed,
    /// The rule's evidence, serialized.
    pub evidence: Value,
    /// What to do, in the order that the evidence suggests.
    pub remediation: Vec<String>,
}

/// How a verdict came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The bad state is there.
    Firing(Box<Firing>),
    /// It cannot be said.
    Unknown {
        /// Why.
        reason: String,
        /// Whether an earlier finding stays. False where it was fired by something that was seen to be over, such as
        /// refusals, although the limit behind it remains unseen.
        holds: bool,
    },
    /// It cannot be said yet, and nobody need be told, but who waits for the end of an earlier finding.
    NotYet(String),
    /// The bad state was seen not to be there, which needs saying only beside [`Self::OthersUnknown`].
    Clear,
    /// Of every entity of the type that no verdict names it cannot be said, and why.
    OthersUnknown(String),
    /// So many fire, this one and others behind it, and are not named: see [`super::Rule::MOST`].
    Unnamed(u64),
}

/// What a rule says about one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What it is about.
    pub entity: Entity,
    /// How it came out.
    pub outcome: Outcome,
}

impl Verdict {
    /// A firing verdict; `evidence` is serialized here, once.
    pub fn firing<E: Serialize>(
        entity: Entity,
        summary: String,
        observed: Observed,
        evidence: &E,
        remediation: Vec<String>,
    ) -> Self {
        let evidence = serde_json::to_value(evidence).unwrap_or(Value::Null);
        let firing = Firing { severity: None, summary, observed, evidence, remediation };
        Self { entity, outcome: Outcome::Firing(Box::new(firing)) }
    }

    /// The same verdict with a severity of its own.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        if let Outcome::Firing(firing) = &mut self.outcome {
            firing.severity = Some(severity);
        }
        self
    }

    /// A verdict that cannot be given.
    pub fn unknown(entity: Entity, reason: impl Into<String>) -> Self {
        Self { entity, outcome: Outcome::Unknown { reason: reason.into(), holds: true } }
    }

    /// A verdict that cannot be given yet, which is worth telling only of an earlier finding.
    pub fn not_yet(entity: Entity, reason: impl Into<String>) -> Self {
        Self { entity, outcome: Outcome::NotYet(reason.into()) }
    }

    /// A verdict that the bad state is not there, beside [`Self::others_unknown`].
    pub const fn clear(entity: Entity) -> Self {
        Self { entity, outcome: Outcome::Clear }
    }

    /// Of what no other verdict names nothing can be said. The entity is one of their type that stands for all.
    pub fn others_unknown(all: Entity, reason: impl Into<String>) -> Self {
        Self { entity: all, outcome: Outcome::OthersUnknown(reason.into()) }
    }

    /// Of what fires, so many are not named, of which this is the first.
    pub const fn unnamed(first: Entity, count: u64) -> Self {
        Self { entity: first, outcome: Outcome::Unnamed(count) }
    }

    /// A verdict that cannot be given, while what an earlier finding was fired by is seen to be over.
    pub fn unknown_but_over(entity: Entity, reason: impl Into<String>) -> Self {
        Self { entity, outcome: Outcome::Unknown { reason: reason.into(), holds: false } }
    }
}
