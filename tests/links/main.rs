//! What connects servers, on real systems: routes, gateways and leafnodes that are slow, full, missing or gone are found
//! with what is told of them, and the findings end when that ends.
//!
//! One state no server here can be brought to, and stands in unit tests with answers as servers write them: a gateway in
//! optimistic mode (OPT_PLACE_004), which servers since 2.9 leave at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod gateways;
mod gather;
mod leafs;
#[path = "../gather/lens.rs"]
#[allow(dead_code)]
mod lens;
#[path = "../faults/proxy.rs"]
#[allow(dead_code)]
mod proxy;
mod recorded;
#[path = "../fixtures/recording.rs"]
#[allow(dead_code)]
mod recording;
mod routes;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use serde_json::Value;
use std::time::Duration;
use support::watched::Watched;

/// Round trips are measured by pings, by default every 15 s or less often.
const PINGS: &str = "ping_interval: \"1s\"\nping_max: 60\n";

/// The end of a check's finding about this entity.
async fn ended(watched: &mut Watched, check: &str, entity: &str) {
    let is = |json: &Value| json["entity"]["id"] == entity;
    let wanted = |m: &support::Message| m.check() == check && m.status() == "resolved" && is(&m.json);
    watched.findings.wait_for(support::watched::SOON, wanted).await;
}

/// What a check says of this entity.
async fn found(watched: &mut Watched, check: &str, entity: &str) -> Value {
    watched.firing_as(check, |json| json["entity"]["id"] == entity && json["held"].is_null()).await.json
}

/// Whether a number of milliseconds is the delay and little more; the machine may be busy.
fn is_about(value: &Value, delay: Duration) -> bool {
    let (value, delay) = (value.as_f64().unwrap(), delay.as_secs_f64() * 1000.0);
    (delay..delay * 4.0).contains(&value)
}
