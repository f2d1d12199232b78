//! Services that answer `$SRV.PING`, as far as their subscriptions tell of them.

use crate::text::Name;
use std::collections::BTreeMap;
use time::OffsetDateTime;

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

/// A list that is the oldest of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestList {
    /// The id of the server that told it.
    pub server: Name,
    /// When the gather began in which it did.
    pub at: OffsetDateTime,
}

/// From when what is known of services is: not every server is asked for everything in every epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceLists {
    /// The oldest list of the accounts that have services on a server; none where no server was asked.
    pub accounts: Option<OldestList>,
    /// By account, where any server knows services of it: the oldest list of its services, or of the accounts where a server
    /// has not told of this one.
    pub services: BTreeMap<Name, OldestList>,
}

impl ServiceLists {
    /// The oldest list in which a service of the account would stand.
    pub fn oldest(&self, account: &Name) -> Option<&OldestList> {
        self.services.get(account).or(self.accounts.as_ref())
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
