//! What is remembered of accounts and users for longer than an epoch: when an account was last active, and who was connected.

use super::{Account, Endpoint, HIDDEN, Snapshot, TOKEN, UNAUTHENTICATED, shared};
use crate::text::Name;
use std::collections::HashMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Users that are remembered, at most: 0.2 KB each. Those that were met first stay while they are connected.
const USERS: usize = 50_000;

/// Accounts that are remembered although no epoch lists all of them: 0.1 KB each.
const ACCOUNTS: usize = 200_000;

/// What enabled checks want to be remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookBack {
    /// For how long after they were last seen users are remembered.
    pub users: Option<Duration>,
    /// Whether it is remembered when accounts were active.
    pub accounts: bool,
    /// Whether it is remembered which accounts and servers there were.
    pub known: bool,
}

impl LookBack {
    /// What either of them wants.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            users: self.users.max(other.users),
            accounts: self.accounts || other.accounts,
            known: self.known || other.known,
        }
    }
}

/// An account that does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// When this agent first heard of it.
    pub first_seen: OffsetDateTime,
    /// The last epoch in which it did something; none if it never did since this agent first heard of it.
    pub last_active: Option<OffsetDateTime>,
    /// Seconds since the later of the two.
    pub seconds: u64,
}

#[derive(Debug, Clone)]
struct Activity {
    first_seen: OffsetDateTime,
    last_active: Option<OffsetDateTime>,
    /// Bytes that all servers counted in the last whole epoch.
    bytes: Option<u64>,
}

/// When accounts were active: those that the last whole epoch showed. An epoch is whole if every server told all accounts that
/// it has, whether or not they have clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    accounts: HashMap<Name, Activity>,
}

fn is_connected(account: &Account) -> bool {
    account.servers.values().any(|on| on.connections > 0 || on.leafnodes > 0)
}

impl Accounts {
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        // The bytes of a server that is silent are missing, and would look like new ones when it is back.
        let coverage = &snapshot.coverage;
        let whole = !coverage.used_accounts_only && coverage.gaps(Endpoint::AccountStatz).is_empty();
        if whole {
            self.accounts.retain(|id, _| snapshot.accounts.contains_key(id));
        }
        for account in snapshot.accounts.values() {
            if !whole && self.accounts.len() >= ACCOUNTS && !self.accounts.contains_key(&account.id) {
                continue;
            }
            let activity = self.accounts.entry(account.id.clone()).or_insert(Activity {
                first_seen: at,
                last_active: None,
                bytes: None,
            });
            // They begin at 0 with every start of a server: fewer is no movement.
            let moved = whole && activity.bytes.is_some_and(|bytes| account.bytes > bytes);
            if whole {
                activity.bytes = Some(account.bytes);
            }
            if moved || is_connected(account) {
                activity.last_active = Some(at);
            }
        }
    }

    pub(super) fn quiet(&self, account: &Account, now: OffsetDateTime) -> Option<Quiet> {
        let Activity { first_seen, last_active, bytes } = self.accounts.get(&account.id)?;
        if is_connected(account) || bytes.is_some_and(|bytes| account.bytes > bytes) {
            return None;
        }
        let since = match bytes {
            Some(_) => last_active.map_or(*first_seen, |at| at.max(*first_seen)),
            // Its bytes are told for the first time: what it did before is not known.
            None => now,
        };
        let seconds = u64::try_from((now - since).whole_seconds()).unwrap_or(0);
        Some(Quiet { first_seen: *first_seen, last_active: *last_active, seconds })
    }
}

/// A user that was connected and is not any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gone<'a> {
    /// Its account.
    pub account: &'a Name,
    /// Its identity.
    pub user: &'a Name,
    /// Its readable name.
    pub name: Option<&'a Name>,
    /// The last epoch in which it was connected.
    pub last_seen: OffsetDateTime,
    /// The first epoch after that in which every server listed its connections and it had none; none before the present one.
    pub absent_since: Option<OffsetDateTime>,
    /// Connections that it had when it was last seen.
    pub connections: u64,
    /// For how long it was seen connected without a break, the longest time.
    pub connected: Duration,
}

#[derive(Debug, Clone)]
struct Seen {
    name: Option<Name>,
    /// The first epoch of the last time without a break.
    since: OffsetDateTime,
    last: OffsetDateTime,
    absent_since: Option<OffsetDateTime>,
    connections: u32,
    /// Seconds of the longest time without a break.
    longest: u32,
}

/// Who was connected. Users of the system account are the tools that watch, and labels that stand for many are nobody.
#[derive(Debug, Clone, Default)]
pub(super) struct Users {
    accounts: HashMap<Name, HashMap<Name, Seen>>,
    count: usize,
}

