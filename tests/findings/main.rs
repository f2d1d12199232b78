//! What an independent subscriber sees of each check, on real clusters: it fires with the right numbers, stays silent
//! on a healthy system, is unknown while a server is missing, and ends when its cause ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod balance;
mod idle;
mod life;
mod limits_unseen;
mod names;
mod server;
mod small_messages;
#[path = "../support/mod.rs"]
mod support;
mod unseen;
mod user;

use support::watched::{SOON, Watched, firing_in};
