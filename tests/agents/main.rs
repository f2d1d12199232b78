//! Several agents beside one system: one of them gathers and publishes, whatever becomes of them, and to those who listen it
//! is as if there were one that never fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alone;
mod apart;
mod leader;
mod lease;
mod own;
#[path = "../faults/proxy.rs"]
#[allow(dead_code)]
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod team;

use std::time::Duration;

/// For anything that is expected to happen.
const SOON: Duration = Duration::from_secs(90);
/// The length of an epoch in seconds. A busy machine must not be taken for an agent that is gone.
const EPOCH: u64 = 3;
