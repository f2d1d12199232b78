//! Findings of very many: only the first are made, and how many more there are is told.

use crate::check::{Context, Entity, Thresholds, Verdict};
use crate::snapshot::{Account, UserFold, shared};

/// Findings of one check that is about users, in one epoch. An operator can act on fewer; a system may have a million users.
pub(super) const MOST: usize = 1000;

/// A user with its account.
pub(super) type Of<'a> = (&'a Account, &'a UserFold);

/// The user as an entity.
pub(super) fn user((account, user): &Of<'_>) -> Entity {
    Entity::user(&account.id, account.name.as_ref(), user.id(), shared(user.name()).as_ref())
}

/// The user's connections as an entity.
pub(super) fn connections((account, user): &Of<'_>) -> Entity {
    Entity::connections(&account.id, account.name.as_ref(), user.id(), shared(user.name()).as_ref())
}

/// A report of every user that fires, up to [`MOST`].
pub(super) fn by_user<T>(
    context: &Context<'_>,
    thresholds: &Thresholds<T>,
    fires: impl Fn(&Of<'_>) -> bool,
    entity: fn(&Of<'_>) -> Entity,
    report: impl Fn(Of<'_>, Entity) -> Verdict,
) -> Vec<Verdict> {
    let accounts = context.now.accounts.values();
    let users = accounts.flat_map(|account| account.fold.users.iter().map(move |user| (account, user)));
    let firing: Vec<Of<'_>> = users.filter(fires).collect();
    first(MOST, firing, thresholds, |(account, user)| (user.id(), &account.id), entity, report)
}

/// A report of each of these, of at most `most`: the first by `key`, which is the id of the entity and then its account, so that
/// they are the same ones in every epoch.
pub(super) fn first<T, C: Copy>(
    most: usize,
    mut firing: Vec<C>,
    thresholds: &Thresholds<T>,
    key: impl Fn(&C) -> (&str, &str),
    entity: impl Fn(&C) -> Entity,
    report: impl Fn(C, Entity) -> Verdict,
) -> Vec<Verdict> {
    if !thresholds.is_uniform() {
        firing.retain(|one| thresholds.is_enabled(&entity(one)));
    }
    firing.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let rest = firing.split_off(most.min(firing.len()));
    let mut verdicts: Vec<Verdict> = firing.into_iter().map(|one| report(one, entity(&one))).collect();
    verdicts.extend(rest.first().map(|first| Verdict::unnamed(entity(first), rest.len() as u64)));
    verdicts
}

/// Reports of one group: the first `most`, one by one, and one of `together` that tells of the rest. Beside it nothing that
/// still holds is over: an earlier finding of its own, of what is now among the rest, stays. `firing` has to be in an order
/// in which newcomers change as little as possible.
pub(super) fn first_and_rest<C>(
    most: u64,
    firing: &[C],
    together: Entity,
    entity: impl Fn(&C) -> Entity,
    mut report: impl FnMut(Entity, &[C]) -> Verdict,
) -> Vec<Verdict> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(firing.len());
    let (first, rest) = firing.split_at(most);
    let mut verdicts: Vec<Verdict> =
        first.iter().map(|one| report(entity(one), std::slice::from_ref(one))).collect();
    if !rest.is_empty() {
        verdicts.extend(rest.iter().map(|one| Verdict::not_yet(entity(one), AMONG_THE_REST)));
        verdicts.push(report(together, rest));
    }
    verdicts
}

/// Why nothing is said of one of many.
pub(super) const AMONG_THE_REST: &str = "there are so many that one finding tells of it and of others";
