//! The claims of JWTs and of activation tokens, read without verifying them: the server does that.

use super::accountz::Import;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The part of a user's claims that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    /// Readable name.
    pub name: Option<String>,
    /// Subscriptions a connection may have; -1 unlimited.
    pub subscriptions: Option<i64>,
    /// Whether the token alone logs in, without the user's key.
    pub bearer: bool,
}

/// Longest token that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;

/// The same of an account's JWT, which has its imports and their tokens in it: no message is longer.
const LONGEST_OF_ACCOUNT: usize = 64 * 1024 * 1024;

/// Characters of a public key.
const KEY_BYTES: usize = 56;

/// The claims in `token` if it is a JWT of `user`. Older servers put MQTT passwords into the same field; such a
/// text is not a JWT of that user, and nothing of it is kept.
pub fn user_claims(token: &str, user: &str) -> Option<UserClaims> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
        name: Option<String>,
        #[serde(default)]
        nats: Nats,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Nats {
        subs: Option<i64>,
        bearer_token: bool,
    }
    if user.is_empty() {
        return None;
    }
    let claims: Claims = claims(token, LONGEST)?;
    let Nats { subs, bearer_token } = claims.nats;
    (claims.sub == user).then_some(UserClaims {
        name: claims.name,
        subscriptions: subs,
        bearer: bearer_token,
    })
}

/// Who a user's JWT says that it is, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The user's public key.
    pub user: String,
    /// The key that signed it: the account's, or a signing key of it.
    pub issuer: String,
    /// The account's public key.
    pub account: String,
}

/// Whose the user's JWT in `token` is. What is no JWT of a user, such as a password, is nobody's.
pub fn issued(token: &str) -> Option<Issued> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
        iss: String,
        #[serde(default)]
        nats: Nats,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Nats {
        issuer_account: String,
    }
    let Claims { sub, iss, nats } = claims(token, LONGEST)?;
    let is_key = |key: &str, kind| {
        key.starts_with(kind) && key.len() == KEY_BYTES && nkeys::KeyPair::from_public_key(key).is_ok()
    };
    let account = if nats.issuer_account.is_empty() { iss.clone() } else { nats.issuer_account };
    (is_key(&sub, 'U') && is_key(&iss, 'A') && is_key(&account, 'A')).then_some(Issued {
        user: sub,
        issuer: iss,
        account,
    })
}

/// What the account's JWT in `token` declares to import; none if it is no JWT of that account.
pub fn account_imports(token: &str, account: &str) -> Option<Vec<Import>> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
        #[serde(default)]
        nats: Nats,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Nats {
        imports: Option<Vec<Import>>,
    }
    let Claims { sub, nats } = claims(token, LONGEST_OF_ACCOUNT)?;
    (!account.is_empty() && sub == account).then(|| nats.imports.unwrap_or_default())
}

fn claims<T: DeserializeOwned>(token: &str, longest: usize) -> Option<T> {
    if token.len() > longest {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
}

/// What an activation token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Its length in bytes.
    pub bytes: u64,
    /// None where it cannot be read.
    pub claims: Option<ActivationClaims>,
}

/// The claims of an activation token, with which an account lets another one import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivationClaims {
    /// Public key that signed it.
    pub issuer: String,
    /// The exporting account, where a signing key of it has signed.
    pub issuer_account: String,
    /// The account that may import.
    pub importer: String,
    /// When it expires, as Unix time in seconds; 0 for never.
    pub expires: i64,
    /// The subject that may be imported.
    pub subject: String,
    /// `stream` or `service`.
    pub kind: String,
}

