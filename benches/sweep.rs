//! What a sweep costs the agent, in one thread: decode, parse and fold of a page of 10,000 connections, and judging of a
//! large system.
//!
//!     cargo bench --bench sweep

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
mod world;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use insights_agent::epoch::{Memory, judge};
use insights_agent::snapshot::ConnectionFold;
use insights_agent::wire::connz;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read, Write};
use world::{Size, World};

/// A page on which nearly every account of the system is: what follows one another has little in common.
const PAGE: Size = Size {
    servers: 1,
    accounts: 2_500,
    users: Some(10),
    connections: 10_000,
    at_home: true,
    operator: true,
    distinct: false,
};

fn pages(c: &mut Criterion) {
    let checks = world::checks();
    for (mode, size) in [("operator", PAGE), ("configuration", Size { operator: false, ..PAGE })] {
        let world = World::new(size);
        let page = world.page(0).into_bytes();
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(&page).unwrap();
        let compressed = encoder.into_inner().unwrap();
        let source = World::source(0);

        let mut group =
            c.benchmark_group(format!("{mode}, {} bytes a connection", page.len() / size.connections));
        group.sample_size(20);
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function("decode", |b| {
            b.iter(|| {
                let mut plain = Vec::with_capacity(page.len());
                snap::read::FrameDecoder::new(&compressed[..]).read_to_end(&mut plain).unwrap();
                plain
            });
        });
        group.throughput(Throughput::ElementsAndBytes {
            elements: size.connections as u64,
            bytes: page.len() as u64,
        });
        group.bench_function("parse", |b| {
            b.iter(|| {
                connz::parse(&page, &mut |_, connection| {
                    black_box(connection.cid);
                })
                .unwrap()
            });
        });
        group.bench_function("parse and fold, all users new", |b| {
            b.iter_with_large_drop(|| {
                let mut fold = ConnectionFold::new(World::rules(checks));
                world::fold(&mut fold, &source, &page);
                fold
            });
        });
        let mut fold = ConnectionFold::new(World::rules(checks));
        group.bench_function("parse and fold, all users known", |b| {
            b.iter(|| world::fold(&mut fold, &source, &page));
        });
        group.finish();
    }
}

fn judging(c: &mut Criterion) {
    let checks = world::checks();
    let mut group = c.benchmark_group("judge 1,000 servers, 10,000 accounts, 100,000 users");
    group.sample_size(10);
    for (name, at_home, operator) in [
        ("accounts at home", true, true),
        ("accounts everywhere", false, true),
        ("limits unseen", true, false),
    ] {
        let size = Size {
            servers: 1000,
            accounts: 10_000,
            users: Some(10),
            connections: 300_000,
            at_home,
            operator,
            distinct: false,
        };
        let world = World::new(size);
        let mut fold = ConnectionFold::new(World::rules(checks));
        for server in 0..size.servers {
            world::fold(&mut fold, &World::source(server), world.page(server).as_bytes());
        }
        let mut snapshot = world.snapshot();
        snapshot.take_fold(fold);
        let memory = Memory::new();
        group.bench_function(name, |b| b.iter(|| judge(checks, &snapshot, &memory, &BTreeMap::new())));
    }
    group.finish();
}

criterion_group!(benches, pages, judging);
criterion_main!(benches);
