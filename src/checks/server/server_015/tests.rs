use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge, judge_last, judge_last_set, only};
use crate::snapshot::build::System;
use crate::wire::healthz::Healthz;
use serde_json::json;

type Check = StreamsUnhealthy;

fn answers(json: serde_json::Value) -> System {
    let mut system = System::of(2).account("APP", -1, -1, -1);
    system.entry("APP").name = Some("Production".into());
    let told: Healthz = serde_json::from_value(json).unwrap();
    system.server_mut("n1").health = Some(Health::of(&told));
    system
}

fn stream(account: &str, stream: &str, words: &str) -> serde_json::Value {
    json!({"type": "STREAM", "account": account, "stream": stream,
        "error": format!("JetStream stream '{account} > {stream}' {words}")})
}

fn consumer(stream: &str, consumer: &str, words: &str) -> serde_json::Value {
    json!({"type": "CONSUMER", "account": "APP", "stream": stream, "consumer": consumer,
        "error": format!("JetStream consumer 'APP > {stream} > {consumer}' {words}")})
}

fn server(name: &str) -> Entity {
    Entity::server(&name.into(), Some(&"east".into()))
}

#[test]
fn what_is_lost_is_told_from_what_lags_and_comes_first() {
    let errors = json!([
        stream("APP", "A", "is not current: stream catching up"),
        stream("APP", "ORDERS", "could not be recovered"),
        stream("B", "X", "is not current: group node unhealthy"),
        consumer("A", "c", "is not current: consumer not found"),
        {"type": "ACCOUNT", "account": "GONE", "error": "x"},
    ]);
    let judgement = judge::<Check>(&answers(json!({"status": "error", "errors": errors})).done());
    let (entity, firing) = only(&judgement);
    assert_eq!((entity, firing.severity), (&server("n1"), None));
    assert_eq!(
        firing.summary,
        "server n1 reports 1 stream broken, 2 streams not current, 1 consumer broken: JetStream stream 'APP > \
         ORDERS' could not be recovered"
    );
    let evidence = &firing.evidence;
    assert_eq!(evidence["streams"], json!({"broken": 1, "lagging": 2}));
    assert_eq!(evidence["consumers"], json!({"broken": 1, "lagging": 0}));
    assert_eq!(evidence["accounts"], json!([{"name": "Production", "count": 3}, {"name": "B", "count": 1}]));
    assert_eq!(
        evidence["first"][1],
        json!({"state": "broken", "account": "Production", "stream": "A", "consumer": "c",
            "problem": "JetStream consumer 'APP > A > c' is not current: consumer not found"})
    );
    assert_eq!(firing.observed.value, 4.into());
    assert!(firing.remediation[0].contains("at its start for stream ORDERS"), "{firing:?}");
    assert!(firing.remediation[1].contains("restore the stream from a backup"), "{firing:?}");
    assert!(firing.remediation[2].contains("Let consumer c of stream A elect"), "{firing:?}");
    assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
}

#[test]
fn replicas_that_only_lag_are_a_warning_and_many_are_one_finding() {
    let errors: Vec<_> =
        (0..1200).map(|i| stream("APP", &format!("S{i:04}"), "is not current: stream catching up")).collect();
    let judgement = judge::<Check>(&answers(json!({"status": "error", "errors": errors})).done());
    let (_, firing) = only(&judgement);
    assert_eq!(firing.severity, Some(Severity::Warning));
    assert_eq!(
        (firing.evidence["omitted"].clone(), firing.observed.value.clone()),
        (json!(200), 1200.into())
    );
    assert_eq!(firing.evidence["first"].as_array().unwrap().len(), 5);
    assert_eq!(firing.evidence["causes"], json!([{"name": "stream catching up", "count": 1000}]));
}

#[test]
fn only_what_could_not_be_recovered_is_worth_removing_and_restoring() {
    for words in [
        "is not current: stream not found",
        "is not current: monitor goroutine not running",
        "is not current: cluster node skew detected",
        "is not current: stream assignment error: insufficient resources",
        "write error: no space left on device",
    ] {
        let errors = json!([stream("APP", "S", words)]);
        let judgement = judge::<Check>(&answers(json!({"status": "error", "errors": errors})).done());
        let steps = &only(&judgement).1.remediation;
        let destroys = |step: &String| step.contains("directory") || step.contains("backup");
        assert!(!steps.is_empty() && !steps.iter().any(destroys), "{words}: {steps:?}");
    }
}

