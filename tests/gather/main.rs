//! The gather against real servers: what a snapshot says is what is there, and what it does not know it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod closed;
mod counts;
mod events;
mod lens;
mod limits;
mod names;
mod restricted;
mod servers;
mod topology;
