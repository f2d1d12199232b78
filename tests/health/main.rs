//! What servers say of their health, of clients that do not keep up or do not answer, and of connections that broke: findings
//! provoked on real servers, with their evidence, and their ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disconnects;
mod jetstream;
mod quorum;
mod slow;
mod stale;
#[path = "../support/mod.rs"]
mod support;

use support::watched::Watched;