#[test]
fn one_that_lags_for_long_is_as_bad_as_one_that_is_broken() {
    let lagging = |second: i64, cause: &str| {
        let words = format!("is not current: {cause}");
        let errors = json!([stream("APP", "S", &words), stream("APP", &format!("T{second}"), &words)]);
        answers(json!({"status": "error", "errors": errors})).at(second).done()
    };
    let mut epochs = vec![lagging(0, "stream catching up"), lagging(600, "group node unhealthy")];
    epochs.push(lagging(899, "group node unhealthy"));
    assert_eq!(only(&judge_last::<Check>(&epochs)).1.severity, Some(Severity::Warning));
    epochs.push(lagging(900, "group node unhealthy"));
    let judgement = judge_last::<Check>(&epochs);
    let firing = only(&judgement).1;
    assert_eq!((firing.severity, &firing.evidence["longest_lag_seconds"]), (None, &json!(900)));
    assert!(
        firing.summary.starts_with("server n1 reports 2 streams not current (for 15m without a break): "),
        "{}",
        firing.summary
    );
    let base = json!({"lagging_for": "1h"}).as_object().cloned().unwrap();
    let settings = Settings { base, ..Settings::default() };
    assert_eq!(only(&judge_last_set::<Check>(&epochs, &settings)).1.severity, Some(Severity::Warning));
    // It was well in between.
    epochs.insert(3, answers(json!({"status": "ok"})).at(899).done());
    assert_eq!(only(&judge_last::<Check>(&epochs)).1.severity, Some(Severity::Warning));
}

#[test]
fn an_old_server_tells_one_problem_whose_names_stand_in_its_text() {
    let text = "JetStream consumer 'APP > S > it's : mine' is not current";
    let judgement = judge::<Check>(&answers(json!({"status": "unavailable", "error": text})).done());
    let (_, firing) = only(&judgement);
    let row = &firing.evidence["first"][0];
    assert_eq!(
        (&row["account"], &row["stream"], &row["consumer"]),
        (&json!("Production"), &json!("S"), &json!("it's : mine"))
    );
    assert_eq!((&row["state"], &firing.evidence["one_of_many"]), (&json!("lagging"), &json!(true)));
    let lost = json!({"status": "unavailable", "error": "JetStream stream 'APP > S' could not be recovered"});
    assert_eq!(only(&judge::<Check>(&answers(lost).done())).1.severity, None);
}

#[test]
fn causes_of_every_version_are_known() {
    for (words, lags) in [
        ("is not current", true),
        ("is not current: stream catching up", true),
        ("is not current: group node unhealthy", true),
        ("is not current: stream node missing", true),
        ("is not current: stream not found", false),
        ("is not current: monitor goroutine not running", false),
        ("is not current: cluster node skew detected", false),
        ("is not current: node write error: no space left on device", false),
        ("is not current: stream assignment error: insufficient resources", false),
        ("write error: no space left on device", false),
        ("could not be recovered", false),
        ("", false),
    ] {
        let errors = json!([stream("APP", "S", words)]);
        let judgement = judge::<Check>(&answers(json!({"status": "error", "errors": errors})).done());
        let (_, firing) = only(&judgement);
        assert_eq!(firing.severity.is_some(), lags, "{words}");
    }
}

#[test]
fn other_problems_are_none_of_it_and_silence_is_unknown() {
    let errors = json!([{"type": "JETSTREAM", "error": "x"}]);
    assert!(judge::<Check>(&answers(json!({"status": "error", "errors": errors})).done()).firing.is_empty());
    let errors = json!([stream("APP", "S", "could not be recovered")]);
    let silent = answers(json!({"status": "error", "errors": errors})).silent("n1", Endpoint::Healthz);
    let judgement = judge::<Check>(&silent.done());
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
}
