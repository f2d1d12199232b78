//! `insights-agent simulate`: what the simulated servers answer, and what the agent makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod links;
mod pages;
mod read;
mod served;
mod shapes;
mod stand;
mod world;
