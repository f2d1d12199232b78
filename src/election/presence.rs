//! What agents tell each other on `insights.agents.<agent id>`.

use super::timing::silence;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::time::Duration;
use time::OffsetDateTime;

/// The `type` of the message.
pub const AGENT_TYPE: &str = "io.nats.insights.v1.agent";

/// On which all agents speak, as it is subscribed to and as it is allowed to a user.
pub const AGENTS_SUBJECT: &str = "insights.agents.*";

/// Bytes of a text that are accepted.
const MAX_TEXT: usize = 256;

/// The longest epoch that another agent is believed to have.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The subject of one agent.
pub fn agent_subject(id: &str) -> String {
    format!("insights.agents.{id}")
}

/// A connection as its server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The server's id.
    pub server: String,
    /// The connection's id there.
    pub cid: u64,
}

/// A message of an agent about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Always [`AGENT_TYPE`].
    #[serde(rename = "type")]
    pub kind_of_message: Cow<'static, str>,
    /// The agent's id: new at every start, and the last token of the subject.
    pub id: String,
    /// The agent's name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its subject prefix: agents with different ones have nothing to do with each other.
    pub prefix: String,
    /// The system account that it is in, if it knows. Leafnodes can carry messages into another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_account: Option<String>,
    /// When it started, or came back after it was stopped or cut off.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The interval of its epochs, in milliseconds.
    pub interval_ms: u64,
    /// Its own clock when it sent this, in milliseconds since its start.
    pub up_ms: u64,
    /// Its connection, which is that of no client: the leader leaves it out of findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Listed>,
    /// Whether it gathers and publishes.
    #[serde(default)]
    pub leading: bool,
    /// Whether it holds the lease.
    #[serde(default)]
    pub lease: bool,
    /// Whether it is about to end.
    #[serde(default)]
    pub leaving: bool,
    /// Whether it asks the others to answer at once.
    #[serde(default)]
    pub hello: bool,
}

/// A message that is none of an agent.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// It is not the JSON of a presence.
    #[error("not the presence of an agent: {0}")]
    Json(#[from] serde_json::Error),
    /// It has another `type`.
    #[error("not the presence of an agent: its type is {0:?}")]
    Type(String),
    /// It tells of another agent than its subject.
    #[error("the presence of agent {id:?} came on {subject}")]
    Subject {
        /// The agent of the payload.
        id: String,
        /// The subject.
        subject: String,
    },
    /// One of its texts is too long.
    #[error("the presence on {0} has a text of more than {MAX_TEXT} bytes")]
    TooLong(String),
}

impl Presence {
    /// Reads a message.
    pub fn read(subject: &str, payload: &[u8]) -> Result<Self, PresenceError> {
        let read: Self = serde_json::from_slice(payload)?;
        if read.kind_of_message != AGENT_TYPE {
            let kind = read.kind_of_message.chars().take(MAX_TEXT).collect();
            return Err(PresenceError::Type(kind));
        }
        let account = read.system_account.as_deref().unwrap_or_default();
        let server = read.connection.as_ref().map_or("", |connection| &connection.server);
        if [&read.id, &read.name, &read.version, &read.prefix, account, server]
            .iter()
            .any(|text| text.len() > MAX_TEXT)
        {
            return Err(PresenceError::TooLong(subject.into()));
        }
        if agent_subject(&read.id) != subject {
            return Err(PresenceError::Subject { id: read.id, subject: subject.into() });
        }
        Ok(read)
    }

