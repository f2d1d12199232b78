//! The files that people start with: docker-compose.yml, creds-examples/ and deploy/. They must work as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

// The program that made the files; as a module, so that its output can be compared without running cargo again.
#[path = "deployment/kubernetes.rs"]
mod kubernetes;
#[path = "../creds-examples/make.rs"]
#[allow(dead_code)]
mod make;
mod support;
#[path = "deployment/systemd.rs"]
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use insights_agent::demo::guard::{DIR_PREFIX, Guard};
use insights_agent::demo::ports::free_port;
use insights_agent::demo::server::{Server, find_binary};
use insights_agent::permissions::Permissions;
use serde_json::Value;
use support::{routes_needed, try_eventually};

const READY: Duration = Duration::from_secs(20);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Three servers started from the configuration files of a mode, on ports of the loopback interface.
struct Example {
    servers: Vec<Server>,
    ports: Vec<u16>,
    _guard: Guard,
    _run_dir: tempfile::TempDir,
}

impl Example {
    async fn start(mode: &str) -> Self {
        let mut failures = String::new();
        for _ in 0..4 {
            match Self::try_start(mode).await {
                Ok(example) => return example,
                Err(error) => failures = format!("{failures}\n{error}"),
            }
        }
        panic!("the servers of creds-examples/{mode} did not start:{failures}");
    }

    async fn try_start(mode: &str) -> Result<Self, String> {
        let binary = find_binary(None).unwrap_or_else(|error| panic!("{error}"));
        let run_dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir().unwrap();
        let mut guard = Guard::spawn(Path::new(env!("CARGO_BIN_EXE_insights-agent"))).unwrap();
        guard.own_dir(run_dir.path()).unwrap();
        let port = |_| free_port().unwrap();
        let (ports, routes): (Vec<u16>, Vec<u16>) = ((0..3).map(port).collect(), (0..3).map(port).collect());
        let url = |port: &u16| format!("nats://127.0.0.1:{port}");
        let all_routes: Vec<String> = routes.iter().map(url).collect();
        let mut servers = Vec::new();
        for number in 0..3 {
            let name = format!("n{}", number + 1);
            let config = root().join(format!("creds-examples/{mode}/servers/{name}.conf"));
            let client_port = ports[number].to_string();
            let arguments =
                ["-a", "127.0.0.1", "-p", &client_port, "--cluster", &all_routes[number], "--routes"];
            let mut arguments: Vec<String> = arguments.map(String::from).to_vec();
            arguments.push(all_routes.join(","));
            let server = Server::spawn_with(&binary, &name, &config, run_dir.path(), &arguments);
            let server = server.map_err(|error| error.to_string())?;
            guard.watch(server.id()).unwrap();
            servers.push(server);
        }
        for server in &mut servers {
            server.wait_ready(READY).await.map_err(|error| error.to_string())?;
        }
        Ok(Self { servers, ports, _guard: guard, _run_dir: run_dir })
    }

    async fn connect(&self, server: usize, options: ConnectOptions) -> Client {
        let url = format!("nats://127.0.0.1:{}", self.ports[server]);
        let options = options.custom_inbox_prefix("_INBOX_INSIGHTS");
        options
            .connect(url)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.servers[server].log_end()))
    }

    /// The least-privilege user reaches all three servers, each with routes to the two others.
    async fn assert_formed(&self, agent: &Client) {
        let formed = try_eventually(30, async || {
            let answers = answers(agent, "$SYS.REQ.SERVER.PING.VARZ", 3).await;
            let missing = |answer: &&Value| {
                answer["data"]["routes"].as_u64().unwrap_or(0) < routes_needed(&answer["data"], 2)
            };
            let lonely = answers.iter().filter(missing).count();
            if answers.len() == 3 && lonely == 0 {
                Ok(())
            } else {
                Err(format!("{} answers, {lonely} without all their routes", answers.len()))
            }
        })
        .await;
        formed.unwrap_or_else(|seen| panic!("not a cluster of three: {seen}\n{}", self.servers[0].log_end()));
    }
}

