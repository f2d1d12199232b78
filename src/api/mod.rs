//! What is firing now, on request: requests in, answers out, as pure functions of what the last epoch left behind.
//!
//! [`answer`] is the way in. How requests come and answers go is the business of [`crate::nats::service`].

mod card;
mod catalog;
mod error;
mod findings;
mod judge;
mod page;
mod request;
#[cfg(test)]
mod samples;
mod schema;

pub use card::{Card, Field};
pub use catalog::{CatalogAnswer, CatalogRequest};
pub use error::ApiError;
pub use findings::{FindingsAnswer, FindingsRequest};
pub use judge::{CheckAnswer, CheckRequest, JudgedFinding};
pub use request::EmptyRequest;
pub use schema::{SCHEMAS, schema};

use crate::check::Context;
use crate::config::CheckSettings;
use crate::finding::{EpochSummary, Finding, fit};
use std::sync::Arc;

/// The service's name, by which `nats micro` finds it.
pub const SERVICE: &str = "insights";
/// What it is, in one sentence.
pub const DESCRIPTION: &str =
    "What insights-agent found: open findings, the last epoch, the catalogue of checks, and judging now";
/// The first tokens of its subjects.
pub const PREFIX: &str = "insights.api";
/// Longest request, in bytes: one with every threshold of a check and long names has a tenth of it.
pub const REQUEST_BYTES: usize = 65_536;

/// What is answered from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The summary of the last epoch; none before the first.
    pub summary: Option<&'a EpochSummary>,
    /// The findings that are open after it.
    pub open: &'a [Arc<Finding>],
    /// What the operator says about checks.
    pub checks: &'a CheckSettings,
    /// The last snapshot and what it is compared with; none before the first, and while the next is being judged.
    pub context: Option<Context<'a>>,
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The open findings, filtered.
    Findings,
    /// One open finding, by its fingerprint.
    Finding,
    /// The catalogue of checks.
    Catalog,
    /// The summary of the last epoch.
    Epoch,
    /// One check, judged now on the last snapshot.
    Check,
}

impl Endpoint {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Findings, Self::Finding, Self::Catalog, Self::Epoch, Self::Check];

    /// Its name, as discovery tells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Finding => "finding",
            Self::Catalog => "catalog",
            Self::Epoch => "epoch",
            Self::Check => "check",
        }
    }

    /// Its subject, with a wildcard where one of many things is asked for.
    pub fn subject(self) -> String {
        let name = self.name();
        match self {
            Self::Finding | Self::Check => format!("{PREFIX}.{name}.*"),
            Self::Findings | Self::Catalog | Self::Epoch => format!("{PREFIX}.{name}"),
        }
    }

    /// What it is for, as discovery tells it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Findings => "open findings, filtered by severity, check, account, entity and type",
            Self::Finding => "one open finding, by its fingerprint",
            Self::Catalog => "the catalogue of checks",
            Self::Epoch => "the summary of the last epoch",
            Self::Check => "judges one check now on the last snapshot, with thresholds of the request",
        }
    }

    /// The name of the schema of its request.
    pub const fn request_schema(self) -> &'static str {
        match self {
            Self::Findings => "api.findings.request",
            Self::Catalog => "api.catalog.request",
            Self::Check => "api.check.request",
            Self::Finding | Self::Epoch => "api.empty.request",
        }
    }

    /// The name of the schema of its answer.
    pub const fn response_schema(self) -> &'static str {
        match self {
            Self::Findings => "api.findings.response",
            Self::Finding => "finding",
            Self::Catalog => "api.catalog.response",
            Self::Epoch => "epoch",
            Self::Check => "api.check.response",
        }
    }
}

/// The subjects on which the service is asked: its own, and those of discovery as clients ask them, for all services, for
/// those of this name, and for one of them.
pub fn subjects() -> Vec<String> {
    let mut subjects = vec![format!("{PREFIX}.>")];
    for verb in ["PING", "INFO", "STATS"] {
        let all = format!("$SRV.{verb}");
        subjects.extend([all.clone(), format!("{all}.{SERVICE}"), format!("{all}.{SERVICE}.*")]);
    }
    subjects
}

/// The answer to a request, in at most `limit` bytes. The last token of `subject` says what is asked for where the
/// endpoint is of many things.
pub fn answer(
    endpoint: Endpoint,
    subject: &str,
    payload: &[u8],
    view: &View<'_>,
    limit: usize,
) -> Result<Vec<u8>, ApiError> {
    if payload.len() > REQUEST_BYTES {
        return Err(ApiError::bad(format!("the request has more than {REQUEST_BYTES} bytes")));
    }
    let asked_for = subject.rsplit('.').next().unwrap_or_default();
    match endpoint {
        Endpoint::Findings => findings::answer(&request::parse(payload)?, view, limit),
        Endpoint::Finding => {
            let EmptyRequest {} = request::parse(payload)?;
            findings::one(asked_for, view, limit)
        }
        Endpoint::Catalog => catalog::answer(&request::parse(payload)?, limit),
        Endpoint::Epoch => {
            let EmptyRequest {} = request::parse(payload)?;
            let summary = view.summary.ok_or(ApiError::NoEpoch)?;
            fit(summary, limit).ok_or(ApiError::TooLarge { limit })
        }
        Endpoint::Check => judge::answer(asked_for, &request::parse(payload)?, view, limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples::World;
    use serde_json::Value;

    fn ask(world: &World, endpoint: Endpoint, subject: &str, payload: &str) -> Result<Value, ApiError> {
        let bytes = answer(endpoint, subject, payload.as_bytes(), &world.view(), 1 << 20)?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn before_the_first_epoch_there_is_only_the_catalogue() {
        let world = World::empty();
        for (endpoint, subject) in [
            (Endpoint::Findings, "insights.api.findings".to_owned()),
            (Endpoint::Finding, format!("insights.api.finding.{}", "0".repeat(32))),
            (Endpoint::Epoch, "insights.api.epoch".to_owned()),
            (Endpoint::Check, "insights.api.check.ACCOUNTS_001".to_owned()),
        ] {
            let error = ask(&world, endpoint, &subject, "").unwrap_err();
            assert_eq!(error.code(), 503, "{subject}: {error}");
        }
        assert!(ask(&world, Endpoint::Catalog, "insights.api.catalog", "").is_ok());
    }

    #[test]
    fn the_epoch_is_the_published_summary() {
        let world = World::with_findings();
        let told = ask(&world, Endpoint::Epoch, "insights.api.epoch", "{}").unwrap();
        assert_eq!(told, serde_json::to_value(world.view().summary.unwrap()).unwrap());
        let error = ask(&world, Endpoint::Epoch, "insights.api.epoch", r#"{"which": 1}"#).unwrap_err();
        assert_eq!(error.code(), 400);
    }

    #[test]
    fn a_request_is_bounded_and_every_subject_may_be_subscribed_to() {
        let world = World::with_findings();
        let long = format!(r#"{{"account": "{}"}}"#, "a".repeat(REQUEST_BYTES));
        assert_eq!(ask(&world, Endpoint::Findings, "insights.api.findings", &long).unwrap_err().code(), 400);
        for endpoint in Endpoint::ALL {
            assert!(endpoint.subject().starts_with("insights.api."), "{endpoint:?}");
        }
        assert_eq!(subjects().len(), 10);
    }
}
