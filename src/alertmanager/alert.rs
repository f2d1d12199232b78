//! A finding as an alert of Alertmanager's API v2.

use crate::check::Severity;
use crate::finding::{Finding, Status};
use crate::text::digest_hex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How many epochs an alert holds without being refreshed.
const HOLDS_EPOCHS: u32 = 4;
/// The least that it holds; Alertmanager's own `resolve_timeout` is as long.
const HOLDS_AT_LEAST: Duration = Duration::from_secs(5 * 60);

/// How many epochs the state of one is told. A leader that was stopped and goes on later must not tell over the head of
/// its successor.
const FRESH_EPOCHS: u32 = 2;

/// An alert without its end. Alertmanager takes the labels for its identity, so they hold nothing that changes while the
/// finding stays the same: no measured value, no name that may only be learnt later, no id of a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Stands for the labels.
    pub key: String,
    /// How much it matters.
    pub severity: Severity,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: OffsetDateTime,
    docs_url: Option<String>,
}

/// What an epoch means for alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// When the epoch was judged.
    pub at: OffsetDateTime,
    /// When its alerts end unless a later epoch refreshes them.
    pub until: OffsetDateTime,
    /// For how long what it says is worth telling.
    pub fresh_for: Duration,
    /// Every finding that is open and not silenced, the worst first.
    pub open: Vec<Arc<Alert>>,
    /// When findings ended, by the key of their alert.
    pub ended: BTreeMap<String, OffsetDateTime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<&'static str, String>,
    #[serde(with = "time::serde::rfc3339")]
    starts_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    ends_at: OffsetDateTime,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

impl Alert {
    fn of(finding: &Finding, more: &BTreeMap<String, String>) -> Self {
        let entity = &finding.entity;
        let fingerprint = finding.fingerprint.to_string();
        let mut labels = more.clone();
        let own = [
            ("alertname", Some(&*finding.check)),
            ("check", Some(&*finding.check)),
            ("severity", Some(finding.severity.as_str())),
            ("category", Some(finding.category.as_str())),
            ("kind", Some(finding.kind.as_str())),
            ("system", Some(&*finding.system)),
            ("entity_type", Some(entity.kind.as_str())),
            ("entity", Some(&*entity.id)),
            ("account", entity.account.as_deref()),
            ("cluster", entity.cluster.as_deref()),
            ("server", entity.server.as_deref()),
            ("user", entity.user.as_deref()),
            ("fingerprint", Some(&*fingerprint)),
        ];
        labels.extend(own.into_iter().filter_map(|(label, value)| Some((label.into(), value?.into()))));
        let annotations = [
            ("summary", Some(finding.summary.clone())),
            ("description", Some(finding.remediation.join("\n"))),
            ("name", Some(finding.name.to_string())),
            ("entity_name", entity.name.as_deref().map(Into::into)),
            ("account_name", entity.account_name.as_deref().map(Into::into)),
            ("user_name", entity.user_name.as_deref().map(Into::into)),
            ("runbook_url", finding.docs_url.as_deref().map(Into::into)),
        ];
        let said = |value: &String| !value.is_empty();
        let annotations =
            annotations.into_iter().filter_map(|(name, value)| Some((name, value.filter(said)?))).collect();
        Self {
            key: key(&labels),
            severity: finding.severity,
            labels,
            annotations,
            starts_at: finding.first_seen,
            docs_url: finding.docs_url.as_deref().map(Into::into),
        }
    }

    /// As the API takes it, ending then.
    pub fn json(&self, ends_at: OffsetDateTime) -> Vec<u8> {
        let Self { labels, annotations, docs_url, .. } = self;
        // Alertmanager 0.25 refuses an alert that ends before it starts, which a clock that was set back could make.
        let json = Json {
            labels,
            annotations,
            starts_at: self.starts_at.min(ends_at),
            ends_at,
            generator_url: docs_url.as_deref(),
        };
        // Texts and times in RFC 3339's range always become JSON; an empty alert would be refused, and that counted.
        serde_json::to_vec(&json).unwrap_or_else(|_| b"{}".to_vec())
    }
}

/// A short text that differs where labels do.
fn key(labels: &BTreeMap<String, String>) -> String {
    let mut all = Vec::new();
    for (label, value) in labels {
        for part in [label, value] {
            // The length first, so that no two sets of labels run together alike.
            all.extend_from_slice(&part.len().to_le_bytes());
            all.extend_from_slice(part.as_bytes());
        }
    }
    digest_hex(&all, 16)
}

