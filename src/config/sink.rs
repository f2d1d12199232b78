//! The `[sink]` table: where findings are kept with JetStream, over a connection of its own.

use super::tree::{Key, Node, Source, in_order, name};
use super::value::{self, shown};
use super::{ConfigError, connection};
use crate::connection::ConnectionOptions;
use serde::{Serialize, Serializer};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The stream of findings unless told otherwise.
const DEFAULT_STREAM: &str = "INSIGHTS";
/// The bucket with the last state of each finding unless told otherwise.
const DEFAULT_BUCKET: &str = "INSIGHTS_STATE";
/// The connection's name in the servers' lists of connections unless told otherwise.
const DEFAULT_NAME: &str = "insights-agent-sink";
/// The environment's word for the sink's password.
pub const PASSWORD_VARIABLE: &str = "INSIGHTS_SINK_PASSWORD";

/// Copies of a stream: nats-server refuses more than five (`StreamMaxReplicas`).
const MOST_REPLICAS: u64 = 5;
/// JetStream refuses a stream whose window of de-duplication is longer than its `max_age`; that window is two minutes.
const SHORTEST_AGE: Duration = Duration::from_secs(120);
/// JetStream counts ages in nanoseconds of 64 bits; ten years are less than that.
const LONGEST_AGE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Transitions that may be kept: each holds a finding, some kilobytes.
const MOST_KEPT: u64 = 100_000;
/// nats-server (`JSMaxNameLen`): streams lie in directories of their names.
const NAME_BYTES: usize = 255;

/// What the name of the lease's bucket has more than that of the findings'.
const LEASE_SUFFIX: &str = "_LEASE";

const KEYS: &[&str] = &["stream", "bucket", "replicas", "max_age", "max_bytes", "storage", "buffer"];

/// What the sink is, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkConfig {
    /// The stream of findings and summaries.
    pub stream: String,
    /// The key-value bucket with the last state of each finding.
    pub bucket: String,
    /// Copies of each, 1 to 5.
    pub replicas: usize,
    /// How long the stream keeps a message; nothing is "for ever".
    #[serde(serialize_with = "duration")]
    pub max_age: Duration,
    /// Bytes that the stream may take before it drops its oldest messages; 0 is "any number".
    pub max_bytes: u64,
    /// Where both are kept.
    pub storage: SinkStorage,
    /// Beginnings, changes and ends of findings that are kept while the sink cannot be reached; the oldest go first.
    pub buffer: usize,
    /// How to reach it. Nothing of the main connection holds here.
    #[serde(flatten)]
    pub connection: ConnectionOptions,
}

/// Where JetStream keeps messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkStorage {
    /// On disk.
    #[default]
    File,
    /// In memory; gone when the servers are.
    Memory,
}

impl SinkStorage {
    /// The word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            stream: DEFAULT_STREAM.into(),
            bucket: DEFAULT_BUCKET.into(),
            replicas: 1,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            max_bytes: 1 << 30,
            storage: SinkStorage::File,
            buffer: 10_000,
            connection: ConnectionOptions { name: Some(DEFAULT_NAME.into()), ..ConnectionOptions::default() },
        }
    }
}

impl SinkConfig {
    /// The bucket with the lease of the agents that share the sink.
    pub fn lease_bucket(&self) -> String {
        format!("{}{LEASE_SUFFIX}", self.bucket)
    }
}

fn duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads the table.
pub(super) fn read<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<SinkConfig, ConfigError> {
    let mut sink = SinkConfig::default();
    let mut of_connection = DeTable::new();
    let mut bucket_at = key.span();
    for (key, node) in in_order(source.table(key, node)?) {
        let texts = |problem: String| source.error(key.span(), format!("{}: {problem}", name(key)));
        match key.get_ref().as_ref() {
            "stream" => sink.stream = stream_name(source.text(key, node)?).map_err(texts)?,
            "bucket" => {
                sink.bucket = bucket_name(source.text(key, node)?).map_err(texts)?;
                bucket_at = key.span();
            }
            "replicas" => {
                let replicas = within(source, key, node, 1, MOST_REPLICAS)?;
                sink.replicas = usize::try_from(replicas).unwrap_or(1);
            }
            "max_age" => sink.max_age = age(source.text(key, node)?).map_err(texts)?,
            "max_bytes" => sink.max_bytes = within(source, key, node, 0, i64::MAX as u64)?,
            "storage" => sink.storage = storage(source.text(key, node)?).map_err(texts)?,
            "buffer" => {
                let buffer = within(source, key, node, 1, MOST_KEPT)?;
                sink.buffer = usize::try_from(buffer).unwrap_or(usize::MAX);
            }
            written if connection::KEYS.contains(&written) => {
                connection::check(source, key, node)?;
                of_connection.insert(key.clone(), node.clone());
            }
            _ => {
                let known: Vec<&str> = KEYS.iter().chain(connection::KEYS).copied().collect();
                return Err(source.unknown(key, "in [sink]", &known));
            }
        }
    }
    if [&sink.bucket, &sink.lease_bucket()].into_iter().any(|bucket| sink.stream == format!("KV_{bucket}")) {
        let problem =
            format!("stream {} is that of a bucket of the sink; they must differ", shown(&sink.stream));
        return Err(source.error(bucket_at, problem));
    }
    let of_connection = Spanned::new(node.span(), DeValue::Table(of_connection));
    let own_name = sink.connection.name.take();
    sink.connection = connection::whole(source, key, &of_connection)?;
    sink.connection.name = sink.connection.name.or(own_name);
    Ok(sink)
}

