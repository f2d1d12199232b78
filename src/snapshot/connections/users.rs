//! The users of an account: an exact count for every one of them, and details for some.

use super::FoldThresholds;
use super::offender::{Offence, Offender, Worst};
use super::owner::Mark;
use super::user::{OLDEST, SilentConnection, UserDetails};
use crate::text::Name;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// From so many users on, an account's are found by a table instead of one after another.
const TABLE_FROM: usize = 16;

/// One user of an account. 64 bytes, one allocation with its identity and readable name (72 bytes for a public key), and
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
    pub(super) bearer: u32,
    offences: [u32; Offence::ALL.len()],
    hash: u32,
    jwt_mark: Mark,
    id_bytes: u16,
    thresholds: u16,
}

/// What is kept of a user beside its counts.
#[derive(Debug, Clone, Default)]
struct Extra {
    details: Option<UserDetails>,
    /// Silent connections that had passed before the first that could be kept in `silent_oldest`.
    silent_before: Option<u64>,
    /// The longest idle first.
    silent_oldest: Vec<SilentConnection>,
    worst: [Option<Worst>; Offence::ALL.len()],
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.details.is_none() && self.silent_before.is_none() && self.worst.iter().all(Option::is_none)
    }
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

    /// Connections that are open with a bearer token, as far as servers tell; exact.
    pub fn bearer(&self) -> u64 {
        self.bearer.into()
    }

    /// Connections beyond a threshold; exact.
    pub fn offenders(&self, offence: Offence) -> u64 {
        self.offences[offence.index()].into()
    }

    /// The worst of them, and of how many that is.
    pub fn worst(&self, offence: Offence) -> (&[Offender], u64) {
        let worst = self.extra.as_ref().and_then(|extra| extra.worst[offence.index()].as_ref());
        worst.map_or((&[], 0), |worst| (&worst.rows, self.offenders(offence).saturating_sub(worst.before)))
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

    pub(super) const fn jwt_mark(&self) -> Mark {
        self.jwt_mark
    }

    /// The limit of the JWT that is marked so.
    pub(super) fn set_limit(&mut self, jwt_mark: Mark, limit: Option<u64>) {
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
        self.extra.take_if(|extra| extra.is_empty());
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
        self.extra.take_if(|extra| extra.is_empty());
    }

    /// Counts an offender; how many there are now.
    pub(super) fn note_offender(&mut self, offence: Offence) -> u64 {
        let count = &mut self.offences[offence.index()];
        *count = count.saturating_add(1);
        (*count).into()
    }

    pub(super) fn worst_mut(&mut self, offence: Offence) -> Option<&mut Worst> {
        self.extra.as_mut()?.worst[offence.index()].as_mut()
    }

    pub(super) fn begin_worst(&mut self, offence: Offence, before: u64) {
        let worst = &mut self.extra.get_or_insert_default().worst[offence.index()];
        *worst = Some(Worst { before, rows: Vec::new() });
    }

    pub(super) fn end_worst(&mut self, offence: Offence) {
        if let Some(extra) = &mut self.extra {
            extra.worst[offence.index()] = None;
        }
        self.extra.take_if(|extra| extra.is_empty());
    }
}

/// What must be known of a user that is met for the first time.
pub(super) struct NewUser<'a> {
    pub(super) id: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) thresholds: FoldThresholds,
}

/// The users of an account, in the order in which they were met.
#[derive(Debug, Clone, Default)]
pub struct Users {
    all: Vec<UserFold>,
    table: HashTable<u32>,
    hashes: DefaultHashBuilder,
    /// The few that there are, by the configuration.
    thresholds: Vec<FoldThresholds>,
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

    /// From when on connections of this user are counted as something.
    pub fn thresholds(&self, user: &UserFold) -> FoldThresholds {
        self.thresholds.get(usize::from(user.thresholds)).copied().unwrap_or(FoldThresholds::NONE)
    }

    pub(super) fn thresholds_at(&self, index: usize) -> FoldThresholds {
        self.all.get(index).map_or(FoldThresholds::NONE, |user| self.thresholds(user))
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
        let known = self.thresholds.iter().position(|known| *known == new.thresholds);
        let thresholds = known.unwrap_or_else(|| {
            self.thresholds.push(new.thresholds);
            self.thresholds.len() - 1
        });
        let mut names = String::with_capacity(new.id.len() + new.name.map_or(0, str::len));
        names.extend([new.id, new.name.unwrap_or_default()]);
        let user = UserFold {
            names: names.into_boxed_str(),
            extra: None,
            limit: u64::MAX,
            connections: 0,
            silent: 0,
            bearer: 0,
            offences: [0; Offence::ALL.len()],
            hash: self.hash(new.id),
            jwt_mark: Mark::RECALLED,
            // Identities are bounded far below; there are as many thresholds as overrides.
            id_bytes: u16::try_from(new.id.len()).unwrap_or(u16::MAX),
            thresholds: u16::try_from(thresholds).unwrap_or(u16::MAX),
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
    use std::time::Duration;

    #[test]
    fn users_are_found_before_and_behind_the_table() {
        let mut users = Users::default();
        for i in 0..200 {
            let id = format!("user-{i}");
            assert_eq!(users.find(&id), None);
            let name = (i % 2 == 0).then(|| format!("name-{i}"));
            let idle_after = Duration::from_secs(if i % 3 == 0 { 60 } else { 300 });
            let thresholds = FoldThresholds::silent_after(idle_after);
            let index = users.insert(&NewUser { id: &id, name: name.as_deref(), thresholds });
            assert_eq!((index, users.find(&id)), (i, Some(i)));
        }
        for i in 0..200 {
            let user = users.get(&format!("user-{i}")).unwrap();
            assert_eq!(user.name(), (i % 2 == 0).then(|| format!("name-{i}")).as_deref());
            assert_eq!(users.thresholds(user).idle_after.as_secs(), if i % 3 == 0 { 60 } else { 300 });
        }
        assert_eq!((users.len(), users.thresholds.len()), (200, 2));
        assert_eq!(std::mem::size_of::<UserFold>(), 64);
    }
}
