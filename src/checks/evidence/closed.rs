//! Connections that ended since the previous epoch, as evidence.

use super::{TOP, TopList, gaps, most_frequent, rfc3339};
use crate::snapshot::{
    Closed, ClosedConnection, ClosedGroup, Counted, Endpoint, Server, Snapshot, TopCounter,
};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a server calls a client that it closed because it did not keep up; in brackets follows how that was noticed.
pub(in crate::checks) const SLOW: &str = "Slow Consumer";
/// What a server calls a connection that did not answer its pings.
pub(in crate::checks) const STALE: &str = "Stale Connection";

/// Connections that ended since the previous epoch, taken together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(in crate::checks) struct Ended {
    /// How many ended; clients and leafnodes.
    pub(in crate::checks) connections: u64,
    /// How many of them were leafnodes.
    pub(in crate::checks) leafnodes: u64,
    /// True where so many connections ended that not all of them are known: counts are lower bounds.
    pub(in crate::checks) at_least: bool,
    /// In the words of the servers, the most frequent first.
    pub(in crate::checks) reasons: Vec<Counted>,
    /// Whose they were, the most frequent first; those who never logged in are left out.
    pub(in crate::checks) accounts: TopList,
    /// By client name.
    pub(in crate::checks) client_names: TopList,
    /// By user.
    pub(in crate::checks) users: TopList,
    /// By address.
    pub(in crate::checks) addresses: TopList,
    /// Those that ended last, at most 5.
    pub(in crate::checks) newest: Vec<EndedRow>,
}

/// A connection that ended.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(in crate::checks) struct EndedRow {
    /// The server's name.
    #[schemars(with = "String")]
    pub(in crate::checks) server: Name,
    /// The connection's id there.
    pub(in crate::checks) cid: u64,
    /// `client` or `leafnode`.
    pub(in crate::checks) kind: &'static str,
    /// The account, by the name that people know; none for one that never logged in.
    #[schemars(with = "Option<String>")]
    pub(in crate::checks) account: Option<Name>,
    /// The user; what the client called itself where it did not get in.
    #[schemars(with = "String")]
    pub(in crate::checks) user: Name,
    /// The client's name, where it had one.
    #[schemars(with = "Option<String>")]
    pub(in crate::checks) name: Option<Name>,
    /// Its address without the port.
    #[schemars(with = "String")]
    pub(in crate::checks) address: Name,
    /// The server's words for why it ended.
    #[schemars(with = "String")]
    pub(in crate::checks) reason: Name,
    /// When it connected.
    #[schemars(extend("format" = "date-time"))]
    pub(in crate::checks) started: Option<String>,
    /// When it ended.
    #[schemars(extend("format" = "date-time"))]
    pub(in crate::checks) ended: Option<String>,
    /// Seconds from the one to the other.
    pub(in crate::checks) lived_seconds: Option<u64>,
}

impl EndedRow {
    fn of(snapshot: &Snapshot, server: &Server, group: &ClosedGroup, row: &ClosedConnection) -> Self {
        let lived = row.start.map(|start| (row.stop - start).whole_seconds());
        Self {
            server: server.name.clone(),
            cid: row.cid,
            kind: if row.leafnode { "leafnode" } else { "client" },
            account: group.account.as_ref().map(|account| snapshot.account_label(account)),
            user: row.user.clone(),
            name: row.name.clone(),
            address: row.address.clone(),
            reason: group.reason.clone(),
            started: row.start.and_then(rfc3339),
            ended: rfc3339(row.stop),
            lived_seconds: lived.and_then(|lived| u64::try_from(lived).ok()),
        }
    }

