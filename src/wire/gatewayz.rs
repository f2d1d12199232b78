//! GATEWAYZ: the gateway connections of a server.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// The gateways of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Gatewayz {
    /// The name of the server's own gateway; left out where it has none.
    pub name: Option<String>,
    /// By the name of the remote cluster: the one connection to it.
    pub outbound_gateways: Option<BTreeMap<String, RemoteGateway>>,
    /// By the name of the remote cluster: those from it, which are only counted. Their number moves between members and may
    /// be 0.
    pub inbound_gateways: Option<BTreeMap<String, Vec<IgnoredAny>>>,
}

/// One gateway connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RemoteGateway {
    /// Whether this server's configuration names the remote cluster; otherwise it learnt of it.
    pub configured: bool,
    /// The connection.
    pub connection: Option<GatewayConnection>,
    /// Accounts, when asked for.
    pub accounts: Option<Vec<GatewayAccount>>,
}

/// The connection of a gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayConnection {
    /// The id of the remote server.
    pub name: String,
    /// Round trip, a Go duration.
    pub rtt: String,
    /// Bytes that wait to be sent.
    pub pending_bytes: i64,
}

/// What a gateway connection knows of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayAccount {
    /// Name or public key.
    pub name: String,
    /// `Optimistic`, `Transitioning` or `Interest-Only`. The first stands also for an account that the remote cluster does not
    /// have, to which nothing is sent; then all three numbers are left out, as they are where they are 0 (server source).
    pub interest_mode: String,
    /// Subjects that nobody there wants.
    pub no_interest_count: i64,
    /// Subscriptions there that it knows.
    pub num_subs: i64,
    /// Those of them in a queue group.
    pub num_queue_subs: i64,
}
