//! The agent as a service that is asked, and the command that watches what it publishes, on real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ask;
mod discovery;
mod findings;
mod judge;
mod least;
mod sink;
#[path = "../support/mod.rs"]
mod support;
mod watch;
