//! Connections beyond a threshold of their user: all are counted, the worst are kept.

use crate::text::Name;

/// Offenders that are kept per user and offence.
pub(super) const WORST: usize = 5;

/// What a connection may be beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// A round trip longer than [`super::FoldThresholds::rtt_above`].
    Slow,
    /// More bytes that wait to be sent to it than [`super::FoldThresholds::pending_above`].
    Backlog,
}

impl Offence {
    pub(super) const ALL: [Self; 2] = [Self::Slow, Self::Backlog];

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// Plain or TLS.
    Nats,
    /// WebSocket.
    Websocket,
    /// MQTT.
    Mqtt,
}

impl ClientKind {
    /// As a server writes it; servers before 2.10 write nothing.
    pub(super) fn of(client_type: &str) -> Self {
        match client_type {
            "websocket" => Self::Websocket,
            "mqtt" => Self::Mqtt,
            _ => Self::Nats,
        }
    }
}

/// A connection beyond a threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// The server's id.
    pub server: Name,
    /// The connection's id there.
    pub cid: u64,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// Its address without the port.
    pub address: Name,
    /// How it is connected.
    pub kind: ClientKind,
    /// Microseconds of the round trip, or bytes that wait.
    pub value: u64,
}

/// The worst of one offence of a user.
#[derive(Debug, Clone, Default)]
pub(super) struct Worst {
    /// Offenders that had passed before the first that could be kept.
    pub(super) before: u64,
    /// The worst first; of equal ones the first by server and id.
    pub(super) rows: Vec<Offender>,
}

impl Worst {
    pub(super) fn offer(&mut self, place: (&Name, u64), value: u64, row: impl FnOnce() -> Offender) {
        let before = |other: &Offender| {
            other.value > value || (other.value == value && (&other.server, other.cid) < place)
        };
        let at = self.rows.partition_point(before);
        if at < WORST {
            self.rows.truncate(WORST - 1);
            self.rows.insert(at, row());
        }
    }
}
