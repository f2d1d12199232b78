//! Services that answer `$SRV.PING`, as far as their subscriptions tell of them.

use crate::text::Name;
use std::collections::BTreeMap;

/// The client library of an instance and its version. The version of the service itself is not visible to the system
/// account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Library {
    /// The client's language, as it says itself; empty where it does not.
    pub language: Name,
    /// The version of its library; empty where it does not say.
    pub version: Name,
}

/// A connection that answers for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConnection {
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// Its address.
    pub address: Name,
    /// The name of the server that it is connected to.
    pub server: Name,
    /// Its library.
    pub library: Library,
}

/// Instances of one service of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Instances by the library of their clients, those behind leafnodes left out.
    pub libraries: BTreeMap<Library, u64>,
    /// Instances by the id of the server that they are connected to, those behind its leafnodes included.
    pub servers: BTreeMap<Name, u64>,
    /// Instances behind leafnodes, of whose clients nothing is known.
    pub behind_leafnodes: u64,
    /// Some of the connections, of as many libraries as possible.
    pub connections: Vec<ServiceConnection>,
}

impl Service {
    /// All instances.
    pub fn instances(&self) -> u64 {
        self.servers.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Keeps what later epochs compare with.
    pub(super) fn forget_connections(&mut self) {
        self.connections = Vec::new();
    }
}

/// Services by account and name.
pub type Services = BTreeMap<(Name, Name), Service>;

/// The key of a service in a series. Its name is a token of a subject, so that it has no space.
pub(super) fn key(account: &Name, name: &Name) -> Name {
    Name::from(format!("{name} {account}"))
}

/// The account and the name of a service by its key in a series.
pub fn service_of(key: &str) -> Option<(&str, &str)> {
    let (name, account) = key.split_once(' ')?;
    Some((account, name))
}
