//! Somebody in the system account answers requests beside the servers: with nonsense, with too much, in their names.
//! The gather neither panics nor waits for ever, says what it met, and counts the real servers exactly.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../gather/lens.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod lens;

mod bomb;
mod ghosts;
mod impostor;
mod nonsense;
mod pages;
mod system;