/// What an epoch of this length means for alerts, with `labels` on each. `said` is all that it published: every open
/// finding that is not silenced, and those that ended.
pub fn update<'a>(
    said: impl IntoIterator<Item = &'a Finding>,
    labels: &BTreeMap<String, String>,
    at: OffsetDateTime,
    epoch: Duration,
) -> Update {
    let mut open = Vec::new();
    let mut ended = BTreeMap::new();
    for finding in said {
        let alert = Alert::of(finding, labels);
        match finding.status {
            Status::Firing => open.push(Arc::new(alert)),
            Status::Resolved => {
                ended.insert(alert.key, finding.resolved_at.unwrap_or(at));
            }
        }
    }
    open.sort_by(|a, b| (b.severity, &a.key).cmp(&(a.severity, &b.key)));
    let until = at.saturating_add(
        time::Duration::try_from((epoch * HOLDS_EPOCHS).max(HOLDS_AT_LEAST)).unwrap_or_default(),
    );
    Update { at, until, fresh_for: epoch * FRESH_EPOCHS, open, ended }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Entity;
    use crate::config::OWN_LABELS;
    use crate::report::samples::{change, with};
    use serde_json::{Value, json};
    use time::macros::datetime;

    const MINUTE: Duration = Duration::from_secs(60);

    fn sample() -> Finding {
        (*with(&[Severity::Critical]).said[0].finding).clone()
    }

    fn told(finding: &Finding, more: &[(&str, &str)]) -> Value {
        let more = more.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
        let json = Alert::of(finding, &more).json(datetime!(2025-11-20 10:05 UTC));
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn an_alert_says_what_the_finding_says() {
        let mut finding = sample();
        finding.entity = Entity::account_in_cluster("AB", Some(&"SHOP".into()), &"east".into());
        finding.docs_url = Some("https://example.org/a".into());
        let alert = told(&finding, &[("env", "prod")]);
        let expected = json!({
            "labels": {
                "alertname": "ACCOUNTS_001", "check": "ACCOUNTS_001", "severity": "critical", "category": "saturation",
                "kind": "operational", "system": "test", "entity_type": "account", "entity": "AB/east", "account": "AB",
                "cluster": "east", "fingerprint": finding.fingerprint.to_string(), "env": "prod",
            },
            "annotations": {
                "summary": "account APP1 uses 181 of 200 connections",
                "description": "Close connections that are leaked.\nRaise the limit: `nsc edit account`.",
                "name": "Account Connection Limit", "entity_name": "SHOP", "account_name": "SHOP",
                "runbook_url": "https://example.org/a",
            },
            "startsAt": "2025-11-20T10:00:00Z",
            "endsAt": "2025-11-20T10:05:00Z",
            "generatorURL": "https://example.org/a",
        });
        assert_eq!(alert, expected);
    }

    #[test]
    fn labels_stay_as_they_are_while_numbers_and_names_change() {
        let first = sample();
        let mut later = first.clone();
        later.summary = "account APP1 uses 199 of 200 connections".into();
        later.observed.value = 199.into();
        later.entity.account_name = Some("learnt later".into());
        later.entity.name = Some("learnt later".into());
        later.agent.id = "another".into();
        later.epoch += 60;
        let labels = |finding: &Finding| told(finding, &[])["labels"].clone();
        assert_eq!(labels(&first), labels(&later));
        assert_ne!(told(&first, &[]), told(&later, &[]));
        let key = |finding: &Finding| Alert::of(finding, &BTreeMap::new()).key;
        assert_eq!(key(&first), key(&later));
        later.severity = Severity::Info;
        assert_ne!(key(&first), key(&later));
    }

    #[test]
    fn labels_of_an_alert_are_those_that_the_configuration_keeps_free() {
        let mut finding = sample();
        finding.entity = Entity::user("AB", None, "u", None);
        finding.entity.cluster = Some("c".into());
        finding.entity.server = Some("s".into());
        let alert = told(&finding, &[]);
        let mut own: Vec<&str> = alert["labels"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut kept: Vec<&str> = OWN_LABELS.to_vec();
        own.sort_unstable();
        kept.sort_unstable();
        assert_eq!(own, kept);
    }

    #[test]
    fn an_epoch_gives_what_is_open_the_worst_first_and_what_ended() {
        use Severity::{Critical, Info, Warning};
        let mut report = with(&[Info, Warning, Critical, Warning]);
        let at = datetime!(2025-11-20 10:00 UTC);
        change(&mut report, 3).status = Status::Resolved;
        change(&mut report, 3).resolved_at = Some(at);
        let of = |epoch| update(report.findings(), &BTreeMap::new(), at, epoch);
        let update = of(MINUTE);
        let severities: Vec<_> = update.open.iter().map(|alert| alert.severity).collect();
        assert_eq!(severities, [Critical, Warning, Info]);
        assert_eq!(update.ended.values().collect::<Vec<_>>(), [&at]);
        assert_eq!(update.until, datetime!(2025-11-20 10:05 UTC));
        assert_eq!(of(MINUTE * 10).until, datetime!(2025-11-20 10:40 UTC));
    }

    #[test]
    fn an_alert_never_ends_before_it_starts() {
        let before = Alert::of(&sample(), &BTreeMap::new()).json(datetime!(2025-11-20 09:00 UTC));
        let before: Value = serde_json::from_slice(&before).unwrap();
        assert_eq!(
            (&before["startsAt"], &before["endsAt"]),
            (&json!("2025-11-20T09:00:00Z"), &json!("2025-11-20T09:00:00Z"))
        );
    }
}
