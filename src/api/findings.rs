//! Open findings: filtered and in pages, or one by its fingerprint.

use super::page::{Row, page};
use super::request::rows;
use super::{ApiError, View};
use crate::check::{EntityType, Severity, glob};
use crate::checks::{catalogue, find};
use crate::config::unknown_id;
use crate::finding::{Finding, Trim, fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Reverse;

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 32;

/// Which open findings are asked for: those that every given filter lets through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FindingsRequest {
    /// The least severity: `warning` asks for warnings and for what is critical.
    pub severity: Option<Severity>,
    /// Id or alias of a check; `*` stands for any characters, as in `OPT_*`.
    pub check: Option<String>,
    /// Id or name of the account that owns the entity; `*` stands for any characters. What belongs to no tenant, such as
    /// a server, has no account.
    pub account: Option<String>,
    /// Id or name of the entity; `*` stands for any characters.
    pub entity: Option<String>,
    /// Type of the entity.
    #[serde(rename = "type")]
    pub kind: Option<EntityType>,
    /// Most findings of the answer: 1 to 10,000, by default 1,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u64>,
    /// Findings to pass over: those of earlier answers. As long as `epoch` stays the same, so does the order.
    pub offset: Option<u64>,
}

/// Open findings.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FindingsAnswer<'a> {
    /// Always `io.nats.insights.v1.api.findings`.
    #[serde(rename = "type")]
    pub kind_of_message: &'static str,
    /// The epoch after which they are open, Unix time in seconds.
    pub epoch: u64,
    /// Findings that the filters let through.
    pub total: u64,
    /// Those that come after the ones below: too many for `limit`, or for one message. Ask again with `offset`.
    pub omitted: u64,
    /// The findings as they were published, worst first, then by check and entity.
    pub findings: Vec<Cow<'a, Finding>>,
}

impl Row for Cow<'_, Finding> {
    fn trim(&mut self) -> bool {
        self.to_mut().trim()
    }
}

/// Answers with the open findings that the filters let through.
pub(super) fn answer(request: &FindingsRequest, view: &View<'_>, limit: usize) -> Result<Vec<u8>, ApiError> {
    let (offset, most) = rows(request.limit, request.offset)?;
    let check = request.check.as_deref().map(pattern_of_checks).transpose()?;
    let epoch = view.summary.ok_or(ApiError::NoEpoch)?.epoch;
    let mut found: Vec<&Finding> = view
        .open
        .iter()
        .map(|finding| &**finding)
        .filter(|finding| passes(request, check.as_deref(), finding))
        .collect();
    found.sort_by_cached_key(|finding| {
        (Reverse(finding.severity), finding.check.to_string(), finding.entity.clone())
    });
    let mut answer = FindingsAnswer {
        kind_of_message: "io.nats.insights.v1.api.findings",
        epoch,
        total: found.len() as u64,
        omitted: 0,
        findings: Vec::new(),
    };
    let wanted = found.into_iter().skip(offset).take(most).map(Cow::Borrowed);
    answer.findings = page(wanted, &answer, limit)?;
    let told = (offset as u64).saturating_add(answer.findings.len() as u64);
    answer.omitted = answer.total.saturating_sub(told);
    serde_json::to_vec(&answer).map_err(|_| ApiError::TooLarge { limit })
}

/// The id of a check, or a pattern that at least one id matches.
fn pattern_of_checks(text: &str) -> Result<String, ApiError> {
    if !text.contains('*') {
        return find(text)
            .map(|entry| entry.meta.id.to_owned())
            .ok_or_else(|| ApiError::bad(unknown_id(text)));
    }
    let pattern = text.to_ascii_uppercase();
    if catalogue().any(|entry| glob(&pattern, entry.meta.id)) {
        return Ok(pattern);
    }
    Err(ApiError::bad(format!("no check has an id like {}", text.escape_debug())))
}

fn passes(request: &FindingsRequest, check: Option<&str>, finding: &Finding) -> bool {
    let one_of = |pattern: &Option<String>, names: &[Option<&str>]| {
        pattern.as_ref().is_none_or(|pattern| names.iter().flatten().any(|name| glob(pattern, name)))
    };
    let entity = &finding.entity;
    request.severity.is_none_or(|least| finding.severity >= least)
        && check.is_none_or(|pattern| glob(pattern, &finding.check))
        && one_of(&request.account, &[entity.account.as_deref(), entity.account_name.as_deref()])
        && one_of(&request.entity, &[Some(&entity.id), entity.name.as_deref()])
        && request.kind.is_none_or(|kind| kind == entity.kind)
}

