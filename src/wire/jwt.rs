//! The claims of a user's JWT, read without verifying it: the server has done that.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

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
    if token.len() > LONGEST || user.is_empty() {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims: Claims = serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()?;
    let Nats { subs, bearer_token } = claims.nats;
    (claims.sub == user).then_some(UserClaims {
        name: claims.name,
        subscriptions: subs,
        bearer: bearer_token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(payload.as_bytes()))
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
