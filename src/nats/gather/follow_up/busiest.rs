//! The connections of a server that come first in an order.

use super::super::Plan;
use super::super::ask_one::ask_one;
use super::super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{BusyConnection, Order, Owner, Snapshot, Version};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::connz::{Connection, ConnzOptions, PageHead, parse};
use crate::wire::time::timestamp;

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

/// Asks for them, and for as many more as are the agent's own.
pub(super) async fn ask(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    (server, by): (&Name, Order),
    own: &[(Name, u64)],
) {
    let own: Vec<u64> = own.iter().filter(|(id, _)| id == server).map(|(_, cid)| *cid).collect();
    let options = ConnzOptions { sort: sort(by), limit: (TOP + own.len()) as u64, ..ConnzOptions::open() };
    let subject = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    let version = snapshot.servers.get(server).and_then(|server| server.version);
    let mut tally = Tally::default();
    tally.request();
    if let Ok(mut asked) = ask_one(inbox, plan, &subject, &options).await {
        while let Ok((answer, bytes, took)) = asked.next().await {
            tally.answer(bytes, took);
            let Ok(body) = answer.decode() else { continue };
            let mut first = Vec::new();
            let page = parse(&body, &mut |head, connection| {
                // A server that does not know the option lists more.
                if first.len() < TOP && !own.contains(&connection.cid) {
                    first.push(busy(head, connection, version));
                }
            });
            if page.is_ok_and(|page| *page.server.id == **server) {
                snapshot.follow_ups.busiest.insert((server.clone(), by), first);
                break;
            }
        }
    }
    tally.add_to(snapshot);
}

/// Of the login only what [`Owner`] keeps, which is no secret.
fn busy(head: &PageHead, connection: &Connection<'_>, version: Option<Version>) -> BusyConnection {
    let owner = Owner::of(connection, version);
    let start = timestamp(&connection.start);
    let age = head.now.zip(start).map(|(now, start)| (now - start).whole_seconds());
    let positive = |count: i64| u64::try_from(count).unwrap_or(0);
    let name = Some(&*connection.name).filter(|name| !name.is_empty());
    BusyConnection {
        cid: connection.cid,
        name: name.map(|name| bounded(name, TEXT_BYTES)),
        account: owner.account_name.unwrap_or(owner.account),
        user: owner.name.unwrap_or(owner.user),
        address: bounded(&connection.ip, TEXT_BYTES),
        bytes_to: positive(connection.out_bytes),
        bytes_from: positive(connection.in_bytes),
        seconds: age.and_then(|seconds| u64::try_from(seconds).ok()),
        pending: positive(connection.pending_bytes),
        subscriptions: connection.subscriptions,
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
        let told = busy(&head, &connection, Some(Version(2, 10, 26)));
        assert_eq!((&*told.account, &*told.user, told.seconds), ("$G", "[hidden]", Some(60)));
        assert_eq!((told.bytes_to, told.bytes_from, told.pending), (600, 0, 5));
        assert!(!format!("{told:?}").contains("s3cr3t"));
        // A start after the server's own clock is nonsense.
        let later = Connection { start: "2030-01-01T00:00:00Z".into(), ..connection };
        assert_eq!(busy(&head, &later, None).seconds, None);
    }
}
