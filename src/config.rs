//! The configuration: flags, then the environment, then the file, then defaults.

mod alertmanager;
mod api;
mod checks;
mod connection;
mod election;
mod error;
mod example;
mod explain;
mod file;
mod listen;
mod maintenance;
mod reload;
mod show;
mod silence;
mod sink;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use alertmanager::{Alertmanager, Login, OWN_LABELS};
pub use api::Api;
pub use checks::{CheckSetting, CheckSettings};
pub use election::ElectionConfig;
pub use error::ConfigError;
pub use example::example;
pub use explain::{Considered, Effective, ExplainError, Explained, Places, Subject, explain};
pub use listen::listen;
pub use maintenance::DEFAULT_GRACE;
pub use reload::reload;
pub use show::show;
pub use sink::{PASSWORD_VARIABLE as SINK_PASSWORD_VARIABLE, SinkConfig, SinkStorage};
pub use value::{ListConnections, LogFormat, duration, epoch, prefix, timeout};

pub(crate) use checks::unknown_id;
pub(crate) use example::description;

use crate::check::DeclaredLimits;
use crate::checks::ActiveChecks;
use crate::connection::{ConnectionOptions, Secret};
use crate::finding::Silences;
use crate::snapshot::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The length of an epoch unless told otherwise.
pub const DEFAULT_EPOCH: Duration = Duration::from_secs(60);
/// The first tokens of the subjects unless told otherwise.
pub const DEFAULT_SUBJECT_PREFIX: &str = "insights.checks";

/// Everything that the agent is told.
#[derive(Debug)]
pub struct Config {
    /// The length of an epoch.
    pub epoch: Duration,
    /// The first tokens of every subject that the agent publishes on.
    pub subject_prefix: String,
    /// A name for the whole NATS system; none for the system account's key.
    pub system: Option<String>,
    /// The agent's name, by default that of its host; none where that is not known.
    pub agent_name: Option<String>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// How to reach the system.
    pub connection: ConnectionOptions,
    /// Which connections the servers are asked to list.
    pub list_connections: ListConnections,
    /// Where `/metrics`, `/livez` and `/readyz` are served; none for nowhere.
    pub listen: Option<SocketAddr>,
    /// Where alerts are sent; none for nowhere.
    pub alertmanager: Option<Alertmanager>,
    /// Whether the agent answers requests.
    pub api: Api,
    /// How the agent lives beside others.
    pub election: ElectionConfig,
    /// Limits that no server shows, by account.
    pub accounts: BTreeMap<String, DeclaredLimits>,
    /// How long a server that left in order, or came back, is an explanation; zero for not at all.
    pub grace: Duration,
    /// Findings that are not published.
    pub silences: Silences,
    /// The line of each silence in the file.
    pub silence_lines: Vec<usize>,
    /// Where findings are kept with JetStream, if anywhere.
    pub sink: Option<SinkConfig>,
    /// The enabled checks.
    pub checks: ActiveChecks,
    /// What the file says about checks, for `config show`; `checks` is made of it.
    pub check_settings: CheckSettings,
}

/// What flags and the environment say; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// See [`Config::epoch`].
    pub epoch: Option<Duration>,
    /// See [`Config::subject_prefix`].
    pub subject_prefix: Option<String>,
    /// See [`Config::log_format`].
    pub log_format: Option<LogFormat>,
    /// See [`Config::listen`].
    pub listen: Option<SocketAddr>,
    /// Connection options of the environment.
    pub environment: ConnectionOptions,
    /// Connection options of flags. Apart from the environment's, since credentials replace each other as a whole.
    pub flags: ConnectionOptions,
    /// The environment's password of the sink, over the file's. Nothing else of the sink is set but in the file.
    pub sink_password: Option<Secret>,
}

impl Config {
    /// The configuration of a file, if one is named, with what flags and the environment say on top.
    pub fn load(file: Option<&Path>, over: Overrides) -> Result<Self, ConfigError> {
        let read = file.map(file::read).transpose()?.unwrap_or_default();
        Self::assemble(read, over)
    }

