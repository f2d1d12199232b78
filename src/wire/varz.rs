//! VARZ.

use serde::Deserialize;

/// The part of VARZ that is used. What every version prints must be there: a missing maximum would be taken for 0.
#[derive(Debug, Clone, Deserialize)]
pub struct Varz {
    /// Open client connections.
    pub connections: i64,
    /// Client connections since the start, those refused because the server was full included (measured, 2.10.26 and
    /// 2.15.1).
    pub total_connections: u64,
    /// The maximum; see `ServerVars::max_connections` for what 0 and -1 mean.
    pub max_connections: i64,
    /// Left out where the server has no limit of its own.
    #[serde(default)]
    pub max_subscriptions: Option<i64>,
    /// Open leafnode connections.
    #[serde(default)]
    pub leafnodes: i64,
    /// The system account's name or key.
    #[serde(default)]
    pub system_account: Option<String>,
    /// The cluster block.
    #[serde(default)]
    pub cluster: ClusterOpts,
}

/// The cluster block of a server's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterOpts {
    /// Port for routes; 0 or left out where the server is not configured for a cluster.
    pub cluster_port: i64,
}
