//! The agent's own connections, where servers count them in.

use crate::snapshot::{Account, Snapshot};
use crate::text::Name;

/// The agent's own connections as the sweep found them: account and id of the server. That of its sink is in an account of a
/// tenant.
pub(super) struct Own<'a>(Vec<(&'a Name, &'a Name)>);

impl<'a> Own<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let folds = snapshot.servers.values().filter_map(|server| Some((server, server.fold.as_ref()?)));
        let own =
            folds.flat_map(|(server, fold)| fold.own_accounts().iter().map(|account| (account, &server.id)));
        Self(own.collect())
    }

    /// The account's connections by server, as servers count them, without the agent's own.
    pub(super) fn others<'s>(&'s self, account: &'s Account) -> impl Iterator<Item = (&'s Name, u64)> {
        let servers = account.servers.iter();
        servers.map(|(id, on)| (id, on.connections.saturating_sub(self.count(account, id))))
    }

    /// The same on one server.
    pub(super) fn others_on(&self, account: &Account, server: &Name) -> u64 {
        let counted = account.servers.get(server).map_or(0, |on| on.connections);
        counted.saturating_sub(self.count(account, server))
    }

    fn count(&self, account: &Account, server: &Name) -> u64 {
        self.0.iter().filter(|(of, on)| **of == account.id && *on == server).count() as u64
    }
}
