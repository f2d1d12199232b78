//! Who is where: servers, clusters, accounts and their connections, none of which is ever kept as a struct.
//!
//! The connections of a pool of servers are numbered. Each account has a contiguous range of numbers, and number `j`
//! is on server `j` modulo the servers of the pool: so every account is spread evenly, and every count and every
//! connection follows from its number. What conditions add to a single server stands behind that, as extras.

use super::fault::Fault;
use super::random::{For, Key, bytes, draw, public_key};
use super::shape::Shape;
use std::ops::Range;

/// The most connections of a user, unless it is planted: the check allows 100.
const MOST_PER_USER: u64 = 60;
/// Connections that come one after another on a server belong together: the replicas of a deployment.
const RUN: u64 = 8;
/// Heaviest account in multiples of the lightest.
const HEAVIEST: u64 = 4;

/// A simulated server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) cluster: usize,
    /// Its id, and the one after a restart.
    pub(super) ids: [String; 2],
    pub(super) pool: usize,
    /// Its place in the pool.
    pub(super) slot: u64,
    /// Connections of the pool here.
    pub(super) base: u64,
    pub(super) extras: Vec<Extra>,
    pub(super) max_connections: u64,
    pub(super) faults: Vec<Fault>,
    /// The order of connections: block `b` of [`RUN`] comes at `(b * step + first) % blocks`.
    order: (u64, u64),
}

/// Connections of one account that are on one server beside the even spread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extra {
    pub(super) account: usize,
    pub(super) count: u64,
    /// Their first number within the account.
    first: u64,
}

impl Server {
    /// Its client connections.
    pub(super) fn connections(&self) -> u64 {
        self.base + self.extras.iter().map(|extra| extra.count).sum::<u64>()
    }
}

/// Servers that are joined by routes.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) servers: Range<usize>,
    /// Interest of all its accounts.
    pub(super) interest: u64,
}

/// Servers over which accounts are spread evenly.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) servers: Range<usize>,
    pub(super) accounts: Vec<usize>,
    /// The first number of each of the accounts, and behind them the number of all.
    starts: Vec<u64>,
}

impl Pool {
    const fn size(&self) -> u64 {
        (self.servers.end - self.servers.start) as u64
    }

    /// Of the numbers below `end`, those on this slot.
    const fn below(&self, end: u64, slot: u64) -> u64 {
        (end + self.size() - 1 - slot) / self.size()
    }
}

/// A tenant.
#[derive(Debug)]
pub(super) struct Account {
    /// Public key, or the name where it stands in a configuration file.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) jwt: bool,
    pub(super) pool: usize,
    start: u64,
    /// Connections spread over the pool.
    pub(super) base: u64,
    /// Connections beside that.
    pub(super) extra: u64,
    /// The first connections, of one user that has too many.
    pub(super) heavy: u64,
    /// The first connections, of one user that says nothing.
    pub(super) silent: u64,
    /// Subscriptions of its first connection, if they are near the limit.
    pub(super) big: Option<u64>,
    pub(super) subscriptions: u64,
    per_user: u64,
    /// Limits of its JWT.
    pub(super) most_connections: u64,
    pub(super) most_subscriptions: u64,
}

impl Account {
    /// Its client connections, on all servers.
    pub(super) const fn connections(&self) -> u64 {
        self.base + self.extra
    }

    /// The user that has a connection, by its number within the account.
    pub(super) const fn user_of(&self, number: u64) -> u64 {
        if number < self.heavy {
            0
        } else if self.heavy > 0 {
            1 + (number - self.heavy) / self.per_user
        } else {
            number / self.per_user
        }
    }

    /// Subscriptions of a connection.
    pub(super) fn subscriptions_of(&self, number: u64) -> u64 {
        self.big.filter(|_| number == 0).unwrap_or(self.subscriptions)
    }
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) servers: Vec<Server>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) pools: Vec<Pool>,
    pub(super) accounts: Vec<Account>,
}

/// A share of `whole` in proportion, so that all shares together are the whole.
fn share(whole: u64, part: Range<u64>, of: u64) -> u64 {
    let upto = |end: u64| (u128::from(whole) * u128::from(end) / u128::from(of.max(1))) as u64;
    upto(part.end) - upto(part.start)
}

