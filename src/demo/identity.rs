//! Throwaway identities for operator mode: an operator, its accounts, their users, as signed JWTs of version 2.
//!
//! The layout of the claims is the one of <https://github.com/nats-io/jwt> (`v2/`), which nats-server and `nsc`
//! read. Only activations may expire, and every JWT carries the same time of issue, so that the same keys and limits
//! always give the same bytes.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512_256};

/// The time of issue (`iat`) of every JWT made here: 2025-01-01T00:00:00Z, in seconds since the Unix epoch.
pub const ISSUED_AT: i64 = 1_735_689_600;

/// A key that could not be read or used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the nkey of {whose}: {source}")]
pub struct IdentityError {
    whose: String,
    source: nkeys::error::Error,
}

/// Limits of an account; -1 is "unlimited", as nats-server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Client connections, summed over the whole system.
    pub conn: i64,
    /// Subscriptions of a single connection.
    pub subs: i64,
    /// Leafnode connections.
    pub leaf: i64,
    /// Bytes of a message.
    pub payload: i64,
    /// Whether the account may use JetStream; then without a limit.
    pub jetstream: bool,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self { conn: -1, subs: -1, leaf: -1, payload: -1, jetstream: false }
    }
}

/// What a stream or service export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportKind {
    /// Messages flow from the exporting account to the importing one.
    Stream,
    /// Requests flow from the importing account to the exporting one.
    Service,
}

impl ExportKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }
}

/// A subject that an account shows to others.
#[derive(Debug, Clone)]
pub struct Export {
    /// A name for people.
    pub name: String,
    /// The exported subject.
    pub subject: String,
    /// Stream or service.
    pub kind: ExportKind,
    /// The token of `subject`, counted from 1, that must be the importing account's public key.
    pub account_token_position: Option<u32>,
    /// Whether an import needs an activation: [`Account::activation`].
    pub private: bool,
}

/// A subject that an account takes from another.
#[derive(Debug, Clone)]
pub struct Import {
    /// A name for people.
    pub name: String,
    /// The subject as the exporting account names it.
    pub subject: String,
    /// Public key of the exporting account.
    pub account: String,
    /// Stream or service.
    pub kind: ExportKind,
    /// The activation of a private export.
    pub activation: Option<String>,
    /// The subject as the importing account names it, where that differs.
    pub local_subject: Option<String>,
}

/// For whom an activation is, and how long.
#[derive(Debug, Clone)]
pub struct Activation<'a> {
    /// Public key of the importing account.
    pub importer: &'a str,
    /// The subject that may be imported.
    pub subject: &'a str,
    /// Stream or service.
    pub kind: ExportKind,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: Option<i64>,
    /// The signing key that signs it; none for the account's own key.
    pub signer: Option<&'a KeyPair>,
}

/// What a user JWT allows.
#[derive(Debug, Clone)]
pub struct UserClaims {
    /// Subscriptions of a connection; -1 is "unlimited".
    pub subs: i64,
    /// Subjects the user may publish to; empty allows all.
    pub publish: Vec<String>,
    /// Subjects the user may subscribe to; empty allows all.
    pub subscribe: Vec<String>,
    /// Whether the user may answer requests, each once within two minutes.
    pub responses: bool,
    /// Whether the JWT alone is enough, without proof of the key.
    pub bearer: bool,
}

impl Default for UserClaims {
    fn default() -> Self {
        Self { subs: -1, publish: Vec::new(), subscribe: Vec::new(), responses: false, bearer: false }
    }
}

/// The root of trust of a NATS system.
#[derive(Debug)]
pub struct Operator {
    name: String,
    key: KeyPair,
}

impl Operator {
    /// An operator with a fresh random key.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: KeyPair::new_operator() }
    }

    /// An operator with the key of `seed` (`SO…`).
    pub fn from_seed(name: &str, seed: &str) -> Result<Self, IdentityError> {
        Ok(Self { name: name.to_owned(), key: key_from(name, seed)? })
    }

    /// An account with a fresh random key; [`Operator::account_jwt`] signs it.
    pub fn account(&self, name: &str, limits: AccountLimits) -> Account {
        Account::with_key(name, KeyPair::new_account(), limits)
    }

    /// An account with the key of `seed` (`SA…`).
    pub fn account_from_seed(
        &self,
        name: &str,
        seed: &str,
        limits: AccountLimits,
    ) -> Result<Account, IdentityError> {
        Ok(Account::with_key(name, key_from(name, seed)?, limits))
    }

    /// The operator's own JWT, naming `system` as the system account.
    pub fn jwt(&self, system: &Account) -> Result<String, IdentityError> {
        let claims = json!({ "system_account": system.public_key(), "type": "operator", "version": 2 });
        sign(&self.key, &self.name, &self.key.public_key(), claims)
    }

    /// The JWT of `account` as it is now. After a change of limits, exports or imports, sign it again.
    pub fn account_jwt(&self, account: &Account) -> Result<String, IdentityError> {
        sign(&self.key, &account.name, &account.public_key(), account.claims())
    }

    /// The operator's public key (`O…`).
    pub fn public_key(&self) -> String {
        self.key.public_key()
    }
}

