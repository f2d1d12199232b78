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
    /// To clients and to other servers, since the start.
    #[serde(default)]
    pub sent: DataStats,
    /// From clients and from other servers, since the start.
    #[serde(default)]
    pub received: DataStats,
    /// Slow consumers since the start; one client may be counted more than once.
    #[serde(default)]
    pub slow_consumers: i64,
}

/// Messages of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataStats {
    /// All of them, those through gateways, routes and leafnodes included.
    pub bytes: i64,
    /// Those through gateways (2.11).
    pub gateways: Option<GatewayStats>,
}

/// Messages of an account through gateways.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayStats {
    /// Their bytes.
    pub bytes: i64,
}