impl Layout {
    /// Servers and accounts with their even shares; conditions come later.
    pub(super) fn new(shape: &Shape) -> Self {
        let (servers, clusters) = (shape.servers as usize, shape.clusters as usize);
        let bounds = |cluster: usize| cluster * servers / clusters;
        let clusters: Vec<Cluster> = (0..clusters)
            .map(|index| Cluster {
                name: format!("sim{}", index + 1),
                servers: bounds(index)..bounds(index + 1),
                interest: 0,
            })
            .collect();
        let ranges: Vec<Range<usize>> = if shape.spread {
            std::iter::once(0..servers).collect()
        } else {
            clusters.iter().map(|cluster| cluster.servers.clone()).collect()
        };
        let mut layout =
            Self { servers: Vec::with_capacity(servers), clusters, pools: Vec::new(), accounts: Vec::new() };
        layout.accounts =
            (0..shape.accounts as usize).map(|index| account(shape, index, ranges.len())).collect();
        for (index, servers) in ranges.into_iter().enumerate() {
            let accounts: Vec<usize> =
                (index..layout.accounts.len()).step_by(layout.pools_step(shape)).collect();
            let part = servers.start as u64..servers.end as u64;
            let connections = share(shape.connections, part, shape.servers.into());
            let weight = |account: &usize| 1 + draw(shape.seed, For::Size, *account as u64, 0) % HEAVIEST;
            let whole: u64 = accounts.iter().map(weight).sum();
            let mut before = 0;
            for account in &accounts {
                let weight = weight(account);
                layout.accounts[*account].base = share(connections, before..before + weight, whole);
                before += weight;
            }
            layout.pools.push(Pool { servers, accounts, starts: Vec::new() });
        }
        for (index, cluster) in layout.clusters.iter().enumerate() {
            for place in cluster.servers.clone() {
                let pool = if shape.spread { 0 } else { index };
                let name = format!("{}-n{}", cluster.name, place - cluster.servers.start + 1);
                layout.servers.push(server(
                    shape,
                    place,
                    name,
                    index,
                    pool,
                    layout.pools[pool].servers.start,
                ));
            }
        }
        layout.number();
        layout
    }

    const fn pools_step(&self, shape: &Shape) -> usize {
        if shape.spread { 1 } else { self.clusters.len() }
    }

    /// Numbers the connections anew, once the sizes of accounts have changed.
    pub(super) fn number(&mut self) {
        for pool in &mut self.pools {
            let mut next = 0;
            pool.starts.clear();
            for account in &pool.accounts {
                let account = &mut self.accounts[*account];
                account.start = next;
                pool.starts.push(next);
                next += account.base;
            }
            pool.starts.push(next);
            for place in pool.servers.clone() {
                let server = &mut self.servers[place];
                server.base = pool.below(next, server.slot);
            }
        }
    }

    /// Adds connections of one account to one server.
    pub(super) fn add(&mut self, server: usize, account: usize, count: u64) {
        let tenant = &mut self.accounts[account];
        let extra = Extra { account, count, first: tenant.connections() };
        tenant.extra += count;
        self.servers[server].extras.push(extra);
    }

    /// Fixes what follows from the sizes: users, interest, the order on each server.
    pub(super) fn finish(&mut self, shape: &Shape) {
        for account in &mut self.accounts {
            let rest = account.connections() - account.heavy.min(account.connections());
            let users = u64::from(shape.users_per_account).max(rest.div_ceil(MOST_PER_USER));
            account.per_user = rest.div_ceil(users).max(1);
        }
        for index in 0..self.clusters.len() {
            let servers = self.clusters[index].servers.clone();
            let pool = &self.pools[self.servers[servers.start].pool];
            let interest = pool.accounts.iter().map(|account| self.interest(*account, index)).sum();
            self.clusters[index].interest = interest;
        }
        for (index, server) in self.servers.iter_mut().enumerate() {
            let blocks = server.connections() / RUN;
            if blocks > 1 {
                let mut step = draw(shape.seed, For::Order, index as u64, 0) % blocks;
                while gcd(step, blocks) != 1 {
                    step = (step + 1) % blocks;
                }
                server.order = (step, draw(shape.seed, For::Order, index as u64, 1) % blocks);
            }
        }
    }