/// An account: its key and what its JWT says.
#[derive(Debug)]
pub struct Account {
    name: String,
    key: KeyPair,
    /// The limits that the next JWT carries.
    pub limits: AccountLimits,
    /// What the account shows to others.
    pub exports: Vec<Export>,
    /// What the account takes from others.
    pub imports: Vec<Import>,
    /// Public keys that may sign in the account's name.
    pub signing_keys: Vec<String>,
}

impl Account {
    fn with_key(name: &str, key: KeyPair, limits: AccountLimits) -> Self {
        let (exports, imports, signing_keys) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), key, limits, exports, imports, signing_keys }
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key (`A…`), which is the account's id everywhere in NATS.
    pub fn public_key(&self) -> String {
        self.key.public_key()
    }

    /// Lets another account (its public key) import a subject of a private export.
    pub fn activation(
        &self,
        importer: &str,
        subject: &str,
        kind: ExportKind,
    ) -> Result<String, IdentityError> {
        self.activate(&Activation { importer, subject, kind, expires: None, signer: None })
    }

    /// Lets another account import a subject of a private export, until a time or signed by a signing key.
    pub fn activate(&self, activation: &Activation<'_>) -> Result<String, IdentityError> {
        let Activation { importer, subject, kind, expires, signer } = activation;
        let mut claims =
            json!({ "subject": subject, "kind": kind.as_str(), "type": "activation", "version": 2 });
        if signer.is_some() {
            claims["issuer_account"] = json!(self.public_key());
        }
        sign_until(signer.unwrap_or(&self.key), subject, importer, claims, *expires)
    }

    /// A user of this account with a fresh random key.
    pub fn user(&self, name: &str, claims: &UserClaims) -> Result<User, IdentityError> {
        self.user_with_key(name, &KeyPair::new_user(), claims)
    }

    /// A user of this account with the key of `seed` (`SU…`).
    pub fn user_from_seed(&self, name: &str, seed: &str, claims: &UserClaims) -> Result<User, IdentityError> {
        self.user_with_key(name, &key_from(name, seed)?, claims)
    }

    fn user_with_key(&self, name: &str, key: &KeyPair, claims: &UserClaims) -> Result<User, IdentityError> {
        let mut nats = json!({
            "pub": permission(&claims.publish),
            "sub": permission(&claims.subscribe),
            "subs": claims.subs,
            "data": -1,
            "payload": -1,
            "type": "user",
            "version": 2,
        });
        if claims.responses {
            // nats-server takes its default for a time of 0.
            nats["resp"] = json!({ "max": 1, "ttl": 0 });
        }
        if claims.bearer {
            nats["bearer_token"] = json!(true);
        }
        let jwt = sign(&self.key, name, &key.public_key(), nats)?;
        let seed = key.seed().map_err(|source| IdentityError { whose: name.to_owned(), source })?;
        Ok(User { name: name.to_owned(), public_key: key.public_key(), jwt, seed })
    }

    fn claims(&self) -> Value {
        let mut limits = json!({
            "subs": self.limits.subs,
            "data": -1,
            "payload": self.limits.payload,
            "imports": -1,
            "exports": -1,
            "wildcards": true,
            "conn": self.limits.conn,
            "leaf": self.limits.leaf,
        });
        if self.limits.jetstream {
            for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
                limits[limit] = json!(-1);
            }
        }
        let mut nats = json!({
            "limits": limits,
            "default_permissions": { "pub": {}, "sub": {} },
            "type": "account",
            "version": 2,
        });
        if !self.exports.is_empty() {
            nats["exports"] = self.exports.iter().map(export_json).collect();
        }
        if !self.signing_keys.is_empty() {
            nats["signing_keys"] = json!(self.signing_keys);
        }
        if !self.imports.is_empty() {
            nats["imports"] = self.imports.iter().map(import_json).collect();
        }
        nats
    }
}

/// A user with everything it needs to log in.
#[derive(Clone)]
pub struct User {
    name: String,
    public_key: String,
    jwt: String,
    seed: String,
}

// The seed is a secret, even a throwaway one; a log that prints a `User` must not contain it.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("public_key", &self.public_key).finish()
    }
}

