//! The configuration file.

use super::checks::{self, CheckSettings};
use super::sink::{self, SinkConfig};
use super::tree::{Key, Node, Source, in_order, name};
use super::{
    Alertmanager, Api, ConfigError, ElectionConfig, ListConnections, LogFormat, alertmanager, api,
    connection, election, listen, maintenance, silence, value,
};
use crate::check::DeclaredLimits;
use crate::connection::ConnectionOptions;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const KEYS: &[&str] = &[
    "epoch",
    "subject_prefix",
    "system",
    "name",
    "log_format",
    "listen",
    "connection",
    "gather",
    "alertmanager",
    "api",
    "election",
    "accounts",
    "maintenance",
    "silence",
    "sink",
    "checks",
];
const GATHER_KEYS: &[&str] = &["connections"];
const ACCOUNT_KEYS: &[&str] = &["max_connections", "max_subscriptions", "max_leafnodes"];

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) epoch: Option<Duration>,
    pub(super) subject_prefix: Option<String>,
    pub(super) system: Option<String>,
    pub(super) name: Option<String>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) connection: ConnectionOptions,
    pub(super) list_connections: ListConnections,
    pub(super) alertmanager: Option<Alertmanager>,
    pub(super) api: Api,
    pub(super) election: ElectionConfig,
    pub(super) accounts: BTreeMap<String, DeclaredLimits>,
    pub(super) grace: Option<Duration>,
    pub(super) silences: silence::Read,
    pub(super) sink: Option<SinkConfig>,
    pub(super) checks: CheckSettings,
}

/// Reads the file at this path.
pub(super) fn read(file: &Path) -> Result<File, ConfigError> {
    let bytes = std::fs::read(file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing { file: file.to_owned() },
        _ => ConfigError::Unreadable { file: file.to_owned(), source },
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(file, text),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            Err(ConfigError::NotText { file: file.to_owned(), line })
        }
    }
}

/// Reads the text of the file at this path.
pub(super) fn parse(file: &Path, text: &str) -> Result<File, ConfigError> {
    let source = Source::new(file, text);
    let document = source.parse()?;
    let mut read = File::default();
    for (key, node) in in_order(&document) {
        match key.get_ref().as_ref() {
            "epoch" => read.epoch = Some(with(source, key, node, value::epoch)?),
            "subject_prefix" => read.subject_prefix = Some(with(source, key, node, value::prefix)?),
            "system" => read.system = Some(with(source, key, node, not_empty)?),
            "name" => read.name = Some(with(source, key, node, not_empty)?),
            "log_format" => read.log_format = Some(with(source, key, node, log_format)?),
            "listen" => read.listen = Some(with(source, key, node, listen)?),
            "connection" => read.connection = connection::read(source, key, node)?,
            "api" => read.api = api::read(source, key, node)?,
            "gather" => read.list_connections = gather(source, key, node)?,
            "alertmanager" => read.alertmanager = Some(alertmanager::read(source, key, node)?),
            "election" => read.election = election::read(source, key, node)?,
            "accounts" => read.accounts = accounts(source, key, node)?,
            "maintenance" => read.grace = Some(maintenance::read(source, key, node)?),
            "silence" => read.silences = silence::read(source, key, node)?,
            "sink" => read.sink = Some(sink::read(source, key, node)?),
            "checks" => read.checks = checks::read(source, key, node)?,
            _ => return Err(source.unknown(key, "at the top of the file", KEYS)),
        }
    }
    Ok(read)
}

/// A text that a function makes a value of.
fn with<'i, T>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
    read: fn(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let text = source.text(key, node)?;
    read(text).map_err(|problem| source.error(key.span(), format!("{}: {problem}", name(key))))
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("the text is empty; leave the key out instead".into())
    } else {
        Ok(text.into())
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{} is not a log format; it is \"text\" or \"json\"", value::shown(text))),
    }
}

fn gather<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<ListConnections, ConfigError> {
    let mut connections = ListConnections::default();
    for (key, node) in in_order(source.table(key, node)?) {
        match key.get_ref().as_ref() {
            "connections" => connections = with(source, key, node, value::list_connections)?,
            _ => return Err(source.unknown(key, "in [gather]", GATHER_KEYS)),
        }
    }
    Ok(connections)
}

fn accounts<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<BTreeMap<String, DeclaredLimits>, ConfigError> {
    let mut accounts = BTreeMap::new();
    for (account, node) in in_order(source.table(key, node)?) {
        let mut limits = DeclaredLimits::default();
        for (key, node) in in_order(source.table(account, node)?) {
            let slot = match key.get_ref().as_ref() {
                "max_connections" => &mut limits.max_connections,
                "max_subscriptions" => &mut limits.max_subscriptions,
                "max_leafnodes" => &mut limits.max_leafnodes,
                _ => return Err(source.unknown(key, &format!("of account {}", name(account)), ACCOUNT_KEYS)),
            };
            *slot = Some(source.count(key, node)?);
        }
        accounts.insert(account.get_ref().clone().into_owned(), limits);
    }
    Ok(accounts)
}
