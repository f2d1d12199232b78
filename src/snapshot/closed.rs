//! Connections that ended since the previous epoch, folded while they are parsed: counts, names and the newest stay.
//!
//! A server keeps the last 10,000 closed connections (`max_closed_clients`), clients and leafnodes alike. It prints no
//! account for the global one, and none for a client that never logged in: every client begins in the global account, and
//! one whose login failed ends there (server source).

use super::connections::{HIDDEN, Owner};
use super::texts::Texts;
use super::{TopCounter, Version};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::connz::Connection;
use crate::wire::time::timestamp;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Connections of a group that are kept, the newest.
const NEWEST: usize = 5;

/// Names that one counter of a group keeps apart: of at most 1,600 connections, those that stand out.
const NAMES: usize = 32;

/// Groups of one server. What would be one more is counted in the totals by reason alone.
pub const CLOSED_GROUPS: usize = 256;

/// Ends that somebody wanted: the client closed the connection, or went away in order; the server went away in order; an
/// operator closed it with a request to the server.
pub const ORDINARY_ENDS: [&str; 3] = ["Client Closed", "Server Shutdown", "Kicked"];

/// Reasons that a server gives only before a client has logged in, or to one whose login it takes back for good (server
/// source).
const BEFORE_LOGIN: [&str; 9] = [
    "Authentication Failure",
    "Authentication Timeout",
    "TLS Handshake Failure",
    "Maximum Connections Exceeded",
    "Bad Client Protocol Version",
    "Incorrect Port",
    "Proxy Not Trusted",
    "Proxy Required",
    "Minimum Version Required",
];

/// The connections of one server that ended since the previous epoch.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    /// By account and reason, in that order; those without an account first.
    pub groups: Vec<ClosedGroup>,
    /// By reason: how many ended, whoever they belonged to.
    pub reasons: BTreeMap<Name, u64>,
    /// Of this agent's own connections, by reason. They are in nothing else here, but the server counts them as well.
    pub own: BTreeMap<Name, u64>,
    /// How many are in no group, because there was no more room; they are in the totals. Ordinary ends do not count.
    pub ungrouped: u64,
    /// How many are in no group, because they show no account and it is not known whether the server lets in everybody, as
    /// the global account; they are in the totals. Ordinary ends do not count.
    pub unsure: u64,
    /// Whether more ended than were listed, or than could be put into groups, so that every count is a lower bound.
    pub at_least: bool,
}

/// Connections of one account that ended for one reason.
#[derive(Debug, Clone)]
pub struct ClosedGroup {
    /// Name or public key; none for those that never logged in.
    pub account: Option<Name>,
    /// The server's words for why.
    pub reason: Name,
    /// Clients.
    pub clients: u64,
    /// Leafnodes.
    pub leafnodes: u64,
    /// Those that ended last, the last first.
    pub newest: Vec<ClosedConnection>,
    /// By client name; unnamed ones are not in it.
    pub names: TopCounter,
    /// By user, by the name that people know.
    pub users: TopCounter,
    /// By address without port.
    pub addresses: TopCounter,
}

/// A connection that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedConnection {
    /// Its id on its server.
    pub cid: u64,
    /// Whether it was a leafnode's.
    pub leafnode: bool,
    /// The client's name, where it had one.
    pub name: Option<Name>,
    /// The user, without secrets, by the name that people know. It is what the client called itself where it failed to log
    /// in.
    pub user: Name,
    /// Its address without the port.
    pub address: Name,
    /// When it connected.
    pub start: Option<OffsetDateTime>,
    /// When it ended.
    pub stop: OffsetDateTime,
}

impl Closed {
    /// Groups whose reason begins so.
    pub fn because_of<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a ClosedGroup> {
        self.groups.iter().filter(move |group| group.reason.starts_with(start))
    }

