//! Whose connections are: read once where reading it is dear, and remembered for as long as they are open.
//!
//! A connection belongs to one account and one user from its beginning to its end. CONNZ tells them with `auth`, for which
//! newer servers decode the JWT of every connection that they have, whatever page is asked for: 50 µs each (measured
//! 2.15.1: 19,000 connections in three pages, 2.8 s of CPU an epoch; without `auth`, 0.13 s). They do it to leave out
//! bearer tokens ([`Version::hides_bearer_tokens`]), so that whose connection it is tells also whether it has such a one.
//!
//! So a server with many connections is read with `auth` once, and then without. What is new since then is asked for by
//! its id, or, where that is too much, by another reading, as often as [`SHARE`] of a core allows. A remembered connection
//! takes 16 bytes.

use crate::snapshot::{Owner, PageSource, Version};
use crate::text::Name;
use crate::wire::connz::{Connection, PageHead};
use crate::wire::time::timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a server spends on a connection that it lists with `auth` (measured, see above).
const DECODING: Duration = Duration::from_micros(50);

/// The share of a core that a server may spend on decoding, on average.
const SHARE: f64 = 0.005;

/// What a reading may cost however short the epochs are: 1,000 connections.
const CHEAP: Duration = Duration::from_millis(50);

/// New connections that are asked for one by one. For each the server copies its table of connections (server source): by
/// estimate 1 or 2 ms where it has 20,000, so that a reading costs as much as some hundreds.
pub(super) const SINGLES: usize = 64;

/// A client that has not logged in by then has been closed (`auth_timeout` is 2 s unless configured).
const LOGIN: Duration = Duration::from_secs(60);

/// Owners that are kept of connections that have ended, until all are read again.
const SPARE: usize = 4096;

/// Whether a server of this version decodes JWTs for CONNZ with `auth`.
pub(super) fn decodes(version: Option<Version>) -> bool {
    version.is_none_or(Version::hides_bearer_tokens)
}

/// What a server would spend on decoding for one reading.
fn cost(connections: u64) -> Duration {
    DECODING.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX))
}

/// Whether a server's connections are remembered, if the next epoch begins after `period` (zero: there is none).
pub(super) fn is_dear(version: Option<Version>, connections: u64, period: Duration) -> bool {
    !period.is_zero() && decodes(version) && cost(connections) > period.mul_f64(SHARE).max(CHEAP)
}

/// How a page is read.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// It tells whose its connections are.
    Told,
    /// It tells, and is remembered.
    Noted(Remembered),
    /// It does not tell, but it is remembered.
    Recalled(Remembered),
}

impl Reading {
    /// Whether the server is asked whose connections are.
    pub(super) const fn asks(&self) -> bool {
        !matches!(self, Self::Recalled(_))
    }

    pub(super) fn known(&self) -> Option<MutexGuard<'_, Known>> {
        match self {
            Self::Told => None,
            Self::Noted(known) | Self::Recalled(known) => Some(known.lock()),
        }
    }
}

/// What is remembered of a server, shared with those that read its pages.
#[derive(Debug, Clone)]
pub(super) struct Remembered(Arc<Mutex<Known>>);

impl Remembered {
    pub(super) fn new(known: Known) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // A page that was not read to its end has left whole entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of one server.
#[derive(Debug)]
pub(super) struct Known {
    owners: Vec<Owner>,
    /// By a keyed hash of account, user and JWT.
    logins: HashMap<u64, u32>,
    keys: RandomState,
    /// Connections by id with their owners, as the last sweep found them.
    connections: Vec<(u64, u32)>,
    /// Those that this sweep has found.
    found: Vec<(u64, u32)>,
    /// Those that this sweep has found and of which nothing is known: the first ones, and how many.
    unread: Vec<u64>,
    unread_count: u64,
    /// How many stand before the first of them.
    unread_from: u64,
    read_at: Instant,
    jwts: bool,
}

/// What of a sweep is not known.
pub(super) struct Unread {
    /// The ids, if there are at most [`SINGLES`].
    pub(super) cids: Vec<u64>,
    pub(super) count: u64,
    /// How many connections the server lists before them.
    pub(super) from: u64,
    /// The highest id that is known.
    pub(super) last_cid: u64,
}

impl Known {
    pub(super) fn nothing(now: Instant) -> Self {
        Self {
            owners: Vec::new(),
            logins: HashMap::new(),
            keys: RandomState::new(),
            connections: Vec::new(),
            found: Vec::new(),
            unread: Vec::new(),
            unread_count: 0,
            unread_from: 0,
            read_at: now,
            jwts: false,
        }
    }

