//! How large a world is, and what is wrong with it.

use super::fault::Fault;
use super::plant::Plants;

/// What a world is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Servers.
    pub servers: u32,
    /// Clusters; their servers know each other by routes, the clusters by gateways.
    pub clusters: u32,
    /// Accounts besides the system account.
    pub accounts: u32,
    /// Client connections, before conditions add theirs.
    pub connections: u64,
    /// Users of an account; more where a user would have more than 60 connections otherwise.
    pub users_per_account: u32,
    /// Subscriptions of a connection.
    pub subscriptions: u32,
    /// Streams: only counted in what servers tell of JetStream.
    pub streams: u64,
    /// Consumers: only counted in what servers tell of JetStream.
    pub consumers: u64,
    /// The share of accounts that have keys and JWTs, from 0 to 1; the others stand in configuration files.
    pub jwt_share: f64,
    /// Whether the connections of an account are on all servers, and not only on those of its home cluster.
    pub spread: bool,
    /// The same seed gives the same world.
    pub seed: u64,
    /// What the checks must find.
    pub plants: Plants,
    /// What is wrong with servers.
    pub faults: Vec<Fault>,
    /// Whether the first servers get the faults, on which conditions are planted: to see what becomes of findings while
    /// they cannot be judged. Otherwise the last servers get them, and none of their clusters a condition.
    pub faults_on_planted: bool,
    /// The system account's name or key.
    pub system_account: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            servers: 6,
            clusters: 2,
            accounts: 20,
            connections: 1000,
            users_per_account: 5,
            subscriptions: 10,
            streams: 0,
            consumers: 0,
            jwt_share: 1.0,
            spread: false,
            seed: 1,
            plants: Plants::default(),
            faults: Vec::new(),
            faults_on_planted: false,
            system_account: "SYS".into(),
        }
    }
}

/// Why there can be no such world.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// A number out of range.
    #[error("{name} is {value}, and must be from {least} to {most}")]
    OutOfRange {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// The least that is possible.
        least: u64,
        /// The most that is possible.
        most: u64,
    },
    /// Clusters in which no account would be at home.
    #[error("{accounts} accounts cannot be at home in {clusters} clusters: give more accounts, or --spread")]
    EmptyClusters {
        /// Accounts.
        accounts: u32,
        /// Clusters.
        clusters: u32,
    },
    /// More faulty servers than may be.
    #[error(
        "{faulty} servers with faults are too many: conditions are planted in clusters without faults, and in \
         {clusters} clusters {room} servers may have faults; give more clusters or servers, or --plant none or \
         --faults-on-planted"
    )]
    TooFaulty {
        /// Faulty servers.
        faulty: u64,
        /// Clusters.
        clusters: u32,
        /// Servers that may have faults.
        room: u64,
    },
    /// Faults and conditions on the same servers.
    #[error(
        "with --spread every account is on every server, those with faults too, so that what is planted might not \
         be seen: leave out --spread, or give --plant none or --faults-on-planted"
    )]
    FaultsEverywhere,
    /// A condition without room.
    #[error("{condition} cannot be planted {wanted} times: {reason}")]
    NoRoom {
        /// Its name.
        condition: &'static str,
        /// How often it was wanted.
        wanted: u32,
        /// What is missing.
        reason: String,
    },
}

impl Shape {
    pub(super) fn validate(&self) -> Result<(), ShapeError> {
        let range = |name, value: u64, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(ShapeError::OutOfRange { name, value: value.to_string(), least, most })
            }
        };
        range("--servers", self.servers.into(), 1, 10_000)?;
        range("--clusters", self.clusters.into(), 1, self.servers.into())?;
        range("--accounts", self.accounts.into(), 1, 1_000_000)?;
        range("--connections", self.connections, 0, 100_000_000)?;
        range("--users-per-account", self.users_per_account.into(), 1, 1_000_000)?;
        range("--subscriptions", self.subscriptions.into(), 0, 100_000)?;
        range("--streams", self.streams, 0, 1_000_000_000)?;
        range("--consumers", self.consumers, 0, 1_000_000_000)?;
        if !(0.0..=1.0).contains(&self.jwt_share) {
            let value = self.jwt_share.to_string();
            return Err(ShapeError::OutOfRange { name: "--jwt-share", value, least: 0, most: 1 });
        }
        if !self.spread && self.accounts < self.clusters {
            return Err(ShapeError::EmptyClusters { accounts: self.accounts, clusters: self.clusters });
        }
        let apart = !self.faults_on_planted && !self.plants.is_empty();
        if self.spread && !self.faults.is_empty() && apart {
            return Err(ShapeError::FaultsEverywhere);
        }
        Ok(())
    }
}
