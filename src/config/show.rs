//! The effective configuration as TOML, with secrets left out.

use super::{Alertmanager, Api, Config, ElectionConfig, ListConnections, LogFormat, SinkConfig};
use crate::check::{DeclaredLimits, Match, Override, PolicySetting, Settings};
use crate::checks::catalogue;
use crate::connection::ConnectionOptions;
use crate::finding::{Matcher, Silence};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use time::OffsetDateTime;

#[derive(Serialize)]
struct Shown<'a> {
    epoch: String,
    subject_prefix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    log_format: LogFormat,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    connection: &'a ConnectionOptions,
    gather: ShownGather,
    election: ElectionConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    alertmanager: Option<&'a Alertmanager>,
    api: Api,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accounts: &'a BTreeMap<String, DeclaredLimits>,
    maintenance: ShownMaintenance,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silence: Vec<ShownSilence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a SinkConfig>,
    checks: BTreeMap<&'static str, ShownCheck>,
}

#[derive(Serialize)]
struct ShownMaintenance {
    grace: String,
}

#[derive(Serialize)]
struct ShownSilence<'a> {
    reason: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
    #[serde(rename = "match")]
    matcher: &'a Matcher,
}

impl<'a> From<&'a Silence> for ShownSilence<'a> {
    fn from(Silence { matcher, silenced }: &'a Silence) -> Self {
        Self { reason: &silenced.reason, until: silenced.until, matcher }
    }
}

#[derive(Serialize)]
struct ShownGather {
    connections: ListConnections,
}

#[derive(Serialize)]
struct ShownCheck {
    #[serde(flatten)]
    policy: PolicySetting,
    #[serde(flatten)]
    thresholds: Map<String, Value>,
    #[serde(rename = "override", skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<ShownOverride>,
}

#[derive(Serialize)]
struct ShownOverride {
    #[serde(rename = "match")]
    matcher: Match,
    #[serde(flatten)]
    policy: PolicySetting,
    #[serde(flatten)]
    thresholds: Map<String, Value>,
}

impl From<Override> for ShownOverride {
    fn from(Override { matcher, policy, thresholds }: Override) -> Self {
        Self { matcher, policy, thresholds }
    }
}

/// The configuration as TOML that the agent reads again, but for `[redacted]` in place of secrets.
pub fn show(config: &Config) -> Result<String, toml::ser::Error> {
    let mut checks = BTreeMap::new();
    for entry in catalogue() {
        let Settings { policy, base, overrides } =
            config.check_settings.get(entry.meta.id).cloned().unwrap_or_default().settings;
        let mut thresholds = entry.defaults();
        thresholds.extend(base);
        // All but the severity, which would replace the one that verdicts set themselves.
        let policy = PolicySetting {
            enabled: Some(policy.enabled.unwrap_or(true)),
            for_epochs: Some(policy.for_epochs.unwrap_or(entry.for_epochs)),
            keep: Some(policy.keep.unwrap_or(entry.keep)),
            ..policy
        };
        let shown = ShownCheck {
            policy,
            thresholds,
            overrides: overrides.into_iter().map(ShownOverride::from).collect(),
        };
        checks.insert(entry.meta.id, shown);
    }
    toml::to_string(&Shown {
        epoch: humantime::format_duration(config.epoch).to_string(),
        subject_prefix: &config.subject_prefix,
        system: config.system.as_deref(),
        name: config.agent_name.as_deref(),
        log_format: config.log_format,
        listen: config.listen,
        connection: &config.connection,
        gather: ShownGather { connections: config.list_connections },
        election: config.election,
        alertmanager: config.alertmanager.as_ref(),
        api: config.api,
        accounts: &config.accounts,
        maintenance: ShownMaintenance { grace: humantime::format_duration(config.grace).to_string() },
        silence: config.silences.0.iter().map(ShownSilence::from).collect(),
        sink: config.sink.as_ref(),
        checks,
    })
}
