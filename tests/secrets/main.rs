//! Servers send secrets: login tokens, MQTT passwords, JWTs that are credentials by themselves. Nothing of them comes
//! out of the program, whatever it prints, logs, publishes or keeps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bearer;
mod mqtt;
mod tokens;
mod watch;
