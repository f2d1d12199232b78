//! A local NATS system to look at: throwaway identities, server configuration files, server processes, and a
//! guard that lets none of them outlive the program. The integration tests stand on it too.
//!
//! [`run`] is the `demo` command: a cluster with faults, an agent, and what it publishes.

mod cluster;
mod error;
mod evidence;
mod formation;
pub mod guard;
pub mod identity;
pub mod ports;
mod run;
mod scenario;
mod screen;
pub mod server;
mod story;
pub mod topology;

pub use error::DemoError;
pub use run::{DEFAULT_EPOCH, DemoOptions, DemoOutcome, FOUND_WITHIN, provoked, run};
