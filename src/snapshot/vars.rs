//! What VARZ tells.

use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::time::timestamp;
pub use crate::wire::varz::ByKind;
use crate::wire::varz::{JetStreamVarz, ListenerOpts, Varz};
use core::net::IpAddr;
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
    /// Processors that the process may use: those of the machine, or fewer where `GOMAXPROCS` says so (2.10.28, 2.11.2). A
    /// container may hold it to less: since 2.12.5 it is at least 2 there, and a part of one counts as a whole.
    pub cores: u64,
    /// Whether anybody has to log in. It stays true where `no_auth_user` lets everybody in (measured, 2.15.1).
    pub auth_required: bool,
    /// Where it listens for clients; what it advertises, where it advertises another address.
    pub host: Name,
    /// Whether clients must show a certificate.
    pub tls_verify: bool,
    /// Whether every one of its listeners for clients and leafnodes is on a loopback address, or asks for a certificate.
    pub sheltered: bool,
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
        // Somebody may have set more than there are.
        let most = if varz.cores > 0 { varz.cores } else { i64::MAX };
        let cores = varz.gomaxprocs.filter(|cores| *cores > 0).map_or(varz.cores, |cores| cores.min(most));
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
            host: bounded(&varz.host, NAME_BYTES),
            tls_verify: varz.tls_verify,
            sheltered: sheltered(varz),
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

fn sheltered(varz: &Varz) -> bool {
    let clients = is_loopback(&varz.host) || varz.tls_verify;
    let other =
        |listener: &ListenerOpts| listener.port == 0 || is_loopback(&listener.host) || listener.tls_verify;
    clients && [&varz.websocket, &varz.mqtt, &varz.leaf].into_iter().all(other)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vars(more: &serde_json::Value) -> ServerVars {
        let mut told = json!({"connections": 0, "total_connections": 0, "max_connections": 10});
        told.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        ServerVars::of(&serde_json::from_value(told).unwrap())
    }

    #[test]
    fn a_server_is_sheltered_if_all_its_doors_are() {
        for (told, sheltered) in [
            (json!({"host": "0.0.0.0"}), false),
            (json!({}), false),
            (json!({"host": "10.0.0.1"}), false),
            (json!({"host": "127.0.0.1"}), true),
            (json!({"host": "localhost"}), true),
            (json!({"host": "::1"}), true),
            (json!({"host": "0.0.0.0", "tls_verify": true}), true),
            (json!({"host": "127.0.0.1", "websocket": {"host": "0.0.0.0", "port": 8080}}), false),
            (
                json!({"host": "127.0.0.1", "websocket": {"host": "127.0.0.1", "port": 8080}, "mqtt": {}}),
                true,
            ),
            (json!({"host": "127.0.0.1", "mqtt": {"host": "0.0.0.0", "port": 1883}}), false),
            (json!({"host": "127.0.0.1", "leaf": {"host": "0.0.0.0", "port": 7422}}), false),
            (
                json!({"host": "127.0.0.1", "leaf": {"host": "0.0.0.0", "port": 7422, "tls_verify": true}}),
                true,
            ),
        ] {
            assert_eq!(vars(&told).sheltered, sheltered, "{told}");
        }
    }

    #[test]
    fn no_process_uses_more_processors_than_there_are() {
        for (told, cores) in [
            (json!({"cores": 8, "gomaxprocs": 2}), 2),
            (json!({"cores": 8, "gomaxprocs": 64}), 8),
            (json!({"cores": 8, "gomaxprocs": 0}), 8),
            (json!({"cores": 0, "gomaxprocs": 4}), 4),
            (json!({"cores": 8}), 8),
        ] {
            assert_eq!(vars(&told).cores, cores, "{told}");
        }
    }
}
