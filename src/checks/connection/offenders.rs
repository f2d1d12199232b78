//! What the checks of connections beyond a threshold have in common.

use crate::snapshot::{ClientKind, Offender, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// Where one of the worst connections is found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Place {
    /// The server's name.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// The connection's id there.
    pub(super) cid: u64,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Name>,
    /// Its address without the port.
    #[schemars(with = "String")]
    pub(super) address: Name,
    /// How it is connected.
    pub(super) kind: ClientKind,
}

impl Place {
    pub(super) fn of(snapshot: &Snapshot, offender: &Offender) -> Self {
        Self {
            server: snapshot.server_name(&offender.server),
            cid: offender.cid,
            name: offender.name.clone(),
            address: offender.address.clone(),
            kind: offender.kind,
        }
    }

    /// In words: connection, server and client.
    pub(super) fn words(&self) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" (`{name}`)"));
        let Self { server, cid, address, .. } = self;
        format!("connection {cid} of server {server}, from {address}{name}")
    }
}

/// The servers that all of these are on, if it is one only.
pub(super) fn only_server<'a>(mut places: impl Iterator<Item = &'a Place>) -> Option<&'a Name> {
    let first = &places.next()?.server;
    places.all(|place| place.server == *first).then_some(first)
}

/// The address that all of these come from, if there are several and it is one only.
pub(super) fn only_address<'a>(places: impl Iterator<Item = &'a Place>) -> Option<&'a Name> {
    let (mut count, mut addresses) = (0, BTreeSet::new());
    for place in places {
        count += 1;
        addresses.insert(&place.address);
    }
    addresses.pop_first().filter(|_| count > 1 && addresses.is_empty())
}
