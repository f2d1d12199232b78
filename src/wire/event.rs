//! Events of the system account.

use serde::Deserialize;
use std::borrow::Cow;

/// The part of a DISCONNECT event that is used. Its `client.jwt` holds a replayable credential even for bearer
/// users (seen on 2.15.1), and there is no field here that could take it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Disconnect<'a> {
    /// Why the server ended the connection.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// Whose it was.
    #[serde(borrow)]
    pub client: Client<'a>,
}

/// The client of an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Client<'a> {
    /// Name or public key of the account.
    #[serde(borrow)]
    pub acc: Cow<'a, str>,
}

/// Reads a DISCONNECT event.
pub fn disconnect(body: &[u8]) -> Result<Disconnect<'_>, super::WireError> {
    super::parse(body)
}
