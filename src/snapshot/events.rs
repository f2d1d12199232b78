//! What disconnect events tell between two epochs.

use crate::text::{NAME_BYTES, Name, bounded};
use std::collections::HashMap;

/// Accounts that are told apart; a system with more still counts, in one account without name.
const ACCOUNTS: usize = 50_000;

/// Counts of one account since the previous epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountEvents {
    /// Clients refused or closed because the account's connections were at their limit.
    pub refused_connections: u64,
    /// Connections closed because they had more subscriptions than allowed when the limit sank. A subscription beyond
    /// the limit is refused without closing the connection, and only its client is told (measured, 2.10.26 to 2.15.1).
    pub refused_subscriptions: u64,
    /// Connections that ended for any other reason.
    pub closed: u64,
}

/// Counts of all accounts; filled by the reader of events, taken by the gather.
#[derive(Debug, Clone, Default)]
pub struct Events {
    accounts: HashMap<Name, AccountEvents>,
    /// Events that could not be read.
    pub unreadable: u64,
    /// Events of accounts beyond the bound.
    pub beyond: u64,
}

impl Events {
    /// Counts one disconnect. Reasons are the server's texts (stable from 2.9.10 to 2.15.1).
    pub fn disconnected(&mut self, account: &str, reason: &str) {
        let account = bounded(account, NAME_BYTES);
        if !self.accounts.contains_key(&account) && self.accounts.len() >= ACCOUNTS {
            self.beyond += 1;
            return;
        }
        let counts = self.accounts.entry(account).or_default();
        match reason {
            "Maximum Account Connections Exceeded" => counts.refused_connections += 1,
            "Maximum Subscriptions Exceeded" => counts.refused_subscriptions += 1,
            _ => counts.closed += 1,
        }
    }

    /// Takes in what was counted before.
    pub fn merge(&mut self, earlier: Self) {
        let Self { accounts, unreadable, beyond } = earlier;
        self.unreadable += unreadable;
        self.beyond += beyond;
        for (account, counts) in accounts {
            let AccountEvents { refused_connections, refused_subscriptions, closed } = counts;
            if !self.accounts.contains_key(&account) && self.accounts.len() >= ACCOUNTS {
                self.beyond += refused_connections + refused_subscriptions + closed;
                continue;
            }
            let sum = self.accounts.entry(account).or_default();
            sum.refused_connections += refused_connections;
            sum.refused_subscriptions += refused_subscriptions;
            sum.closed += closed;
        }
    }

    /// The counts by account.
    pub fn accounts(&self) -> impl Iterator<Item = (&Name, &AccountEvents)> {
        self.accounts.iter()
    }
}
