//! Puts conditions and faults into a layout, never both into the same cluster.

use super::layout::Layout;
use super::plant::Condition;
use super::shape::{Shape, ShapeError};

/// Connections of a user that has too many.
const TOO_MANY: u64 = 150;
/// Connections of any account that gets a condition.
const LEAST: u64 = 20;
/// Connections that say nothing.
const SILENT: u64 = 5;
/// Subscriptions of a connection near its limit, and that limit.
const MANY_SUBSCRIPTIONS: (u64, u64) = (950, 1000);
/// Connections of an account on one server: from this number on an account is judged, and no more than a server bears
/// without becoming a hot one.
const ON_ONE: (u64, u64) = (12, 40);
/// Where nothing is planted, and nothing else is needed: the default of nats-server.
const MAX_CONNECTIONS: u64 = 65_536;
/// An account with so many percent of its connections in a cluster on one server is not yet reported for that.
const MOST_ON_HOT: u32 = 70;
/// A hot server must have more than twice the average, and at least 100 connections. Of three servers it has more than two
/// thirds of the connections, which leaves little room below [`MOST_ON_HOT`].
const HOT: (f64, u64) = (2.005, 110);

/// A condition that found its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planted {
    pub(super) condition: Condition,
    pub(super) place: Place,
}

/// What a finding of it is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Account(usize),
    /// The first user of an account.
    User(usize),
    Server(usize),
    AccountInCluster(usize, usize),
}

/// A condition for which there is no room.
#[derive(Debug, Clone)]
pub(super) struct Unplanted {
    pub(super) condition: Condition,
    pub(super) reason: String,
}

/// What came of the wishes.
pub(super) type Outcome = (Vec<Planted>, Vec<Unplanted>);

/// Puts everything in, and finishes the layout.
pub(super) fn plant(layout: &mut Layout, shape: &Shape) -> Result<Outcome, ShapeError> {
    if !shape.faults_on_planted {
        spoil(layout, shape)?;
    }
    let mut planter =
        Planter { used: vec![false; layout.accounts.len()], planted: Vec::new(), unplanted: Vec::new() };
    for condition in [
        Condition::AccountNearConnections,
        Condition::AccountNearSubscriptions,
        Condition::UserWithTooManyConnections,
        Condition::SilentConnections,
        Condition::AccountOnOneServer,
    ] {
        for number in 0..shape.plants.count(condition) {
            planter.account(layout, condition, number as usize);
        }
    }
    layout.number();
    planter.add_on_one(layout);
    for _ in 0..shape.plants.count(Condition::HotServer) {
        planter.hot(layout);
    }
    for number in 0..shape.plants.count(Condition::ServerNearMaxConnections) {
        planter.near_max(layout, number as usize);
    }
    planter.limits(layout);
    layout.finish(shape);
    if shape.faults_on_planted {
        spoil(layout, shape)?;
    }
    if let Some(unplanted) = planter.unplanted.first()
        && shape.plants.explicit
    {
        let (condition, wanted) = (unplanted.condition.name(), shape.plants.count(unplanted.condition));
        return Err(ShapeError::NoRoom { condition, wanted, reason: unplanted.reason.clone() });
    }
    Ok((planter.planted, planter.unplanted))
}

/// Gives the last servers their faults, or the first ones, where conditions are.
fn spoil(layout: &mut Layout, shape: &Shape) -> Result<(), ShapeError> {
    let faulty: u64 = shape.faults.iter().map(|fault| u64::from(fault.servers)).sum();
    let anywhere = shape.plants.is_empty() || shape.faults_on_planted;
    let first = if anywhere { 0 } else { layout.clusters[0].servers.end };
    let room = (layout.servers.len() - first) as u64;
    if faulty > room {
        return Err(ShapeError::TooFaulty { faulty, clusters: shape.clusters, room });
    }
    let mut places: Vec<usize> = (0..layout.servers.len()).collect();
    if !shape.faults_on_planted {
        places.reverse();
    }
    let mut places = places.into_iter();
    for fault in &shape.faults {
        for place in places.by_ref().take(fault.servers as usize) {
            layout.servers[place].faults.push(fault.clone());
        }
    }
    Ok(())
}

