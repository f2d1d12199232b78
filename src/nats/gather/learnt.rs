//! How large and how quick the answers of servers are, learnt from those that came.

use crate::text::Name;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Plain bytes of a page of connections that are aimed at. A server sorts all its connections for every page, so large
/// pages cost it less (measured: 5,000 connections in pages of 256 take 225 ms, in one page 25 ms); the agent keeps up
/// to one page for each core in memory.
const PAGE_BYTES: f64 = 6.0 * 1024.0 * 1024.0;

/// The same where a page is dear whatever it lists: a server that decodes the JWTs of all its connections for every page
/// should be asked for one page only.
const WHOLE_BYTES: f64 = 40.0 * 1024.0 * 1024.0;

/// Plain bytes of a connection from which on it is taken to show its user's JWT: between the two of [`PLAIN`].
const WITH_JWT: f64 = 900.0;

/// Fewest and most connections of one page.
const PAGE: (u64, u64) = (256, 32_768);

/// Plain bytes of a connection until pages have told: with its user's JWT (measured: 8,192 of them are 14 MB; without a
/// JWT about 600 each).
const PLAIN: f64 = 1_700.0;

/// Bytes of a connection on the network until pages have told: snappy leaves a fifth of JWTs, and a seventh of the rest.
const WIRE: f64 = 340.0;

/// How much of an estimate each new answer replaces.
const WEIGHT: f64 = 0.3;

/// What a page costs a server whatever it lists, in connections: small pages would seem slow otherwise.
const FIXED: f64 = 1_000.0;

/// An average in which older values fade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faded(f64);

impl Faded {
    pub(super) const fn new(start: f64) -> Self {
        Self(start)
    }

    pub(super) fn add(&mut self, value: f64) {
        self.0 += WEIGHT * (value - self.0);
    }

    pub(super) const fn value(self) -> f64 {
        self.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    plain: Faded,
    wire: Faded,
    seconds: Faded,
}

/// A page that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Connections in it.
    pub(super) listed: u64,
    /// Its bytes after decoding.
    pub(super) plain: u64,
    /// Its bytes on the network.
    pub(super) wire: u64,
    /// From the request to the answer.
    pub(super) took: Duration,
}

/// What was learnt of pages of connections.
#[derive(Debug)]
pub(super) struct Learnt {
    servers: HashMap<Name, Pace>,
    plain: Faded,
    wire: Faded,
}

impl Default for Learnt {
    fn default() -> Self {
        Self { servers: HashMap::new(), plain: Faded::new(PLAIN), wire: Faded::new(WIRE) }
    }
}

impl Learnt {
    /// Connections to ask this server for in one page; `whole` if a page with JWTs costs the server the same whatever it
    /// lists.
    pub(super) fn page(&self, server: &Name, most: u64, whole: bool) -> u64 {
        let plain = self.servers.get(server).map_or(self.plain, |pace| pace.plain).value();
        let aim = if whole && plain > WITH_JWT { WHOLE_BYTES } else { PAGE_BYTES };
        ((aim / plain.max(1.0)) as u64).clamp(PAGE.0, PAGE.1).min(most)
    }

    /// Bytes on the network of this many connections of this server.
    pub(super) fn bytes(&self, server: &Name, connections: u64) -> u64 {
        let wire = self.servers.get(server).map_or(self.wire, |pace| pace.wire).value();
        (connections as f64 * wire) as u64
    }

    /// Takes in a page; gives how long such a page of this server took before.
    pub(super) fn learn(&mut self, server: &Name, page: Measured) -> Option<Duration> {
        let size = page.listed as f64 + FIXED;
        let seconds = page.took.as_secs_f64() / size;
        let before = self.servers.get(server).map(|pace| pace.seconds.value() * size);
        let pace = self.servers.entry(server.clone()).or_insert(Pace {
            plain: self.plain,
            wire: self.wire,
            seconds: Faded::new(seconds),
        });
        pace.seconds.add(seconds);
        // A few connections tell little: most of such an answer is its envelope.
        if page.listed >= PAGE.0 / 2 {
            let each = |bytes: u64| bytes as f64 / page.listed as f64;
            for (own, all, value) in [
                (&mut pace.plain, &mut self.plain, each(page.plain)),
                (&mut pace.wire, &mut self.wire, each(page.wire)),
            ] {
                own.add(value);
                all.add(value);
            }
        }
        before.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, known: &BTreeSet<Name>) {
        self.servers.retain(|id, _| known.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(listed: u64, plain_each: u64, milliseconds: u64) -> Measured {
        let plain = listed * plain_each;
        Measured { listed, plain, wire: plain / 6, took: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn pages_grow_towards_the_size_that_is_aimed_at() {
        let (mut learnt, a, b) = (Learnt::default(), Name::from("a"), Name::from("b"));
        let first = learnt.page(&a, u64::MAX, false);
        assert!((3_000..4_000).contains(&first), "{first}");
        for _ in 0..20 {
            learnt.learn(&a, page(5_000, 600, 20));
        }
        assert!((10_000..11_000).contains(&learnt.page(&a, u64::MAX, false)));
        // Another server begins with what was learnt of all, and is corrected by its own pages.
        assert_eq!(learnt.page(&b, u64::MAX, false), learnt.page(&a, u64::MAX, false));
        for _ in 0..30 {
            learnt.learn(&b, page(300, 100_000, 20));
        }
        assert_eq!(learnt.page(&b, u64::MAX, false), PAGE.0);
        assert_eq!(learnt.page(&a, 64, false), 64);
        for _ in 0..30 {
            learnt.learn(&a, page(5_000, 1, 20));
        }
        assert_eq!(learnt.page(&a, u64::MAX, false), PAGE.1);
    }

    #[test]
    fn bytes_and_time_follow_the_servers_own_pages() {
        let (mut learnt, a) = (Learnt::default(), Name::from("a"));
        assert_eq!(learnt.bytes(&a, 1000), 340_000);
        assert_eq!(learnt.learn(&a, page(9_000, 600, 50)), None);
        let before = learnt.learn(&a, page(9_000, 600, 500)).unwrap();
        assert_eq!(before, Duration::from_millis(50));
        for _ in 0..30 {
            learnt.learn(&a, page(9_000, 600, 50));
        }
        assert!((99_000..101_000).contains(&learnt.bytes(&a, 1000)));
        // Ten connections are mostly an envelope.
        learnt.learn(&a, page(10, 1_000_000, 1));
        assert!(learnt.bytes(&a, 1000) < 101_000);
        learnt.retain(&BTreeSet::new());
        assert!(learnt.servers.is_empty());
    }
}
