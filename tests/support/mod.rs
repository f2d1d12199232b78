//! Real NATS systems for integration tests. Start here:
//!
//! ```ignore
//! mod support;
//! use support::{Account, Agent, Cluster, Findings, limits};
//! use std::time::Duration;
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn a_full_account_is_reported() {
//!     let mut cluster = Cluster::operator(3)                       // or Cluster::config(3): accounts in the file
//!         .account(Account::new("PRODUCTION").limits(limits().conn(20)).user("svc"))
//!         .max_connections(1, 100)                                 // server 1 (named "n2") takes 100 clients
//!         .start()
//!         .await;                                                  // returns once the cluster is formed
//!     let clients = cluster.connect_many(0, "PRODUCTION/svc", "worker", 19).await;   // all on server 0
//!
//!     let mut findings = Findings::subscribe(&cluster).await;      // before the agent, so nothing is missed
//!     let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s"]));
//!     let found = findings
//!         .wait_for(Duration::from_secs(20), |m| m.check() == "ACCOUNTS_001" && m.status() == "firing")
//!         .await;
//!     assert_eq!(found.json["observed"]["value"], 19);
//!     assert_eq!(found.json["entity"]["id"], cluster.account_id("PRODUCTION"));
//! }
//! ```
//!
//! # What a test must know
//! * **Servers** are counted from 0 and named `n1`, `n2`, … in start order: the first cluster (`east`), the
//!   `second_cluster` (`west`, joined by gateways), then the leafnode servers.
//! * **Logins** are written `ACCOUNT/user`. Every system has the account `SYS` with `SYS/admin` (everything) and
//!   `SYS/insights` (the least-privilege user of the agent, see `insights_agent::permissions`). Leafnode
//!   servers have accounts of their own: `LOCAL/edge`.
//! * **Connections are counted by some checks.** The harness keeps none open itself. `Findings` is one client of
//!   `SYS` on server 0 (or where `subscribe_at` puts it), an agent with `agent_args()` one more on server 0.
//! * Clients from `connect` stay with their server: they reconnect to it, never to another.
//! * A **limit** of -1 is unlimited. `set_limits` and `set_max_connections` reload the running servers.
//! * Everything is killed and removed on drop, and by a guard process if the test process is killed.
//! * The server is `$NATS_SERVER` or the one in `PATH`; without one every test panics and says how to get one.
//!   [`server_of_version`] gives the binaries of `$NATS_SERVER_DIR` for tests of a certain version.
//! * A test file with helper functions of its own starts with `#![allow(clippy::unwrap_used)]` (and `expect_used`,
//!   `panic`, as it needs them): clippy lets only `#[test]` functions do that.
//! * Waits are deadlines, not sleeps; on failure the panic says what was seen instead. The machine may be slow
//!   and run several clusters at a time: give deadlines of 20 s and more.

// A test file uses a part of the harness, and each is compiled as a crate of its own.
#![allow(dead_code, unused_imports, unreachable_pub)]
// A broken harness must stop the test; there is nobody to hand an error to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod builder;
mod busy_host;
mod cluster;
mod findings;
mod formation;
mod identities;
mod raw;
mod routes;
pub mod watched;

use std::path::PathBuf;
use std::sync::LazyLock;

pub use agent::{Agent, AgentArgs, Output};
pub use builder::{Account, Builder, Limits, limits};
pub use busy_host::busy_host;
pub use cluster::Cluster;
pub use findings::{Findings, Message};
pub use formation::routes_needed;
pub use insights_agent::demo::identity::AccountLimits;
pub use raw::{Raw, flood};
pub use routes::only_routes;

/// Whether a version of nats-server does not tell what a check needs, so that it says unknown there.
pub fn is_too_old(version: &str, check: &str) -> bool {
    let since = match check {
        "OPT_PLACE_003" => "2.11",
        "SERVER_013" => "2.12",
        _ => return false,
    };
    // All of them are 2 and two digits.
    version < since
}

/// The version of the nats-server that tests use which name none, e.g. `2.15.1`.
pub fn default_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let binary = insights_agent::demo::server::find_binary(None).unwrap();
        let told = std::process::Command::new(&binary).arg("--version").output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        told.trim().rsplit(['v', ' ']).next().unwrap().to_owned()
    });
    &VERSION
}

/// The nats-server that tests use which name none, unless it is older than this version, which is one of `scripts/test`: then
/// that one.
pub fn at_least(version: &str) -> PathBuf {
    // All of them are 2 and two digits.
    if default_version() >= version {
        return insights_agent::demo::server::find_binary(None).unwrap();
    }
    server_of_version(version)
}

/// The nats-server binary of this version below `$NATS_SERVER_DIR`, as `scripts/nats-server VERSION` puts it.
pub fn server_of_version(version: &str) -> PathBuf {
    let dir = std::env::var_os("NATS_SERVER_DIR").unwrap_or_else(|| "target/nats-server".into());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(dir).join(version).join("nats-server");
    assert!(
        path.is_file(),
        "no nats-server {version} at {}: run `scripts/nats-server {version}`, or scripts/test, which does",
        path.display()
    );
    path
}

/// Repeats `probe` until it gives a value, at most for `seconds`; then panics with what the last probe saw.
pub async fn eventually<T, F>(what: &str, seconds: u64, probe: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let outcome = try_eventually(seconds, probe).await;
    outcome.unwrap_or_else(|seen| panic!("{what}: not within {seconds} s; last seen: {seen}"))
}

/// Like [`eventually`]; gives what the last probe saw instead of panicking.
pub async fn try_eventually<T, F>(seconds: u64, mut probe: F) -> Result<T, String>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        let outcome = probe().await;
        if outcome.is_ok() || tokio::time::Instant::now() >= deadline {
            return outcome;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
