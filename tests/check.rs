//! `check`, as a monitoring system or a CI job runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use std::time::Duration;
use support::{Account, Agent, AgentArgs, Cluster, Output, busy_host};

const AT_MOST: Duration = Duration::from_secs(60);

async fn check(args: AgentArgs, more: &[&str]) -> Output {
    Agent::run(args.chain(["check"]).chain(more), AT_MOST).await
}

fn write(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_tells_what_was_found_in_every_format() {
    let cluster = Cluster::config(2).account(Account::new("APP").user("svc")).start().await;
    let clients = cluster.connect_many(0, "APP/svc", "a|b", 9).await;
    let limit = "[accounts.APP]\nmax_connections = 10\nmax_subscriptions = 100\n\
                 [accounts.SYS]\nmax_connections = 100\nmax_subscriptions = 1000\n";
    let limit = &busy_host(limit);
    let warning = write(&cluster, "warning.toml", limit);
    let critical =
        write(&cluster, "critical.toml", &format!("{limit}[checks.ACCOUNTS_001]\nseverity = \"critical\"\n"));
    let clear = write(&cluster, "clear.toml", &limit.replace("= 10\n", "= 1000\n"));
    let with = |config: &str| cluster.agent_args().chain(["--config", config]);

    for (config, more, status) in [
        (&clear, &[][..], 0),
        (&warning, &[], 1),
        (&critical, &[], 2),
        (&warning, &["--fail-on", "critical"], 0),
        (&critical, &["--fail-on", "critical"], 2),
        (&warning, &["--fail-on", "info", "--epochs", "2", "--epoch", "1s"], 1),
    ] {
        let ended = check(with(config), more).await;
        assert_eq!(ended.code, Some(status), "{config} {more:?}: {}\n{}", ended.stdout, ended.stderr);
    }

    let json = check(with(&warning), &["--format", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["findings"][0]["observed"]["value"], 9);
    assert_eq!(report["epoch"]["findings"]["warning"], 1);
    let ndjson = check(with(&warning), &["--format", "ndjson"]).await;
    let lines: Vec<Value> = ndjson.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["check"], &lines[1]["servers"]["known"]), (&"ACCOUNTS_001".into(), &2.into()));
    let table = check(with(&warning), &["--format", "table"]).await;
    assert!(table.stdout.contains("ACCOUNTS_001") && table.stdout.contains("9 of 10"), "{}", table.stdout);
    let markdown = check(with(&warning), &["--format", "markdown"]).await;
    assert!(markdown.stdout.contains("ACCOUNTS\\_001 | account APP |"), "{}", markdown.stdout);
    let nagios = check(with(&warning), &["--format", "nagios"]).await;
    let first = nagios.stdout.lines().next().unwrap();
    assert!(first.starts_with("INSIGHTS WARNING - ") && first.matches('|').count() == 1, "{first}");
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_ends_with_3_and_one_sentence() {
    let cluster = Cluster::operator(1).account(Account::new("APP").user("svc")).start().await;
    let creds = cluster.creds("SYS/insights").to_string_lossy().into_owned();
    let bad = write(&cluster, "bad.creds", "not credentials\n");
    let config = write(&cluster, "bad.toml", "epoch = \"30s\"\n[checks.ACCOUNTS_001]\nwarn_percent = 101\n");
    let url = cluster.url(0);
    let args = |server: &str, creds: &str| AgentArgs::default().chain(["-s", server, "--creds", creds]);
    let denied = cluster.agent_args().chain(["--inbox-prefix", "_ELSEWHERE"]);
    for (args, words) in [
        (cluster.agent_args_as(0, "APP/svc"), &["is not the system account", "credentials"][..]),
        (args("nats://127.0.0.1:1", &creds), &["cannot reach", "127.0.0.1:1"]),
        (args(&url, &bad), &["bad.creds"]),
        (args(&url, "/no/such/file.creds"), &["/no/such/file.creds"]),
        (denied, &["_ELSEWHERE", "subscri"]),
        (cluster.agent_args().chain(["--context", "nowhere"]), &["nowhere"]),
        (cluster.agent_args().chain(["--config", &config]), &["bad.toml", "3", "warn_percent", "101"]),
    ] {
        let ended = check(args, &[]).await;
        assert_eq!(ended.code, Some(3), "{words:?}: {}\n{}", ended.stdout, ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
        }
        let told: Vec<&str> =
            ended.stderr.lines().filter(|line| line.starts_with("insights-agent: ")).collect();
        assert_eq!(told.len(), 1, "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
}
