//! Evidence that the checks of services share.

use crate::checks::evidence::TOP;
use crate::snapshot::Service;
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;

/// A connection that answers for a service.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConnectionRow {
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Name>,
    /// Its address.
    #[schemars(with = "String")]
    pub(super) address: Name,
    /// The server's name.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// The client's language.
    #[schemars(with = "String")]
    pub(super) language: Name,
    /// The version of its library.
    #[schemars(with = "String")]
    pub(super) version: Name,
}

/// Some connections of a service.
pub(super) fn rows(service: &Service) -> Vec<ConnectionRow> {
    let row = |connection: &crate::snapshot::ServiceConnection| ConnectionRow {
        name: connection.name.clone(),
        address: connection.address.clone(),
        server: connection.server.clone(),
        language: connection.library.language.clone(),
        version: connection.library.version.clone(),
    };
    service.connections.iter().take(TOP).map(row).collect()
}
