//! A server, as far as it answered.

use super::{Closed, Gateways, Health, Leaf, Route, ServerFold, ServerVars};
use crate::text::Name;
use crate::wire::subsz::Subsz;
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

impl Version {
    /// Whether CONNZ leaves out the JWTs of bearer users, which are credentials by themselves (server source: 2.11.17, 2.12.8,
    /// 2.14.0). To know which they are, it decodes the JWT of every connection.
    pub fn hides_bearer_tokens(self) -> bool {
        self >= Self(2, 14, 0)
            || (self >= Self(2, 12, 8) && self < Self(2, 13, 0))
            || (self >= Self(2, 11, 17) && self < Self(2, 12, 0))
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
    /// How many of its connections are this agent's own, as the agent knows it.
    pub own: u64,
    /// From ROUTEZ, one for each peer.
    pub routes: Option<Vec<Route>>,
    /// From GATEWAYZ.
    pub gateways: Option<Gateways>,
    /// From LEAFZ.
    pub leafs: Option<Vec<Leaf>>,
    /// From SUBSZ.
    pub interest: Option<Subsz>,
    /// From HEALTHZ.
    pub health: Option<Health>,
    /// Connections that ended since the previous epoch.
    pub closed: Option<Closed>,
}

impl Server {
    /// A server of which only the roll call is known.
    pub const fn new(id: Name, name: Name, cluster: Option<Name>) -> Self {
        Self {
            id,
            name,
            cluster,
            version: None,
            start: None,
            now: None,
            vars: None,
            fold: None,
            own: 0,
            routes: None,
            gateways: None,
            leafs: None,
            interest: None,
            health: None,
            closed: None,
        }
    }

    /// Its identity over restarts: names are unique only within a cluster where JetStream is not used.
    pub fn key(&self) -> Name {
        self.cluster
            .as_ref()
            .map_or_else(|| self.name.clone(), |cluster| Name::from(format!("{cluster}/{}", self.name)))
    }

    /// How many of its connections are this agent's own: those that the sweep found, or should have found.
    pub fn own_connections(&self) -> u64 {
        self.fold.as_ref().map_or(self.own, |fold| fold.own)
    }

    /// The JetStream domain, where it has one.
    pub fn domain(&self) -> Option<&Name> {
        self.vars.as_ref()?.jetstream.as_ref()?.domain.as_ref()
    }

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
