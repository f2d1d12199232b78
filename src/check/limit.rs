//! Limits of accounts, and whether they can be seen.

use super::DeclaredLimits;
use crate::snapshot::AccountLimits;

/// A limit of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountLimit {
    /// Client connections.
    Connections,
    /// Subscriptions of one connection.
    Subscriptions,
    /// Leafnode connections.
    Leafnodes,
}

impl AccountLimit {
    pub(super) const fn of_claims(self, limits: &AccountLimits) -> i64 {
        match self {
            Self::Connections => limits.connections,
            Self::Subscriptions => limits.subscriptions,
            Self::Leafnodes => limits.leafnodes,
        }
    }

    pub(super) const fn of_declared(self, limits: &DeclaredLimits) -> Option<u64> {
        match self {
            Self::Connections => limits.max_connections,
            Self::Subscriptions => limits.max_subscriptions,
            Self::Leafnodes => limits.max_leafnodes,
        }
    }

    /// For sentences.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Connections => "connection limit",
            Self::Subscriptions => "subscription limit",
            Self::Leafnodes => "leafnode limit",
        }
    }

    /// The key under `[accounts.<name>]`.
    pub const fn declared_key(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Subscriptions => "max_subscriptions",
            Self::Leafnodes => "max_leafnodes",
        }
    }
}

/// What is known of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitView {
    /// There is one.
    Limited {
        /// Its value; 0 allows none at all.
        limit: u64,
        /// `jwt` or `declared`.
        source: &'static str,
    },
    /// There is none.
    Unlimited,
    /// Nobody can see it, and why.
    NotVisible(String),
    /// It could be seen but was not read in this epoch, and why.
    Unknown(String),
}

impl LimitView {
    pub(super) fn from_claim(value: i64) -> Self {
        // The server treats every negative value as unlimited, as `jwt.NoLimit` is -1.
        u64::try_from(value).map_or(Self::Unlimited, |limit| Self::Limited { limit, source: "jwt" })
    }
}
