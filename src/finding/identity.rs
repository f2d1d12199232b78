//! Identity of findings, and the subjects they are published on.

use super::Status;
use crate::check::{Entity, Severity};
use crate::text::digest_hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// Identity of a finding: system, check and entity keys; never values, server ids or leader names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fingerprint {
    /// A text that looks like a fingerprint as one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 2 * FINGERPRINT_BYTES && digits(text)).then(|| Self(text.to_owned()))
    }
}

/// Bytes of the digest that are kept: 2^64 findings before two are likely to collide.
const FINGERPRINT_BYTES: usize = 16;

/// The fingerprint of a check and an entity in a system.
pub fn fingerprint(system: &str, check: &str, entity: &Entity) -> Fingerprint {
    let optional = |key: &Option<crate::text::Name>| key.as_deref().unwrap_or_default().to_owned();
    let mut keys = vec![
        system.to_owned(),
        check.to_owned(),
        entity.kind.as_str().to_owned(),
        entity.id.to_string(),
        optional(&entity.account),
        optional(&entity.cluster),
        optional(&entity.server),
        optional(&entity.user),
    ];
    // Only where there is one: fingerprints are older than this key.
    keys.extend(entity.stream.as_deref().map(str::to_owned));
    // Lengths keep ("ab", "c") and ("a", "bc") apart.
    let mut text = String::new();
    for key in &keys {
        let _ = write!(text, "{}:{key}", key.len());
    }
    Fingerprint(digest_hex(text.as_bytes(), FINGERPRINT_BYTES))
}

/// Longest token, in bytes. A subject holds two tokens of names, and servers accept control lines of 4,096 bytes
/// (`max_control_line`) by default.
const TOKEN_BYTES: usize = 240;

/// A name as one token of a subject: `A-Z a-z 0-9 - _ = $` stay, any other byte becomes `%XX`. A token that would be
/// longer than 240 bytes is cut and ends in `%-` and a digest of the name; an empty name is `%`.
pub fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'$') {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "%{byte:02X}");
        }
    }
    if token.is_empty() {
        return "%".into();
    }
    if token.len() > TOKEN_BYTES {
        let mark = format!("%-{}", digest_hex(name.as_bytes(), 8));
        let mut end = TOKEN_BYTES - mark.len();
        // Not inside an escape.
        while token[end.saturating_sub(2)..end].contains('%') {
            end -= 1;
        }
        token.truncate(end);
        token.push_str(&mark);
    }
    token
}

/// The subject of a finding.
pub fn subject(
    prefix: &str,
    system_account: &str,
    severity: Severity,
    check: &str,
    entity: &Entity,
) -> String {
    let account = token(entity.account.as_deref().unwrap_or(system_account));
    let (severity, kind, id) = (severity.as_str(), entity.kind.as_str(), token(&entity.id));
    format!("{prefix}.{account}.{severity}.{check}.{kind}.{id}")
}

/// The subject of epoch summaries.
pub fn epoch_subject(prefix: &str, system_account: &str) -> String {
    format!("{prefix}.{}.epoch", token(system_account))
}

/// `Nats-Msg-Id` of a finding, by which JetStream drops a message sent twice.
pub fn message_id(fingerprint: &Fingerprint, epoch: u64, status: Status) -> String {
    format!("{fingerprint}-{epoch}-{}", status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::EntityType;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(token("PROD-1_a=$"), "PROD-1_a=$");
        assert_eq!(token("a.b c*>%"), "a%2Eb%20c%2A%3E%25");
        assert_eq!(token("ü"), "%C3%BC");
        assert_eq!(token(""), "%");
        assert_eq!(token("ORDERS/worker"), "ORDERS%2Fworker");
    }

    #[test]
    fn subjects() {
        let account = Entity::account("APP", None);
        assert_eq!(
            subject("insights.checks", "SYS", Severity::Warning, "ACCOUNTS_001", &account),
            "insights.checks.APP.warning.ACCOUNTS_001.account.APP"
        );
        let server = Entity::server(&"n.1".into(), None);
        assert_eq!(
            subject("insights.checks", "$SYS", Severity::Info, "X", &server),
            "insights.checks.$SYS.info.X.server.n%2E1"
        );
        assert_eq!(epoch_subject("insights.checks", "SYS"), "insights.checks.SYS.epoch");
    }

    #[test]
    fn a_fingerprint_depends_on_keys_alone() {
        let entity = Entity::account("A1", Some(&"PRODUCTION".into()));
        let renamed = Entity::account("A1", Some(&"STAGING".into()));
        assert_eq!(fingerprint("s", "C", &entity), fingerprint("s", "C", &renamed));
        let cluster = Entity::account_in_cluster("A1", None, &"east".into());
        let user = Entity::user("A1", None, "A1", None);
        let all: std::collections::BTreeSet<_> =
            [&entity, &cluster, &user].map(|e| fingerprint("s", "C", e)).into_iter().collect();
        assert_eq!(all.len(), 3);
        assert_ne!(fingerprint("s", "C", &entity), fingerprint("t", "C", &entity));
        assert_ne!(fingerprint("s", "C", &entity), fingerprint("s", "D", &entity));
        let stream = Entity { stream: Some("ORDERS".into()), ..entity.clone() };
        assert_ne!(fingerprint("s", "C", &entity), fingerprint("s", "C", &stream));
        // Of a version before there were streams: operators have stored it.
        assert_eq!(fingerprint("s", "C", &entity).to_string(), "2c0c7ec3f06c43cb834298607ceff0a5");
        assert_eq!(entity.kind, EntityType::Account);
    }

    proptest! {
        #[test]
        fn any_name_gives_one_valid_token(name in "\\PC{0,400}|[\\x00-\\x7f]{0,1000}") {
            let token = token(&name);
            prop_assert!(!token.is_empty() && token.len() <= TOKEN_BYTES);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=$%".contains(&b)));
        }

        #[test]
        fn two_names_give_two_tokens(a in "[a.%]{0,300}", b in "[a.%]{0,300}") {
            prop_assert_eq!(a == b, token(&a) == token(&b));
        }
    }
}
