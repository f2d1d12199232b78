//! A real Prometheus and a real Alertmanager, as scripts/debian-tool brings them.

use crate::support::{Findings, eventually};
use crate::web::get;
use crate::{SOON, SOON_S, Served, args, nearly_full, shop};
use insights_agent::demo::ports::free_port;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program of this name: the one that a variable names, the one in PATH, or the one that was brought.
fn program(name: &str, variable: &str, brought: &str) -> PathBuf {
    let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian").join(brought);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian calls Alertmanager's program as it calls the package.
    let in_path =
        std::env::split_paths(&path).flat_map(|at| [at.join(name), at.join(format!("prometheus-{name}"))]);
    let found = std::env::var_os(variable).map(PathBuf::from);
    let found = found.or_else(|| in_path.chain([brought]).find(|path| path.is_file()));
    found.unwrap_or_else(|| {
        panic!(
            "no {name}: run `scripts/debian-tool {name}`, or scripts/test, which does; or put it into PATH; or set {variable}"
        )
    })
}

/// A process that ends with the test.
struct Process {
    child: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Process {
    /// Starts a program with this configuration file, this option for where it stores its data and these arguments, and
    /// waits until it is ready.
    async fn start(
        program: &Path,
        configuration: &str,
        storage: &str,
        arguments: &[&str],
        ready: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], free_port().unwrap()).into();
        let file = directory.path().join("config.yml");
        std::fs::write(&file, configuration).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(arguments)
            .arg(format!("{storage}={}", directory.path().join("data").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { child, directory, address };
        eventually("the program is ready", SOON_S, async || match get(address, ready).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.body)),
            Err(error) => Err(format!("{error}\n{}", process.log())),
        })
        .await;
        process
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn json(&self, path: &str) -> Result<Value, String> {
        let answer = get(self.address, path).await?;
        serde_json::from_str(&answer.body)
            .map_err(|error| format!("{error}: {} {}", answer.status, answer.body))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_shows_an_alert_while_the_finding_is_open() {
    let configuration = "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n";
    // No cluster: it would look for a network of its own.
    let arguments = ["--cluster.listen-address=", "--web.route-prefix=/am"];
    let program = program("alertmanager", "ALERTMANAGER", "prometheus-alertmanager/alertmanager");
    let alertmanager =
        Process::start(&program, configuration, "--storage.path", &arguments, "/am/-/ready").await;
    let cluster = shop(1).start().await;
    let clients = nearly_full(&cluster).await;
    let mut findings = Findings::subscribe(&cluster).await;
    let config =
        format!("[alertmanager]\nurls = ['http://{}/am']\nlabels = {{ env = 'test' }}", alertmanager.address);
    let served = Served::start(args(&cluster, &config)).await;
    // Alertmanager looks it up by the labels that an operator would write into a route.
    let path = "/am/api/v2/alerts?filter=alertname=%22ACCOUNTS_001%22&filter=env=%22test%22";
    let find = async || {
        let mut alerts = alertmanager.json(path).await?;
        let alerts = alerts.as_array_mut().ok_or("no list")?;
        if alerts.len() > 1 { Err(format!("{alerts:?}")) } else { Ok(alerts.pop()) }
    };
    let first =
        eventually("the alert is there", SOON_S, async || find().await?.ok_or_else(|| "no alert".into()))
            .await;
    assert_eq!(first["status"]["state"], "active");
    assert_eq!(first["labels"]["account"], cluster.account_id("SHOP"));
    assert!(
        first["annotations"]["summary"].as_str().unwrap().contains("SHOP uses 9 of 10 connections"),
        "{first}"
    );

    // It stays one alert over several epochs, each of which refreshes it.
    for _ in 0..3 {
        findings.epochs(1, SOON).await;
        let now = find().await.unwrap().expect("the alert is still there");
        assert_eq!((&now["fingerprint"], &now["startsAt"]), (&first["fingerprint"], &first["startsAt"]));
    }
    let text = |alert: &Value| alert["endsAt"].as_str().unwrap().to_owned();
    eventually("the alert is refreshed", SOON_S, async || {
        let now = find().await?.ok_or("no alert")?;
        if text(&now) > text(&first) { Ok(()) } else { Err(text(&now)) }
    })
    .await;

    drop(clients);
    findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.status() == "resolved").await;
    eventually("the alert is over", SOON_S, async || {
        find().await?.map_or(Ok(()), |alert| Err(alert.to_string()))
    })
    .await;
    // It took every one of them.
    let instance = format!("{{instance=\"http://{}/am\"}}", alertmanager.address);
    for what in ["failures_total", "alerts_refused_total", "alerts_dropped_total"] {
        assert_eq!(
            served.sample(&format!("insights_alertmanager_{what}{instance}")).await,
            Some(0.0),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_figures() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let config = "[alertmanager]\nurls = ['http://127.0.0.1:1']\n";
    let served = Served::start(args(&cluster, config)).await;
    let configuration = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs: [ {{ job_name: insights, static_configs: [ {{ targets: ['{}'] }} ] }} ]\n",
        served.address
    );
    let program = program("prometheus", "PROMETHEUS", "prometheus/usr/bin/prometheus");
    let prometheus = Process::start(&program, &configuration, "--storage.tsdb.path", &[], "/-/ready").await;
    for (query, expected) in [
        ("up", "1"),
        ("insights_findings{check=%22ACCOUNTS_001%22,severity=%22warning%22}", "1"),
        ("insights_servers{state=%22responded%22}", "1"),
        ("insights_epoch_complete", "1"),
        ("insights_connects_total", "1"),
        ("insights_alertmanager_alerts_sent_total", "0"),
        ("count(insights_build_info)", "1"),
    ] {
        eventually(query, SOON_S, async || {
            let answer = prometheus.json(&format!("/api/v1/query?query={query}")).await?;
            let value = &answer["data"]["result"][0]["value"][1];
            if value == expected { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
    let targets = prometheus.json("/api/v1/targets").await.unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_complain_of() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let config = "[alertmanager]\nurls = ['http://127.0.0.1:1']\n";
    let served = Served::start(args(&cluster, config)).await;
    served
        .sampled("insights_findings{check=\"ACCOUNTS_001\",severity=\"warning\"}", |value| value == Some(1.0))
        .await;
    let page = get(served.address, "/metrics").await.unwrap().body;
    let mut promtool = Command::new(program("promtool", "PROMTOOL", "prometheus/usr/bin/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "", "of\n{page}");
    assert!(output.status.success());
}
