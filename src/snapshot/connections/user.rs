//! Who a connection belongs to, without ever keeping a secret; and the fold of one user's connections.

use super::{TopConnection, text};
use crate::snapshot::{TopCounter, Version};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::connz::Connection;
use crate::wire::jwt;
use crate::wire::time::timestamp;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Silent connections that are kept per user, the longest idle first.
const OLDEST: usize = 5;

/// Connections that logged in with a token. One server has one token, so they share an identity.
pub(crate) const TOKEN: &str = "[token]";
/// Connections that no authentication was asked of.
pub(crate) const UNAUTHENTICATED: &str = "[unauthenticated]";
/// Connections whose user a server too old to redact shows next to tokens, in the same field.
pub(crate) const HIDDEN: &str = "[hidden]";

/// The identity of a connection's user within its account.
///
/// Servers before 2.10.28, 2.11.0 and 2.11.1 print a login token in clear where others print a user name. There,
/// what might be a token (global account, no JWT, not a public key) is dropped and stands as `[hidden]`.
pub(super) fn identity<'a>(connection: &'a Connection<'_>, version: Option<Version>) -> Cow<'a, str> {
    let user: &str = &connection.authorized_user;
    let redacts = version.is_some_and(|version| {
        version >= Version(2, 11, 2) || (version >= Version(2, 10, 28) && version < Version(2, 11, 0))
    });
    if user.is_empty() {
        UNAUTHENTICATED.into()
    } else if user == "[REDACTED]" {
        TOKEN.into()
    } else if !redacts && connection.account.is_empty() && !is_user_key(user) {
        HIDDEN.into()
    } else if user.len() > NAME_BYTES {
        bounded(user, NAME_BYTES).to_string().into()
    } else {
        user.into()
    }
}

fn is_user_key(text: &str) -> bool {
    text.starts_with('U') && nkeys::KeyPair::from_public_key(text).is_ok()
}

/// A connection that has been idle for long and never carried a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentConnection {
    /// The server's id.
    pub server: Name,
    /// The connection's id there.
    pub cid: u64,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// Its address without the port.
    pub address: Name,
    /// When it connected.
    pub start: Option<OffsetDateTime>,
    /// Seconds since its last activity, by the server's clock.
    pub idle_seconds: u64,
}

/// The connections of one user of an account.
#[derive(Debug, Clone)]
pub struct UserFold {
    /// The name in the user's JWT, where it can be seen.
    pub name: Option<Name>,
    /// The most subscriptions one connection may have, by the user's JWT; none where it is not visible, -1 unlimited.
    pub subscription_limit: Option<i64>,
    /// Client connections.
    pub connections: u64,
    /// By server id.
    pub servers: BTreeMap<Name, u64>,
    /// By address.
    pub addresses: TopCounter,
    /// By client name; unnamed ones are not in it.
    pub names: TopCounter,
    /// Connections without a name.
    pub unnamed: u64,
    /// Start of the oldest open connection.
    pub oldest: Option<OffsetDateTime>,
    /// Start of the newest.
    pub newest: Option<OffsetDateTime>,
    /// How long a connection without messages may be idle before it counts as silent.
    pub idle_after: Duration,
    /// Silent connections.
    pub silent: u64,
    /// The silent connections that have been idle for longest.
    pub silent_oldest: Vec<SilentConnection>,
    /// The connection with most subscriptions.
    pub top_subscriptions: Option<TopConnection>,
}

impl UserFold {
    pub(super) fn new(
        connection: &Connection<'_>,
        version: Option<Version>,
        idle_after: impl FnOnce(Option<&Name>) -> Duration,
    ) -> Self {
        // Before 2.11.0 `name_tag` held the name of the user; since then it is that of the account.
        let tag = (version.is_some_and(|version| version < Version(2, 11, 0))
            && !connection.name_tag.is_empty())
        .then(|| text(&connection.name_tag));
        let claims = jwt::user_claims(&connection.jwt, &connection.authorized_user);
        let claimed = claims.as_ref().and_then(|claims| claims.name.as_deref());
        let name = claimed.map(text).or(tag).filter(|name| **name != *connection.authorized_user);
        Self {
            idle_after: idle_after(name.as_ref()),
            name,
            subscription_limit: claims.and_then(|claims| claims.subscriptions),
            connections: 0,
            servers: BTreeMap::new(),
            addresses: TopCounter::default(),
            names: TopCounter::default(),
            unnamed: 0,
            oldest: None,
            newest: None,
            silent: 0,
            silent_oldest: Vec::new(),
            top_subscriptions: None,
        }
    }

    /// Takes in one connection; whether it is silent.
    pub(super) fn add(
        &mut self,
        (server, user): (&Name, &Name),
        connection: &Connection<'_>,
        start: Option<OffsetDateTime>,
        now: Option<OffsetDateTime>,
    ) -> bool {
        self.connections += 1;
        *self.servers.entry(server.clone()).or_default() += 1;
        self.addresses.add(&connection.ip, text);
        if connection.name.is_empty() {
            self.unnamed += 1;
        } else {
            self.names.add(&connection.name, text);
        }
        if let Some(start) = start {
            self.oldest = Some(self.oldest.map_or(start, |oldest| oldest.min(start)));
            self.newest = Some(self.newest.map_or(start, |newest| newest.max(start)));
        }
        let name = || (!connection.name.is_empty()).then(|| text(&connection.name));
        if self.top_subscriptions.as_ref().is_none_or(|top| connection.subscriptions > top.subscriptions) {
            self.top_subscriptions = Some(TopConnection {
                server: server.clone(),
                cid: connection.cid,
                name: name(),
                user: user.clone(),
                subscriptions: connection.subscriptions,
            });
        }
        if connection.in_msgs != 0 || connection.out_msgs != 0 {
            return false;
        }
        // PINGs do not refresh the last activity (measured 2.15.1): an idle client with keep-alive is still idle.
        let Some(idle) = now.zip(timestamp(&connection.last_activity)).map(|(now, last)| now - last) else {
            return false;
        };
        if idle <= self.idle_after {
            return false;
        }
        self.silent += 1;
        let idle_seconds = u64::try_from(idle.whole_seconds()).unwrap_or(0);
        let at = self.silent_oldest.partition_point(|other| other.idle_seconds >= idle_seconds);
        if at < OLDEST {
            let silent = SilentConnection {
                server: server.clone(),
                cid: connection.cid,
                name: name(),
                address: text(&connection.ip),
                start,
                idle_seconds,
            };
            self.silent_oldest.insert(at, silent);
            self.silent_oldest.truncate(OLDEST);
        }
        true
    }
}
