//! Checks of servers and clusters on real servers: what provokes them, what they say then, and how they end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod clusters;
mod jetstream;
mod load;
mod raw;
mod restarts;
