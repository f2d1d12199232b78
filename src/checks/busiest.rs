//! Evidence: the connections of a server that come first in an order.

use crate::snapshot::{BusyConnection, FollowUp, Order, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;

/// A connection that stands out by what it carries or holds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct BusyRow {
    /// The connection's id on the server.
    pub(super) cid: u64,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Name>,
    /// The account.
    #[schemars(with = "String")]
    pub(super) account: Name,
    /// The user.
    #[schemars(with = "String")]
    pub(super) user: Name,
    /// Its address, without the port.
    #[schemars(with = "String")]
    pub(super) address: Name,
    /// Bytes sent to the client for each second since it connected; none where the time is not known.
    pub(super) bytes_to_per_second: Option<u64>,
    /// The same of bytes that came from it.
    pub(super) bytes_from_per_second: Option<u64>,
    /// Bytes that wait to be sent to it.
    pub(super) pending_bytes: u64,
    /// Its subscriptions.
    pub(super) subscriptions: u64,
}

impl BusyRow {
    fn of(connection: &BusyConnection) -> Self {
        // One that has just connected has had at least a second to be counted.
        let per_second = |bytes: u64| Some(bytes / connection.seconds?.max(1));
        Self {
            cid: connection.cid,
            name: connection.name.clone(),
            account: connection.account.clone(),
            user: connection.user.clone(),
            address: connection.address.clone(),
            bytes_to_per_second: per_second(connection.bytes_to),
            bytes_from_per_second: per_second(connection.bytes_from),
            pending_bytes: connection.pending,
            subscriptions: connection.subscriptions,
        }
    }

    /// The client in words: by its name where it has one.
    pub(super) fn label(&self) -> String {
        match &self.name {
            Some(name) => {
                format!("{name} (connection {}, user {} of account {})", self.cid, self.user, self.account)
            }
            None => format!("connection {} (user {} of account {})", self.cid, self.user, self.account),
        }
    }
}

/// What to ask so that [`busiest`] has rows.
pub(super) fn ask(server: &Server, orders: &[Order]) -> Vec<FollowUp> {
    orders.iter().map(|by| FollowUp::BusiestConnections { server: server.id.clone(), by: *by }).collect()
}

/// The first connections of a server in an order; none where it did not tell.
pub(super) fn busiest(snapshot: &Snapshot, server: &Server, by: Order) -> Option<Vec<BusyRow>> {
    let rows = snapshot.follow_ups.busiest.get(&(server.id.clone(), by))?;
    Some(rows.iter().map(BusyRow::of).collect())
}
