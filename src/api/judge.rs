//! One check, judged now on the last snapshot, with thresholds of the request. What was found this way is told to whoever
//! asked, and to nobody else: no finding begins or ends by it.

use super::page::{Row, page};
use super::request::rows;
use super::{ApiError, View};
use crate::check::{
    Entity, Entry, Judge, Judgement, Observed, Policies, Settings, Severity, UnknownRow, evaluate,
};
use crate::checks::find;
use crate::config::unknown_id;
use crate::finding::{Fingerprint, fingerprint, trim_evidence};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Rows of what could not be judged in one answer.
const UNKNOWN_ROWS: usize = 100;

/// How a check is to be judged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckRequest {
    /// Thresholds of the check. They hold for every entity; those that are not named are the operator's, with the
    /// operator's overrides.
    pub thresholds: Map<String, Value>,
    /// Most firing entities of the answer: 1 to 10,000, by default 1,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u64>,
    /// Firing entities to pass over: those of earlier answers.
    pub offset: Option<u64>,
}

/// What a check says of the last snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckAnswer {
    /// Always `io.nats.insights.v1.api.check`.
    #[serde(rename = "type")]
    pub kind_of_message: &'static str,
    /// The check's id.
    pub check: &'static str,
    /// The epoch whose snapshot was judged, Unix time in seconds.
    pub epoch: u64,
    /// The thresholds by which it was judged, where no override of the operator holds.
    pub thresholds: Map<String, Value>,
    /// Entities that fire.
    pub total: u64,
    /// Those that come after the ones below: too many for `limit`, or for one message. Ask again with `offset`.
    pub omitted: u64,
    /// What could not be judged; at most 100 rows.
    pub unknown: Vec<UnknownRow>,
    /// Rows left out of `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_omitted: Option<u64>,
    /// What fires, in the order in which the check tells it.
    pub firing: Vec<JudgedFinding>,
}

/// A verdict that fires. Its keys are those of a finding; what a finding has by its life is not there.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JudgedFinding {
    /// The fingerprint of the finding that this is, or would be.
    pub fingerprint: Fingerprint,
    /// The check's id.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub entity: Entity,
    /// One sentence with the numbers.
    pub summary: String,
    /// The value against its limit.
    pub observed: Observed,
    /// What lies behind it; requests that a check makes for its evidence are not made again.
    pub evidence: Value,
    /// What to do, in the order that the evidence suggests.
    pub remediation: Vec<String>,
}

impl Row for JudgedFinding {
    fn trim(&mut self) -> bool {
        if trim_evidence(&mut self.evidence) {
            return true;
        }
        let had = !self.remediation.is_empty();
        self.remediation.clear();
        had
    }
}

/// Judges the check with this id.
pub(super) fn answer(
    id: &str,
    request: &CheckRequest,
    view: &View<'_>,
    limit: usize,
) -> Result<Vec<u8>, ApiError> {
    let entry = find(id).ok_or_else(|| ApiError::not_found(unknown_id(id)))?;
    let (offset, most) = rows(request.limit, request.offset)?;
    let operators =
        view.checks.get(entry.meta.id).map(|setting| setting.settings.clone()).unwrap_or_default();
    let judge = configured(entry, &operators, &request.thresholds)?;
    let summary = view.summary.ok_or(ApiError::NoEpoch)?;
    let context = view.context.ok_or(ApiError::BetweenEpochs)?;
    let judgement = evaluate(entry, judge.as_ref(), &policies(entry, operators), &context);
    let mut unknown = judgement.unknown_rows();
    let unknown_omitted = unknown.len().saturating_sub(UNKNOWN_ROWS) as u64;
    unknown.truncate(UNKNOWN_ROWS);
    let mut answer = CheckAnswer {
        kind_of_message: "io.nats.insights.v1.api.check",
        check: entry.meta.id,
        epoch: context.now.epoch,
        thresholds: judge.thresholds(),
        total: judgement.firing.len() as u64,
        omitted: 0,
        unknown,
        unknown_omitted: (unknown_omitted > 0).then_some(unknown_omitted),
        firing: Vec::new(),
    };
    answer.firing = page(judged(judgement, &summary.system).skip(offset).take(most), &answer, limit)?;
    let told = (offset as u64).saturating_add(answer.firing.len() as u64);
    answer.omitted = answer.total.saturating_sub(told);
    serde_json::to_vec(&answer).map_err(|_| ApiError::TooLarge { limit })
}

