//! `/metrics`, `/livez` and `/readyz` of a real agent.

use crate::support::{Agent, eventually};
use crate::web::{get, request};
use crate::{SOON, SOON_S, Served, args, nearly_full, shop};

const CRITICAL: &str = "[checks.ACCOUNTS_001]\nseverity = 'critical'\n";
const FULL: &str = "insights_findings{check=\"ACCOUNTS_001\",severity=\"critical\"}";

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_system_is_in_the_figures_and_leaves_the_agent_ready() {
    let mut cluster = shop(3).start().await;
    let clients = nearly_full(&cluster).await;
    let served = Served::start(args(&cluster, CRITICAL)).await;
    assert_eq!(served.until("/livez", 200).await, "ok\n");
    assert_eq!(served.until("/readyz", 200).await, "ok\n");
    served.sampled(FULL, |value| value == Some(1.0)).await;
    served.sampled("insights_epoch_complete", |value| value == Some(1.0)).await;
    assert_eq!(served.sample("insights_servers{state=\"responded\"}").await, Some(3.0));
    for name in ["insights_connected", "insights_leader", "insights_connects_total"] {
        assert_eq!(served.sample(name).await, Some(1.0), "{name}");
    }
    for name in ["insights_requests_total", "insights_response_bytes_total", "insights_epoch_seconds_total"] {
        assert!(served.sample(name).await > Some(0.0), "{name}");
    }
    assert_eq!(served.sample("insights_publish_failures_total").await, Some(0.0));
    assert_eq!([served.status("/readyz").await, served.status("/livez").await], [200; 2]);

    // A finding that ended has no figure, not even 0.
    drop(clients);
    served.sampled(FULL, |value| value.is_none()).await;

    cluster.kill(2);
    served.sampled("insights_servers{state=\"responded\"}", |value| value == Some(2.0)).await;
    served.sampled("insights_epoch_complete", |value| value == Some(0.0)).await;
    served.sampled("insights_coverage_shortfalls{answer=\"silent\"}", |value| value >= Some(1.0)).await;
    assert_eq!([served.status("/readyz").await, served.status("/livez").await], [200; 2]);

    let page = get(served.address, "/metrics").await.unwrap().body;
    let account = cluster.account_id("SHOP");
    assert!(!page.contains("SHOP") && !page.contains(&account) && !page.contains("n3"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_lives_without_nats_and_becomes_ready_with_it() {
    let mut cluster = shop(1).start().await;
    cluster.stop(0).await;
    let mut served = Served::start(args(&cluster, "")).await;
    let why = eventually("the reason is told", SOON_S, async || {
        let answer = get(served.address, "/readyz").await?;
        assert_eq!(answer.status, 503);
        if answer.body.contains("connecting") { Err(answer.body) } else { Ok(answer.body) }
    })
    .await;
    assert!(why.starts_with("no epoch has ended yet: cannot reach "), "{why}");
    assert_eq!(served.status("/livez").await, 200);
    assert_eq!(served.sample("insights_connected").await, Some(0.0));

    cluster.restart(0).await;
    served.until("/readyz", 200).await;

    // It has nothing to do with the agent that they went away.
    cluster.stop(0).await;
    served.sampled("insights_connected", |value| value == Some(0.0)).await;
    served.sampled("insights_servers{state=\"responded\"}", |value| value == Some(0.0)).await;
    assert_eq!([served.status("/readyz").await, served.status("/livez").await], [200; 2]);
    assert!(served.agent.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_methods_are_refused_and_scrapers_get_the_format_they_ask_for() {
    let served = Served::start(["run", "--server", "nats://127.0.0.1:1"]).await;
    let ask = async |method: &str, path: &str, accept: &str| {
        request(method, served.address, path, accept).await.unwrap()
    };
    assert_eq!(ask("GET", "/", "*/*").await.status, 404);
    assert_eq!(ask("POST", "/metrics", "*/*").await.status, 405);
    let open = ask("GET", "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert_eq!(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("# EOF\n"));
    let classic = ask("GET", "/metrics", "*/*").await;
    assert_eq!(classic.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let version = format!("insights_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    assert!(classic.body.contains(&version), "{}", classic.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Agent::run(["run", "--server", "nats://127.0.0.1:1", "--listen", &address], SOON).await;
    assert_eq!(output.code, Some(3));
    let told = format!("insights-agent: cannot listen on {address}: Address already in use");
    assert!(output.stderr.contains(&told), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_taken_from_the_environment_and_from_the_file() {
    let by_environment = Agent::start_with_env(
        ["run", "--server", "nats://127.0.0.1:1"],
        &[("INSIGHTS_LISTEN", "127.0.0.1:0")],
    );
    let address = Served::address(&by_environment).await;
    assert_eq!(get(address, "/livez").await.unwrap().status, 200);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    std::fs::write(&path, "listen = '127.0.0.1:0'\n").unwrap();
    let by_file =
        Agent::start(["run", "--server", "nats://127.0.0.1:1", "--config", &path.to_string_lossy()]);
    let address = Served::address(&by_file).await;
    assert_eq!(get(address, "/livez").await.unwrap().status, 200);
}
