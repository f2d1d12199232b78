//! The catalogue: a file per check, a list per family, and the families in order.

pub mod accounts;
pub mod agent;
mod as_text;
pub mod balance;
mod busiest;
pub mod change;
pub mod cluster;
pub mod connection;
mod evidence;
pub mod idle;
pub mod leafnode;
mod links;
mod own;
pub mod placement;
mod restarts;
mod roll_up;
pub mod server;
pub mod service;
pub mod system;
pub mod user;

use crate::check::{Entity, Entry, FoldsBy, Judge, Policies};
use crate::snapshot::{Endpoint, FoldThresholds, Login, LookBack, Series, shared};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Every family, in the order in which the catalogue is printed.
const FAMILIES: &[&[Entry]] = &[
    accounts::CHECKS,
    change::CHECKS,
    cluster::CHECKS,
    connection::CHECKS,
    leafnode::CHECKS,
    server::CHECKS,
    service::CHECKS,
    user::CHECKS,
    accounts::OPTIMIZATIONS,
    balance::CHECKS,
    idle::CHECKS,
    placement::CHECKS,
    system::CHECKS,
    agent::CHECKS,
];

/// Ids that stand for no check, and why. Operators may have silenced and routed by them, so that none is given to another
/// check.
pub const RETIRED: &[(&str, &str)] = &[(
    "SERVER_006",
    "It was to fire where a JetStream domain contains whitespace. Every version of nats-server from 2.9.10 on refuses to \
     start with such a domain, so that there is nothing to find.",
)];

/// Every check of the catalogue.
pub fn catalogue() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().copied().flatten()
}

/// The check with this id or alias, in any case.
pub fn find(id: &str) -> Option<&'static Entry> {
    let is = |other: &&str| other.eq_ignore_ascii_case(id);
    catalogue().find(|entry| is(&entry.meta.id) || entry.meta.aliases.iter().any(is))
}

/// An enabled check with its settings.
pub struct ActiveCheck {
    /// Its entry in the catalogue.
    pub entry: &'static Entry,
    /// The rule with its thresholds.
    pub judge: Box<dyn Judge>,
    /// What the operator expects of it.
    pub policies: Arc<Policies>,
}

impl std::fmt::Debug for ActiveCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ActiveCheck").field(&self.entry.meta.id).finish()
    }
}

/// The enabled checks.
#[derive(Debug)]
pub struct ActiveChecks {
    /// In the order of the catalogue.
    pub checks: Vec<ActiveCheck>,
    /// How many the configuration disables.
    pub disabled: u64,
}

/// How long a connection without messages may be idle where no enabled check says otherwise.
const IDLE_AFTER: Duration = Duration::from_secs(300);

impl ActiveChecks {
    /// The requests that verdicts need, those that their evidence is made from, and those that every epoch begins with.
    pub fn requests(&self) -> BTreeSet<Endpoint> {
        // The roll call; and VARZ, which tells the system account and the cluster of every server.
        let mut requests = BTreeSet::from([Endpoint::Statsz, Endpoint::Varz]);
        for check in &self.checks {
            requests.extend(check.entry.meta.needs);
            requests.extend(check.entry.meta.evidence_from);
        }
        requests
    }

    /// The series that enabled checks read.
    pub fn series(&self) -> BTreeSet<Series> {
        self.checks.iter().flat_map(|check| check.entry.series).copied().collect()
    }

    /// What the fold goes by for the connections of this user: the thresholds of the enabled checks that have such ones. It
    /// has to know them before anything is judged.
    pub fn fold_thresholds(&self, login: Login<'_>) -> FoldThresholds {
        let Login { account, account_name, user, user_name } = login;
        let entity =
            || Entity::connections(account, shared(account_name).as_ref(), user, shared(user_name).as_ref());
        let each = self.checks.iter().map(|check| check.judge.folds_by(&entity));
        let FoldsBy { idle_after, rtt_above, pending_above } = each.fold(FoldsBy::default(), FoldsBy::or);
        FoldThresholds {
            idle_after: idle_after.unwrap_or(IDLE_AFTER),
            rtt_above: rtt_above.unwrap_or(Duration::MAX),
            pending_above: pending_above.unwrap_or(u64::MAX),
        }
    }

    /// What the history has to remember for enabled checks.
    pub fn looks_back(&self) -> LookBack {
        self.checks.iter().map(|check| check.judge.looks_back()).fold(LookBack::default(), LookBack::and)
    }
}

#[cfg(test)]
pub(crate) mod laws;