fn judged(mut judgement: Judgement, system: &str) -> impl Iterator<Item = JudgedFinding> {
    let firing = std::mem::take(&mut judgement.firing);
    firing.into_iter().map(move |(entity, firing)| JudgedFinding {
        fingerprint: fingerprint(system, judgement.meta.id, &entity),
        check: judgement.meta.id,
        severity: judgement.severity(&entity, &firing),
        entity,
        summary: firing.summary,
        observed: firing.observed,
        evidence: firing.evidence,
        remediation: firing.remediation,
    })
}

/// What the operator expects of the check. One that is disabled is judged all the same: it was asked for by name.
fn policies(entry: &Entry, mut operators: Settings) -> Arc<Policies> {
    if !entry.policies(&operators).any_enabled() {
        operators.policy.enabled = Some(true);
        operators.overrides.iter_mut().for_each(|narrowed| narrowed.policy.enabled = None);
    }
    Arc::new(entry.policies(&operators))
}

/// The check with the operator's settings and the thresholds of the request over all of them.
fn configured(
    entry: &'static Entry,
    operators: &Settings,
    asked: &Map<String, Value>,
) -> Result<Box<dyn Judge>, ApiError> {
    let unusable = |problem: String| ApiError::bad(format!("thresholds of {}: {problem}", entry.meta.id));
    let mut settings = operators.clone();
    settings.base.extend(asked.clone());
    for narrowed in &mut settings.overrides {
        narrowed.thresholds.retain(|key, _| !asked.contains_key(key));
    }
    let judge = entry.configure(&settings).map_err(|error| unusable(error.problem))?;
    if let Some(key) = folded(entry, &operators.base, asked) {
        return Err(unusable(format!(
            "`{key}` cannot be changed here: the connections of the snapshot were counted by it when they were read"
        )));
    }
    Ok(judge)
}

