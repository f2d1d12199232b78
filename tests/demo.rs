//! The demo finds what it provokes, and leaves nothing behind however it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use insights_agent::demo::guard::{COMMAND, DIR_PREFIX};
use insights_agent::demo::provoked;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{Agent, eventually};
use tempfile::TempDir;

/// The machine may be slow, and run other tests' servers.
const SECONDS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(SECONDS);

/// A running demo with a directory for temporary files of its own, so that everything that is its can be told.
struct Demo {
    agent: Agent,
    temporary: TempDir,
}

/// What belongs to a demo.
#[derive(Debug)]
struct Remains {
    directories: Vec<PathBuf>,
    servers: Vec<i32>,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let args = [&["demo"], args].concat();
        let path = temporary.path().to_str().unwrap();
        Self {
            agent: Agent::start_with_env(support::AgentArgs::default().chain(args), &[("TMPDIR", path)]),
            temporary,
        }
    }

    /// Waits until the first epoch has been shown: by then everything runs.
    async fn started(args: &[&str]) -> Self {
        let mut demo = Self::start(args);
        eventually("the demo shows an epoch", SECONDS, async || {
            let said = demo.agent.stdout();
            if said.contains("\nepoch 1: ") {
                return Ok(());
            }
            assert!(demo.agent.is_running(), "{said}{}", demo.agent.stderr());
            Err(said)
        })
        .await;
        let remains = demo.remains();
        assert_eq!((remains.directories.len(), remains.servers.len()), (1, 3), "{remains:?}");
        demo
    }

    fn remains(&self) -> Remains {
        let of = |entry: fs::DirEntry| {
            entry.file_name().to_string_lossy().starts_with(DIR_PREFIX).then(|| entry.path())
        };
        let directories: Vec<PathBuf> =
            fs::read_dir(self.temporary.path()).unwrap().flatten().filter_map(of).collect();
        let of_ours = |command: &[String]| {
            command.iter().any(|word| Path::new(word).starts_with(self.temporary.path()))
        };
        Remains { directories, servers: processes(of_ours) }
    }

    async fn nothing_remains(&self) {
        eventually("nothing of the demo remains", SECONDS, async || {
            let remains = self.remains();
            match remains.directories.is_empty() && remains.servers.is_empty() {
                true => Ok(()),
                false => Err(format!("{remains:?}")),
            }
        })
        .await;
    }

    /// The guard, which is the only child of the demo that is no server.
    fn guard(&self) -> i32 {
        let is_guard = |command: &[String]| command.get(1).is_some_and(|word| word == COMMAND);
        let guards: Vec<i32> =
            processes(is_guard).into_iter().filter(|pid| parent(*pid) == Some(self.agent.id())).collect();
        assert_eq!(guards.len(), 1);
        guards[0]
    }

    /// The demo must end by itself, with an error that names the part.
    async fn fails_because_of(&mut self, part: &str) {
        let status = self.agent.wait(PATIENCE).await;
        assert_eq!(status.code(), Some(3), "{}", self.agent.stderr());
        let said = self.agent.stderr();
        assert!(said.contains(part) && said.contains("ended"), "{said}");
        self.nothing_remains().await;
    }
}

/// Processes whose command line `wanted` accepts. One that has ended has none.
fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<i32> {
    let of = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        wanted(&words).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

fn parent(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_provoked_is_found_within_two_epochs() {
    let mut demo = Demo::start(&["--until-found"]);
    let status = demo.agent.wait(PATIENCE).await;
    let said = demo.agent.stdout();
    assert!(status.success(), "{said}{}", demo.agent.stderr());
    assert_eq!(provoked().len(), 7);
    for check in provoked() {
        let told = |line: &str| line.split(' ').nth(1) == Some(check);
        assert!(said.lines().any(told), "{check} is missing in:\n{said}");
    }
    // The numbers come from the servers, through the agent.
    for number in [
        "account PRODUCTION uses 38 of 40 connections (95.0 %)",
        "has 190 of 200 subscriptions (95.0 %)",
        "user collector of account TELEMETRY has 162 connections",
        "12 connections of user reports in account PRODUCTION idle for more than 2s",
        "account TELEMETRY has 150 of its 162 connections in cluster demo on server n1 (92.6 %)",
    ] {
        assert!(said.contains(number), "{number} is missing in:\n{said}");
    }
    assert!(!said.contains("\nepoch 3: "), "{said}");
    demo.nothing_remains().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_in_order() {
    for end in [Agent::interrupt, Agent::terminate] {
        let mut demo = Demo::started(&[]).await;
        end(&demo.agent);
        let status = demo.agent.wait(PATIENCE).await;
        assert!(status.success(), "{status} {}", demo.agent.stderr());
        // Nobody cleans up after it: it is all gone when the program ends.
        let remains = demo.remains();
        assert!(remains.directories.is_empty() && remains.servers.is_empty(), "{remains:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_the_start_ends_it_too() {
    let mut demo = Demo::start(&[]);
    eventually("a server runs", SECONDS, async || {
        assert!(demo.agent.is_running(), "{}", demo.agent.stderr());
        match demo.remains().servers.len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    demo.agent.interrupt();
    let status = demo.agent.wait(PATIENCE).await;
    assert!(status.success(), "{status} {}", demo.agent.stderr());
    demo.nothing_remains().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_demo_that_is_killed() {
    let mut demo = Demo::started(&[]).await;
    demo.agent.kill();
    demo.nothing_remains().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_server_ends_it() {
    let mut demo = Demo::started(&[]).await;
    let servers = demo.remains().servers;
    kill(servers[1]);
    demo.fails_because_of("the server n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_guard_ends_it() {
    let mut demo = Demo::started(&[]).await;
    kill(demo.guard());
    demo.fails_because_of("the guard process").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_when_told_so() {
    let mut demo = Demo::start(&["--stop-after", "3s", "--epoch", "1s"]);
    let status = demo.agent.wait(PATIENCE).await;
    let said = demo.agent.stdout();
    assert!(status.success(), "{said}{}", demo.agent.stderr());
    assert!(said.contains("\nepoch 2: "), "{said}");
    // What stays as it was is told once.
    assert_eq!(said.matches("warning SERVER_011").count(), 1, "{said}");
    demo.nothing_remains().await;
}

#[tokio::test]
async fn a_server_that_does_not_exist_is_said() {
    let output = Agent::run(["demo", "--nats-server", "/nowhere/nats-server"], PATIENCE).await;
    assert_eq!(output.code, Some(3));
    assert!(output.stderr.contains("/nowhere/nats-server is not a file"), "{}", output.stderr);
}