    /// The client as a sentence names it: its name, else its user and address.
    pub(in crate::checks) fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}` (user {}, {})", self.user, self.address),
            None => format!("user {} at {}", self.user, self.address),
        }
    }

    /// The same, and whose client it is.
    pub(in crate::checks) fn label_with_account(&self) -> String {
        let account =
            self.account.as_ref().map_or_else(String::new, |account| format!(" of account {account}"));
        format!("{}{account}", self.label())
    }
}

impl Ended {
    /// The groups of these servers that are wanted.
    pub(in crate::checks) fn of<'a>(
        snapshot: &Snapshot,
        servers: impl Iterator<Item = &'a Server>,
        wanted: impl Fn(&ClosedGroup) -> bool,
    ) -> Self {
        let mut sum = Self::default();
        let mut sums = Sums::default();
        let mut newest: Vec<(&Server, &ClosedGroup, &ClosedConnection)> = Vec::new();
        for server in servers {
            let Some(closed) = &server.closed else { continue };
            sum.at_least |= closed.at_least;
            for group in closed.groups.iter().filter(|group| wanted(group)) {
                sum.connections = sum.connections.saturating_add(group.count());
                sum.leafnodes = sum.leafnodes.saturating_add(group.leafnodes);
                sums.take(snapshot, group);
                newest.extend(group.newest.iter().map(|row| (server, group, row)));
            }
        }
        newest.sort_by(|(a_server, _, a), (b_server, _, b)| {
            b.stop.cmp(&a.stop).then_with(|| (&a_server.name, a.cid).cmp(&(&b_server.name, b.cid)))
        });
        newest.truncate(TOP);
        let rows = newest.into_iter().map(|(server, group, row)| EndedRow::of(snapshot, server, group, row));
        Self {
            reasons: sums.reasons.list().top,
            accounts: sums.accounts.list(),
            client_names: sums.names.list(),
            users: sums.users.list(),
            addresses: sums.addresses.list(),
            newest: rows.collect(),
            ..sum
        }
    }

    /// Those of one server whose reason begins so.
    pub(in crate::checks) fn on(snapshot: &Snapshot, server: &Server, reason: &str) -> Self {
        Self::of(snapshot, std::iter::once(server), |group| group.reason.starts_with(reason))
    }
}

/// How many ended on a server for a reason that begins so.
pub(in crate::checks) fn count_of(closed: &Closed, reason: &str) -> u64 {
    let of = closed.reasons.iter().filter(|(name, _)| name.starts_with(reason));
    of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// How many of this agent's own ended there for such a reason.
pub(in crate::checks) fn own_count_of(server: &Server, reason: &str) -> u64 {
    let own = server.closed.iter().flat_map(|closed| &closed.own);
    own.filter(|(name, _)| name.starts_with(reason)).fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// What was not told of connections that ended, on all servers or on one.
pub(in crate::checks) fn closed_gaps(snapshot: &Snapshot, server: Option<&Name>) -> Vec<String> {
    gaps(snapshot, Endpoint::Closed, server)
}

#[derive(Default)]
struct Sums {
    reasons: Sum,
    accounts: Sum,
    names: Sum,
    users: Sum,
    addresses: Sum,
}

impl Sums {
    fn take(&mut self, snapshot: &Snapshot, group: &ClosedGroup) {
        self.reasons.add(group.reason.clone(), group.count());
        if let Some(account) = &group.account {
            self.accounts.add(snapshot.account_label(account), group.count());
        }
        self.names.take(&group.names);
        self.users.take(&group.users);
        self.addresses.take(&group.addresses);
    }
}

/// Counts by name over several counters.
#[derive(Default)]
struct Sum {
    counts: BTreeMap<Name, u64>,
    inexact: bool,
}

impl Sum {
    fn add(&mut self, name: Name, count: u64) {
        let sum = self.counts.entry(name).or_default();
        *sum = sum.saturating_add(count);
    }

    fn take(&mut self, counter: &TopCounter) {
        self.inexact |= !counter.is_exact();
        counter.top(usize::MAX).into_iter().for_each(|one| self.add(one.name, one.count));
    }

    fn list(self) -> TopList {
        let distinct = self.counts.len() as u64;
        TopList { top: most_frequent(self.counts.into_iter()), distinct, exact: !self.inexact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;
    use serde_json::json;

    #[test]
    fn servers_are_summed_and_the_newest_of_all_come_first() {
        let system = System::of(2)
            .end("n1", ("APP", "u"), "Slow Consumer (Pending Bytes)", 4, |c, i| {
                c.name = format!("c{i}").into()
            })
            .end("n2", ("APP", "v"), "Slow Consumer (Write Deadline)", 3, |c, _| c.kind = "Leafnode".into())
            .end("n2", ("OTHER", "w"), "Read Error", 1, |_, _| {})
            .ended_more("n2");
        let snapshot = system.with(|s| s.accounts.clear()).done();
        let ended = Ended::of(&snapshot, snapshot.servers.values(), |group| group.reason.starts_with(SLOW));
        assert_eq!((ended.connections, ended.leafnodes, ended.at_least), (7, 3, true));
        assert_eq!(
            json!(ended.reasons),
            json!([{"name": "Slow Consumer (Pending Bytes)", "count": 4},
                   {"name": "Slow Consumer (Write Deadline)", "count": 3}])
        );
        assert_eq!(json!(ended.accounts.top), json!([{"name": "APP", "count": 7}]));
        assert_eq!(json!(ended.users.top), json!([{"name": "u", "count": 4}, {"name": "v", "count": 3}]));
        assert_eq!(ended.client_names.distinct, 5);
        let newest: Vec<_> = ended.newest.iter().map(|row| (&*row.server, row.cid, row.kind)).collect();
        let expected = [
            ("n2", 7, "leafnode"),
            ("n2", 6, "leafnode"),
            ("n2", 5, "leafnode"),
            ("n1", 4, "client"),
            ("n1", 3, "client"),
        ];
        assert_eq!(newest, expected);
        let row = &ended.newest[3];
        assert_eq!(row.label(), "`c3` (user u, 10.0.0.1)");
        assert_eq!((row.lived_seconds, row.ended.as_deref()), (Some(3603), Some("2023-11-14T22:13:23Z")));
        assert_eq!(count_of(snapshot.servers["ID-n2"].closed.as_ref().unwrap(), "Read"), 1);
        let gap = "server n2 answered CONNZ of closed connections in part: more ended";
        assert_eq!(closed_gaps(&snapshot, None), [gap]);
        assert_eq!(closed_gaps(&snapshot, Some(&"n1".into())), [""; 0]);
    }
}
