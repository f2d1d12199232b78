//! What the checks of connections beyond a threshold have in common.

use crate::check::{Context, Entity, Observed, Thresholds, Verdict};
use crate::checks::evidence::in_brackets;
use crate::checks::roll_up::{Of, by_user, connections};
use crate::snapshot::{Account, ClientKind, FoldThresholds, Offence, Offender, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// The connections of one user beyond a threshold. Which those are the fold has told, connection by connection.
pub(super) struct Beyond<'a> {
    pub(super) account: &'a Account,
    pub(super) entity: Entity,
    /// What the fold went by for this user.
    pub(super) thresholds: FoldThresholds,
    /// How many they are.
    pub(super) count: u64,
    /// All client connections of the user.
    pub(super) connections: u64,
    /// The worst of them.
    pub(super) worst: &'a [Offender],
    /// Of how many these are the worst; none where it is of all.
    pub(super) worst_of: Option<u64>,
}

/// A report of every user with such connections.
pub(super) fn beyond<T>(
    context: &Context<'_>,
    thresholds: &Thresholds<T>,
    offence: Offence,
    report: impl Fn(Beyond<'_>) -> Verdict,
) -> Vec<Verdict> {
    let fires = |(_, user): &Of<'_>| user.offenders(offence) > 0;
    by_user(context, thresholds, fires, connections, |(account, user), entity| {
        let count = user.offenders(offence);
        let (worst, looked_at) = user.worst(offence);
        report(Beyond {
            account,
            entity,
            thresholds: account.fold.users.thresholds(user),
            count,
            connections: user.connections(),
            worst,
            worst_of: (looked_at < count).then_some(looked_at),
        })
    })
}

impl Beyond<'_> {
    pub(super) fn observed(&self) -> Observed {
        Observed::count(self.count, 0, "connections").part_of(self.connections)
    }
}

/// Where one of the worst connections is found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Place {
    /// The server's name.
    #[schemars(with = "String")]
    pub(super) server: Name,
    /// The connection's id there.
    pub(super) cid: u64,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<Name>,
    /// Its address without the port.
    #[schemars(with = "String")]
    pub(super) address: Name,
    /// How it is connected.
    pub(super) kind: ClientKind,
}

impl Place {
    pub(super) fn of(snapshot: &Snapshot, offender: &Offender) -> Self {
        Self {
            server: snapshot.server_name(&offender.server),
            cid: offender.cid,
            name: offender.name.clone(),
            address: offender.address.clone(),
            kind: offender.kind,
        }
    }

    /// In words: connection, server and client.
    pub(super) fn words(&self) -> String {
        let Self { server, cid, name, address, .. } = self;
        let name = in_brackets(name.as_ref());
        format!("connection {cid} of server {server}, from {address}{name}")
    }
}

/// The servers that all of these are on, if it is one only.
pub(super) fn only_server<'a>(mut places: impl Iterator<Item = &'a Place>) -> Option<&'a Name> {
    let first = &places.next()?.server;
    places.all(|place| place.server == *first).then_some(first)
}

/// The address that all of these come from, if there are several and it is one only.
pub(super) fn only_address<'a>(places: impl Iterator<Item = &'a Place>) -> Option<&'a Name> {
    let (mut count, mut addresses) = (0, BTreeSet::new());
    for place in places {
        count += 1;
        addresses.insert(&place.address);
    }
    addresses.pop_first().filter(|_| count > 1 && addresses.is_empty())
}