struct Planter {
    used: Vec<bool>,
    planted: Vec<Planted>,
    unplanted: Vec<Unplanted>,
}

/// Whether no server of the cluster has a fault.
fn sound(layout: &Layout, cluster: usize) -> bool {
    layout.servers[layout.clusters[cluster].servers.clone()].iter().all(|server| server.faults.is_empty())
}

/// Sound clusters in which servers can be compared.
fn comparable(layout: &Layout) -> Vec<usize> {
    let large = |cluster: &usize| layout.clusters[*cluster].servers.len() >= 3;
    (0..layout.clusters.len()).filter(large).filter(|cluster| sound(layout, *cluster)).collect()
}

const NO_COMPARABLE: &str = "it needs a cluster of at least 3 servers without faults for each";

impl Planter {
    fn lacks(&mut self, condition: Condition, reason: &str) {
        self.unplanted.push(Unplanted { condition, reason: reason.into() });
    }

    /// Takes the next account that suits, and gives it the condition.
    fn account(&mut self, layout: &mut Layout, condition: Condition, number: usize) {
        let clusters = comparable(layout);
        let suits = |index: usize| {
            let account = &layout.accounts[index];
            let at_home = layout.pools[account.pool].servers.clone();
            let sound = layout.servers[at_home.clone()].iter().all(|server| server.faults.is_empty());
            let suits = match condition {
                Condition::AccountNearConnections => account.jwt,
                Condition::AccountNearSubscriptions => account.jwt,
                Condition::AccountOnOneServer => {
                    clusters.iter().any(|cluster| at_home.contains(&layout.clusters[*cluster].servers.start))
                }
                _ => true,
            };
            sound && suits
        };
        let found = (0..self.used.len()).find(|index| !self.used[*index] && suits(*index));
        let Some(index) = found else {
            let reason = match condition {
                Condition::AccountNearConnections | Condition::AccountNearSubscriptions => {
                    "it needs accounts with JWTs, away from faults, for each"
                }
                Condition::AccountOnOneServer => {
                    "it needs accounts in clusters of at least 3 servers without faults, for each"
                }
                _ => "it needs accounts away from faults, for each",
            };
            return self.lacks(condition, reason);
        };
        self.used[index] = true;
        let account = &mut layout.accounts[index];
        account.base = account.base.max(LEAST);
        let place = match condition {
            Condition::AccountNearSubscriptions => {
                // Where every connection has many, the limit must be far from those.
                let factor = account.subscriptions.div_ceil(MANY_SUBSCRIPTIONS.1 / 2).max(1);
                account.big = Some(MANY_SUBSCRIPTIONS.0 * factor);
                account.most_subscriptions = MANY_SUBSCRIPTIONS.1 * factor;
                Place::Account(index)
            }
            Condition::UserWithTooManyConnections => {
                account.heavy = TOO_MANY;
                account.base = account.base.max(TOO_MANY);
                Place::User(index)
            }
            Condition::SilentConnections => {
                account.silent = SILENT;
                Place::User(index)
            }
            Condition::AccountOnOneServer => {
                let at_home = layout.pools[account.pool].servers.clone();
                let possible: Vec<usize> = clusters
                    .into_iter()
                    .filter(|cluster| at_home.contains(&layout.clusters[*cluster].servers.start))
                    .collect();
                Place::AccountInCluster(index, possible[number % possible.len()])
            }
            _ => Place::Account(index),
        };
        self.planted.push(Planted { condition, place });
    }

    /// Moves accounts to one server, and leaves them no more connections than that server bears.
    fn add_on_one(&self, layout: &mut Layout) {
        let mut moved = Vec::new();
        for (number, planted) in self.planted.iter().enumerate() {
            if let Place::AccountInCluster(account, cluster) = planted.place {
                let count = layout.accounts[account].base.clamp(ON_ONE.0, ON_ONE.1);
                layout.accounts[account].base = 0;
                let servers = layout.clusters[cluster].servers.clone();
                // The last one may become hot.
                moved.push((servers.start + number % (servers.len() - 1), account, count));
            }
        }
        layout.number();
        for (server, account, count) in moved {
            layout.add(server, account, count);
        }
    }

