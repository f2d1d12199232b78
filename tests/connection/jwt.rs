//! Operator mode in miniature: keys, JWTs and credentials files made in the test.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

pub(crate) struct Operator {
    key: KeyPair,
    pub(crate) system: KeyPair,
    pub(crate) tenant: KeyPair,
}

/// A user's credentials file and its public key.
pub(crate) struct User {
    pub(crate) creds: String,
    pub(crate) public_key: String,
    pub(crate) jwt: String,
    pub(crate) seed: String,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self { key: KeyPair::new_operator(), system: KeyPair::new_account(), tenant: KeyPair::new_account() }
    }

    /// The server configuration of this operator with both accounts.
    pub(crate) fn configuration(&self) -> String {
        format!("{}system_account: {}\n", self.without_system_account(), self.system.public_key())
    }

    /// The same, with no system account named.
    pub(crate) fn without_system_account(&self) -> String {
        let operator =
            sign(&self.key, "OP", &self.key.public_key(), None, &json!({"type": "operator", "version": 2}));
        let account = |name: &str, key: &KeyPair| {
            let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                                "wildcards": true, "conn": -1, "leaf": -1});
            let jwt = sign(
                &self.key,
                name,
                &key.public_key(),
                None,
                &json!({"type": "account", "version": 2, "limits": limits}),
            );
            format!("  {}: {jwt}\n", key.public_key())
        };
        format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{\n{}{}}}\n",
            account("SYS", &self.system),
            account("TENANT", &self.tenant)
        )
    }

    /// A user of an account; `expires` in Unix seconds.
    pub(crate) fn user(&self, account: &KeyPair, expires: Option<i64>) -> User {
        let key = KeyPair::new_user();
        let claims = json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
        let jwt = sign(account, "user", &key.public_key(), expires, &claims);
        let seed = key.seed().unwrap();
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        User { creds, public_key: key.public_key(), jwt, seed }
    }
}

fn sign(issuer: &KeyPair, name: &str, subject: &str, expires: Option<i64>, nats: &Value) -> String {
    let mut claims = json!({"jti": name, "iat": 1_600_000_000, "iss": issuer.public_key(), "name": name,
                            "sub": subject, "nats": nats});
    if let Some(at) = expires {
        claims["exp"] = at.into();
    }
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}