    fn assemble(file: file::File, over: Overrides) -> Result<Self, ConfigError> {
        Ok(Self {
            epoch: over.epoch.or(file.epoch).unwrap_or(DEFAULT_EPOCH),
            subject_prefix: over
                .subject_prefix
                .or(file.subject_prefix)
                .unwrap_or_else(|| DEFAULT_SUBJECT_PREFIX.into()),
            system: file.system,
            agent_name: file.name.or_else(host_name),
            log_format: over.log_format.or(file.log_format).unwrap_or_default(),
            connection: file.connection.merge(over.environment).merge(over.flags),
            list_connections: file.list_connections,
            listen: over.listen.or(file.listen),
            alertmanager: file.alertmanager,
            api: file.api,
            election: file.election,
            accounts: file.accounts,
            grace: file.grace.unwrap_or(DEFAULT_GRACE),
            silences: file.silences.silences,
            silence_lines: file.silences.lines,
            sink: file.sink.map(|mut sink| {
                sink.connection.password = over.sink_password.or(sink.connection.password);
                sink
            }),
            checks: checks::activate(&file.checks)?,
            check_settings: file.checks,
        })
    }

    /// The requests that are made: those that the enabled checks need, as far as the configuration lets them be made.
    pub fn requests(&self) -> BTreeSet<Endpoint> {
        let mut requests = self.checks.requests();
        if requests.contains(&Endpoint::GatewayAccounts) {
            // It tells how many accounts there are, and so how large an answer about those of gateways is.
            requests.insert(Endpoint::AccountStatz);
        }
        match self.list_connections {
            ListConnections::All => {}
            ListConnections::Off => {
                let listed = [Endpoint::Connz, Endpoint::AccountConnz, Endpoint::Closed];
                requests.retain(|endpoint| !listed.contains(endpoint));
            }
            // They tell which accounts are near a limit.
            ListConnections::Flagged if requests.contains(&Endpoint::Connz) => {
                requests.extend([Endpoint::AccountStatz, Endpoint::Accountz]);
            }
            ListConnections::Flagged => {}
        }
        requests
    }

    /// What can be used and is hardly meant, in sentences: silences that are over.
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let over = self.silences.0.iter().zip(&self.silence_lines).filter(|(one, _)| one.is_over(now));
        over.map(|(one, line)| {
            let until = one.silenced.until.format(&Rfc3339).unwrap_or_default();
            format!("the silence at line {line} ended at {until} and has no effect")
        })
        .collect()
    }

    /// Overrides, over all checks.
    pub fn override_count(&self) -> usize {
        self.check_settings.values().map(|setting| setting.settings.overrides.len()).sum()
    }
}

impl Default for Config {
    /// What holds without a file, flags and environment, under no agent name.
    fn default() -> Self {
        let checks = checks::activate(&CheckSettings::new());
        Self {
            epoch: DEFAULT_EPOCH,
            subject_prefix: DEFAULT_SUBJECT_PREFIX.into(),
            system: None,
            agent_name: None,
            log_format: LogFormat::default(),
            connection: ConnectionOptions::default(),
            list_connections: ListConnections::default(),
            listen: None,
            alertmanager: None,
            api: Api::default(),
            election: ElectionConfig::default(),
            accounts: BTreeMap::new(),
            grace: DEFAULT_GRACE,
            silences: Silences::default(),
            silence_lines: Vec::new(),
            sink: None,
            // The laws of the catalogue hold that defaults can be used.
            checks: checks.unwrap_or(ActiveChecks { checks: Vec::new(), disabled: 0 }),
            check_settings: CheckSettings::new(),
        }
    }
}

/// The host's name: in a container that of the pod.
fn host_name() -> Option<String> {
    let named = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    let of_environment = std::env::var("HOSTNAME").ok().and_then(named);
    of_environment.or_else(|| std::fs::read_to_string("/etc/hostname").ok().and_then(named))
}
