//! ROUTEZ: the route connections of a server.

use serde::Deserialize;

/// The routes of a server, one entry for each pooled connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Routez {
    /// Left out or null where there are none.
    pub routes: Option<Vec<RouteInfo>>,
}

/// One route connection. The default pool has three to each peer since 2.10, and one more for the system account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RouteInfo {
    /// The peer's id.
    pub remote_id: String,
    /// The peer's name (2.9.16).
    pub remote_name: Option<String>,
    /// Round trip, a Go duration.
    pub rtt: String,
    /// Bytes that wait to be sent to the peer.
    pub pending_size: i64,
    /// The account that has this connection to itself (2.10).
    pub account: Option<String>,
}