    /// Client connections of an account on a server.
    pub(super) fn on(&self, account: usize, server: usize) -> u64 {
        let (tenant, place) = (&self.accounts[account], &self.servers[server]);
        let extra: u64 =
            place.extras.iter().filter(|extra| extra.account == account).map(|extra| extra.count).sum();
        if tenant.pool != place.pool {
            return extra;
        }
        let pool = &self.pools[place.pool];
        pool.below(tenant.start + tenant.base, place.slot) - pool.below(tenant.start, place.slot) + extra
    }

    /// Client connections of an account in a cluster.
    pub(super) fn in_cluster(&self, account: usize, cluster: usize) -> u64 {
        let servers = self.clusters[cluster].servers.clone();
        let tenant = &self.accounts[account];
        if self.pools[tenant.pool].servers == servers {
            // At home there, and nowhere else.
            return tenant.connections();
        }
        servers.map(|server| self.on(account, server)).sum()
    }

    /// Subscriptions of an account as the servers of a cluster see them.
    pub(super) fn interest(&self, account: usize, cluster: usize) -> u64 {
        let tenant = &self.accounts[account];
        let connections = self.in_cluster(account, cluster);
        let big =
            tenant.big.filter(|_| self.clusters[cluster].servers.contains(&self.home_of_first(account)));
        connections * tenant.subscriptions + big.map_or(0, |big| big.saturating_sub(tenant.subscriptions))
    }

    /// The server of an account's first connection.
    fn home_of_first(&self, account: usize) -> usize {
        let tenant = &self.accounts[account];
        let pool = &self.pools[tenant.pool];
        pool.servers.start + (tenant.start % pool.size()) as usize
    }

    /// The connection at a position in the order of a server: its account, and its number there.
    pub(super) fn at(&self, server: usize, position: u64) -> (usize, u64) {
        let place = &self.servers[server];
        let blocks = place.connections() / RUN;
        let mut index = position;
        if blocks > 1 && position / RUN < blocks {
            let (step, first) = place.order;
            let block =
                (u128::from(position / RUN) * u128::from(step) + u128::from(first)) % u128::from(blocks);
            index = block as u64 * RUN + position % RUN;
        }
        if index < place.base {
            let pool = &self.pools[place.pool];
            let number = place.slot + index * pool.size();
            let which = pool.starts.partition_point(|start| *start <= number) - 1;
            let account = pool.accounts[which];
            return (account, number - pool.starts[which]);
        }
        index -= place.base;
        for extra in &place.extras {
            if index < extra.count {
                return (extra.account, extra.first + index);
            }
            index -= extra.count;
        }
        // Beyond the end; nobody asks.
        (0, 0)
    }
}

fn account(shape: &Shape, index: usize, pools: usize) -> Account {
    let upto = |end: usize| (end as f64 * shape.jwt_share).floor();
    let jwt = upto(index + 1) > upto(index);
    let name = format!("TENANT-{:05}", index + 1);
    let id = if jwt {
        public_key(Key::Account, bytes(shape.seed, For::Account, index as u64, 0))
    } else {
        name.clone()
    };
    Account {
        id,
        name,
        jwt,
        pool: index % pools,
        start: 0,
        base: 0,
        extra: 0,
        heavy: 0,
        silent: 0,
        big: None,
        subscriptions: u64::from(shape.subscriptions),
        per_user: 1,
        most_connections: 0,
        most_subscriptions: 0,
    }
}

fn server(shape: &Shape, place: usize, name: String, cluster: usize, pool: usize, first: usize) -> Server {
    let id = |purpose| public_key(Key::Server, bytes(shape.seed, purpose, place as u64, 0));
    Server {
        name,
        cluster,
        ids: [id(For::Server), id(For::RestartedServer)],
        pool,
        slot: (place - first) as u64,
        base: 0,
        extras: Vec::new(),
        max_connections: 0,
        faults: Vec::new(),
        order: (1, 0),
    }
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