/// Reads an activation token.
pub fn activation(token: &str) -> Activation {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Claims {
        iss: String,
        sub: String,
        exp: i64,
        nats: Nats,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Nats {
        subject: String,
        kind: String,
        // Claims of version 1 have the kind here, those of version 2 the word `activation`.
        #[serde(rename = "type")]
        claim: String,
        issuer_account: String,
    }
    let read = claims::<Claims>(token, LONGEST).filter(|claims| !claims.iss.is_empty());
    let claims = read.map(|Claims { iss, sub, exp, nats }| ActivationClaims {
        issuer: iss,
        issuer_account: nats.issuer_account,
        importer: sub,
        expires: exp,
        subject: nats.subject,
        kind: if nats.kind.is_empty() { nats.claim } else { nats.kind },
    });
    Activation { bytes: token.len() as u64, claims }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(payload.as_bytes()))
    }

    #[test]
    fn activations_of_both_versions_are_read() {
        let two = token(
            r#"{"iss":"AE","sub":"AI","exp":7,"nats":{"subject":"a.>","kind":"stream","type":"activation","issuer_account":"AX"}}"#,
        );
        let expected = ActivationClaims {
            issuer: "AE".into(),
            issuer_account: "AX".into(),
            importer: "AI".into(),
            expires: 7,
            subject: "a.>".into(),
            kind: "stream".into(),
        };
        assert_eq!(activation(&two), Activation { bytes: two.len() as u64, claims: Some(expected) });
        let one = activation(&token(r#"{"iss":"AE","sub":"AI","nats":{"subject":"a","type":"service"}}"#));
        assert_eq!(one.claims.map(|claims| (claims.kind, claims.expires)), Some(("service".into(), 0)));
        for bad in ["", "https://example.com/token", "a.b.c", &token("{}"), &token(r#"{"iss":1}"#)] {
            assert_eq!(activation(bad), Activation { bytes: bad.len() as u64, claims: None }, "{bad}");
        }
    }

    #[test]
    fn a_users_jwt_tells_its_account_and_a_password_nothing() {
        let key = |kind, n| nkeys::KeyPair::new_from_raw(kind, [n; 32]).unwrap().public_key();
        let (user, account) = (key(nkeys::KeyPairType::User, 1), key(nkeys::KeyPairType::Account, 2));
        let signing = key(nkeys::KeyPairType::Account, 3);
        let own = token(&format!(r#"{{"sub":"{user}","iss":"{account}","nats":{{}}}}"#));
        let expected = Issued { user: user.clone(), issuer: account.clone(), account: account.clone() };
        assert_eq!(issued(&own), Some(expected.clone()));
        let signed = token(&format!(
            r#"{{"sub":"{user}","iss":"{signing}","nats":{{"issuer_account":"{account}"}}}}"#
        ));
        assert_eq!(issued(&signed), Some(Issued { issuer: signing, ..expected }));
        let secret = token(&format!(r#"{{"sub":"s3cr3t","iss":"{account}"}}"#));
        for bad in
            ["", "password", "pass.word.x", &secret, &token(&format!(r#"{{"sub":"{user}","iss":"x"}}"#))]
        {
            assert_eq!(issued(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_jwt_of_the_account_tells_its_imports() {
        let of = |token: &str| -> Option<Vec<(String, bool)>> {
            let imports = account_imports(token, "AI")?.into_iter();
            Some(imports.map(|import| (import.subject, import.activation.is_some())).collect())
        };
        let import = r#"{"subject":"a.>","account":"AE","type":"stream","token":"secret"}"#;
        let good =
            token(&format!(r#"{{"sub":"AI","nats":{{"imports":[{import}],"limits":{{"conn":-1}}}}}}"#));
        assert_eq!(of(&good), Some(vec![("a.>".into(), true)]));
        assert!(!format!("{:?}", account_imports(&good, "AI")).contains("secret"));
        for none in
            [r#"{"sub":"AI"}"#, r#"{"sub":"AI","nats":{}}"#, r#"{"sub":"AI","nats":{"imports":null}}"#]
        {
            assert_eq!(of(&token(none)), Some(Vec::new()), "{none}");
        }
        // Of many activations it is longer than any other token.
        let long = format!(r#"{{"sub":"AI","nats":{{"imports":[{}]}}}}"#, vec![import; 2000].join(","));
        assert_eq!(of(&token(&long)).map(|imports| imports.len()), Some(2000));
        assert_eq!(account_imports(&good, "AX"), None);
        assert_eq!(account_imports(&token(r#"{"sub":""}"#), ""), None);
        for bad in ["", "a.b.c", "{}", &token("[]"), &token(r#"{"sub":"AI","nats":{"imports":{}}}"#)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_jwt_of_the_user_is_read() {
        let good = token(r#"{"sub":"UABC","name":"worker","nats":{"subs":-1}}"#);
        let claims = UserClaims { name: Some("worker".into()), subscriptions: Some(-1), bearer: false };
        assert_eq!(user_claims(&good, "UABC"), Some(claims));
        let bearer = token(r#"{"sub":"UABC","nats":{"bearer_token":true}}"#);
        assert!(user_claims(&bearer, "UABC").unwrap().bearer);
        assert_eq!(user_claims(&good, "UXYZ"), None);
        for bad in ["", "password", "a.b.c", "pass.word.x", "....", &token("[]"), &token(r#"{"sub":1}"#)] {
            assert_eq!(user_claims(bad, "UABC"), None, "{bad}");
        }
    }
}
