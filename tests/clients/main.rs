//! Checks of connections, users and subscriptions on real servers: each fires when it is provoked, with the numbers that
//! belong to it, and ends when its cause does; and the agent's own connections are in none of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bearer;
mod connections;
mod gone;
mod healthy;
mod own;
#[allow(dead_code)]
#[path = "../faults/proxy.rs"]
mod proxy;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::watched::Watched;

/// Firing messages so far that are about something.
fn about(watched: &Watched, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
    let history = watched.findings.history().into_iter();
    history
        .filter(|m| !m.is_epoch() && m.status() == "firing" && wanted(&m.json))
        .map(|m| format!("{} {}", m.check(), m.json["summary"]))
        .collect()
}
