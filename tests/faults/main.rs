//! What breaks on real systems, under an agent that has found something: servers that freeze, crash or say goodbye, a
//! network that is cut, a connection that is lost, a subject that is denied. Nothing may end by silence or be invented, and
//! the summary says exactly what was missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connection;
mod network;
mod permission;
mod proxy;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod watch;