    /// Whether any connection showed a JWT; where none does, nothing is decoded.
    pub(super) const fn has_jwts(&self) -> bool {
        self.jwts
    }

    /// Takes in a connection whose page tells whose it is. One that is about to log in is listed as nobody's in the global
    /// account, and will be somebody's.
    pub(super) fn note(&mut self, source: &PageSource, head: &PageHead, connection: &Connection<'_>) {
        if connection.authorized_user.is_empty() {
            let age = head.now.zip(timestamp(&connection.start)).map(|(now, start)| now - start);
            if age.is_none_or(|age| age < LOGIN) {
                return;
            }
        }
        let jwt = connection.jwt.as_bytes();
        // The end of a JWT is that of its signature.
        let end = &jwt[jwt.len().saturating_sub(16)..];
        let login = self.keys.hash_one((&*connection.account, &*connection.authorized_user, end));
        let new = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        let owner = *self.logins.entry(login).or_insert_with(|| {
            self.owners.push(Owner::of(connection, source.version));
            new
        });
        // That of a bearer user is decoded and left out.
        let bearer = self.owners.get(owner as usize).is_some_and(|owner| owner.bearer);
        self.jwts |= bearer || !jwt.is_empty();
        self.found.push((connection.cid, owner));
    }

    /// Whose a connection is; none, and noted as such, if that is not known. `before` is how many are listed before it.
    pub(super) fn recall(&mut self, cid: u64, before: u64) -> Option<&Owner> {
        let Ok(at) = self.connections.binary_search_by_key(&cid, |(cid, _)| *cid) else {
            if self.unread_count == 0 {
                self.unread_from = before;
            }
            if self.unread.len() <= SINGLES {
                self.unread.push(cid);
            }
            self.unread_count += 1;
            return None;
        };
        self.found.push(self.connections[at]);
        self.owners.get(self.connections[at].1 as usize)
    }

    /// What this sweep has found and does not know.
    pub(super) fn take_unread(&mut self) -> Option<Unread> {
        let count = std::mem::take(&mut self.unread_count);
        let mut cids = std::mem::take(&mut self.unread);
        if cids.len() > SINGLES {
            cids.clear();
        }
        let last_cid = self.connections.last().map_or(0, |(cid, _)| *cid);
        (count > 0).then_some(Unread { cids, count, from: self.unread_from, last_cid })
    }

    /// Whether all may be read again.
    pub(super) fn may_be_read(&self, now: Instant, connections: u64) -> bool {
        now.saturating_duration_since(self.read_at) >= cost(connections).div_f64(SHARE)
    }

    /// All are read.
    pub(super) const fn read(&mut self, now: Instant) {
        self.read_at = now;
    }

    /// Ends a sweep. What it did not find has ended, if it has seen all (`whole`). None if there is nothing to be
    /// remembered, or too much of what has ended.
    fn settle(mut self, whole: bool) -> Option<Self> {
        let found = std::mem::take(&mut self.found);
        if whole {
            self.connections = found;
            self.connections.sort_unstable();
            self.connections.dedup_by_key(|(cid, _)| *cid);
            self.connections.shrink_to_fit();
        }
        (self.unread, self.unread_count) = (Vec::new(), 0);
        let spare = self.owners.len() > self.connections.len() + SPARE;
        (!spare && (whole || !self.connections.is_empty())).then_some(self)
    }
}

/// What is remembered of servers, by id.
#[derive(Debug, Default)]
pub(super) struct Owners {
    servers: HashMap<Name, Known>,
}

impl Owners {
    /// How a server with so many connections is read now.
    pub(super) fn reading(&mut self, source: &PageSource, connections: u64, period: Duration) -> Reading {
        if !is_dear(source.version, connections, period) {
            self.servers.remove(&source.server);
            return Reading::Told;
        }
        match self.servers.remove(&source.server) {
            None => Reading::Noted(Remembered::new(Known::nothing(Instant::now()))),
            Some(known) if known.has_jwts() => Reading::Recalled(Remembered::new(known)),
            Some(known) => {
                self.servers.insert(source.server.clone(), known);
                Reading::Told
            }
        }
    }

