//! LEAFZ: the leafnode connections of a server.

use serde::Deserialize;

/// The leafnode connections of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Leafz {
    /// One entry for each remote server and account.
    pub leafs: Option<Vec<LeafInfo>>,
}

/// One leafnode connection. Both its ends list it, where both are heard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LeafInfo {
    /// The other server's name (2.9.15).
    pub name: Option<String>,
    /// Whether this server dialled (2.9.15).
    pub is_spoke: Option<bool>,
    /// The account that it is bound to here.
    pub account: String,
    /// The other end's address.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// Round trip, a Go duration.
    pub rtt: String,
    /// Subjects that the other end is interested in.
    pub subscriptions: u64,
    /// What was negotiated, never what is configured (2.10): `off`, `s2_uncompressed`, `s2_fast` …
    pub compression: Option<String>,
}
