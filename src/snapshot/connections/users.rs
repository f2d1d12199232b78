//! The users of an account: an exact count for every one of them, and details for some.

use super::user::{OLDEST, SilentConnection, UserDetails};
use crate::text::Name;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::time::Duration;

/// From so many users on, an account's are found by a table instead of one after another.
const TABLE_FROM: usize = 16;

/// One user of an account. 56 bytes, one allocation with its identity and readable name (72 bytes for a public key), and
/// some 10 bytes of the table: less than 150 bytes in all.
#[derive(Debug, Clone)]
pub struct UserFold {
    /// The identity, and behind it the readable name.
    names: Box<str>,
    /// What only some have.
    extra: Option<Box<Extra>>,
    /// By the JWT that `jwt_mark` stands for; the largest number where there is none.
    limit: u64,
    pub(super) connections: u32,
    pub(super) silent: u32,
    hash: u32,
    jwt_mark: u32,
    id_bytes: u16,
    idle: u16,
}

/// What is kept of a user beside its counts.
#[derive(Debug, Clone, Default)]
struct Extra {
    details: Option<UserDetails>,
    /// Silent connections that had passed before the first that could be kept in `silent_oldest`.
    silent_before: Option<u64>,
    /// The longest idle first.
    silent_oldest: Vec<SilentConnection>,
}

impl UserFold {
    /// User name, public key of the nkey, or subject of the JWT.
    pub fn id(&self) -> &str {
        &self.names[..usize::from(self.id_bytes)]
    }

    /// The name in the user's JWT, where it can be seen.
    pub fn name(&self) -> Option<&str> {
        Some(&self.names[usize::from(self.id_bytes)..]).filter(|name| !name.is_empty())
    }

    /// What people call the user.
    pub fn label(&self) -> &str {
        self.name().unwrap_or_else(|| self.id())
    }

    /// Client connections; exact.
    pub fn connections(&self) -> u64 {
        self.connections.into()
    }

    /// Silent connections; exact.
    pub fn silent(&self) -> u64 {
        self.silent.into()
    }

    /// The most subscriptions one connection may have, by the JWT that was seen last; none where there is no JWT to be
    /// seen, or no limit in it.
    pub fn subscription_limit(&self) -> Option<u64> {
        (self.limit < u64::MAX).then_some(self.limit)
    }

    /// What else is known, for those users of which it is kept.
    pub fn details(&self) -> Option<&UserDetails> {
        self.extra.as_ref()?.details.as_ref()
    }

    /// The silent connections that have been idle for longest, and of how many that is.
    pub fn silent_oldest(&self) -> (&[SilentConnection], u64) {
        let extra = self.extra.as_ref().filter(|extra| extra.silent_before.is_some());
        extra.map_or((&[], 0), |extra| {
            let before = extra.silent_before.unwrap_or(0);
            (&extra.silent_oldest, self.silent().saturating_sub(before))
        })
    }

    pub(super) const fn jwt_mark(&self) -> u32 {
        self.jwt_mark
    }

    /// The limit of the JWT that is marked so.
    pub(super) fn set_limit(&mut self, jwt_mark: u32, limit: Option<u64>) {
        (self.jwt_mark, self.limit) = (jwt_mark, limit.unwrap_or(u64::MAX));
    }

    pub(super) fn details_mut(&mut self) -> Option<&mut UserDetails> {
        self.extra.as_mut()?.details.as_mut()
    }

    pub(super) fn begin_details(&mut self, before: u64) {
        let details = UserDetails { before, ..UserDetails::default() };
        self.extra.get_or_insert_default().details = Some(details);
    }

    /// How many names were kept in them.
    pub(super) fn end_details(&mut self) -> usize {
        let details = self.extra.as_mut().and_then(|extra| extra.details.take());
        self.extra.take_if(|extra| extra.silent_before.is_none());
        details.map_or(0, |details| details.names.names() + details.addresses.names())
    }

    pub(super) fn keeps_silent(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.silent_before.is_some())
    }

    pub(super) fn offer_silent(
        &mut self,
        before: u64,
        idle_seconds: u64,
        row: impl FnOnce() -> SilentConnection,
    ) {
        let extra = self.extra.get_or_insert_default();
        extra.silent_before.get_or_insert(before);
        let at = extra.silent_oldest.partition_point(|other| other.idle_seconds >= idle_seconds);
        if at < OLDEST {
            extra.silent_oldest.truncate(OLDEST - 1);
            extra.silent_oldest.insert(at, row());
        }
    }

    pub(super) fn end_silent(&mut self) {
        if let Some(extra) = &mut self.extra {
            (extra.silent_before, extra.silent_oldest) = (None, Vec::new());
        }
        self.extra.take_if(|extra| extra.details.is_none());
    }
}