impl Users {
    pub(super) fn push(&mut self, snapshot: &Snapshot, remember: Duration) {
        let at = snapshot.taken_at;
        let whole = snapshot.coverage.gaps(Endpoint::Connz).is_empty();
        let mut count = 0;
        self.accounts.retain(|id, users| {
            let fold = snapshot.accounts.get(id).map(|account| &account.fold);
            users.retain(|id, seen| {
                let user = fold.and_then(|fold| fold.users.get(id)).filter(|user| user.connections() > 0);
                if let Some(user) = user {
                    if seen.absent_since.take().is_some() {
                        seen.since = at;
                    }
                    seen.last = at;
                    let seconds = u32::try_from((at - seen.since).whole_seconds()).unwrap_or(0);
                    seen.longest = seen.longest.max(seconds);
                    seen.connections = u32::try_from(user.connections()).unwrap_or(u32::MAX);
                    seen.name = seen.name.take().or_else(|| shared(user.name()));
                } else if whole {
                    seen.absent_since.get_or_insert(at);
                }
                at - seen.last <= remember
            });
            count += users.len();
            !users.is_empty()
        });
        self.count = count;
        for account in snapshot.accounts.values().filter(|account| account.id != snapshot.system_account) {
            for user in account.fold.users.iter().filter(|user| user.connections() > 0) {
                if self.count >= USERS {
                    return;
                }
                let id = user.id();
                let is_known = self.accounts.get(&account.id).is_some_and(|users| users.contains_key(id));
                if is_known || [TOKEN, UNAUTHENTICATED, HIDDEN].contains(&id) {
                    continue;
                }
                let seen = Seen {
                    name: shared(user.name()),
                    since: at,
                    last: at,
                    absent_since: None,
                    connections: u32::try_from(user.connections()).unwrap_or(u32::MAX),
                    longest: 0,
                };
                self.accounts.entry(account.id.clone()).or_default().insert(Name::from(id), seen);
                self.count += 1;
            }
        }
    }

