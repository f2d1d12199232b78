//! Whose a connection was, told from a list without users and accounts.
//!
//! Asked with `auth`, a server from 2.11 on looks up the account of every closed connection that it remembers, whatever page
//! is wanted. In operator mode it asks its resolver for an account that it does not know any more, for up to 1.9 s and for
//! each connection anew, on the goroutine that answers all requests for monitoring (server source). So such a server is asked
//! without. Users' JWTs and the keys that signed them then tell most; and whoever is asked for by its id costs one look-up.

use super::{BYTES, Target};
use crate::nats::gather::Plan;
use crate::nats::gather::accounts::is_key;
use crate::nats::gather::ask_one::{Unusable, ask_for};
use crate::nats::gather::lanes::Lanes;
use crate::nats::gather::page::is_whole;
use crate::nats::gather::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{ClosedFold, HIDDEN, ORDINARY_ENDS, Snapshot, Version, is_before_login};
use crate::text::Name;
use crate::wire::connz::{Connection, ConnzOptions, parse};
use crate::wire::jwt::issued;
use crate::wire::time::timestamp;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// From this version on servers look up the account of what they list.
const LOOKS_UP: Version = Version(2, 11, 0);

/// Connections of one server that are asked for by their ids, in one epoch.
const SINGLE: usize = 16;

/// An answer that took longer tells of a look-up that failed.
const SLOW: Duration = Duration::from_secs(1);

/// After such an answer, or none, a server is asked for no single one for so long.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// Such a client is not in its account yet, and the account is told nevertheless (server source).
const FULL: &str = "Maximum Account Connections Exceeded";

/// Whether a server may ask a resolver for accounts when it lists connections with their users.
pub(super) fn may_ask_resolver(snapshot: &Snapshot, system: Option<&Name>, version: Option<Version>) -> bool {
    let by_key = system.is_some_and(|id| is_key(id)) || snapshot.accounts.keys().any(|id| is_key(id));
    by_key && version.is_none_or(|version| version >= LOOKS_UP)
}

/// A connection of which only its server knows whose it was.
pub(super) struct Untold {
    /// The key that signed its user, where it had one.
    key: String,
    connection: Connection<'static>,
    stop: OffsetDateTime,
}

impl Untold {
    pub(super) fn reason(&self) -> &str {
        &self.connection.reason
    }
}

/// Takes in a connection of a list without users. One that only its server knows is given back, unless nobody asks whose
/// it was.
pub(super) fn fold_untold(
    fold: &mut ClosedFold,
    target: &Target,
    connection: &Connection<'_>,
    stop: OffsetDateTime,
) -> Option<Untold> {
    if let Some(connection) = owned(connection) {
        fold.add(&target.source, &connection, stop);
    } else if ORDINARY_ENDS.contains(&&*connection.reason) {
        fold.count(&connection.reason);
    } else {
        let key = connection.issuer_key.to_string();
        return Some(Untold { key, connection: kept(connection), stop });
    }
    None
}

