//! What tenants share and serve: what the gather reads of it, and the checks that judge it, on real clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod change;
mod gather;
mod imports;
mod interest;
#[allow(dead_code, reason = "another test program uses the rest")]
#[path = "../gather/lens.rs"]
mod lens;
mod raw;
mod services;
#[path = "../support/mod.rs"]
mod support;
mod unloaded;