    pub(super) fn gone(&self, now: &Snapshot) -> Vec<Gone<'_>> {
        let mut all = Vec::new();
        for (account, users) in &self.accounts {
            let fold = now.accounts.get(account).map(|account| &account.fold);
            let is_here = |id: &str| {
                fold.and_then(|fold| fold.users.get(id)).is_some_and(|user| user.connections() > 0)
            };
            all.extend(users.iter().filter(|(id, _)| !is_here(id)).map(|(user, seen)| Gone {
                account,
                user,
                name: seen.name.as_ref(),
                last_seen: seen.last,
                absent_since: seen.absent_since,
                connections: seen.connections.into(),
                connected: Duration::from_secs(seen.longest.into()),
            }));
        }
        all.sort_unstable_by(|a, b| (a.account, a.user).cmp(&(b.account, b.user)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::{System, at};

    const HOUR: Duration = Duration::from_secs(3600);

    fn with(second: i64, users: &[&str]) -> Snapshot {
        users
            .iter()
            .fold(System::of(2), |system, user| system.connect("n1", "APP", user, 2, |_, _| {}))
            .at(second)
            .done()
    }

    fn names(users: &Users, now: &Snapshot) -> Vec<String> {
        users.gone(now).iter().map(|gone| gone.user.to_string()).collect()
    }

    #[test]
    fn users_are_remembered_until_they_are_back_or_forgotten_and_labels_are_nobody() {
        let mut users = Users::default();
        users.push(&with(0, &["a", "b", TOKEN, UNAUTHENTICATED, HIDDEN]), HOUR);
        assert_eq!(users.count, 2);
        let now = with(60, &["b"]);
        assert_eq!(names(&users, &now), ["a"]);
        assert_eq!(users.gone(&now)[0].absent_since, None);
        users.push(&now, HOUR);
        let later = with(120, &["b"]);
        let gone = users.gone(&later)[0];
        assert_eq!((gone.last_seen, gone.absent_since, gone.connections), (at(0), Some(at(60)), 2));
        users.push(&with(180, &["a", "b"]), HOUR);
        assert!(names(&users, &with(240, &["a", "b"])).is_empty());
        users.push(&with(240, &["b"]), HOUR);
        users.push(&with(180 + 3600, &[]), HOUR);
        assert_eq!(names(&users, &with(9000, &[])), ["a", "b"]);
        users.push(&with(181 + 3600, &[]), HOUR);
        assert_eq!(names(&users, &with(9000, &[])), ["b"]);
    }

    #[test]
    fn the_longest_time_without_a_break_counts() {
        let mut users = Users::default();
        let gap = |second| System::of(2).silent("n2", Endpoint::Connz).at(second).done();
        let connected = |users: &Users| users.gone(&with(9000, &[]))[0].connected.as_secs();
        users.push(&with(0, &["a"]), HOUR);
        assert_eq!(connected(&users), 0);
        users.push(&gap(60), HOUR);
        users.push(&with(120, &["a"]), HOUR);
        assert_eq!(connected(&users), 120, "nobody saw it absent");
        users.push(&with(180, &[]), HOUR);
        users.push(&with(240, &["a"]), HOUR);
        users.push(&with(300, &["a"]), HOUR);
        assert_eq!(connected(&users), 120);
        users.push(&with(400, &["a"]), HOUR);
        assert_eq!(connected(&users), 160);
    }

    #[test]
    fn a_sweep_with_a_gap_proves_nobodys_absence() {
        let mut users = Users::default();
        users.push(&with(0, &["a"]), HOUR);
        users.push(&System::of(2).silent("n2", Endpoint::Connz).at(60).done(), HOUR);
        assert_eq!(users.gone(&with(120, &[]))[0].absent_since, None);
    }

    #[test]
    fn users_are_bounded_and_the_system_accounts_are_not_remembered() {
        let mut system = System::of(1).with(|snapshot| snapshot.system_account = "SYS".into());
        system = system.connect("n1", "SYS", "monitor", 1, |_, _| {});
        system = system
            .connect("n1", "APP", "u", USERS as u64 + 3, |c, i| c.authorized_user = format!("u{i}").into());
        let mut users = Users::default();
        users.push(&system.done(), HOUR);
        assert_eq!((users.count, users.accounts.len()), (USERS, 1));
        users.push(&System::of(1).at(7200).done(), HOUR);
        assert_eq!((users.count, users.accounts.len()), (0, 0));
    }

    fn bytes(second: i64, bytes: u64) -> Snapshot {
        let mut system = System::of(2).at(second);
        system.entry("APP").bytes = bytes;
        system.done()
    }

    fn quiet(accounts: &Accounts, now: &Snapshot) -> Option<(Option<OffsetDateTime>, u64)> {
        let quiet = accounts.quiet(&now.accounts["APP"], now.taken_at);
        quiet.map(|quiet| (quiet.last_active, quiet.seconds))
    }

    #[test]
    fn an_account_is_quiet_from_its_last_connection_or_byte_on() {
        let mut accounts = Accounts::default();
        assert_eq!(quiet(&accounts, &bytes(0, 7)), None);
        accounts.push(&bytes(0, 7));
        assert_eq!(quiet(&accounts, &bytes(60, 7)), Some((None, 60)));
        assert_eq!(quiet(&accounts, &bytes(60, 8)), None);
        accounts.push(&bytes(60, 8));
        assert_eq!(quiet(&accounts, &bytes(90, 8)), Some((Some(at(60)), 30)));
        // A server was started anew, and one is silent: neither moves anything.
        accounts.push(&bytes(120, 3));
        accounts.push(&{
            let mut snapshot = bytes(150, 1);
            snapshot.coverage.note(Endpoint::AccountStatz, &"ID-n1".into(), crate::snapshot::Answer::Silent);
            snapshot
        });
        accounts.push(&bytes(180, 3));
        assert_eq!(quiet(&accounts, &bytes(200, 3)), Some((Some(at(60)), 140)));
        accounts.push(&System::of(2).connect("n1", "APP", "u", 1, |_, _| {}).at(210).done());
        assert_eq!(quiet(&accounts, &bytes(240, 0)), Some((Some(at(210)), 30)));
        accounts.push(&System::of(2).at(300).done());
        assert_eq!(quiet(&accounts, &bytes(360, 0)), None);
    }

    /// An epoch in which servers told only accounts that have clients.
    fn used(mut snapshot: Snapshot) -> Snapshot {
        snapshot.coverage.used_accounts_only = true;
        snapshot
    }

    #[test]
    fn an_account_that_is_not_listed_for_want_of_clients_is_not_forgotten() {
        let mut accounts = Accounts::default();
        accounts.push(&bytes(0, 7));
        accounts.push(&used(System::of(2).at(60).done()));
        accounts.push(&used(bytes(90, 2)));
        assert_eq!(quiet(&accounts, &bytes(120, 7)), Some((None, 120)));
        assert_eq!(quiet(&accounts, &bytes(120, 8)), None);
    }

    #[test]
    fn nothing_is_known_of_the_time_before_the_first_whole_epoch() {
        let mut accounts = Accounts::default();
        accounts.push(&used(bytes(0, 7)));
        assert_eq!(quiet(&accounts, &bytes(9000, 7)), Some((None, 0)));
    }
}