    /// Makes the last server of a cluster hot. The last clusters come first, since accounts on one server are in the first
    /// ones and make it harder.
    fn hot(&mut self, layout: &mut Layout) {
        let clusters = comparable(layout);
        if clusters.is_empty() {
            return self.lacks(Condition::HotServer, NO_COMPARABLE);
        }
        let is_hot = |planted: &Planted, server: usize| {
            planted.condition == Condition::HotServer
                && matches!(planted.place, Place::Server(hot) if hot == server)
        };
        for cluster in clusters.into_iter().rev() {
            let hot = layout.clusters[cluster].servers.end - 1;
            if self.planted.iter().any(|planted| is_hot(planted, hot)) {
                continue;
            }
            let added = self.heat(layout, cluster, hot);
            if !added.is_empty() {
                added.into_iter().for_each(|(account, count)| layout.add(hot, account, count));
                self.planted.push(Planted { condition: Condition::HotServer, place: Place::Server(hot) });
                return;
            }
        }
        let reason =
            "every cluster of at least 3 servers without faults is hot already, or has too few connections";
        self.lacks(Condition::HotServer, reason);
    }

    /// The connections of each account that would make a server hot, and no account concentrated on it; empty where there
    /// is no such number.
    fn heat(&self, layout: &Layout, cluster: usize, hot: usize) -> Vec<(usize, u64)> {
        let servers = layout.clusters[cluster].servers.clone();
        let size = servers.len() as f64;
        let concentrated = |account: usize| {
            let mut places = self.planted.iter().map(|planted| planted.place);
            places.any(|place| matches!(place, Place::AccountInCluster(index, _) if index == account))
        };
        let pool = &layout.pools[layout.servers[hot].pool];
        let accounts = pool.accounts.iter().copied().filter(|account| !concentrated(*account));
        let shares: Vec<(usize, u64, u64)> = accounts
            .map(|account| (account, layout.in_cluster(account, cluster), layout.on(account, hot)))
            .collect();
        let here = layout.servers[hot].connections();
        let whole: u64 = servers.map(|server| layout.servers[server].connections()).sum();
        let more = |percent: u32, of: u64, on: u64| {
            (u64::from(percent) * of).saturating_sub(100 * on) / u64::from(100 - percent)
        };
        let enough = |percent: &u32| {
            let added: u64 = shares.iter().map(|(_, of, on)| more(*percent, *of, *on)).sum();
            let (here, whole) = (here + added, whole + added);
            here >= HOT.1 && here as f64 * size > HOT.0 * whole as f64
        };
        let Some(percent) = (1..=MOST_ON_HOT).find(enough) else {
            return Vec::new();
        };
        let added = shares.into_iter().map(|(account, of, on)| (account, more(percent, of, on)));
        added.filter(|(_, count)| *count > 0).collect()
    }

    fn near_max(&mut self, layout: &mut Layout, number: usize) {
        let clean = (0..layout.clusters.len()).filter(|cluster| sound(layout, *cluster));
        let servers = clean.flat_map(|cluster| layout.clusters[cluster].servers.clone());
        let server = servers.filter(|server| layout.servers[*server].connections() > 0).nth(number);
        let Some(server) = server else {
            return self.lacks(
                Condition::ServerNearMaxConnections,
                "it needs a server with connections, in a cluster without faults, for each",
            );
        };
        let place = &mut layout.servers[server];
        place.max_connections = (place.connections() * 100 / 90).max(1);
        self.planted
            .push(Planted { condition: Condition::ServerNearMaxConnections, place: Place::Server(server) });
    }

    /// Limits that follow from the sizes: near for those that are planted, far for all others.
    fn limits(&self, layout: &mut Layout) {
        for account in &mut layout.accounts {
            account.most_connections = account.connections() * 3 + 100;
            if account.big.is_none() {
                account.most_subscriptions = (account.connections() * account.subscriptions) * 3 + 1000;
            }
        }
        for planted in &self.planted {
            if let (Condition::AccountNearConnections, Place::Account(index)) =
                (planted.condition, planted.place)
            {
                let account = &mut layout.accounts[index];
                account.most_connections = (account.connections() * 100 / 95).max(1);
            }
        }
        for server in &mut layout.servers {
            if server.max_connections == 0 {
                server.max_connections = MAX_CONNECTIONS.max(server.connections() * 2);
            }
        }
    }
}