fn within<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
    least: u64,
    most: u64,
) -> Result<u64, ConfigError> {
    let count = source.count(key, node)?;
    if (least..=most).contains(&count) {
        return Ok(count);
    }
    let problem = format!("{}: {count} is out of range: {least} to {most}", name(key));
    Err(source.error(key.span(), problem))
}

/// What nats-server and its clients accept as the name of a stream: a token of subjects and the name of a directory.
fn stream_name(text: &str) -> Result<String, String> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES {
        "is longer than 255 bytes"
    } else if text.contains(['.', '*', '>', '/', '\\']) {
        "holds one of . * > / \\"
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "has white space or a control character"
    } else {
        return Ok(text.to_owned());
    };
    Err(format!("{} cannot be the name of a stream: it {problem}", shown(text)))
}

/// What clients accept as the name of a bucket, which is the stream `KV_<bucket>`.
fn bucket_name(text: &str) -> Result<String, String> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES - "KV_".len() - LEASE_SUFFIX.len() {
        "is longer than 246 bytes"
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        "holds something else than A-Z a-z 0-9 - _"
    } else {
        return Ok(text.to_owned());
    };
    Err(format!("{} cannot be the name of a bucket: it {problem}", shown(text)))
}

fn age(text: &str) -> Result<Duration, String> {
    let age = value::duration(text)?;
    if age.is_zero() || (SHORTEST_AGE..=LONGEST_AGE).contains(&age) {
        return Ok(age);
    }
    Err(format!("{} is out of range: 2m to 3650days, or 0s for ever", shown(text)))
}

fn storage(text: &str) -> Result<SinkStorage, String> {
    match text {
        "file" => Ok(SinkStorage::File),
        "memory" => Ok(SinkStorage::Memory),
        _ => Err(format!("{} is no storage; it is \"file\" or \"memory\"", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::{File, parse};
    use std::path::Path;

    fn load(text: &str) -> Result<File, ConfigError> {
        parse(Path::new("a.toml"), text)
    }

    fn sink(text: &str) -> SinkConfig {
        load(&format!("[sink]\n{text}")).unwrap().sink.unwrap()
    }

    #[test]
    fn without_the_table_there_is_no_sink_and_an_empty_one_is_the_default() {
        assert_eq!(load("").unwrap().sink, None);
        assert_eq!(sink(""), SinkConfig::default());
        assert_eq!(sink("").connection.name(), "insights-agent-sink");
    }

    #[test]
    fn everything_can_be_set_beside_the_keys_of_a_connection() {
        let sink = sink(
            "servers = ['nats://a:1']\nuser = 'u'\npassword = 'hush'\ntimeout = '2s'\nname = 'mine'\n\
             stream = 'S'\nbucket = 'B'\nreplicas = 3\nmax_age = '0s'\nmax_bytes = 0\nstorage = 'memory'\nbuffer = 7",
        );
        assert_eq!((sink.stream.as_str(), sink.bucket.as_str()), ("S", "B"));
        assert_eq!((sink.replicas, sink.max_age, sink.max_bytes), (3, Duration::ZERO, 0));
        assert_eq!((sink.storage, sink.buffer), (SinkStorage::Memory, 7));
        let connection = &sink.connection;
        assert_eq!((connection.server_urls(), connection.name()), (vec!["nats://a:1".to_owned()], "mine"));
        assert_eq!(connection.timeout(), Duration::from_secs(2));
        assert!(!format!("{sink:?} {}", toml::to_string(&sink).unwrap()).contains("hush"));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        for (text, told) in [
            ("stream = 'a.b'", "cannot be the name of a stream: it holds one of"),
            ("stream = ''", "is empty"),
            ("bucket = 'a b'", "cannot be the name of a bucket"),
            ("bucket = 'B'\nstream = 'KV_B_LEASE'", "is that of a bucket of the sink"),
            ("replicas = 0", "0 is out of range: 1 to 5"),
            ("replicas = 6", "6 is out of range: 1 to 5"),
            ("replicas = '3'", "must be a whole number"),
            ("max_age = '1m'", "2m to 3650days"),
            ("max_age = '100000days'", "2m to 3650days"),
            ("max_bytes = -1", "must be a whole number of at least 0"),
            ("storage = 'disk'", "it is \"file\" or \"memory\""),
            ("buffer = 0", "1 to 100000"),
            ("strem = 'S'", "did you mean `stream`?"),
            ("timeout = 'soon'", "`timeout`: \"soon\" is not a duration"),
            ("password = 1234", "`password` must be a text in quotes"),
        ] {
            let error = load(&format!("\n[sink]\n{text}")).unwrap_err().to_string();
            assert!(error.contains(told) && error.starts_with("a.toml:"), "{error}");
            assert!(error.starts_with("a.toml:3:") || text.contains('\n'), "{error}");
            assert!(!error.contains("1234"), "{error}");
        }
        assert!(stream_name(&"s".repeat(256)).is_err() && stream_name(&"s".repeat(255)).is_ok());
        assert!(bucket_name(&"b".repeat(247)).is_err() && bucket_name(&"b".repeat(246)).is_ok());
    }
}