    /// The interval of its epochs, at most a day.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms).min(MAX_INTERVAL)
    }

    /// How long it may be unheard.
    pub(super) fn silence(&self) -> Duration {
        silence(self.interval())
    }

    /// Whether it watches the same system and publishes to the same subjects as another.
    pub(super) fn concerns(&self, other: &Self) -> bool {
        let same = |(one, other): (&String, &String)| one == other;
        self.prefix == other.prefix
            && self.system_account.as_ref().zip(other.system_account.as_ref()).is_none_or(same)
    }

    /// Who leads if only these two hear each other: who has the lease, then who leads, then who is there for the longest
    /// time; the greater one.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let key = |of: &Self| (of.lease, of.leading, Reverse(of.since));
        // The id only breaks a tie, so that all agents see the same one ahead.
        key(self).cmp(&key(other)).then_with(|| other.id.cmp(&self.id))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn presence(id: &str, since: i64) -> Presence {
        Presence {
            kind_of_message: AGENT_TYPE.into(),
            id: id.into(),
            name: format!("host-{id}"),
            version: "0.1.0".into(),
            prefix: "insights.checks".into(),
            system_account: Some("SYS".into()),
            since: OffsetDateTime::from_unix_timestamp(since).unwrap(),
            interval_ms: 2000,
            up_ms: 0,
            connection: None,
            leading: false,
            lease: false,
            leaving: false,
            hello: false,
        }
    }

    #[test]
    fn a_lease_outranks_leading_and_that_outranks_age() {
        let old = presence("c", 10);
        let young = presence("b", 20);
        let twin = presence("a", 20);
        let leading = Presence { leading: true, ..presence("d", 30) };
        let lease = Presence { lease: true, ..Presence { leading: true, ..presence("e", 40) } };
        // Who has just got the lease, and waits for the one that leads to hear of it.
        let holder = Presence { lease: true, ..presence("f", 50) };
        let order = [&lease, &holder, &leading, &old, &twin, &young];
        for (place, one) in order.iter().enumerate() {
            for other in &order[place + 1..] {
                assert_eq!(one.rank(other), Ordering::Greater, "{} {}", one.id, other.id);
                assert_eq!(other.rank(one), Ordering::Less, "{} {}", other.id, one.id);
            }
        }
    }

    #[test]
    fn a_message_goes_and_comes_back_the_same_and_may_have_keys_of_later_versions() {
        let mut told = presence("0a1b", 1_763_632_800);
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(Presence::read("insights.agents.0a1b", json.as_bytes()).unwrap(), told);
        let more = json.replacen('{', "{\"later\": [1], ", 1);
        assert_eq!(Presence::read("insights.agents.0a1b", more.as_bytes()).unwrap(), told);
        told.connection = Some(Listed { server: "NA".into(), cid: 7 });
        let json = serde_json::to_string(&told).unwrap();
        assert!(json.contains(r#""connection":{"server":"NA","cid":7}"#), "{json}");
        assert_eq!(Presence::read("insights.agents.0a1b", json.as_bytes()).unwrap(), told);
        told.interval_ms = u64::MAX;
        assert_eq!(told.interval(), MAX_INTERVAL);
    }

    #[test]
    fn what_is_no_presence_is_refused_with_a_reason() {
        let told = presence("a", 0);
        let json = |told: &Presence| serde_json::to_vec(told).unwrap();
        let on = |subject: &str, payload: &[u8]| Presence::read(subject, payload).unwrap_err().to_string();
        assert!(on("insights.agents.b", &json(&told)).contains("\"a\" came on insights.agents.b"));
        assert!(on("insights.agents.a", b"{}").contains("missing field"));
        let finding = Presence { kind_of_message: "io.nats.insights.v1.finding".into(), ..told.clone() };
        assert!(on("insights.agents.a", &json(&finding)).contains("v1.finding"));
        let connection = Some(Listed { server: "n".repeat(257), cid: 1 });
        for long in [Presence { name: "n".repeat(257), ..told.clone() }, Presence { connection, ..told }] {
            assert!(on("insights.agents.a", &json(&long)).contains("256 bytes"));
        }
    }

    #[test]
    fn other_prefixes_and_other_systems_are_no_concern() {
        let one = presence("a", 0);
        assert!(one.concerns(&presence("b", 0)));
        assert!(!one.concerns(&Presence { prefix: "team.checks".into(), ..presence("b", 0) }));
        assert!(!one.concerns(&Presence { system_account: Some("OTHER".into()), ..presence("b", 0) }));
        assert!(one.concerns(&Presence { system_account: None, ..presence("b", 0) }));
    }
}