async fn answers(client: &Client, subject: &str, expected: usize) -> Vec<Value> {
    let inbox = client.new_inbox();
    let mut subscription = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    let mut all = Vec::new();
    while all.len() < expected {
        let next = tokio::time::timeout(Duration::from_secs(1), subscription.next()).await;
        let Ok(Some(message)) = next else { break };
        all.extend(serde_json::from_slice::<Value>(&message.payload));
    }
    all
}

/// A finding about `production`, published by the agent's user, reaches its tenant, while one about another
/// account does not; and the agent's user can publish nothing else.
async fn assert_findings_flow(agent: &Client, admin: &Client, tenant: &Client, production: &str) {
    let mut everything = admin.subscribe(">").await.unwrap();
    admin.flush().await.unwrap();
    let mut own = tenant.subscribe("insights.checks.>").await.unwrap();
    tenant.flush().await.unwrap();
    let subject = |account: &str| format!("insights.checks.{account}.info.X_001.account.x");
    let (mut tenant_saw, mut admin_saw) = (Vec::new(), Vec::new());
    let flow = try_eventually(20, async || {
        agent.publish("not.allowed", "1".into()).await.unwrap();
        agent.publish(subject("OTHER"), "1".into()).await.unwrap();
        agent.publish(subject(production), "1".into()).await.unwrap();
        for (subscription, saw) in [(&mut own, &mut tenant_saw), (&mut everything, &mut admin_saw)] {
            while let Ok(Some(message)) =
                tokio::time::timeout(Duration::from_millis(200), subscription.next()).await
            {
                saw.push(message.subject.to_string());
            }
        }
        let seen = format!("the tenant saw {tenant_saw:?}, the system account {admin_saw:?}");
        let through = tenant_saw.contains(&subject(production)) && admin_saw.contains(&subject("OTHER"));
        if through { Ok(()) } else { Err(seen) }
    })
    .await;
    flow.unwrap();
    assert!(tenant_saw.iter().all(|seen| *seen == subject(production)), "{tenant_saw:?}");
    assert!(!admin_saw.contains(&"not.allowed".to_owned()), "{admin_saw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_mode_example_works_as_it_is() {
    let example = Example::start("operator").await;
    let login = async |label: &str| {
        let path = root().join(format!("creds-examples/operator/creds/{label}.creds"));
        ConnectOptions::with_credentials_file(path).await.unwrap()
    };
    let agent = example.connect(1, login("SYS-insights").await).await;
    example.assert_formed(&agent).await;
    let admin = example.connect(2, login("SYS-admin").await).await;
    let tenant = example.connect(0, login("PRODUCTION-svc").await).await;
    let _job = example.connect(0, login("BATCH-job").await).await;

    let accounts = answers(&agent, "$SYS.REQ.SERVER.PING.ACCOUNTZ", 3).await;
    assert_eq!(accounts.len(), 3);
    let info = answers(&tenant, "$SYS.REQ.USER.INFO", 1).await;
    let production = info[0]["data"]["account"].as_str().unwrap();
    let details = answers(&admin, &format!("$SYS.REQ.ACCOUNT.{production}.INFO"), 3).await;
    // A server that has not used the account since its start answers with an error, in whatever order.
    let limits = |answer: &Value| answer["data"]["decoded_jwt"]["nats"]["limits"].clone();
    let limits = details.iter().map(limits).find(|limits| !limits.is_null()).unwrap();
    assert_eq!((&limits["conn"], &limits["subs"]), (&Value::from(20), &Value::from(20)));
    assert_findings_flow(&agent, &admin, &tenant, production).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_file_example_works_as_it_is() {
    let example = Example::start("configuration-file").await;
    let login = |user: &str| ConnectOptions::with_user_and_password(user.into(), format!("public-{user}"));
    let agent = example.connect(1, login("insights")).await;
    example.assert_formed(&agent).await;
    let admin = example.connect(2, login("admin")).await;
    let tenant = example.connect(0, login("svc")).await;
    let _job = example.connect(0, login("job")).await;
    assert_findings_flow(&agent, &admin, &tenant, "PRODUCTION").await;
}

#[test]
fn the_committed_files_are_what_the_example_program_makes() {
    for (path, made) in make::files().unwrap() {
        let path = Path::new("creds-examples").join(path);
        let committed = std::fs::read_to_string(root().join(&path)).unwrap();
        assert!(
            committed == made,
            "{} is not what `cargo run --example make-creds` writes; run it",
            path.display()
        );
    }
}

#[test]
fn the_program_takes_its_example_configuration() {
    let validated = Command::new(env!("CARGO_BIN_EXE_insights-agent"))
        .args(["config", "validate", "creds-examples/configuration-file/insights.toml"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(validated.status.success(), "{}", String::from_utf8_lossy(&validated.stderr));
}

#[test]
fn the_readme_gives_nsc_the_permissions_that_the_files_have() {
    let readme = std::fs::read_to_string(root().join("creds-examples/README.md")).unwrap();
    let allowed = Permissions::defaults();
    let flags = |name: &str| -> Vec<String> {
        let parts = readme.split(name).skip(1);
        parts.flat_map(|part| part.split('\'').nth(1).unwrap().split(',').map(String::from)).collect()
    };
    assert_eq!(flags("--allow-pub "), allowed.publish);
    assert_eq!(flags("--allow-sub "), allowed.subscriptions());
    assert_eq!(readme.contains("--allow-pub-response"), allowed.answers());
}

/// Where a Docker client with compose is at hand it judges the file; everywhere, the file is read as YAML and
/// what it refers to must exist.
#[test]
fn the_compose_file_is_whole() {
    let compose =
        |args: &[&str]| Command::new("docker").arg("compose").args(args).current_dir(root()).output();
    if compose(&["version"]).is_ok_and(|output| output.status.success()) {
        let judged = compose(&["config", "--quiet"]).unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    } else {
        eprintln!("no `docker compose` here: docker-compose.yml was read as YAML only");
    }

    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let services = file["services"].as_object().unwrap();
    for (name, service) in services {
        let volumes: Vec<(PathBuf, &str)> = service["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| {
                let parts: Vec<&str> = volume.as_str().unwrap().split(':').collect();
                assert_eq!(parts[2], "ro", "{name}: nothing may change the example files");
                (root().join(parts[0]), parts[1])
            })
            .collect();
        // A path inside a container must be a file that one of the volumes brings.
        let command = service["command"].as_array().unwrap().iter();
        let paths = command.chain([&service["environment"]["NATS_CREDS"]]).filter_map(Value::as_str);
        for path in paths.filter(|text| text.starts_with('/')) {
            let found = volumes.iter().any(|(outside, inside)| {
                path.strip_prefix(inside)
                    .is_some_and(|rest| outside.join(rest.trim_start_matches('/')).is_file())
            });
            assert!(found, "{name} refers to {path}, which no volume holds");
        }
        for needed in service["depends_on"].as_array().into_iter().flatten() {
            assert!(services.contains_key(needed.as_str().unwrap()), "{name} depends on {needed}");
        }
        let urls = service["environment"]["NATS_URL"].as_str().unwrap_or_default();
        for url in urls.split(',').filter(|url| !url.is_empty()) {
            let host = url.trim_start_matches("nats://").trim_end_matches(":4222");
            assert!(services.contains_key(host), "{name} connects to {url}");
        }
    }
    assert!(root().join("Dockerfile").is_file());
    assert_eq!(services["agent"]["build"], ".");
    assert_eq!(services["agent"]["environment"]["NATS_CREDS"], "/creds/SYS-insights.creds");
}