/// The connection as a list with users would show it; none where only its server knows.
fn owned(connection: &Connection<'_>) -> Option<Connection<'static>> {
    let reason = &*connection.reason;
    let with = |user: String, account: String| Connection {
        authorized_user: user.into(),
        account: account.into(),
        jwt: Cow::Owned(connection.jwt.to_string()),
        ..kept(connection)
    };
    let issued = issued(&connection.jwt);
    if !connection.issuer_key.is_empty() {
        // After an auth callout the JWT that the client brought is not that of its user.
        let issued = issued.filter(|issued| *issued.issuer == *connection.issuer_key);
        return issued.map(|issued| with(issued.user, issued.account));
    }
    match issued {
        Some(issued) if reason == FULL => Some(with(issued.user, issued.account)),
        // Who it said that it is.
        Some(issued) if is_before_login(reason) => Some(with(issued.user, String::new())),
        None if reason == FULL => None,
        // One to another server, which the server opened itself, has no user and yet an account.
        _ if connection.kind == "Leafnode" && !is_before_login(reason) => None,
        _ => Some(kept(connection)),
    }
}

/// What is told of a connection that ended, without its user and account.
fn kept(connection: &Connection<'_>) -> Connection<'static> {
    let own = |text: &str| Cow::Owned(text.to_owned());
    Connection {
        cid: connection.cid,
        kind: own(&connection.kind),
        ip: own(&connection.ip),
        start: own(&connection.start),
        reason: own(&connection.reason),
        stop: own(&connection.stop),
        name: own(&connection.name),
        issuer_key: own(&connection.issuer_key),
        ..Connection::default()
    }
}

/// What came of it.
#[derive(Default)]
pub(super) struct Named {
    /// Connections of which it is still not known whose they were.
    pub(super) left: usize,
    /// Until when the server is not to be asked for single ones.
    pub(super) again_at: Option<Instant>,
}

/// Asks for single connections: one for each key, since a key signs for one account, and each one without a key.
pub(super) async fn name(
    (inbox, plan, lanes): (&Inbox, &Plan, &Lanes),
    target: &Target,
    fold: &mut ClosedFold,
    untold: Vec<Untold>,
    tally: &mut Tally,
) -> Named {
    let mut named = Named { left: 0, again_at: target.before.again_at.filter(|at| *at > Instant::now()) };
    let mut accounts: BTreeMap<String, String> = BTreeMap::new();
    let mut asked = 0;
    for Untold { key, mut connection, stop } in untold {
        if let Some(account) = accounts.get(&key) {
            (connection.account, connection.authorized_user) = (account.clone().into(), HIDDEN.into());
            fold.add(&target.source, &connection, stop);
            continue;
        }
        let mut told = None;
        if asked < SINGLE && named.again_at.is_none() {
            asked += 1;
            let started = Instant::now();
            let one = single((inbox, plan, lanes), target, connection.cid, tally).await;
            if one.is_err() || started.elapsed() > SLOW {
                named.again_at = Some(Instant::now() + AGAIN);
            }
            told = one.ok().flatten();
        }
        match told {
            Some(told) => {
                fold.add(&target.source, &told, stop);
                if !key.is_empty() && !told.account.is_empty() {
                    accounts.insert(key, told.account.into_owned());
                }
            }
            None => {
                fold.count(&connection.reason);
                named.left += 1;
            }
        }
    }
    named
}

/// One connection with its user; none if the server does not remember it any more, an error if it did not tell.
async fn single(
    (inbox, plan, lanes): (&Inbox, &Plan, &Lanes),
    target: &Target,
    cid: u64,
    tally: &mut Tally,
) -> Result<Option<Connection<'static>>, ()> {
    let server = &target.source.server;
    let subject = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    let options = ConnzOptions { state: 1, cid: Some(cid), limit: 1, ..ConnzOptions::open() };
    let _pass = lanes.enter(server, BYTES, plan.deadline).await.ok_or(())?;
    let read = |body: &[u8]| {
        let mut found = None;
        let page = parse(body, &mut |_, connection| {
            if connection.cid == cid && timestamp(&connection.stop).is_some() {
                let own = |text: &str| Cow::Owned(text.to_owned());
                let (account, jwt) = (own(&connection.account), own(&connection.jwt));
                let authorized_user = own(&connection.authorized_user);
                found = Some(Connection { account, jwt, authorized_user, ..kept(connection) });
            }
        });
        match page {
            Ok(page) if *page.server.id != **server => Err(Unusable::Stranger),
            Ok(_) if !is_whole(body) => Err(Unusable::Broken("the answer ends early".into())),
            Ok(_) => Ok(found),
            Err(error) => Err(Unusable::Broken(error.to_string())),
        }
    };
    ask_for((inbox, plan), (&subject, &options), tally, read).await.map(|(found, _)| found).map_err(drop)
}
