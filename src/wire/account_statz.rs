//! ACCOUNT.PING.STATZ.

use serde::Deserialize;

/// What a server counts per account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccountStatz {
    /// Accounts loaded on the server.
    pub account_statz: Option<Vec<AccountStat>>,
}

/// One account on one server.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountStat {
    /// Name or public key.
    pub acc: String,
    /// Readable name (2.11).
    #[serde(default)]
    pub name: Option<String>,
    /// Client connections here.
    pub conns: i64,
    /// Leafnode connections here.
    #[serde(default)]
    pub leafnodes: i64,
    /// Interest of the account as this server sees it (2.10).
    #[serde(default)]
    pub num_subscriptions: Option<u64>,
}