/// What must be known of a user that is met for the first time.
pub(super) struct NewUser<'a> {
    pub(super) id: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) idle_after: Duration,
}

/// The users of an account, in the order in which they were met.
#[derive(Debug, Clone, Default)]
pub struct Users {
    all: Vec<UserFold>,
    table: HashTable<u32>,
    hashes: DefaultHashBuilder,
    /// The few durations that there are, by the configuration.
    idle_after: Vec<Duration>,
}

impl Users {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, UserFold> {
        self.all.iter()
    }

    /// The user with this identity.
    pub fn get(&self, id: &str) -> Option<&UserFold> {
        self.all.get(self.find(id)?)
    }

    /// The user that a [`super::TopConnection`] names.
    pub fn at(&self, index: u32) -> Option<&UserFold> {
        self.all.get(index as usize)
    }

    /// How long a connection of this user that never carried a message may be idle before it counts as silent.
    pub fn idle_after(&self, user: &UserFold) -> Duration {
        self.idle_after.get(usize::from(user.idle)).copied().unwrap_or(Duration::MAX)
    }

    pub(super) fn idle_after_at(&self, index: usize) -> Duration {
        self.all.get(index).map_or(Duration::MAX, |user| self.idle_after(user))
    }

    pub(super) fn at_mut(&mut self, index: usize) -> Option<&mut UserFold> {
        self.all.get_mut(index)
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        let hash = self.hash(id);
        if self.all.len() < TABLE_FROM {
            return self.all.iter().position(|user| user.hash == hash && user.id() == id);
        }
        let is = |index: &u32| self.at(*index).is_some_and(|user| user.hash == hash && user.id() == id);
        self.table.find(spread(hash), is).map(|index| *index as usize)
    }

    /// Takes in a user that [`Self::find`] has not found; its index.
    pub(super) fn insert(&mut self, new: &NewUser<'_>) -> usize {
        let idle = self.idle_after.iter().position(|known| *known == new.idle_after).unwrap_or_else(|| {
            self.idle_after.push(new.idle_after);
            self.idle_after.len() - 1
        });
        let mut names = String::with_capacity(new.id.len() + new.name.map_or(0, str::len));
        names.extend([new.id, new.name.unwrap_or_default()]);
        let user = UserFold {
            names: names.into_boxed_str(),
            extra: None,
            limit: u64::MAX,
            connections: 0,
            silent: 0,
            hash: self.hash(new.id),
            jwt_mark: 0,
            // Identities are bounded far below; there are as many durations as overrides.
            id_bytes: u16::try_from(new.id.len()).unwrap_or(u16::MAX),
            idle: u16::try_from(idle).unwrap_or(u16::MAX),
        };
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact(4.max(self.all.len() / 4));
        }
        self.all.push(user);
        let index = self.all.len() - 1;
        if self.all.len() == TABLE_FROM {
            (0..self.all.len()).for_each(|index| self.enter(index));
        } else if self.all.len() > TABLE_FROM {
            self.enter(index);
        }
        index
    }

    fn enter(&mut self, index: usize) {
        let Self { all, table, .. } = self;
        let hash_of = |index: &u32| spread(all.get(*index as usize).map_or(0, |user| user.hash));
        // An account with four thousand million users would need half a terabyte.
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        table.insert_unique(hash_of(&index), index, hash_of);
    }

    fn hash(&self, id: &str) -> u32 {
        (self.hashes.hash_one(id) >> 32) as u32
    }
}

/// The table looks at the highest bits as well as at the lowest.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<'a> IntoIterator for &'a Users {
    type Item = &'a UserFold;
    type IntoIter = std::slice::Iter<'a, UserFold>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A name to hand to what takes shared ones.
pub(crate) fn shared(name: Option<&str>) -> Option<Name> {
    name.map(Name::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_before_and_behind_the_table() {
        let mut users = Users::default();
        for i in 0..200 {
            let id = format!("user-{i}");
            assert_eq!(users.find(&id), None);
            let name = (i % 2 == 0).then(|| format!("name-{i}"));
            let idle_after = Duration::from_secs(if i % 3 == 0 { 60 } else { 300 });
            let index = users.insert(&NewUser { id: &id, name: name.as_deref(), idle_after });
            assert_eq!((index, users.find(&id)), (i, Some(i)));
        }
        for i in 0..200 {
            let user = users.get(&format!("user-{i}")).unwrap();
            assert_eq!(user.name(), (i % 2 == 0).then(|| format!("name-{i}")).as_deref());
            assert_eq!(users.idle_after(user).as_secs(), if i % 3 == 0 { 60 } else { 300 });
        }
        assert_eq!((users.len(), users.idle_after.len()), (200, 2));
        assert_eq!(std::mem::size_of::<UserFold>(), 56);
    }
}
