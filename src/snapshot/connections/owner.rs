//! Whose a connection is, as a page tells it, and what its JWT says; without ever keeping a secret.

use super::user::{identity, is_user_key};
use super::users::UserFold;
use crate::snapshot::Version;
use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::connz::Connection;
use crate::wire::jwt::{UserClaims, user_claims};
use hashbrown::DefaultHashBuilder;
use std::borrow::Cow;
use std::hash::BuildHasher;

/// Stands for a JWT: 31 bits tell those of a user apart, and one tells whether it is a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u32);

impl Mark {
    /// One that was not looked at in this epoch.
    pub(super) const RECALLED: Self = Self(0);
    /// A bearer token that the server leaves out.
    const HIDDEN: Self = Self(1);

    /// The end of a JWT is that of its signature, which no two of a user have in common; the mark tells nobody what it was.
    fn of(token: &str, marks: &DefaultHashBuilder) -> Self {
        let end = &token.as_bytes()[token.len().saturating_sub(16)..];
        Self(((marks.hash_one(end) as u32) & !1).max(2))
    }

    const fn with_bearer(self, bearer: bool) -> Self {
        Self(self.0 | bearer as u32)
    }

    const fn is_bearer(self) -> bool {
        self.0 & 1 == 1
    }

    const fn is_of(self, jwt: Self) -> bool {
        self.0 & !1 == jwt.0
    }
}

/// Whose a connection is: it never changes while the connection is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Name or public key of the account.
    pub account: Name,
    /// The account's readable name, where connections tell it.
    pub account_name: Option<Name>,
    /// The user's identity, without secrets.
    pub user: Name,
    /// The user's readable name.
    pub name: Option<Name>,
    /// The most subscriptions that its JWT allows a connection; none where there is no JWT, or no limit in it.
    pub limit: Option<u64>,
    /// Whether it has logged in with a bearer token.
    pub bearer: bool,
}

impl Owner {
    /// From a page that tells it.
    pub fn of(connection: &Connection<'_>, version: Option<Version>) -> Self {
        let claims = user_claims(&connection.jwt, &connection.authorized_user);
        Self {
            account: Name::from(account_of(connection)),
            account_name: account_name(connection, version).map(|name| bounded(name, TEXT_BYTES)),
            user: Name::from(identity(connection, version)),
            name: readable_name(connection, version, claims.as_ref()),
            bearer: match &claims {
                Some(claims) => claims.bearer,
                None => is_hidden_bearer(connection, version),
            },
            limit: claims.and_then(|claims| claims.subscriptions).and_then(|limit| u64::try_from(limit).ok()),
        }
    }
}

/// Before 2.11.0 `name_tag` held the name of the user; since then it is that of the account.
fn tags_users(version: Option<Version>) -> bool {
    version.is_some_and(|version| version < Version(2, 11, 0))
}

pub(super) fn account_name<'a>(connection: &'a Connection<'_>, version: Option<Version>) -> Option<&'a str> {
    Some(&*connection.name_tag).filter(|tag| !tag.is_empty() && !tags_users(version))
}

/// The global account is left out of the answer by every version.
pub(super) fn account_of<'a>(connection: &'a Connection<'_>) -> Cow<'a, str> {
    cut(if connection.account.is_empty() { "$G" } else { &connection.account })
}

fn cut(id: &str) -> Cow<'_, str> {
    if id.len() <= NAME_BYTES { id.into() } else { bounded(id, NAME_BYTES).to_string().into() }
}

pub(super) fn readable_name(
    connection: &Connection<'_>,
    version: Option<Version>,
    claims: Option<&UserClaims>,
) -> Option<Name> {
    let tag = Some(&*connection.name_tag).filter(|tag| !tag.is_empty() && tags_users(version));
    let name = claims.and_then(|claims| claims.name.as_deref()).or(tag)?;
    (name != connection.authorized_user).then(|| bounded(name, TEXT_BYTES))
}

/// What is known of the JWT that a connection has logged in with.
#[derive(Clone, Copy)]
pub(super) struct Credential {
    pub(super) limit: Option<u64>,
    pub(super) bearer: bool,
}

impl Credential {
    /// A user may have had several JWTs, one after another: each of its connections has what the one says that it logged in
    /// with.
    pub(super) fn of(
        user: &mut UserFold,
        connection: &Connection<'_>,
        version: Option<Version>,
        claims: Option<UserClaims>,
        marks: &DefaultHashBuilder,
    ) -> Self {
        let token: &str = &connection.jwt;
        let known = user.jwt_mark();
        if token.is_empty() {
            let bearer = known == Mark::HIDDEN || is_hidden_bearer(connection, version);
            if bearer {
                user.set_limit(Mark::HIDDEN, None);
            }
            return Self { limit: None, bearer };
        }
        let mark = Mark::of(token, marks);
        if known.is_of(mark) {
            return Self { limit: user.subscription_limit(), bearer: known.is_bearer() };
        }
        let Some(claims) = claims.or_else(|| user_claims(token, &connection.authorized_user)) else {
            return Self { limit: None, bearer: false };
        };
        let limit = claims.subscriptions.and_then(|limit| u64::try_from(limit).ok());
        user.set_limit(mark.with_bearer(claims.bearer), limit);
        Self { limit, bearer: claims.bearer }
    }
}

/// Whether this is a bearer user whose token the server leaves out. In operator mode everybody else shows a JWT (server source
/// and measured, 2.12.8 to 2.15.1); users with a key of a configuration file are in accounts that are no keys.
fn is_hidden_bearer(connection: &Connection<'_>, version: Option<Version>) -> bool {
    let (user, account): (&str, &str) = (&connection.authorized_user, &connection.account);
    // Keys are read last: it takes microseconds, and hardly anybody comes so far.
    let looks_so = |id: &str, kind: char| id.len() == KEY_BYTES && id.starts_with(kind);
    connection.jwt.is_empty()
        && version.is_some_and(Version::hides_bearer_tokens)
        && looks_so(user, 'U')
        && looks_so(account, 'A')
        && is_user_key(user)
        && nkeys::KeyPair::from_public_key(account).is_ok()
}

/// Characters of a public key.
const KEY_BYTES: usize = 56;