    /// Takes back what was remembered; `whole` says whether the sweep has seen all of the server's connections.
    pub(super) fn keep(&mut self, server: &Name, reading: Reading, whole: bool) {
        let (Reading::Noted(remembered) | Reading::Recalled(remembered)) = reading else {
            return;
        };
        // Every page was awaited, so that nobody else has it.
        let known = Arc::into_inner(remembered.0);
        let known = known.map(|known| known.into_inner().unwrap_or_else(PoisonError::into_inner));
        if let Some(known) = known.and_then(|known| known.settle(whole)) {
            self.servers.insert(server.clone(), known);
        }
    }

    /// Whose a connection was when it was last listed.
    pub(super) fn of(&self, server: &Name, cid: u64) -> Option<&Owner> {
        let known = self.servers.get(server)?;
        let at = known.connections.binary_search_by_key(&cid, |(cid, _)| *cid).ok()?;
        known.owners.get(known.connections[at].1 as usize)
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Name) -> bool) {
        self.servers.retain(|id, _| is_known(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> PageSource {
        PageSource { server: "N".into(), version: Some(Version(2, 15, 1)), ..PageSource::default() }
    }

    fn connection(cid: u64, user: &'static str) -> Connection<'static> {
        let jwt = if user.is_empty() { "" } else { "head.claims.signature" };
        Connection {
            cid,
            account: "A".into(),
            authorized_user: user.into(),
            jwt: jwt.into(),
            ..Connection::default()
        }
    }

    fn head() -> PageHead {
        PageHead { now: timestamp("2026-01-01T00:02:00Z"), ..PageHead::default() }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn read(owners: &mut Owners, cids: std::ops::Range<u64>, whole: bool) {
        let reading = owners.reading(&source(), 19_000, MINUTE);
        assert!(reading.asks());
        cids.for_each(|cid| {
            let connection = connection(cid, if cid < 5 { "u" } else { "v" });
            reading.known().unwrap().note(&source(), &head(), &connection);
        });
        owners.keep(&"N".into(), reading, whole);
    }

    #[test]
    fn only_servers_that_decode_much_are_remembered() {
        let version = |minor, patch| Some(Version(2, minor, patch));
        assert!(is_dear(version(15, 1), 7_000, MINUTE) && !is_dear(version(15, 1), 5_000, MINUTE));
        assert!(is_dear(version(15, 1), 1_500, Duration::from_secs(1)));
        assert!(!is_dear(version(15, 1), 900, Duration::from_secs(1)));
        assert!(!is_dear(version(15, 1), 1_000_000, Duration::ZERO));
        for (minor, patch, decodes) in [
            (11, 16, false),
            (11, 17, true),
            (12, 0, false),
            (12, 7, false),
            (12, 8, true),
            (14, 0, true),
            (10, 29, false),
        ] {
            assert_eq!(is_dear(version(minor, patch), 19_000, MINUTE), decodes, "2.{minor}.{patch}");
        }
    }

    #[test]
    fn what_is_read_once_is_recalled_until_it_ends() {
        let mut owners = Owners::default();
        read(&mut owners, 1..10, true);
        for sweep in 0..2 {
            let reading = owners.reading(&source(), 19_000, MINUTE);
            assert!(!reading.asks(), "{sweep}");
            {
                let mut known = reading.known().unwrap();
                assert_eq!(&*known.recall(2, 0).unwrap().user, "u");
                assert_eq!(&*known.recall(7, 1).unwrap().user, "v");
                assert!(known.take_unread().is_none());
            }
            owners.keep(&"N".into(), reading, true);
        }
        // A sweep that was cut off has seen no end of anything.
        let reading = owners.reading(&source(), 19_000, MINUTE);
        assert!(reading.known().unwrap().recall(2, 0).is_some());
        owners.keep(&"N".into(), reading, false);
        let reading = owners.reading(&source(), 19_000, MINUTE);
        let mut known = reading.known().unwrap();
        // 3 has ended, and ids are never used again; 11 is new.
        assert!(known.recall(3, 0).is_none() && known.recall(11, 1).is_none());
        let unread = known.take_unread().unwrap();
        assert_eq!((unread.cids, unread.count, unread.from, unread.last_cid), (vec![3, 11], 2, 0, 7));
    }

    #[test]
    fn many_new_ones_wait_until_all_may_be_read_again() {
        let mut owners = Owners::default();
        read(&mut owners, 1..10, true);
        let reading = owners.reading(&source(), 19_000, MINUTE);
        let mut known = reading.known().unwrap();
        (1..10).for_each(|cid| assert!(known.recall(cid, cid - 1).is_some()));
        (20..120).for_each(|cid| assert!(known.recall(cid, cid - 11).is_none()));
        let unread = known.take_unread().unwrap();
        assert_eq!((unread.cids.len(), unread.count, unread.from, unread.last_cid), (0, 100, 9, 9));
        // 19,000 connections cost 0.95 s: every 190 s at most.
        let read_at = known.read_at;
        assert!(!known.may_be_read(read_at + Duration::from_secs(189), 19_000));
        assert!(known.may_be_read(read_at + Duration::from_secs(190), 19_000));
    }

    #[test]
    fn who_has_not_logged_in_yet_is_not_remembered_as_nobody() {
        let mut owners = Owners::default();
        let reading = owners.reading(&source(), 19_000, MINUTE);
        {
            let mut known = reading.known().unwrap();
            known.note(&source(), &head(), &connection(1, "u"));
            for (cid, start) in [(2, "2026-01-01T00:01:59Z"), (3, ""), (4, "2026-01-01T00:00:00Z")] {
                known.note(&source(), &head(), &Connection { start: start.into(), ..connection(cid, "") });
            }
        }
        owners.keep(&"N".into(), reading, true);
        let reading = owners.reading(&source(), 19_000, MINUTE);
        let mut known = reading.known().unwrap();
        let recalled: Vec<bool> = (1..5).map(|cid| known.recall(cid, 0).is_some()).collect();
        assert_eq!(recalled, [true, false, false, true]);
    }

    #[test]
    fn a_server_of_bearer_users_alone_is_remembered_with_what_they_are() {
        let (account, user) =
            (nkeys::KeyPair::new_account().public_key(), nkeys::KeyPair::new_user().public_key());
        let mut owners = Owners::default();
        let reading = owners.reading(&source(), 19_000, MINUTE);
        let hidden = Connection { account: account.into(), jwt: "".into(), ..connection(1, user.leak()) };
        reading.known().unwrap().note(&source(), &head(), &hidden);
        owners.keep(&"N".into(), reading, true);
        let reading = owners.reading(&source(), 19_000, MINUTE);
        assert!(!reading.asks(), "each of their JWTs would be decoded again");
        assert!(reading.known().unwrap().recall(1, 0).unwrap().bearer);
    }

    #[test]
    fn a_reading_with_a_gap_and_one_without_jwts_are_not_recalled() {
        let mut owners = Owners::default();
        read(&mut owners, 1..10, false);
        assert!(owners.reading(&source(), 19_000, MINUTE).asks());
        let reading = owners.reading(&source(), 19_000, MINUTE);
        let old = Connection { jwt: "".into(), ..connection(1, "u") };
        reading.known().unwrap().note(&source(), &head(), &old);
        owners.keep(&"N".into(), reading, true);
        assert!(matches!(owners.reading(&source(), 19_000, MINUTE), Reading::Told));
        owners.retain(|_| false);
        assert!(matches!(owners.reading(&source(), 19_000, MINUTE), Reading::Noted(_)));
    }
}