/// Answers with one open finding.
pub(super) fn one(fingerprint: &str, view: &View<'_>, limit: usize) -> Result<Vec<u8>, ApiError> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if fingerprint.len() != FINGERPRINT_DIGITS || !fingerprint.bytes().all(digit) {
        return Err(ApiError::bad(format!(
            "`{}` is no fingerprint: those are {FINGERPRINT_DIGITS} hexadecimal digits in lower case",
            fingerprint.escape_debug()
        )));
    }
    if view.summary.is_none() {
        return Err(ApiError::NoEpoch);
    }
    let found = view.open.iter().find(|finding| finding.fingerprint.to_string() == fingerprint);
    let Some(finding) = found else {
        return Err(ApiError::not_found(format!("no open finding has the fingerprint {fingerprint}")));
    };
    fit(&**finding, limit).ok_or(ApiError::TooLarge { limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples::World;
    use serde_json::{Value, json};

    fn ask(world: &World, request: Value, limit: usize) -> Value {
        let request = serde_json::from_value(request).unwrap();
        serde_json::from_slice(&answer(&request, &world.view(), limit).unwrap()).unwrap()
    }

    fn names(answer: &Value) -> Vec<&str> {
        let findings = answer["findings"].as_array().unwrap().iter();
        findings.map(|finding| finding["entity"]["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_filter_narrows_and_the_worst_comes_first() {
        let world = World::with_findings();
        for (request, expected) in [
            (json!({}), &["n1", "PRODUCTION", "orders", "STAGING"][..]),
            (json!({"severity": "warning"}), &["n1", "PRODUCTION", "orders"]),
            (json!({"severity": "critical"}), &["n1"]),
            (json!({"check": "USER_002"}), &["orders"]),
            (json!({"check": "accounts_*"}), &["PRODUCTION", "STAGING"]),
            (json!({"account": "APROD"}), &["PRODUCTION", "orders"]),
            (json!({"account": "PRODUCTION"}), &["PRODUCTION", "orders"]),
            (json!({"account": "*ING"}), &["STAGING"]),
            (json!({"entity": "APROD"}), &["PRODUCTION"]),
            (json!({"entity": "or*"}), &["orders"]),
            (json!({"type": "server"}), &["n1"]),
            (json!({"type": "account", "severity": "warning"}), &["PRODUCTION"]),
            (json!({"account": "nobody"}), &[]),
        ] {
            let told = ask(&world, request.clone(), 1 << 20);
            assert_eq!(names(&told), expected, "{request}");
            assert_eq!((&told["total"], &told["omitted"]), (&json!(expected.len()), &json!(0)), "{request}");
            assert_eq!(told["epoch"], 1_700_000_000);
        }
    }

    #[test]
    fn a_check_that_does_not_exist_is_an_error_that_helps() {
        let world = World::with_findings();
        for (check, hint) in [("ACCOUNT_001", "ACCOUNTS_001"), ("X*Y", "X*Y")] {
            let request = FindingsRequest { check: Some(check.into()), ..FindingsRequest::default() };
            let error = answer(&request, &world.view(), 1 << 20).unwrap_err();
            assert!(error.code() == 400 && error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn pages_bring_every_finding_once_whatever_fits_a_message() {
        let world = World::with_findings();
        let all = ask(&world, json!({}), 1 << 20);
        for (rows, bytes) in [(1, 1 << 20), (3, 1 << 20), (10_000, 2500), (10_000, 900)] {
            let (mut seen, mut omitted) = (Vec::new(), u64::MAX);
            while omitted > 0 {
                let page = ask(&world, json!({"limit": rows, "offset": seen.len()}), bytes);
                assert!(serde_json::to_vec(&page).unwrap().len() <= bytes);
                assert!(!names(&page).is_empty() && page["total"] == 4);
                omitted = page["omitted"].as_u64().unwrap();
                seen.extend(names(&page).into_iter().map(str::to_owned));
            }
            assert_eq!(seen, names(&all), "{rows} rows, {bytes} bytes");
        }
        assert_eq!(names(&ask(&world, json!({"offset": 99}), 1 << 20)), Vec::<&str>::new());
        let none = answer(&FindingsRequest::default(), &world.view(), 150).unwrap_err();
        assert_eq!(none.code(), 500);
    }

    #[test]
    fn one_finding_is_found_by_its_fingerprint() {
        let world = World::with_findings();
        let view = world.view();
        let fingerprint = view.open[0].fingerprint.to_string();
        let told: Value = serde_json::from_slice(&one(&fingerprint, &view, 1 << 20).unwrap()).unwrap();
        assert_eq!(told, serde_json::to_value(&*view.open[0]).unwrap());
        assert_eq!(one(&"0".repeat(32), &view, 1 << 20).unwrap_err().code(), 404);
        for bad in ["", "findings", &"G".repeat(32), &fingerprint[1..], &fingerprint.to_uppercase()] {
            assert_eq!(one(bad, &view, 1 << 20).unwrap_err().code(), 400, "{bad}");
        }
    }
}