impl User {
    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key (`U…`), which CONNZ shows as the authorized user.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The signed JWT.
    pub fn jwt(&self) -> &str {
        &self.jwt
    }

    /// The text of a credentials file, which holds the JWT and the secret seed.
    pub fn creds(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.jwt, self.seed
        )
    }
}

fn key_from(whose: &str, seed: &str) -> Result<KeyPair, IdentityError> {
    KeyPair::from_seed(seed).map_err(|source| IdentityError { whose: whose.to_owned(), source })
}

fn permission(allow: &[String]) -> Value {
    if allow.is_empty() { json!({}) } else { json!({ "allow": allow }) }
}

fn export_json(export: &Export) -> Value {
    let mut value = json!({ "name": export.name, "subject": export.subject, "type": export.kind.as_str() });
    if let Some(position) = export.account_token_position {
        value["account_token_position"] = json!(position);
    }
    if export.private {
        value["token_req"] = json!(true);
    }
    value
}

fn import_json(import: &Import) -> Value {
    let mut value = json!({
        "name": import.name,
        "subject": import.subject,
        "account": import.account,
        "type": import.kind.as_str(),
    });
    if let Some(activation) = &import.activation {
        value["token"] = json!(activation);
    }
    if let Some(local) = &import.local_subject {
        value["local_subject"] = json!(local);
    }
    value
}

fn sign(issuer: &KeyPair, name: &str, subject: &str, nats: Value) -> Result<String, IdentityError> {
    sign_until(issuer, name, subject, nats, None)
}

/// Encodes and signs one JWT. Its id is the hash of its other claims, as `nsc` makes it.
fn sign_until(
    issuer: &KeyPair,
    name: &str,
    subject: &str,
    nats: Value,
    expires: Option<i64>,
) -> Result<String, IdentityError> {
    let mut claims = Map::new();
    if let Some(expires) = expires {
        claims.insert("exp".into(), json!(expires));
    }
    claims.insert("iat".into(), json!(ISSUED_AT));
    claims.insert("iss".into(), json!(issuer.public_key()));
    claims.insert("name".into(), json!(name));
    claims.insert("sub".into(), json!(subject));
    claims.insert("nats".into(), nats);
    let id = BASE32_NOPAD.encode(&Sha512_256::digest(Value::Object(claims.clone()).to_string()));
    claims.insert("jti".into(), json!(id));

    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = BASE64URL_NOPAD.encode(Value::Object(claims).to_string().as_bytes());
    let signed = format!("{header}.{body}");
    let signature =
        issuer.sign(signed.as_bytes()).map_err(|source| IdentityError { whose: name.to_owned(), source })?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(jwt: &str) -> Value {
        let part = jwt.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_account_jwt_carries_its_limits_and_verifies() {
        let operator = Operator::new("O");
        let mut account = operator.account("A", AccountLimits { conn: 7, ..AccountLimits::default() });
        let jwt = operator.account_jwt(&account).unwrap();
        assert_eq!(body(&jwt)["nats"]["limits"]["conn"], 7);
        assert_eq!(body(&jwt)["nats"]["limits"]["subs"], -1);
        assert_eq!(body(&jwt)["sub"], account.public_key());

        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        KeyPair::from_public_key(&operator.public_key())
            .unwrap()
            .verify(signed.as_bytes(), &signature)
            .unwrap();

        account.limits.conn = 8;
        assert_eq!(body(&operator.account_jwt(&account).unwrap())["nats"]["limits"]["conn"], 8);
    }

    #[test]
    fn the_same_seeds_give_the_same_bytes() {
        let seed = KeyPair::new_user().seed().unwrap();
        let operator = Operator::new("O");
        let account = operator.account("A", AccountLimits::default());
        let claims = UserClaims { bearer: true, publish: vec!["a.>".into()], ..UserClaims::default() };
        let creds = |name| account.user_from_seed(name, &seed, &claims).unwrap().creds();
        assert_eq!(creds("u"), creds("u"));
        assert_ne!(creds("u"), creds("v"));
    }

    #[test]
    fn printing_a_user_hides_its_seed() {
        let user = Operator::new("O").account("A", AccountLimits::default());
        let user = user.user("u", &UserClaims::default()).unwrap();
        assert!(!format!("{user:?}").contains(&user.seed));
    }

    #[test]
    fn a_bad_seed_is_named_by_its_owner_only() {
        let error = Operator::from_seed("EXAMPLE", "SOnonsense").unwrap_err().to_string();
        assert!(error.contains("EXAMPLE") && !error.contains("nonsense"), "{error}");
    }
}
