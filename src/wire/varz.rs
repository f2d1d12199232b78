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
    /// Where it listens for clients, or what it advertises instead.
    #[serde(default)]
    pub host: String,
    /// Whether clients must show a certificate.
    #[serde(default)]
    pub tls_verify: bool,
    /// The websocket block.
    #[serde(default)]
    pub websocket: ListenerOpts,
    /// The mqtt block.
    #[serde(default)]
    pub mqtt: ListenerOpts,
    /// The leafnodes block.
    #[serde(default)]
    pub leaf: ListenerOpts,
    /// The cluster block.
    #[serde(default)]
    pub cluster: ClusterOpts,
    /// The gateway block.
    #[serde(default)]
    pub gateway: GatewayOpts,
    /// Left out where nobody has to log in.
    #[serde(default)]
    pub auth_required: bool,
    /// When the configuration was last read.
    #[serde(default)]
    pub config_load_time: String,
    /// Digest of the configuration (2.11).
    #[serde(default)]
    pub config_digest: Option<String>,
    /// Resident memory, in bytes.
    #[serde(default)]
    pub mem: i64,
    /// Processors of the machine.
    #[serde(default)]
    pub cores: i64,
    /// Processors that the process may use (2.10.28, 2.11.2).
    #[serde(default)]
    pub gomaxprocs: Option<i64>,
    /// Percent of one processor.
    #[serde(default)]
    pub cpu: f64,
    /// Bytes that may wait for a client.
    #[serde(default)]
    pub max_pending: i64,
    /// How long a write may take, in nanoseconds.
    #[serde(default)]
    pub write_deadline: i64,
    /// Slow consumers since the start, of every kind.
    #[serde(default)]
    pub slow_consumers: i64,
    /// The same by kind (2.10).
    #[serde(default)]
    pub slow_consumer_stats: Option<ByKind>,
    /// Connections closed because they did not answer pings, since the start (2.12).
    #[serde(default)]
    pub stale_connections: Option<i64>,
    /// The same by kind (2.12).
    #[serde(default)]
    pub stale_connection_stats: Option<ByKind>,
    /// How often a fast producer was made to wait, since the start (2.12).
    #[serde(default)]
    pub stalled_clients: Option<i64>,
    /// Interest, what routes brought included.
    #[serde(default)]
    pub subscriptions: u64,
    /// Empty where JetStream is off.
    #[serde(default)]
    pub jetstream: JetStreamVarz,
}

/// Counts by kind of connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ByKind {
    /// Clients.
    pub clients: u64,
    /// Routes.
    pub routes: u64,
    /// Gateways.
    pub gateways: u64,
    /// Leafnodes.
    pub leafs: u64,
}

/// What a block of a server's configuration says of its listener.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ListenerOpts {
    /// Where it listens.
    pub host: String,
    /// 0 or left out where there is none.
    pub port: i64,
    /// Whether whoever connects must show a certificate; told of leafnodes only.
    pub tls_verify: bool,
}

/// The cluster block of a server's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterOpts {
    /// Port for routes; 0 or left out where the server is not configured for a cluster.
    pub cluster_port: i64,
}

/// The gateway block of a server's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayOpts {
    /// The name of the server's own cluster; left out where it has no gateway.
    pub name: Option<String>,
    /// The clusters that it is to connect to, its own among them.
    pub gateways: Option<Vec<RemoteOpts>>,
}

/// One remote of a gateway block.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RemoteOpts {
    /// The cluster.
    pub name: String,
}

/// JetStream of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JetStreamVarz {
    /// None where JetStream is off.
    pub config: Option<JetStreamConfig>,
    /// What is used.
    pub stats: Option<JetStreamStats>,
}

/// JetStream's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JetStreamConfig {
    /// Bytes.
    pub max_memory: i64,
    /// Bytes.
    pub max_storage: i64,
    /// The domain, if it has one.
    pub domain: Option<String>,
}

/// What JetStream uses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JetStreamStats {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes in files.
    pub storage: u64,
    /// Bytes that streams with `max_bytes` may use in memory.
    pub reserved_memory: u64,
    /// Bytes that streams with `max_bytes` may use in files.
    pub reserved_storage: u64,
}
