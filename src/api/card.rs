//! A check as it is explained, in whatever format.

use crate::check::{Category, Disturbed, EntityType, Entry, Kind, Severity};
use crate::config::description;
use crate::snapshot::{Endpoint, Event};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

/// A check as it is explained.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Card {
    /// The stable id.
    pub id: &'static str,
    /// The name.
    pub name: &'static str,
    /// Severity unless told otherwise.
    pub severity: Severity,
    /// What kind of trouble.
    pub category: Category,
    /// Who acts on it.
    pub kind: Kind,
    /// What its findings are about.
    pub entity: EntityType,
    /// The group it belongs to, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'static str>,
    /// The first nats-server version with the data it needs.
    pub since: &'static str,
    /// Other ids that are accepted in its place.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub aliases: &'static [&'static str],
    /// Further reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs_url: Option<&'static str>,
    /// Where its rule differs from that of the public catalogue, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<&'static str>,
    /// When it fires.
    pub rule: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static [&'static str],
    /// The answers without which nothing can be judged.
    pub needs: Vec<&'static str>,
    /// The answers that complete the evidence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence_from: Vec<&'static str>,
    /// The subjects of events that it goes by, beside the answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listens_to: Vec<&'static str>,
    /// Epochs in a row for which the bad state must be seen before a finding begins.
    #[serde(rename = "for")]
    pub for_epochs: u64,
    /// Epochs in a row for which it must be seen to be over before the finding ends.
    pub keep: u64,
    /// Epochs that an agent must have seen before it can say anything.
    #[serde(skip_serializing_if = "is_one")]
    pub epochs: u64,
    /// Whose maintenance keeps a finding from beginning: that of its `server`, of any in its
    /// `cluster`, or of any in the `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by_maintenance_of: Option<&'static str>,
    /// What an operator can set.
    pub thresholds: Vec<Field>,
    /// What a finding tells beside its numbers.
    pub evidence: Vec<Field>,
}

/// A threshold with its default, or a field of the evidence.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Field {
    /// Its name.
    pub key: String,
    /// The default of a threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it means.
    pub description: String,
}

impl Card {
    /// The card of a check of the catalogue.
    pub fn of(entry: &'static Entry) -> Self {
        let meta = entry.meta;
        let threshold = |(key, default): (String, Value)| {
            let description = description(entry, &key);
            Field { key, default: Some(default), description }
        };
        Self {
            id: meta.id,
            name: meta.name,
            severity: meta.severity,
            category: meta.category,
            kind: meta.kind,
            entity: meta.entity,
            group: meta.group,
            since: meta.since,
            aliases: meta.aliases,
            docs_url: meta.docs_url,
            differs: meta.differs,
            rule: meta.rule,
            why: meta.why,
            remedy: meta.remedy,
            needs: words(meta.needs),
            evidence_from: words(meta.evidence_from),
            listens_to: subjects([meta.needs_events, meta.evidence_from_events]),
            for_epochs: entry.for_epochs,
            keep: entry.keep,
            epochs: entry.epochs,
            held_by_maintenance_of: match entry.disturbed {
                Disturbed::Never => None,
                Disturbed::Own => Some("server"),
                Disturbed::Cluster => Some("cluster"),
                Disturbed::System => Some("system"),
            },
            thresholds: entry.defaults().into_iter().map(threshold).collect(),
            evidence: evidence(&entry.evidence_schema()),
        }
    }

    /// `warning, saturation, operational, about an account, since nats-server 2.9`.
    pub fn facts(&self) -> String {
        let mut facts = vec![self.severity.as_str().to_owned(), self.category_word(), self.kind_word()];
        facts.extend(self.group.map(|group| format!("group {group}")));
        let entity = self.entity.as_str();
        let article = if entity.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        facts.push(format!("about {article} {entity}"));
        facts.push(format!("since nats-server {}", self.since));
        if self.for_epochs != 1 {
            facts.push(format!("begins after {} epochs", self.for_epochs));
        }
        if self.keep != 1 {
            facts.push(format!("ends after {} clear epochs", self.keep));
        }
        if self.epochs != 1 {
            facts.push(format!("from the agent's epoch {} on", self.epochs));
        }
        facts.extend(self.held_by_maintenance_of.map(|whose| format!("held by maintenance of its {whose}")));
        if !self.aliases.is_empty() {
            facts.push(format!("also known as {}", self.aliases.join(", ")));
        }
        facts.join(", ")
    }

    /// The word of its category.
    pub fn category_word(&self) -> String {
        word(&self.category)
    }

    /// The word of its kind.
    pub fn kind_word(&self) -> String {
        word(&self.kind)
    }
}

const fn is_one(epochs: &u64) -> bool {
    *epochs == 1
}

fn words(endpoints: &[Endpoint]) -> Vec<&'static str> {
    endpoints.iter().map(|endpoint| endpoint.as_str()).collect()
}

fn subjects(events: [&[Event]; 2]) -> Vec<&'static str> {
    events.concat().into_iter().map(Event::subject).collect()
}

/// The word under which a fieldless variant is published.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn evidence(schema: &Schema) -> Vec<Field> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let field = |(key, schema): (&String, &Value)| {
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        Field { key: key.clone(), default: None, description }
    };
    properties.into_iter().flatten().map(field).collect()
}
