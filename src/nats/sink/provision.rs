//! The stream and the bucket: made where they are missing, left alone where they exist.

use super::error::{SinkError, cannot, code};
use crate::config::{SinkConfig, SinkStorage};
use crate::nats::permissions::covers;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, CreateKeyValueError};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use std::fmt::Display;
use std::time::Duration;

/// Within this time a message that is sent again is stored once.
const DUPLICATES: Duration = Duration::from_secs(120);

/// What the sink writes to.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) stream: Stream,
    pub(super) store: Store,
    /// Where they differ from the configuration.
    pub(super) notes: Vec<String>,
}

/// Finds the stream and the bucket, and creates what is missing.
pub(super) async fn ensure(
    context: &Context,
    config: &SinkConfig,
    prefix: &str,
) -> Result<Places, SinkError> {
    let stream = find_stream(context, config, prefix).await?;
    let store = find_bucket(context, config).await?;
    let mut notes = Vec::new();
    let told = differences(&stream.cached_info().config, &wanted_stream(config, prefix));
    notes.extend(note(&format!("the stream {}", config.stream), &told));
    let told = differences(&store.stream.cached_info().config, &wanted_state(config));
    notes.extend(note(&format!("the bucket {}", config.bucket), &told));
    Ok(Places { stream, store, notes })
}

fn wanted_stream(config: &SinkConfig, prefix: &str) -> stream::Config {
    stream::Config {
        name: config.stream.clone(),
        description: Some("Findings of insights-agent".into()),
        subjects: vec![format!("{prefix}.>")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: config.max_age,
        max_bytes: bytes(config),
        storage: storage(config),
        num_replicas: config.replicas,
        duplicate_window: DUPLICATES,
        allow_direct: true,
        ..stream::Config::default()
    }
}

fn wanted_bucket(config: &SinkConfig) -> kv::Config {
    kv::Config {
        bucket: config.bucket.clone(),
        description: "The last state of each finding of insights-agent".into(),
        history: 1,
        storage: storage(config),
        num_replicas: config.replicas,
        ..kv::Config::default()
    }
}

/// What matters of the stream that a bucket is: age and bytes are those of findings, which must not go while they fire.
fn wanted_state(config: &SinkConfig) -> stream::Config {
    stream::Config {
        max_bytes: -1,
        discard: DiscardPolicy::New,
        storage: storage(config),
        num_replicas: config.replicas,
        ..stream::Config::default()
    }
}

fn bytes(config: &SinkConfig) -> i64 {
    if config.max_bytes == 0 { -1 } else { i64::try_from(config.max_bytes).unwrap_or(i64::MAX) }
}

const fn storage(config: &SinkConfig) -> StorageType {
    match config.storage {
        SinkStorage::File => StorageType::File,
        SinkStorage::Memory => StorageType::Memory,
    }
}

async fn find_stream(context: &Context, config: &SinkConfig, prefix: &str) -> Result<Stream, SinkError> {
    let name = &config.stream;
    if let Some(stream) = get(context, name).await? {
        return Ok(stream);
    }
    let failed = match context.create_stream(wanted_stream(config, prefix)).await {
        Ok(stream) => {
            tracing::info!(stream = name, replicas = config.replicas, "stream created for the sink");
            return Ok(stream);
        }
        Err(error) => error,
    };
    match code(&failed) {
        Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => Err(SinkError::Taken {
            stream: name.clone(),
            other: other_stream(context, prefix).await,
            prefix: prefix.to_owned(),
        }),
        // Another agent was faster.
        Some(ErrorCode::STREAM_NAME_EXIST) => get(context, name)
            .await?
            .ok_or_else(|| SinkError::request(format!("cannot create the stream {name}"), &failed)),
        _ => Err(cannot(&format!("create the stream {name}"), &failed)),
    }
}

async fn find_bucket(context: &Context, config: &SinkConfig) -> Result<Store, SinkError> {
    let name = &config.bucket;
    if get(context, &format!("KV_{name}")).await?.is_none() {
        let created: Result<Store, CreateKeyValueError> =
            context.create_key_value(wanted_bucket(config)).await;
        match created {
            Ok(store) => {
                tracing::info!(bucket = name, replicas = config.replicas, "bucket created for the sink");
                return Ok(store);
            }
            Err(error) if code(&error) == Some(ErrorCode::STREAM_NAME_EXIST) => {}
            Err(error) => return Err(cannot(&format!("create the bucket {name}"), &error)),
        }
    }
    existing_bucket(context, config).await
}

/// The bucket that is there.
pub(super) async fn existing_bucket(context: &Context, config: &SinkConfig) -> Result<Store, SinkError> {
    let name = &config.bucket;
    let store = context.get_key_value(name.as_str()).await;
    store.map_err(|error| cannot(&format!("use the bucket {name}"), &error))
}

async fn get(context: &Context, name: &str) -> Result<Option<Stream>, SinkError> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if code(&error) == Some(ErrorCode::STREAM_NOT_FOUND) => Ok(None),
        Err(error) => Err(cannot(&format!("look for the stream {name}"), &error)),
    }
}

