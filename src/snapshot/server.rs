//! A server, as far as it answered.

use super::ServerFold;
use crate::text::Name;
use time::OffsetDateTime;

/// The first three numbers of a server's version; what follows (`-dev`, `-RC.1`) is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// Reads `2.10.26`, `v2.12.0-RC.1`; none of anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').splitn(3, '.');
        let mut number = || {
            let digits = parts.next()?;
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        Some(Self(number()?, number()?, number()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A server that answered STATSZ in this epoch.
#[derive(Debug, Clone)]
pub struct Server {
    /// Public key, new at every boot.
    pub id: Name,
    /// Configured name, which stays over restarts; a server without one uses its id.
    pub name: Name,
    /// The cluster, where it is a member of one. A leaf server without a cluster block reports its own name as
    /// cluster (measured, 2.9.10 to 2.15.1): that is none.
    pub cluster: Option<Name>,
    /// Its version, where it could be read.
    pub version: Option<Version>,
    /// Start of the process, by the server's clock.
    pub start: Option<OffsetDateTime>,
    /// The server's clock when it answered.
    pub now: Option<OffsetDateTime>,
    /// From VARZ.
    pub vars: Option<ServerVars>,
    /// From the sweep over its connections.
    pub fold: Option<ServerFold>,
}

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
}

impl Server {
    /// Whether `max_connections` of 0 or less makes this server refuse every client; none if its version is unknown.
    pub fn refuses_all_when_not_positive(&self) -> Option<bool> {
        self.version.map(|version| {
            version >= Version(2, 14, 0) || (version >= Version(2, 12, 5) && version < Version(2, 13, 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(Version::parse("2.10.26"), Some(Version(2, 10, 26)));
        assert_eq!(Version::parse("v2.12.0-RC.1"), Some(Version(2, 12, 0)));
        assert_eq!(Version::parse("2.15.0-dev"), Some(Version(2, 15, 0)));
        for bad in ["", "2", "2.10", "x.y.z", "2.70000.1"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