/// The first of these thresholds by which connections are folded, if it differs from the operator's.
fn folded<'k>(
    entry: &Entry,
    operators: &Map<String, Value>,
    asked: &'k Map<String, Value>,
) -> Option<&'k str> {
    let folds_by = |base: Map<String, Value>| {
        let judge = entry.configure(&Settings { base, ..Settings::default() }).ok()?;
        Some(judge.folds_by(&|| Entity::user("", None, "", None)))
    };
    let usual = folds_by(operators.clone());
    let changes = |(key, value): &(&'k String, &'k Value)| {
        let mut base = operators.clone();
        base.insert((*key).clone(), (*value).clone());
        folds_by(base) != usual
    };
    asked.iter().find(changes).map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples::World;
    use crate::check::{Match, Override, PolicySetting};
    use crate::config::CheckSetting;
    use serde_json::json;

    fn ask(world: &World, id: &str, request: Value) -> Result<Value, ApiError> {
        let request = serde_json::from_value(request).unwrap();
        let bytes = answer(id, &request, &world.view(), 1 << 20)?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    fn users(answer: &Value) -> Vec<&str> {
        let firing = answer["firing"].as_array().unwrap().iter();
        firing.map(|finding| finding["entity"]["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn thresholds_of_the_request_decide_and_are_told() {
        let world = World::with_findings();
        let as_usual = ask(&world, "USER_002", json!({})).unwrap();
        assert_eq!((users(&as_usual), &as_usual["thresholds"]), (vec![], &json!({"max_connections": 100})));
        let strict = ask(&world, "user_002", json!({"thresholds": {"max_connections": 1}})).unwrap();
        assert_eq!(users(&strict), ["svc"]);
        assert_eq!((&strict["check"], &strict["epoch"]), (&json!("USER_002"), &json!(1_700_000_000)));
        let told = &strict["firing"][0];
        assert_eq!((&told["observed"]["value"], &told["severity"]), (&json!(3), &json!("warning")));
        let entity = Entity::user("APROD", None, "svc", None);
        assert_eq!(told["fingerprint"], fingerprint("test", "USER_002", &entity).to_string());
    }

    #[test]
    fn the_operators_settings_hold_where_the_request_says_nothing() {
        let mut world = World::with_findings();
        let patch = |most: u64| json!({"max_connections": most}).as_object().cloned().unwrap();
        let matcher = Match { user: Some("svc".into()), ..Match::default() };
        let narrowed = Override { matcher, policy: PolicySetting::default(), thresholds: patch(50) };
        let policy = PolicySetting { severity: Some(Severity::Critical), ..PolicySetting::default() };
        let setting = CheckSetting {
            settings: Settings { policy, base: patch(2), overrides: vec![narrowed] },
            ..CheckSetting::default()
        };
        world.checks.insert("USER_002", setting);
        assert!(users(&ask(&world, "USER_002", json!({})).unwrap()).is_empty());
        // The override is the operator's as well, and what is asked for holds for every entity.
        let strict = ask(&world, "USER_002", json!({"thresholds": {"max_connections": 1}})).unwrap();
        assert_eq!((users(&strict), &strict["firing"][0]["severity"]), (vec!["svc"], &json!("critical")));
    }

    #[test]
    fn a_disabled_check_is_judged_when_it_is_asked_for() {
        let mut world = World::with_findings();
        let policy = PolicySetting { enabled: Some(false), ..PolicySetting::default() };
        let settings = Settings { policy, ..Settings::default() };
        world.checks.insert("USER_002", CheckSetting { settings, ..CheckSetting::default() });
        let strict = ask(&world, "USER_002", json!({"thresholds": {"max_connections": 1}})).unwrap();
        assert_eq!(users(&strict), ["svc"]);
    }

    #[test]
    fn what_cannot_be_judged_by_is_refused_by_name() {
        let world = World::with_findings();
        for (id, thresholds, code, named) in [
            ("USR_002", json!({}), 404, "USER_002"),
            ("USER_002", json!({"most": 1}), 400, "`most`"),
            ("USER_002", json!({"max_connections": "many"}), 400, "max_connections"),
            ("USER_002", json!({"max_connections": 0}), 400, "max_connections = 0 is out of range"),
            ("ACCOUNTS_001", json!({"warn_percent": 101}), 400, "warn_percent = 101 is out of range"),
            ("OPT_IDLE_007", json!({"idle": "1s"}), 400, "`idle` cannot be changed"),
            ("CONN_001", json!({"rtt": "1s"}), 400, "`rtt` cannot be changed"),
            ("CONN_002", json!({"max_pending": 5}), 400, "`max_pending` cannot be changed"),
        ] {
            let error = ask(&world, id, json!({"thresholds": thresholds})).unwrap_err();
            assert!(error.code() == code && error.to_string().contains(named), "{id}: {error}");
        }
        // As it is, it changes nothing.
        assert!(ask(&world, "OPT_IDLE_007", json!({"thresholds": {"idle": "5m"}})).is_ok());
    }

    #[test]
    fn what_is_missing_is_unknown_here_as_well() {
        let world = World::silent();
        let told = ask(&world, "USER_002", json!({"thresholds": {"max_connections": 1}})).unwrap();
        assert!(users(&told).is_empty());
        assert_eq!(told["unknown"][0]["check"], "USER_002");
    }
}
