//! Memory and CPU of the fold, of the snapshot around it and of judging, without any network, as one row per system.
//!
//!     cargo bench --bench memory -- SERVERS ACCOUNTS USERS CONNECTIONS [spread] [configuration] [distinct]
//!
//! USERS are those of an account; 0: every connection has its own. A process measures one system only, for memory once
//! taken is seldom given back.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod world;

use insights_agent::epoch::{Memory, judge};
use insights_agent::snapshot::ConnectionFold;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{Size, World};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |at: usize, default: usize| words.get(at).map_or(default, |word| word.parse().unwrap());
    let is = |word: &str| words.iter().any(|other| other == word);
    let users = number(2, 10);
    let size = Size {
        servers: number(0, 1000),
        accounts: number(1, 10_000),
        users: (users > 0).then_some(users),
        connections: number(3, 100_000),
        at_home: !is("spread"),
        operator: !is("configuration"),
        distinct: is("distinct"),
    };
    let world = World::new(size);
    let checks = world::checks();
    let mut snapshot = world.snapshot();
    let before = memory("VmRSS");
    let mut fold = ConnectionFold::new(World::rules(checks));
    let (mut folding, mut listed) = (Duration::ZERO, 0);
    for server in 0..size.servers {
        let (source, page) = (World::source(server), world.page(server));
        let start = world::cpu();
        listed += world::fold(&mut fold, &source, page.as_bytes());
        folding += world::cpu() - start;
    }
    let folded = memory("VmRSS");
    snapshot.take_fold(fold);
    let mut past = Memory::new();
    let start = world::cpu();
    let judgements = judge(checks, &snapshot, &past, &BTreeMap::new());
    let judging = world::cpu() - start;
    let firing: usize = judgements.iter().map(|judgement| judgement.firing.len()).sum();
    drop(judgements);
    past.push(snapshot);
    println!(
        "{listed} connections: fold {:.1} MiB over the {:.1} MiB of the rest; {} ns of CPU to parse and fold each, {} ms to judge \
         ({firing} firing); peak {:.1} MiB",
        mib(folded.saturating_sub(before)),
        mib(before),
        folding.as_nanos() / u128::from(listed.max(1)),
        judging.as_millis(),
        mib(memory("VmHWM")),
    );
}

use world::memory;

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
