//! ACCOUNTZ: the list of loaded accounts, or one account's detail.

use super::jwt::{Activation, activation};
use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// Either form of the answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Accountz {
    /// Name or public key of the system account.
    pub system_account: Option<String>,
    /// Loaded accounts.
    pub accounts: Option<Vec<String>>,
    /// The one that was asked for.
    pub account_detail: Option<AccountDetail>,
}

/// One account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccountDetail {
    /// Name or public key.
    pub account_name: String,
    /// When its claims last changed.
    pub update_time: String,
    /// Readable name.
    pub name_tag: Option<String>,
    /// Whether its JWT has expired.
    pub expired: bool,
    /// Whether every account that it imports from could be loaded.
    pub complete: bool,
    /// Whether it may use JetStream on this server.
    pub jetstream_enabled: bool,
    /// What it exports, as the server applies it.
    pub exports: Option<Vec<Export>>,
    /// What it imports, as the server applies it: imports of a JWT that are not authorized are left out.
    pub imports: Option<Vec<Import>>,
    /// The length of its JWT in bytes; the JWT itself is dropped.
    #[serde(rename = "jwt")]
    pub jwt_bytes: Length,
    /// The claims, in operator mode.
    pub decoded_jwt: Option<DecodedJwt>,
}

/// An export, of the account or of its claims.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Export {
    /// The subject.
    pub subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether an import needs an activation token.
    pub token_req: bool,
    /// The token of the subject, counted from 1, that must be the importing account; shown by claims only.
    pub account_token_position: u64,
    /// The accounts that may import it, where not all may; shown by the account only.
    pub approved_accounts: Option<Vec<String>>,
    /// Activations that were taken back; shown by the account only.
    pub revoked_activations: Option<Count>,
}

/// An import, of the account or of its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Import {
    /// The subject as the exporting account has it; before 2.10 the local one of a service.
    pub subject: String,
    /// The exporting account.
    pub account: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The subject as the importing account has it.
    pub local_subject: String,
    /// The older form of that; of a service before 2.10, and in older claims, the subject of the exporting account.
    pub to: String,
    /// Whether it was active once and is not any longer.
    pub invalid: bool,
    /// What its activation token says, where it has one; shown by claims only. The token itself is dropped.
    #[serde(rename = "token", deserialize_with = "token")]
    pub activation: Option<Activation>,
}

/// Reads a token and drops it: who has it could import in the account's name.
fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Activation>, D::Error> {
    let token = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(token.filter(|token| !token.is_empty()).map(|token| activation(&token)))
}

/// The length of a text that is not kept, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Length(pub u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Measure;
        impl Visitor<'_> for Measure {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length(text.len() as u64))
            }
            fn visit_unit<E>(self) -> Result<Length, E> {
                Ok(Length(0))
            }
        }
        deserializer.deserialize_any(Measure)
    }
}

/// The number of entries of an object that is not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Option::<BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
        Ok(Self(entries.map_or(0, |entries| entries.len() as u64)))
    }
}

/// Claims of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DecodedJwt {
    /// Readable name.
    pub name: Option<String>,
    /// The part of NATS.
    pub nats: NatsClaims,
}

/// The part of NATS of an account's claims.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NatsClaims {
    /// None where the server printed none.
    pub limits: Option<ClaimLimits>,
    /// What the account declares to import.
    pub imports: Option<Vec<Import>>,
    /// What it declares to export.
    pub exports: Option<Vec<Export>>,
    /// Keys that may sign in its name: texts, or objects with a `key`.
    pub signing_keys: Option<Vec<SigningKey>>,
    /// Users whose JWTs it has taken back.
    pub revocations: Option<Count>,
}

/// A key that may sign in an account's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKey(pub String);

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Plain(String),
            Scoped {
                #[serde(default)]
                key: String,
            },
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Plain(key) | Either::Scoped { key } => key,
        }))
    }
}

/// Limits; the server leaves out zeros, and -1 is unlimited.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClaimLimits {
    /// Client connections.
    pub conn: i64,
    /// Subscriptions per connection.
    pub subs: i64,
    /// Leafnode connections.
    pub leaf: i64,
    /// Imports.
    pub imports: i64,
    /// Exports.
    pub exports: i64,
}
