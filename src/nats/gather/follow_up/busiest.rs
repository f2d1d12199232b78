//! The connections of a server that come first in an order.

use super::super::Plan;
use super::super::ask_one::{Unusable, ask_for};
use super::super::owners::decodes;
use super::super::tally::Tally;
use super::Known;
use crate::nats::inbox::Inbox;
use crate::snapshot::{BusyConnection, Order, Owner, Snapshot, Version};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::connz::{Connection, ConnzOptions, PageHead, parse};
use crate::wire::time::timestamp;
use std::collections::BTreeMap;

/// Connections that are kept.
const TOP: usize = 5;

/// As a server knows the order.
const fn sort(by: Order) -> &'static str {
    match by {
        Order::BytesTo => "bytes_to",
        Order::BytesFrom => "bytes_from",
        Order::Pending => "pending",
        Order::Subscriptions => "subs",
    }
}

/// Owners that were asked for in this epoch, by server and connection.
pub(super) type Met = BTreeMap<(Name, u64), Owner>;

/// Asks for them, and for as many more as are the agent's own. For a list with users some servers decode the JWT of every
/// connection ([`decodes`]): of such a one only the users of those that come first are asked for, each once.
pub(super) async fn ask(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    (server, by): (&Name, Order),
    known: Known<'_>,
    met: &mut Met,
) {
    let own = known.own.iter().filter(|(id, _)| id == server).map(|(_, cid)| *cid).collect();
    let version = snapshot.servers.get(server).and_then(|server| server.version);
    let mut list = List { inbox, plan, server, version, own, tally: Tally::default() };
    let dear = decodes(version);
    let mut first = list.page(list.options(by, !dear)).await;
    if let Some(rows) = first.as_mut().filter(|_| dear) {
        let mut without = false;
        for row in rows.iter_mut() {
            let key = (server.clone(), row.busy.cid);
            let recalled = met.get(&key).or_else(|| known.owners.of(server, row.busy.cid)).cloned();
            let owner = match recalled {
                None if row.leafnode => None,
                None => list.owner(row.busy.cid).await,
                some => some,
            };
            without |= owner.is_none();
            if let Some(owner) = owner {
                met.insert(key, owner.clone());
                row.owner = Some(owner);
            }
        }
        // A leafnode cannot be asked for by its id, and one that ended meanwhile is not found by it.
        if without {
            first = list.page(list.options(by, true)).await;
        }
    }
    if let Some(rows) = first {
        for row in &rows {
            met.extend(row.owner.clone().map(|owner| ((server.clone(), row.busy.cid), owner)));
        }
        let rows = rows.into_iter().map(Row::told).collect();
        snapshot.follow_ups.busiest.insert((server.clone(), by), rows);
    }
    list.tally.add_to(snapshot);
}

/// A connection of a list.
struct Row {
    busy: BusyConnection,
    leafnode: bool,
    owner: Option<Owner>,
}

impl Row {
    fn told(self) -> BusyConnection {
        let Some(owner) = self.owner else { return self.busy };
        BusyConnection {
            account: owner.account_name.unwrap_or(owner.account),
            user: owner.name.unwrap_or(owner.user),
            ..self.busy
        }
    }
}

/// Connections of one server.
struct List<'a> {
    inbox: &'a Inbox,
    plan: &'a Plan,
    server: &'a Name,
    version: Option<Version>,
    own: Vec<u64>,
    tally: Tally,
}

impl List<'_> {
    fn options(&self, by: Order, auth: bool) -> ConnzOptions {
        ConnzOptions { auth, sort: sort(by), limit: (TOP + self.own.len()) as u64, ..ConnzOptions::open() }
    }

    /// Whose a connection is; none where the server does not find it.
    async fn owner(&mut self, cid: u64) -> Option<Owner> {
        let rows = self.page(ConnzOptions { cid: Some(cid), limit: 1, ..ConnzOptions::open() }).await?;
        rows.into_iter().find(|row| row.busy.cid == cid)?.owner
    }

    /// The first ones of an answer.
    async fn page(&mut self, options: ConnzOptions) -> Option<Vec<Row>> {
        let subject = format!("$SYS.REQ.SERVER.{}.CONNZ", self.server);
        let Self { inbox, plan, server, version, own, tally } = self;
        let read = |body: &[u8]| {
            let mut first = Vec::new();
            let page = parse(body, &mut |head, connection| {
                // A server that does not know the option lists more.
                if first.len() < TOP && !own.contains(&connection.cid) {
                    first.push(Row {
                        busy: busy(head, connection),
                        leafnode: connection.kind == "Leafnode",
                        owner: options.auth.then(|| Owner::of(connection, *version)),
                    });
                }
            });
            match page {
                Ok(page) if *page.server.id == ***server => Ok(first),
                Ok(_) => Err(Unusable::Stranger),
                Err(error) => Err(Unusable::Broken(error.to_string())),
            }
        };
        ask_for((inbox, plan), (&subject, &options), tally, read).await.ok().map(|(first, _)| first)
    }
}

/// What it carries and holds. Of the login nothing is kept but what [`Owner`] keeps, which is no secret.
fn busy(head: &PageHead, connection: &Connection<'_>) -> BusyConnection {
    let start = timestamp(&connection.start);
    let age = head.now.zip(start).map(|(now, start)| (now - start).whole_seconds());
    let positive = |count: i64| u64::try_from(count).unwrap_or(0);
    let name = Some(&*connection.name).filter(|name| !name.is_empty());
    BusyConnection {
        cid: connection.cid,
        name: name.map(|name| bounded(name, TEXT_BYTES)),
        address: bounded(&connection.ip, TEXT_BYTES),
        bytes_to: positive(connection.out_bytes),
        bytes_from: positive(connection.in_bytes),
        seconds: age.and_then(|seconds| u64::try_from(seconds).ok()),
        pending: positive(connection.pending_bytes),
        subscriptions: connection.subscriptions,
        ..BusyConnection::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn a_connection_is_told_without_its_secrets() {
        let now = Some(OffsetDateTime::from_unix_timestamp(1_700_000_060).unwrap());
        let head = PageHead { now, ..PageHead::default() };
        let connection = Connection {
            cid: 7,
            ip: "10.0.0.1".into(),
            start: "2023-11-14T22:13:20Z".into(),
            out_bytes: 600,
            in_bytes: -1,
            pending_bytes: 5,
            authorized_user: "s3cr3t-token".into(),
            ..Connection::default()
        };
        let told = |connection: &Connection<'_>, version| {
            let owner = Some(Owner::of(connection, version));
            Row { busy: busy(&head, connection), leafnode: false, owner }.told()
        };
        let later = Connection { start: "2030-01-01T00:00:00Z".into(), ..Connection::default() };
        let told_later = told(&later, None);
        let told = told(&connection, Some(Version(2, 10, 26)));
        assert_eq!((&*told.account, &*told.user, told.seconds), ("$G", "[hidden]", Some(60)));
        assert_eq!((told.bytes_to, told.bytes_from, told.pending), (600, 0, 5));
        assert!(!format!("{told:?}").contains("s3cr3t"));
        // A start after the server's own clock is nonsense.
        assert_eq!(told_later.seconds, None);
    }
}
