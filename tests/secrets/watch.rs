//! Runs everything of the program against a system and collects all that comes out.

use std::fmt::Write;
use std::time::Duration;

use insights_agent::connection::ConnectionOptions;
use insights_agent::nats::connect::connect;
use insights_agent::nats::events::ClientEvents;
use insights_agent::nats::gather::{Gatherer, Plan, Sweep};
use insights_agent::snapshot::{FoldRules, FollowUp, Snapshot};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::support::{Agent, AgentArgs, eventually};

const FORMATS: [&str; 5] = ["table", "json", "ndjson", "markdown", "nagios"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Who looks, and where.
pub(crate) struct Viewpoint {
    pub(crate) options: ConnectionOptions,
    pub(crate) args: AgentArgs,
    /// Thresholds so low that the checks have something to say of every connection.
    pub(crate) config: tempfile::NamedTempFile,
}

impl Viewpoint {
    pub(crate) fn new(options: ConnectionOptions, args: AgentArgs) -> Self {
        let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(config.path(), CONFIG).unwrap();
        Self { options, args, config }
    }

    fn arguments(&self, more: &[&str]) -> AgentArgs {
        let config = self.config.path().to_string_lossy().into_owned();
        let args = self.args.clone().chain(["--config", &config, "--log-level", "trace"]);
        args.chain(more)
    }

    /// A snapshot, evidence of every account and of every server's closed connections included.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let connection = connect(&self.options, ClientEvents::new()).await.unwrap();
        let mut gatherer = Gatherer::start(&connection, None).await.unwrap();
        let plan = |epoch| Plan {
            epoch,
            taken_at: OffsetDateTime::UNIX_EPOCH,
            deadline: Instant::now() + PATIENCE,
            patience: Duration::from_secs(10),
            connections: Sweep::Whole,
            accounts: true,
            requests: insights_agent::snapshot::Requests::all(),
            page: 64,
            spread: Duration::ZERO,
            period: Duration::ZERO,
        };
        gatherer.sweep(&plan(1), FoldRules::none()).await;
        let mut snapshot = gatherer.sweep(&plan(2), FoldRules::none()).await;
        let accounts = snapshot.accounts.keys().cloned();
        let mut wanted: Vec<FollowUp> =
            accounts.map(|account| FollowUp::TopSubscriptions { account }).collect();
        let servers = snapshot.servers.keys().cloned();
        wanted.extend(servers.map(|server| FollowUp::ClosedConnections { server }));
        gatherer.follow_up(&plan(2), &mut snapshot, &wanted).await;
        snapshot
    }

    /// All that comes out of `check` in every format, of `run` for a while, and of a snapshot.
    pub(crate) async fn everything(&self, subscriber: &async_nats::Client) -> String {
        let mut all = format!("{:?}", self.snapshot().await);
        for format in FORMATS {
            let output = Agent::run(self.arguments(&["check", "--format", format]), PATIENCE).await;
            assert!(matches!(output.code, Some(0..=2)), "{output:?}");
            assert!(output.stderr.contains("DEBUG") || output.stderr.contains("TRACE"), "{}", output.stderr);
            write!(all, "{}{}", output.stdout, output.stderr).unwrap();
        }
        let mut published = subscriber.subscribe("insights.checks.>").await.unwrap();
        subscriber.flush().await.unwrap();
        let agent = Agent::start(self.arguments(&["run", "--epoch", "1s"]));
        let mut epochs = 0;
        eventually("three epochs and a finding are published", 60, async || {
            while let Ok(Some(message)) =
                tokio::time::timeout(Duration::from_millis(50), futures_util::StreamExt::next(&mut published))
                    .await
            {
                epochs += usize::from(message.subject.ends_with(".epoch"));
                let payload = String::from_utf8_lossy(&message.payload);
                write!(all, "{} {:?} {payload}", message.subject, message.headers).unwrap();
            }
            match epochs >= 3 && all.contains("\"OPT_IDLE_007\"") {
                true => Ok(()),
                false => Err(format!("{epochs} epochs\n{}", agent.stderr())),
            }
        })
        .await;
        agent.terminate();
        let output = agent.finish(PATIENCE).await;
        write!(all, "{}{}", output.stdout, output.stderr).unwrap();
        all
    }
}

/// Panics if any of the secrets came out.
pub(crate) fn assert_silent_about(all: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(secret.len() > 7, "too short to be looked for: {secret}");
        if let Some(at) = all.find(secret) {
            let from = (0..=at.saturating_sub(300)).rev().find(|at| all.is_char_boundary(*at)).unwrap();
            panic!("{secret} came out: {}", &all[from..at + secret.len()]);
        }
    }
}

const CONFIG: &str = r#"
[checks.USER_002]
max_connections = 1
[checks.SERVER_011]
warn_percent = 0.001
[checks.OPT_BALANCE_002]
min_connections = 1
[checks.OPT_IDLE_007]
idle = "1s"
"#;

/// The answers of all servers to CONNZ with users, as they came.
pub(crate) async fn connz(client: &async_nats::Client) -> String {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let body = r#"{"auth":true,"state":2,"limit":10000}"#;
    let subject = "$SYS.REQ.SERVER.PING.CONNZ";
    client.publish_with_reply(subject, inbox, body.into()).await.unwrap();
    let mut all = String::new();
    while let Ok(Some(answer)) =
        tokio::time::timeout(Duration::from_millis(500), futures_util::StreamExt::next(&mut answers)).await
    {
        all.push_str(&String::from_utf8_lossy(&answer.payload));
    }
    all
}

/// Waits until the servers show this; otherwise the test would prove nothing.
pub(crate) async fn shown(client: &async_nats::Client, what: &str) {
    eventually("the servers show it", 30, async || match connz(client).await {
        all if all.contains(what) => Ok(()),
        other => Err(other),
    })
    .await;
}

/// The options of a user with a password.
pub(crate) fn with_password(url: &str, user: &str, password: &str) -> Viewpoint {
    let options = ConnectionOptions {
        servers: vec![url.to_owned()],
        user: Some(user.into()),
        password: Some(password.into()),
        ..ConnectionOptions::default()
    };
    let args = AgentArgs::from(["--server", url, "--user", user, "--password", password]);
    Viewpoint::new(options, args)
}