/// The stream that captures the subjects, as far as this user may ask.
async fn other_stream(context: &Context, prefix: &str) -> String {
    match context.stream_by_subject(format!("{prefix}.>")).await {
        Ok(name) => format!("the stream {name}"),
        Err(_) => "another stream".into(),
    }
}

/// A setting with what it is and what is configured.
type Difference = (&'static str, String, String);

fn note(what: &str, told: &[Difference]) -> Option<String> {
    let list: Vec<String> = told
        .iter()
        .map(|(setting, is, configured)| format!("{setting} is {is} where {configured} is configured"))
        .collect();
    (!list.is_empty()).then(|| {
        format!("{what} exists with other settings, which are left as they are: {}", list.join(", "))
    })
}

fn differences(is: &stream::Config, wanted: &stream::Config) -> Vec<Difference> {
    let mut told = Vec::new();
    let mut tell = |setting, differs: bool, is: &dyn Display, wanted: &dyn Display| {
        if differs {
            told.push((setting, is.to_string(), wanted.to_string()));
        }
    };
    let covered = |subject: &String| is.subjects.iter().any(|pattern| covers(pattern, subject));
    tell(
        "subjects",
        !wanted.subjects.iter().all(covered),
        &is.subjects.join(" "),
        &wanted.subjects.join(" "),
    );
    tell("max_age", is.max_age != wanted.max_age, &age(is.max_age), &age(wanted.max_age));
    let (bytes_are, bytes_wanted) = (unlimited(is.max_bytes), unlimited(wanted.max_bytes));
    tell("max_bytes", bytes_are != bytes_wanted, &bytes_are, &bytes_wanted);
    tell("storage", is.storage != wanted.storage, &stored(is.storage), &stored(wanted.storage));
    tell("replicas", is.num_replicas.max(1) != wanted.num_replicas, &is.num_replicas, &wanted.num_replicas);
    let shown = (format!("{:?}", is.retention), format!("{:?}", wanted.retention));
    tell("retention", is.retention != wanted.retention, &shown.0, &shown.1);
    let shown = (format!("{:?}", is.discard), format!("{:?}", wanted.discard));
    tell("discard", is.discard != wanted.discard, &shown.0, &shown.1);
    let window = (age(is.duplicate_window), age(wanted.duplicate_window));
    tell("duplicate_window", is.duplicate_window < wanted.duplicate_window, &window.0, &window.1);
    told
}

fn age(age: Duration) -> String {
    if age.is_zero() { "for ever".into() } else { humantime::format_duration(age).to_string() }
}

fn unlimited(bytes: i64) -> String {
    if bytes <= 0 { "unlimited".into() } else { bytes.to_string() }
}

const fn stored(storage: StorageType) -> &'static str {
    match storage {
        StorageType::File => SinkStorage::File.as_str(),
        StorageType::Memory => SinkStorage::Memory.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let config = SinkConfig { replicas: 3, ..SinkConfig::default() };
        let wanted = wanted_stream(&config, "insights.checks");
        assert_eq!(differences(&wanted, &wanted), []);
        let wider = stream::Config { subjects: vec!["insights.>".into()], ..wanted.clone() };
        assert_eq!(differences(&wider, &wanted), []);
        let other = stream::Config {
            subjects: vec!["insights.checks.A.>".into(), "b".into()],
            max_age: Duration::from_secs(3600),
            max_bytes: -1,
            num_replicas: 1,
            storage: StorageType::Memory,
            duplicate_window: Duration::from_secs(60),
            ..wanted.clone()
        };
        let told = note("the stream S", &differences(&other, &wanted)).unwrap();
        assert_eq!(
            told,
            "the stream S exists with other settings, which are left as they are: subjects is insights.checks.A.> b \
             where insights.checks.> is configured, max_age is 1h where 7days is configured, max_bytes is unlimited \
             where 1073741824 is configured, storage is memory where file is configured, replicas is 1 where 3 is \
             configured, duplicate_window is 1m where 2m is configured"
        );
    }
}
