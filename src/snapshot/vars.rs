//! What VARZ tells.

use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::time::timestamp;
pub use crate::wire::varz::ByKind;
use crate::wire::varz::{JetStreamVarz, Varz};
use std::time::Duration;
use time::OffsetDateTime;

/// What VARZ tells.
#[derive(Debug, Clone, Default)]
pub struct ServerVars {
    /// Open NATS, WebSocket and MQTT connections, those of the system account included; exactly the number that
    /// the server compares with its maximum.
    pub connections: u64,
    /// Connections of those kinds since the server started, refused ones included.
    pub total_connections: u64,
    /// The configured maximum. Up to 2.12.4 -1 was "no limit"; from 2.12.5 and 2.14.0 on 0 and -1 mean that every
    /// client is refused, and both are shown as -1.
    pub max_connections: i64,
    /// The most subscriptions a connection may have; none or 0 where the server sets no limit.
    pub max_subscriptions: Option<i64>,
    /// Open leafnode connections.
    pub leafnodes: u64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Percent of one processor, over the last second (server source).
    pub cpu: f64,
    /// Processors that the process may use: those of the machine, or fewer where `GOMAXPROCS` says so (2.10.28, 2.11.2).
    pub cores: u64,
    /// Whether anybody has to log in. It stays true where `no_auth_user` lets everybody in (measured, 2.15.1).
    pub auth_required: bool,
    /// When the configuration was last read.
    pub config_loaded: Option<OffsetDateTime>,
    /// Digest of the configuration (2.11).
    pub config_digest: Option<Name>,
    /// Bytes that may wait for a client before it is closed as a slow consumer.
    pub max_pending: u64,
    /// How long a write may take before the connection is a slow consumer.
    pub write_deadline: Duration,
    /// Slow consumers since the start, of every kind.
    pub slow_consumers: u64,
    /// The same by kind (2.10).
    pub slow_by_kind: Option<ByKind>,
    /// Connections closed since the start because they did not answer pings (2.12).
    pub stale_connections: Option<u64>,
    /// The same by kind (2.12).
    pub stale_by_kind: Option<ByKind>,
    /// How often a fast producer had to wait, since the start (2.12).
    pub stalled_clients: Option<u64>,
    /// Interest, what routes brought included: members of a full mesh show the same.
    pub subscriptions: u64,
    /// Port for routes; 0 where the server is not configured for a cluster.
    pub cluster_port: i64,
    /// The clusters that the gateway block names, its own aside; none without such a block.
    pub gateways: Option<Vec<Name>>,
    /// None where JetStream is off.
    pub jetstream: Option<JetStreamVars>,
}

/// JetStream of a server. Sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JetStreamVars {
    /// The domain, if it has one.
    pub domain: Option<Name>,
    /// The most it may use in memory; 0 or less where none is told.
    pub max_memory: i64,
    /// The most it may use in files.
    pub max_storage: i64,
    /// Used in memory.
    pub memory: u64,
    /// Used in files.
    pub storage: u64,
    /// The sum of `max_bytes` of the streams that it has in memory. 0 on most installations.
    pub reserved_memory: u64,
    /// The same in files.
    pub reserved_storage: u64,
}

impl ServerVars {
    /// From an answer.
    pub fn of(varz: &Varz) -> Self {
        let counted = |count: Option<i64>| count.map(positive);
        let gateways = varz.gateway.name.as_ref().filter(|name| !name.is_empty()).map(|own| {
            let named = varz.gateway.gateways.iter().flatten();
            named
                .filter(|remote| remote.name != *own)
                .map(|remote| bounded(&remote.name, NAME_BYTES))
                .collect()
        });
        let cores = varz.gomaxprocs.filter(|cores| *cores > 0).unwrap_or(varz.cores);
        Self {
            connections: positive(varz.connections),
            total_connections: varz.total_connections,
            max_connections: varz.max_connections,
            max_subscriptions: varz.max_subscriptions,
            leafnodes: positive(varz.leafnodes),
            memory: positive(varz.mem),
            cpu: if varz.cpu.is_finite() { varz.cpu.max(0.0) } else { 0.0 },
            cores: positive(cores),
            auth_required: varz.auth_required,
            config_loaded: timestamp(&varz.config_load_time),
            config_digest: varz.config_digest.as_ref().map(|digest| bounded(digest, NAME_BYTES)),
            max_pending: positive(varz.max_pending),
            write_deadline: Duration::from_nanos(positive(varz.write_deadline)),
            slow_consumers: positive(varz.slow_consumers),
            slow_by_kind: varz.slow_consumer_stats,
            stale_connections: counted(varz.stale_connections),
            stale_by_kind: varz.stale_connection_stats,
            stalled_clients: counted(varz.stalled_clients),
            subscriptions: varz.subscriptions,
            cluster_port: varz.cluster.cluster_port,
            gateways,
            jetstream: jetstream(&varz.jetstream),
        }
    }
}

fn jetstream(told: &JetStreamVarz) -> Option<JetStreamVars> {
    let config = told.config.as_ref()?;
    let stats = told.stats.clone().unwrap_or_default();
    let domain = config.domain.as_deref().filter(|domain| !domain.is_empty());
    Some(JetStreamVars {
        domain: domain.map(|domain| bounded(domain, NAME_BYTES)),
        max_memory: config.max_memory,
        max_storage: config.max_storage,
        memory: stats.memory,
        storage: stats.storage,
        reserved_memory: stats.reserved_memory,
        reserved_storage: stats.reserved_storage,
    })
}

fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
