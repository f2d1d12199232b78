//! Pages of connections that lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use insights_agent::snapshot::{Answer, Endpoint, Snapshot};
use serde_json::{Value, json};

use crate::impostor::{GHOST, Reply, Request, server};
use crate::lens::{answer, named};
use crate::support::eventually;
use crate::system::System;

/// A page of a ghost with these cids.
fn page(cids: impl IntoIterator<Item = u64>, total: u64) -> Reply {
    let connections: Vec<Value> = cids
        .into_iter()
        .map(|cid| json!({"cid": cid, "kind": "Client", "account": "GHOSTLY", "authorized_user": "g"}))
        .collect();
    let data = json!({"now": "2026-01-01T00:00:00Z", "total": total, "connections": connections});
    Reply::json(&json!({"server": server(GHOST, "ghost"), "data": data}))
}

/// A sweep in which a ghost answers the roll call and gives these pages.
async fn swept(pages: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Snapshot, u64) {
    let mut system = System::start().await;
    system.lens.patience = Duration::from_secs(2);
    system.lens.within = Duration::from_secs(10);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let _impostor = system
        .impostor(move |request| {
            if request.is("PING", "STATSZ") {
                return vec![Reply::json(&json!({"server": server(GHOST, "ghost"), "statsz": {}}))];
            }
            match request.is(GHOST, "CONNZ") {
                true => {
                    count.fetch_add(1, Ordering::Relaxed);
                    vec![pages(request)]
                }
                false => Vec::new(),
            }
        })
        .await;
    let snapshot = eventually("the ghost is in time for the roll call", 60, async || {
        asked.store(0, Ordering::Relaxed);
        let snapshot = system.sweep().await;
        match snapshot.server_named("ghost") {
            Some(_) => Ok(snapshot),
            None => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
    (snapshot, asked.load(Ordering::Relaxed))
}

fn clients(snapshot: &Snapshot) -> u64 {
    named(snapshot, "ghost").fold.as_ref().unwrap().clients
}

fn partial(snapshot: &Snapshot) -> &str {
    match answer(snapshot, Endpoint::Connz, "ghost") {
        Answer::Partial(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_page_again_and_again_is_counted_once() {
    let (snapshot, asked) = swept(|_| page(1..=64, u64::MAX)).await;
    assert_eq!(clients(&snapshot), 64);
    assert!(partial(&snapshot).contains("repeats the one before"), "{}", partial(&snapshot));
    assert_eq!(asked, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_connection_again_and_again_is_counted_once() {
    let (snapshot, _) = swept(|_| page([5; 64], 64)).await;
    assert_eq!(clients(&snapshot), 1);
    assert!(partial(&snapshot).contains("twice"), "{}", partial(&snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_longer_than_asked_for_is_read_and_a_total_too_low_ends_nothing() {
    let (snapshot, asked) = swept(|_| page(1..=500, 0)).await;
    assert_eq!((clients(&snapshot), asked), (500, 2));
    assert!(partial(&snapshot).contains("repeats the one before"), "{}", partial(&snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_are_read_until_the_deadline() {
    let (snapshot, asked) = swept(|request| {
        let offset = request.body["offset"].as_u64().unwrap();
        page(offset + 1..=offset + 64, u64::MAX)
    })
    .await;
    assert!(partial(&snapshot).contains("time was over"), "{}", partial(&snapshot));
    // Each page overlaps the one before by half, and nothing is counted twice.
    assert!(clients(&snapshot) <= 64 + asked * 32, "{} in {asked}", clients(&snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_never_join_are_read_until_the_deadline() {
    let number = AtomicU64::new(0);
    let (snapshot, _) = swept(move |_| {
        let first = number.fetch_add(1, Ordering::Relaxed) * 1000;
        page(first + 1..=first + 64, 200)
    })
    .await;
    // Every look further back shows others again.
    assert!(partial(&snapshot).contains("time was over"), "{}", partial(&snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_page_counts_nothing() {
    let half = |reply: Reply| Reply::bytes(reply.payload.slice(..reply.payload.len() / 2));
    let (snapshot, _) = swept(move |_| half(page(1..=64, 200))).await;
    assert_eq!(clients(&snapshot), 0);
    let failed = answer(&snapshot, Endpoint::Connz, "ghost");
    assert!(matches!(failed, Answer::Failed(why) if why.contains("ends early")), "{failed:?}");

    let (snapshot, _) = swept(move |request| match request.body["offset"].as_u64() {
        Some(0) => page(1..=64, 200),
        _ => half(page(33..=96, 200)),
    })
    .await;
    assert_eq!(clients(&snapshot), 64);
    assert!(partial(&snapshot).contains("ends early"), "{}", partial(&snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_end_the_sweep() {
    let (snapshot, asked) = swept(|request| match request.body["offset"].as_u64() {
        Some(0) => page(1..=64, 200),
        _ => page([], 200),
    })
    .await;
    assert_eq!(clients(&snapshot), 64);
    assert!(asked < 10, "{asked}");
}
