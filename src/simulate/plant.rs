//! Conditions that are planted, one or more for each check.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Something that a check must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// An account at 95 % of its connections.
    AccountNearConnections,
    /// A connection at 95 % of the subscriptions that its account allows.
    AccountNearSubscriptions,
    /// A user with 150 connections.
    UserWithTooManyConnections,
    /// Connections of a user that never carried a message and have been idle for long.
    SilentConnections,
    /// A server with far more connections than the others of its cluster.
    HotServer,
    /// An account whose connections are all on one server of a cluster.
    AccountOnOneServer,
    /// A server at 90 % of its `max_connections`.
    ServerNearMaxConnections,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AccountNearConnections,
        Self::AccountNearSubscriptions,
        Self::UserWithTooManyConnections,
        Self::SilentConnections,
        Self::HotServer,
        Self::AccountOnOneServer,
        Self::ServerNearMaxConnections,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountNearConnections => "account-near-connections",
            Self::AccountNearSubscriptions => "account-near-subscriptions",
            Self::UserWithTooManyConnections => "user-with-too-many-connections",
            Self::SilentConnections => "silent-connections",
            Self::HotServer => "hot-server",
            Self::AccountOnOneServer => "account-on-one-server",
            Self::ServerNearMaxConnections => "server-near-max-connections",
        }
    }

    /// The check that finds it.
    pub const fn check(self) -> &'static str {
        match self {
            Self::AccountNearConnections => "ACCOUNTS_001",
            Self::AccountNearSubscriptions => "ACCOUNTS_006",
            Self::UserWithTooManyConnections => "USER_002",
            Self::SilentConnections => "OPT_IDLE_007",
            Self::HotServer => "OPT_BALANCE_002",
            Self::AccountOnOneServer => "OPT_BALANCE_006",
            Self::ServerNearMaxConnections => "SERVER_011",
        }
    }
}

/// A text that names no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no condition: write `none`, or names from account-near-connections, account-near-subscriptions, \
     user-with-too-many-connections, silent-connections, hot-server, account-on-one-server and \
     server-near-max-connections, each with `=COUNT` where there shall be more or less than one"
)]
pub struct NoCondition(String);

/// One entry of the list: `NAME` or `NAME=COUNT`, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planting {
    /// What, unless nothing.
    pub condition: Option<Condition>,
    /// How often.
    pub count: u32,
}

impl FromStr for Planting {
    type Err = NoCondition;

    fn from_str(text: &str) -> Result<Self, NoCondition> {
        let wrong = || NoCondition(text.to_owned());
        if text == "none" {
            return Ok(Self { condition: None, count: 0 });
        }
        let (name, count) = match text.split_once('=') {
            Some((name, count)) => (name, count.parse().map_err(|_| wrong())?),
            None => (text, 1),
        };
        let condition = Condition::ALL.into_iter().find(|condition| condition.name() == name);
        Ok(Self { condition: Some(condition.ok_or_else(wrong)?), count })
    }
}

/// What is planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plants {
    /// How often each.
    pub wanted: BTreeMap<Condition, u32>,
    /// Whether somebody asked for them: then each must find a place.
    pub explicit: bool,
}

impl Plants {
    /// Nothing.
    pub const fn none() -> Self {
        Self { wanted: BTreeMap::new(), explicit: true }
    }

    /// From the entries of the command line; without any, one of each as far as there is room.
    pub fn of(entries: &[Planting]) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let mut plants = Self::none();
        for entry in entries {
            if let Some(condition) = entry.condition {
                plants.wanted.insert(condition, entry.count);
            }
        }
        plants
    }

    pub(super) fn count(&self, condition: Condition) -> u32 {
        self.wanted.get(&condition).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.values().all(|count| *count == 0)
    }
}

impl Default for Plants {
    fn default() -> Self {
        Self { wanted: Condition::ALL.into_iter().map(|condition| (condition, 1)).collect(), explicit: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let parse = |text: &str| text.parse::<Planting>();
        for condition in Condition::ALL {
            assert_eq!(parse(condition.name()), Ok(Planting { condition: Some(condition), count: 1 }));
            assert!(NoCondition(String::new()).to_string().contains(condition.name()), "{condition:?}");
        }
        assert_eq!(parse("hot-server=3").map(|entry| entry.count), Ok(3));
        assert_eq!(Plants::of(&[parse("none").unwrap()]), Plants::none());
        assert_eq!(Plants::of(&[]), Plants::default());
        for bad in ["", "hot", "hot-server=", "hot-server=-1", "hot-server=x", "none=2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