    /// All that ended.
    pub fn count(&self) -> u64 {
        self.reasons.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl ClosedGroup {
    /// Clients and leafnodes.
    pub const fn count(&self) -> u64 {
        self.clients.saturating_add(self.leafnodes)
    }
}

/// Where a list of closed connections comes from.
#[derive(Debug, Clone, Default)]
pub struct ClosedSource {
    /// The server's id.
    pub server: Name,
    /// Its version.
    pub version: Option<Version>,
    /// Whether everybody has to log in there; none if that is not known.
    pub auth_required: Option<bool>,
}

/// The running fold of one server.
#[derive(Debug, Default)]
pub struct ClosedFold {
    groups: BTreeMap<(Option<Name>, Name), ClosedGroup>,
    reasons: BTreeMap<Name, u64>,
    ungrouped: u64,
    unsure: u64,
    own: BTreeMap<Name, u64>,
    texts: Texts,
}

impl ClosedFold {
    /// Takes in a connection that ended then.
    pub fn add(&mut self, source: &ClosedSource, connection: &Connection<'_>, stop: OffsetDateTime) {
        let reason = self.count(&connection.reason);
        let Some(has_account) = has_account(source, connection) else {
            self.unsure = self.unsure.saturating_add(u64::from(!ORDINARY_ENDS.contains(&&*reason)));
            return;
        };
        let owner = Owner::of(connection, source.version);
        let key = (has_account.then(|| owner.account.clone()), reason);
        if !self.groups.contains_key(&key) && self.groups.len() >= CLOSED_GROUPS && !self.make_room(&key.1) {
            return;
        }
        let group = self.groups.entry(key).or_insert_with_key(|(account, reason)| ClosedGroup {
            account: account.clone(),
            reason: reason.clone(),
            clients: 0,
            leafnodes: 0,
            newest: Vec::new(),
            names: TopCounter::default(),
            users: TopCounter::default(),
            addresses: TopCounter::default(),
        });
        let leafnode = connection.kind == "Leafnode";
        let count = if leafnode { &mut group.leafnodes } else { &mut group.clients };
        *count = count.saturating_add(1);
        let user = match owner.name.as_deref() {
            None if hides_user(source, connection) => HIDDEN,
            name => name.unwrap_or(&owner.user),
        };
        let user = self.texts.keep(user);
        let address = self.texts.keep(&connection.ip);
        let name = Some(&*connection.name).filter(|name| !name.is_empty()).map(|name| self.texts.keep(name));
        group.users.add_kept(&user, NAMES);
        group.addresses.add_kept(&address, NAMES);
        if let Some(name) = &name {
            group.names.add_kept(name, NAMES);
        }
        let (cid, start) = (connection.cid, timestamp(&connection.start));
        let row = ClosedConnection { cid, leafnode, name, user, address, start, stop };
        let at = group.newest.partition_point(|other| (other.stop, other.cid) >= (stop, cid));
        if at < NEWEST {
            group.newest.truncate(NEWEST - 1);
            group.newest.insert(at, row);
        }
    }

    /// Takes the group of an ordinary end away for one of this reason; whether there was any.
    fn make_room(&mut self, reason: &str) -> bool {
        if ORDINARY_ENDS.contains(&reason) {
            return false;
        }
        let Some(key) = self.groups.keys().find(|(_, reason)| ORDINARY_ENDS.contains(&&**reason)).cloned()
        else {
            self.ungrouped = self.ungrouped.saturating_add(1);
            return false;
        };
        self.groups.remove(&key).is_some()
    }

    /// Counts a connection of which it is not known whose it was.
    pub fn count(&mut self, reason: &str) -> Name {
        let reason = bounded(reason, TEXT_BYTES);
        let total = self.reasons.entry(reason.clone()).or_default();
        *total = total.saturating_add(1);
        reason
    }

    /// Takes in a connection of this agent that ended for this reason.
    pub fn add_own(&mut self, reason: &str) {
        let count = self.own.entry(bounded(reason, TEXT_BYTES)).or_default();
        *count = count.saturating_add(1);
    }

    /// What was learnt, when the last page has been taken in.
    pub fn finish(self, at_least: bool) -> Closed {
        let Self { groups, reasons, ungrouped, unsure, own, texts: _ } = self;
        let at_least = at_least || ungrouped > 0 || unsure > 0;
        Closed { groups: groups.into_values().collect(), reasons, ungrouped, unsure, own, at_least }
    }
}

/// Before 2.9.17 a closed connection shows its user only where it logged in by user name (server source).
fn hides_user(source: &ClosedSource, connection: &Connection<'_>) -> bool {
    let is_old = source.version.is_some_and(|version| version < Version(2, 9, 17));
    is_old && connection.authorized_user.is_empty() && !connection.account.is_empty()
}

/// Whether a server gives this reason only where nobody is logged in, or not any more.
pub fn is_before_login(reason: &str) -> bool {
    BEFORE_LOGIN.contains(&reason)
}

/// Whether it belonged to an account, the global one included. That one is never printed, and neither is any for a client
/// that did not log in. None where that depends on what is not known of the server.
fn has_account(source: &ClosedSource, connection: &Connection<'_>) -> Option<bool> {
    if !connection.account.is_empty() {
        return Some(true);
    }
    if is_before_login(&connection.reason) {
        return Some(false);
    }
    if !connection.authorized_user.is_empty() {
        return Some(true);
    }
    // Nobody has to say who he is where everybody may come in.
    source.auth_required.map(|required| !required)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::UNAUTHENTICATED;
    use crate::snapshot::build::at;

    fn source(version: (u16, u16, u16), auth_required: bool) -> ClosedSource {
        let (major, minor, patch) = version;
        ClosedSource {
            server: "A".into(),
            version: Some(Version(major, minor, patch)),
            auth_required: Some(auth_required),
        }
    }

    fn ended(
        cid: u64,
        account: &'static str,
        user: &'static str,
        reason: &'static str,
    ) -> Connection<'static> {
        Connection {
            cid,
            kind: "Client".into(),
            ip: "10.0.0.1".into(),
            name: "app".into(),
            start: "2023-11-14T22:00:00Z".into(),
            authorized_user: user.into(),
            account: account.into(),
            reason: reason.into(),
            ..Connection::default()
        }
    }

    fn of(source: &ClosedSource, connections: &[Connection<'_>]) -> Closed {
        let mut fold = ClosedFold::default();
        connections.iter().zip(0..).for_each(|(connection, second)| fold.add(source, connection, at(second)));
        fold.finish(false)
    }

    #[test]
    fn who_never_logged_in_has_no_account_and_the_global_one_is_not_blamed() {
        let rows = [
            ("", "", "Client Closed", true, None),
            ("", "", "Client Closed", false, Some("$G")),
            ("", "bob", "Client Closed", true, Some("$G")),
            ("", "bob", "Authentication Failure", true, None),
            ("", "bob", "Authentication Failure", false, None),
            ("", "", "Parse Error", true, None),
            ("", "", "TLS Handshake Failure", false, None),
            ("APP", "bob", "Authentication Expired", true, Some("APP")),
            ("APP", "bob", "Authentication Failure", true, Some("APP")),
        ];
        for (account, user, reason, auth_required, expected) in rows {
            let closed = of(&source((2, 15, 1), auth_required), &[ended(1, account, user, reason)]);
            assert_eq!(closed.groups[0].account.as_deref(), expected, "{account} {user} {reason}");
        }
        let unknown = ClosedSource { auth_required: None, ..source((2, 15, 1), true) };
        let ends = ["Read Error", "Client Closed", "Authentication Failure"];
        let closed = of(&unknown, &ends.map(|reason| ended(1, "", "", reason)));
        let whose: Vec<_> = closed.groups.iter().map(|group| (&group.account, &*group.reason)).collect();
        assert_eq!(whose, [(&None, "Authentication Failure")]);
        assert_eq!((closed.unsure, closed.at_least, closed.reasons.len()), (1, true, 3));
    }

    #[test]
    fn the_newest_and_the_most_frequent_stay() {
        let mut all: Vec<_> = (1..=8).map(|cid| ended(cid, "APP", "u", "Read Error")).collect();
        all[2].kind = "Leafnode".into();
        all[7].name = "".into();
        let closed = of(&source((2, 15, 1), true), &all);
        let group = &closed.groups[0];
        assert_eq!((closed.groups.len(), group.clients, group.leafnodes, group.count()), (1, 7, 1, 8));
        let cids: Vec<u64> = group.newest.iter().map(|row| row.cid).collect();
        assert_eq!(cids, [8, 7, 6, 5, 4]);
        assert_eq!((group.newest[0].name.clone(), group.newest[0].stop), (None, at(7)));
        assert_eq!((group.names.count_of("app"), group.users.count_of("u")), (7, 8));
        assert_eq!((closed.reasons["Read Error"], closed.count()), (8, 8));
    }

    #[test]
    fn no_secret_is_kept() {
        let mut token = ended(1, "", "s3cr3t-token", "Authentication Failure");
        token.jwt = "p4ssw0rd".into();
        let closed = of(&source((2, 10, 26), true), &[token]);
        assert_eq!(&*closed.groups[0].newest[0].user, "[hidden]");
        let closed = of(&source((2, 15, 1), true), &[ended(1, "", "[REDACTED]", "Authentication Failure")]);
        let told = format!("{closed:?}");
        assert_eq!(&*closed.groups[0].newest[0].user, "[token]");
        assert!(!told.contains("s3cr3t") && !told.contains("p4ssw0rd"), "{told}");
        let old = of(&source((2, 9, 16), true), &[ended(1, "APP", "", "Read Error")]);
        assert_eq!(&*old.groups[0].newest[0].user, "[hidden]");
        let nobody = of(&source((2, 15, 1), true), &[ended(1, "", "", "Parse Error")]);
        assert_eq!(&*nobody.groups[0].newest[0].user, UNAUTHENTICATED);
    }

    /// One end of each of 300 accounts, then another of each.
    fn flood(reasons: [&'static str; 2]) -> Closed {
        let mut fold = ClosedFold::default();
        let source = source((2, 15, 1), true);
        for (reason, cid) in reasons.into_iter().flat_map(|reason| (0..300).map(move |cid| (reason, cid))) {
            let account = format!("A{cid}");
            let mut connection = ended(cid, "", "u", reason);
            connection.account = account.into();
            fold.add(&source, &connection, at(0));
        }
        fold.finish(false)
    }

    #[test]
    fn a_flood_of_accounts_is_bounded_and_its_total_is_not() {
        let closed = flood(["Read Error"; 2]);
        assert_eq!((closed.groups.len(), closed.count()), (CLOSED_GROUPS, 600));
        assert_eq!((closed.ungrouped, closed.at_least), (2 * 44, true));
    }

    #[test]
    fn ordinary_ends_take_no_room_from_others_and_are_not_missed() {
        let closed = flood([ORDINARY_ENDS[0]; 2]);
        assert_eq!((closed.groups.len(), closed.ungrouped, closed.at_least), (CLOSED_GROUPS, 0, false));
        let closed = flood([ORDINARY_ENDS[0], "Read Error"]);
        assert_eq!(
            (closed.groups.len(), closed.because_of("Read Error").count()),
            (CLOSED_GROUPS, CLOSED_GROUPS)
        );
        assert_eq!((closed.ungrouped, closed.reasons[ORDINARY_ENDS[0]]), (44, 300));
        let closed = flood(["Read Error", ORDINARY_ENDS[0]]);
        assert_eq!((closed.because_of("Read Error").count(), closed.ungrouped), (CLOSED_GROUPS, 44));
    }
}
