//! The demo from its beginning to its end.

use super::cluster::{Cluster, Logins};
use super::error::DemoError;
use super::formation::formed;
use super::scenario::{Crowd, Does, IDLE, IDLE_CHECK, PROVOKES, SERVERS, TENANTS, subscriptions};
use super::screen::Screen;
use super::server::find_binary;
use super::story::Story;
use crate::agent;
use crate::config::{Config, DEFAULT_SUBJECT_PREFIX, Overrides};
use crate::connection::ConnectionOptions;
use crate::nats::connect::{Connection, connect};
use crate::nats::events::ClientEvents;
use crate::nats::load::{Group, Load};
use crate::nats::watch::Watch;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The length of an epoch of the demo unless told otherwise.
pub const DEFAULT_EPOCH: Duration = Duration::from_secs(2);
/// How long everything that was provoked may take to be found.
pub const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// The agent gets this long to end its epoch.
const AGENT_STOPS: Duration = Duration::from_secs(2);

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The `nats-server` to start; none for that of the environment variable `NATS_SERVER`, else the one in `PATH`.
    pub server_binary: Option<PathBuf>,
    /// The length of an epoch: whole seconds, at least one.
    pub epoch: Duration,
    /// End by itself after the agent has run for so long.
    pub stop_after: Option<Duration>,
    /// End once every check that is provoked has been seen; it is an error if that takes longer than
    /// [`FOUND_WITHIN`].
    pub until_found: bool,
    /// The width of the terminal; none for plain lines, where the output is no terminal.
    pub width: Option<u16>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { server_binary: None, epoch: DEFAULT_EPOCH, stop_after: None, until_found: false, width: None }
    }
}

/// What was seen in a demo that ended as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoOutcome {
    /// Epochs of the agent.
    pub epochs: u64,
    /// Checks that were provoked and not seen before the end.
    pub missing: Vec<&'static str>,
}

/// The checks that the demo provokes.
pub fn provoked() -> Vec<&'static str> {
    PROVOKES.iter().map(|provoked| provoked.check).collect()
}

/// Starts a cluster with faults and an agent that watches it, and tells what the agent publishes, until `stop` or
/// what the options say. However it ends, also by being dropped, nothing that it started stays behind.
pub async fn run(
    options: DemoOptions,
    out: impl Write + Send,
    stop: CancellationToken,
) -> Result<DemoOutcome, DemoError> {
    let mut screen = Screen::new(out, options.width);
    let binary = find_binary(options.server_binary.as_deref())?;
    let program = std::env::current_exe().map_err(DemoError::system("find this program's own file"))?;
    let nothing = DemoOutcome { epochs: 0, missing: provoked() };
    screen.starting(&binary)?;
    let mut cluster = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(nothing),
        started = Cluster::start(&binary, &program) => started?,
    };
    let setting = Setting::prepare(&cluster, options)?;
    let told = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        error = cluster.part_ended() => Err(error),
        told = tell(&setting, &mut screen, &stop) => told.map(Some),
    };
    // The reason matters more than whether its last line could be written.
    let said = screen.stopping(&setting.dir);
    cluster.stop().await;
    let outcome = told?.unwrap_or(nothing);
    said?;
    Ok(outcome)
}

/// What the telling needs of the cluster, which meanwhile looks after its processes.
struct Setting {
    options: DemoOptions,
    urls: Vec<String>,
    logins: Logins,
    dir: PathBuf,
    agent_creds: PathBuf,
    watcher_creds: PathBuf,
    config: PathBuf,
}

impl Setting {
    fn prepare(cluster: &Cluster, options: DemoOptions) -> Result<Self, DemoError> {
        let creds = |login: &str, file: &str| cluster.write(file, &cluster.logins()[login]);
        let agent_creds = creds("SYS/insights", "insights.creds")?;
        let watcher_creds = creds("SYS/watcher", "watcher.creds")?;
        let text = configuration(options.epoch, cluster.urls(), &agent_creds);
        Ok(Self {
            urls: cluster.urls().to_vec(),
            logins: cluster.logins().clone(),
            dir: cluster.dir().to_owned(),
            config: cluster.write("insights-agent.toml", &text)?,
            options,
            agent_creds,
            watcher_creds,
        })
    }

    async fn connect(&self, creds: &Path, name: &str) -> Result<Connection, DemoError> {
        let options = ConnectionOptions {
            servers: self.urls.clone(),
            creds: Some(creds.to_owned()),
            name: Some(name.to_owned()),
            ..ConnectionOptions::default()
        };
        Ok(connect(&options, ClientEvents::new()).await?)
    }

    /// The clients of all crowds that `wanted` accepts.
    fn groups(&self, wanted: impl Fn(&Crowd) -> bool) -> Vec<Group> {
        let mut groups = Vec::new();
        for tenant in TENANTS {
            for crowd in tenant.crowds.iter().filter(|crowd| wanted(crowd)) {
                let creds = &self.logins[&format!("{}/{}", tenant.name, crowd.user)];
                let (publishes, subscribes) = match crowd.does {
                    Does::Nothing => (None, Vec::new()),
                    Does::Publish(subject) => (Some(subject.to_owned()), Vec::new()),
                    Does::Subscribe(subject, count) => (Some(subject.to_owned()), subscriptions(count)),
                };
                for (url, count) in self.urls.iter().zip(crowd.on) {
                    groups.push(Group {
                        url: url.clone(),
                        creds: creds.clone(),
                        name: crowd.client.to_owned(),
                        count,
                        publishes: publishes.clone(),
                        subscribes: subscribes.clone(),
                    });
                }
            }
        }
        groups
    }
}

