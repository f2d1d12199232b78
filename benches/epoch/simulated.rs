//! Simulated systems of up to a thousand servers and a million connections behind one real server.
//!
//! The simulator, the server and the agent share the machine, so that an epoch is also bound by what the simulator can
//! give: its own ceiling stands beside the figures.

use crate::figures::Figures;
use crate::process;
use crate::support::{AgentArgs, Cluster};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A simulated system.
struct Size {
    connections: u64,
    servers: u64,
    clusters: u64,
    accounts: u64,
}

impl Size {
    const fn new(connections: u64, servers: u64, accounts: u64) -> Self {
        Self { connections, servers, clusters: servers / 10, accounts }
    }

    fn label(&self) -> String {
        format!("{} connections, {} servers, {} accounts", self.connections, self.servers, self.accounts)
    }
}

const SMALL: Size = Size::new(10_000, 10, 100);
const MIDDLE: Size = Size::new(100_000, 100, 10_000);
/// As many servers and accounts as the largest: only the connections differ.
const SPARSE: Size = Size::new(100_000, 1_000, 10_000);
const LARGE: Size = Size::new(1_000_000, 1_000, 10_000);

/// Servers that the ceiling is measured with at a time; more do not make it higher.
const AT_ONCE: usize = 8;

/// What the agent needed for a look.
struct Look {
    wall: f64,
    cpu: f64,
    peak: f64,
}

/// Section `simulated`.
pub(crate) async fn measure(figures: &mut Figures, quick: bool) {
    let looks = if quick { vec![SMALL, MIDDLE] } else { vec![SMALL, MIDDLE, SPARSE, LARGE] };
    let mut measured = Vec::new();
    for size in looks {
        measured.push(look(figures, &size).await);
    }
    let [.., sparse, large] = measured.as_slice() else { return };
    if quick {
        return;
    }
    figures.at_most("epoch over 1,000,000 connections", large.wall, 20.0, " s");
    figures.at_most("CPU of the agent for 1,000,000 connections", large.cpu, 4.0, " s");
    figures.at_most("peak memory of the agent at 1,000,000 connections", large.peak, 256.0, " MiB");
    figures.at_most("that peak against 100,000 connections", large.peak / sparse.peak, 1.3, " times");
    figures.at_most(
        "CPU for a connection, 1,000,000 against 100,000",
        large.cpu / sparse.cpu / 10.0,
        1.1,
        " times",
    );
    let middle = &measured[1];
    figures.note(
        "the same against 100,000 on 100 servers",
        format!("{:.2} times", large.cpu / middle.cpu / 10.0),
    );
}

async fn look(figures: &mut Figures, size: &Size) -> Look {
    let label = size.label();
    // Clients may only send what the server allows; servers' own answers are not bound by it.
    let cluster = Cluster::config(1).extra("max_payload: 64MB\n").start().await;
    let simulator = Simulator::start(&cluster, size);
    let prepared = &simulator.told["prepared"];
    figures.note(
        format!("{label}: prepared answers"),
        format!(
            "{:.0} MB, {:.0} MB compressed, in {:.1} s",
            prepared["bytes_plain"].as_f64().unwrap() / 1e6,
            prepared["bytes_compressed"].as_f64().unwrap() / 1e6,
            simulator.started_in,
        ),
    );
    let (seconds, bytes) = ceiling(&cluster).await;
    figures.note(
        format!("{label}: ceiling of the simulator"),
        format!("{:.2} GB/s, {:.2} s for all pages", bytes as f64 / 1e9 / seconds, seconds),
    );

    let busy = process::cpu(simulator.child.id()) + process::cpu(cluster.server_pid(0));
    let (look, report) = check(&cluster);
    let busy = process::cpu(simulator.child.id()) + process::cpu(cluster.server_pid(0)) - busy;
    let epoch = &report["epoch"];
    figures.must(format!("{label}: complete"), epoch["complete"] == json!(true), &epoch["complete"]);
    let expected = planted(simulator.told["expected"].as_array().unwrap());
    let found = reported(report["findings"].as_array().unwrap());
    figures.must(
        format!("{label}: every planted condition, nothing else"),
        expected == found && !expected.is_empty(),
        format!("{} of {}", expected.intersection(&found).count(), expected.len()),
    );
    if expected != found {
        eprintln!("  missed: {:?}", expected.difference(&found).collect::<Vec<_>>());
        eprintln!("  beyond: {:?}", found.difference(&expected).collect::<Vec<_>>());
        eprintln!("  {epoch}");
    }
    figures.note(
        format!("{label}: process, CPU, peak"),
        format!("{:.2} s, {:.2} s, {:.0} MiB", look.wall, look.cpu, look.peak),
    );
    figures.note(
        format!("{label}: epoch, answers, CPU of server and simulator"),
        format!(
            "{:.2} s, {:.1} MB, {:.2} s",
            epoch["duration_ms"].as_f64().unwrap() / 1000.0,
            epoch["cost"]["bytes"].as_f64().unwrap() / 1e6,
            busy.as_secs_f64(),
        ),
    );
    Look { wall: epoch["duration_ms"].as_f64().unwrap() / 1000.0, ..look }
}

