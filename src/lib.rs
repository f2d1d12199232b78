//! Judges a NATS system each epoch over its system account and publishes what it finds.
//!
//! One datum's way through the crate, module by module:
//!
//! 1. [`nats`] asks the servers, matches their answers and decodes them; the only module that names the client.
//! 2. [`wire`] gives an answer its shape.
//! 3. [`snapshot`] is what one epoch learnt: facts, folds over connections, and coverage.
//! 4. [`check`] is what a check is; [`checks`] is the catalogue of them, pure functions of snapshots.
//! 5. [`finding`] gives a verdict its identity, its life and its published JSON.
//! 6. [`nats`] publishes; [`report`] prints the same findings, and [`alertmanager`] makes alerts of them, which [`http`] sends.
//!
//! Around it: [`config`] with [`connection`] and [`permissions`], [`epoch`] (the pure middle of a round), [`agent`] (the loop
//! around it), [`election`] (which of several agents leads), [`api`] (what is answered to who asks), [`watch`] (what is
//! published, as one sees it), [`cli`] (a file per command), [`admin`] (what the agent tells of itself), [`demo`] (a local
//! cluster with faults), [`simulate`] (many servers that do not exist).

pub mod admin;
pub mod agent;
pub mod alertmanager;
pub mod api;
pub mod check;
pub mod checks;
pub mod cli;
pub mod config;
pub mod connection;
pub mod demo;
pub mod election;
pub mod epoch;
pub mod finding;
pub mod http;
pub mod nats;
pub mod permissions;
pub mod report;
pub mod simulate;
pub mod snapshot;
pub mod text;
pub mod watch;
pub mod wire;