/// The agent's configuration, as an operator would write it.
fn configuration(epoch: Duration, urls: &[String], creds: &Path) -> String {
    let text = |text: &str| toml::Value::from(text).to_string();
    let urls: Vec<String> = urls.iter().map(|url| text(url)).collect();
    format!(
        "system = \"demo\"\nepoch = {}\n\n\
         [connection]\nservers = [{}]\ncreds = {}\n\n\
         # Five minutes by default, for which nobody would wait here.\n\
         [checks.{IDLE_CHECK}]\nidle = {}\n",
        text(&humantime::format_duration(epoch).to_string()),
        urls.join(", "),
        text(&creds.to_string_lossy()),
        text(&humantime::format_duration(IDLE).to_string()),
    )
}

async fn tell<W: Write + Send>(
    setting: &Setting,
    screen: &mut Screen<W>,
    stop: &CancellationToken,
) -> Result<DemoOutcome, DemoError> {
    let as_agent = setting.connect(&setting.agent_creds, "demo-formation").await?;
    formed(&as_agent, SERVERS.len()).await?;
    // It would be one connection more in every number that follows.
    drop(as_agent);
    screen.formed(&setting.urls, &setting.watcher_creds, &setting.config)?;

    let idle = Load::open(setting.groups(|crowd| crowd.does == Does::Nothing)).await?;
    let idle_since = Instant::now();
    let busy = Load::open(setting.groups(|crowd| crowd.does != Does::Nothing)).await?;
    screen.loaded(busy.len() + idle.len())?;
    // Servers tell idle times in whole seconds.
    sleep_until(idle_since + IDLE + Duration::from_secs(1)).await;

    let watcher = setting.connect(&setting.watcher_creds, "demo-watcher").await?;
    let watch = Watch::start(&watcher, DEFAULT_SUBJECT_PREFIX).await?;
    let mut config = Config::load(Some(&setting.config), Overrides::default())?;
    // Nobody else is there, so nobody is waited for.
    config.election.enabled = false;
    let agent_stop = stop.child_token();
    let mut agent =
        AbortOnDropHandle::new(tokio::spawn(agent::run(config, agent::Reloads::never(), agent_stop.clone())));
    screen.agent_started(setting.options.epoch)?;
    let outcome = tokio::select! {
        outcome = listen(&setting.options, watch, screen) => outcome,
        ended = &mut agent => return Err(match ended {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) | Err(_) => DemoError::AgentGone,
        }),
    };
    agent_stop.cancel();
    // One that does not end in time is aborted.
    let _ = timeout(AGENT_STOPS, agent).await;
    outcome
}

async fn listen<W: Write + Send>(
    options: &DemoOptions,
    mut watch: Watch,
    screen: &mut Screen<W>,
) -> Result<DemoOutcome, DemoError> {
    let started = Instant::now();
    let mut story = Story::new(provoked());
    let found_within = options.until_found.then_some(FOUND_WITHIN);
    let ends = [options.stop_after, found_within].into_iter().flatten().min();
    let end = async {
        match ends {
            Some(after) => sleep_until(started + after).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let quiet = FOUND_WITHIN.max(options.epoch * 3);
    loop {
        let published = tokio::select! {
            biased;
            () = &mut end => break,
            published = timeout(quiet, watch.next()) => published,
        };
        let Ok(published) = published else {
            screen.silence(quiet)?;
            continue;
        };
        let Some(chapter) = story.hear(published?.json) else {
            continue;
        };
        screen.epoch(story.epochs(), &chapter)?;
        if chapter.completes {
            screen.all_found(provoked().len(), story.epochs(), started.elapsed())?;
        }
        if options.until_found && story.missing().is_empty() {
            break;
        }
    }
    let missing = story.missing();
    if options.until_found && !missing.is_empty() {
        let within = started.elapsed();
        return Err(DemoError::NotFound { missing, within: Duration::from_secs(within.as_secs()) });
    }
    Ok(DemoOutcome { epochs: story.epochs(), missing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Login;

    #[test]
    fn the_agent_reads_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let creds = dir.path().join("with \"quotes\".creds");
        let urls = ["nats://127.0.0.1:1".to_owned(), "nats://127.0.0.1:2".to_owned()];
        std::fs::write(&file, configuration(DEFAULT_EPOCH, &urls, &creds)).unwrap();
        let config = Config::load(Some(&file), Overrides::default()).unwrap();
        assert_eq!((config.epoch, config.system.as_deref()), (DEFAULT_EPOCH, Some("demo")));
        assert_eq!((config.connection.servers, config.connection.creds), (urls.to_vec(), Some(creds)));
        let login = Login { account: "A", account_name: None, user: "u", user_name: None };
        assert_eq!(config.checks.fold_thresholds(login).idle_after, IDLE);
    }
}
