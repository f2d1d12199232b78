//! Who a connection belongs to, without ever keeping a secret; and what is kept of some users beside their counts.

use super::ServerFold;
use crate::snapshot::{TopCounter, Version};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::connz::Connection;
use std::borrow::Cow;
use time::OffsetDateTime;

/// Silent connections that are kept per user, the longest idle first.
pub(super) const OLDEST: usize = 5;

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

pub(super) fn is_user_key(text: &str) -> bool {
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

/// What is kept of a user while there is room for it. It covers the connections that were seen since it began.
#[derive(Debug, Clone, Default)]
pub struct UserDetails {
    /// Connections of the user that had passed before.
    pub before: u64,
    /// By the slots of servers: 8 bytes for each server that the user is on.
    pub(super) servers: Vec<(u32, u32)>,
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
}

impl UserDetails {
    /// Connections on a server; exact since the details began.
    pub fn on(&self, server: &ServerFold) -> u64 {
        let at = self.servers.binary_search_by_key(&server.slot, |(slot, _)| *slot);
        at.map_or(0, |at| self.servers[at].1.into())
    }

    pub(super) fn add(&mut self, slot: u32, start: Option<OffsetDateTime>) {
        match self.servers.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(at) => self.servers[at].1 = self.servers[at].1.saturating_add(1),
            Err(at) => self.servers.insert(at, (slot, 1)),
        }
        if let Some(start) = start {
            self.oldest = Some(self.oldest.map_or(start, |oldest| oldest.min(start)));
            self.newest = Some(self.newest.map_or(start, |newest| newest.max(start)));
        }
    }
}
