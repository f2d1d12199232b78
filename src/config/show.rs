//! The effective configuration as TOML, with secrets left out.

use super::{Config, ListConnections, LogFormat, SinkConfig};
use crate::check::{DeclaredLimits, Match, Severity};
use crate::checks::catalogue;
use crate::connection::ConnectionOptions;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Shown<'a> {
    epoch: String,
    subject_prefix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    log_format: LogFormat,
    connection: &'a ConnectionOptions,
    gather: ShownGather,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accounts: &'a BTreeMap<String, DeclaredLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a SinkConfig>,
    checks: BTreeMap<&'static str, ShownCheck>,
}

#[derive(Serialize)]
struct ShownGather {
    connections: ListConnections,
}

#[derive(Serialize)]
struct ShownCheck {
    enabled: bool,
    severity: Severity,
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
    thresholds: Map<String, Value>,
}

/// The configuration as TOML that the agent reads again, but for `[redacted]` in place of secrets.
pub fn show(config: &Config) -> Result<String, toml::ser::Error> {
    let mut checks = BTreeMap::new();
    for entry in catalogue() {
        let setting = config.check_settings.get(entry.meta.id).cloned().unwrap_or_default();
        let mut thresholds = entry.defaults();
        thresholds.extend(setting.settings.base);
        let overrides = setting.settings.overrides.into_iter();
        let shown = ShownCheck {
            enabled: setting.enabled,
            severity: setting.severity.unwrap_or(entry.meta.severity),
            thresholds,
            overrides: overrides.map(|(matcher, thresholds)| ShownOverride { matcher, thresholds }).collect(),
        };
        checks.insert(entry.meta.id, shown);
    }
    toml::to_string(&Shown {
        epoch: humantime::format_duration(config.epoch).to_string(),
        subject_prefix: &config.subject_prefix,
        system: config.system.as_deref(),
        name: config.agent_name.as_deref(),
        log_format: config.log_format,
        connection: &config.connection,
        gather: ShownGather { connections: config.list_connections },
        accounts: &config.accounts,
        sink: config.sink.as_ref(),
        checks,
    })
}
