//! Open connections that publishers had to wait for.

use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::connz::Connection;

/// Connections that are kept per server.
const TOP: usize = 5;

/// A client that reads so slowly that publishers were made to wait for it (2.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StalledReader {
    /// Its id on its server.
    pub cid: u64,
    /// Name or public key of its account.
    pub account: Name,
    /// Its user, by the name that people know.
    pub user: Name,
    /// The client's name, where it has one.
    pub name: Option<Name>,
    /// Its address without the port.
    pub address: Name,
    /// How often publishers waited for it since it connected.
    pub stalls: u64,
    /// Bytes that wait for it.
    pub pending: u64,
}

/// Those of one server that publishers waited for most often, that one first.
#[derive(Debug, Clone, Default)]
pub struct StalledReaders(Vec<StalledReader>);

impl StalledReaders {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &StalledReader> {
        self.0.iter()
    }

    /// Keeps a connection if it stands out.
    pub(super) fn offer(&mut self, connection: &Connection<'_>, (account, user): (&str, &str)) {
        let count = |told: i64| u64::try_from(told).unwrap_or(0);
        let (stalls, cid) = (count(connection.stalls), connection.cid);
        let before =
            |other: &StalledReader| other.stalls > stalls || (other.stalls == stalls && other.cid < cid);
        let at = self.0.partition_point(before);
        if at >= TOP {
            return;
        }
        let name = Some(&*connection.name).filter(|name| !name.is_empty());
        self.0.truncate(TOP - 1);
        self.0.insert(
            at,
            StalledReader {
                cid,
                account: bounded(account, NAME_BYTES),
                user: bounded(user, NAME_BYTES),
                name: name.map(|name| bounded(name, TEXT_BYTES)),
                address: bounded(&connection.ip, TEXT_BYTES),
                stalls,
                pending: count(connection.pending_bytes),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::snapshot::build::System;

    #[test]
    fn those_that_were_waited_for_most_are_kept() {
        let system = System::of(1).connect("n1", "APP", "u", 9, |c, i| {
            c.stalls = [0, 3, 9, 1, 9, 2, -4, 8, 7][i as usize];
            c.pending_bytes = -1;
        });
        let snapshot = system.done();
        let stalled = &snapshot.servers["ID-n1"].fold.as_ref().unwrap().stalled;
        let kept: Vec<_> = stalled.iter().map(|reader| (reader.cid, reader.stalls, reader.pending)).collect();
        assert_eq!(kept, [(3, 9, 0), (5, 9, 0), (8, 8, 0), (9, 7, 0), (2, 3, 0)]);
        let first = stalled.iter().next().unwrap();
        assert_eq!((&*first.account, &*first.user, first.name.as_deref()), ("APP", "u", Some("app")));
    }
}