/// The findings that were planted.
fn planted(expected: &[Value]) -> BTreeSet<String> {
    expected.iter().map(|one| identity(one, &one["entity_type"], &one["entity"])).collect()
}

/// The findings that were reported. A server with most clients has most of their subscriptions too, which is not planted.
fn reported(findings: &[Value]) -> BTreeSet<String> {
    let planted = findings.iter().filter(|one| one["check"] != "OPT_BALANCE_003");
    planted.map(|one| identity(one, &one["entity"]["type"], &one["entity"]["id"])).collect()
}

fn identity(of: &Value, kind: &Value, id: &Value) -> String {
    format!("{} {} {kind} {id}", of["check"], of["severity"])
}

/// `insights-agent check`, the whole process.
fn check(cluster: &Cluster) -> (Look, Value) {
    let args = cluster.agent_args().chain(["--epoch", "60s", "check", "--format", "json"]);
    let output = tempfile::NamedTempFile::new().unwrap();
    let started = Instant::now();
    let mut child = command(args).stdout(output.reopen().unwrap()).spawn().unwrap();
    let mut peak = 0.0;
    // Not waited for before its CPU time is read, which the kernel keeps until then.
    while !process::has_ended(child.id()) {
        peak = process::memory(child.id()).map_or(peak, |(now, _)| now);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), process::cpu(child.id()).as_secs_f64());
    child.wait().unwrap();
    let report = serde_json::from_reader(output.reopen().unwrap()).expect("a report");
    (Look { wall, cpu, peak }, report)
}

fn command(args: AgentArgs) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insights-agent"));
    command.args(args.into_arguments()).stdin(Stdio::null());
    command
}

/// A running simulator. Dropping it ends it.
pub(crate) struct Simulator {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    told: Value,
    started_in: f64,
}

impl Simulator {
    fn start(cluster: &Cluster, size: &Size) -> Self {
        let options = [
            ("--servers", size.servers),
            ("--clusters", size.clusters),
            ("--accounts", size.accounts),
            ("--connections", size.connections),
            ("--users-per-account", 10),
        ];
        Self::with(cluster, options.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]))
    }

    /// One with these options of the command.
    pub(crate) fn with(cluster: &Cluster, options: impl Iterator<Item = String>) -> Self {
        let args = cluster.agent_args_as(0, "SYS/admin").chain(["simulate"]).chain(options);
        let log = File::create(cluster.dir().join("simulator.log")).unwrap();
        let started = Instant::now();
        let mut child = command(args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(cluster.dir().join("simulator.log")).unwrap();
            panic!("the simulator said {line:?}: {error}\n{log}")
        });
        Self { child, _stdout: stdout, told, started_in: started.elapsed().as_secs_f64() }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks every server for all its connections and throws the answers away: seconds and bytes.
async fn ceiling(cluster: &Cluster) -> (f64, u64) {
    let client = cluster.connect(0, "SYS/admin", "ceiling").await;
    let servers = servers(&client).await;
    let started = Instant::now();
    let pages = stream::iter(servers).map(|id| page(&client, id)).buffer_unordered(AT_ONCE);
    let bytes = pages.fold(0, async |sum, bytes| sum + bytes).await;
    (started.elapsed().as_secs_f64(), bytes)
}

async fn servers(client: &async_nats::Client) -> Vec<String> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply("$SYS.REQ.SERVER.PING.STATSZ", inbox, "".into()).await.unwrap();
    let mut ids = BTreeSet::new();
    while let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(1), answers.next()).await {
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        ids.insert(answer["server"]["id"].as_str().unwrap().to_owned());
    }
    ids.into_iter().collect()
}

async fn page(client: &async_nats::Client, id: String) -> u64 {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Accept-Encoding", "snappy");
    let body = json!({"auth": true, "state": 0, "offset": 0, "limit": 1 << 20}).to_string();
    let subject = format!("$SYS.REQ.SERVER.{id}.CONNZ");
    let answer = client.request_with_headers(subject, headers, body.into()).await.unwrap();
    answer.payload.len() as u64
}
