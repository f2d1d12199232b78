//! One of three servers freezes, crashes, or says goodbye.

use serde_json::{Value, json};

use crate::support::{Cluster, busy_host};
use crate::watch::{Watched, crowd, planted};

const PLANTED: [&str; 3] = ["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"];

/// What hangs on server n3 is unknown, and what does not is judged.
fn n3_is_unknown(summary: &Value) {
    let unknown = summary["checks"]["unknown"].to_string();
    for check in ["ACCOUNTS_001", "SERVER_011", "USER_002", "OPT_BALANCE_006"] {
        assert!(unknown.contains(check), "{check} in {unknown}");
    }
    assert!(summary["findings"]["held"].as_u64() >= Some(1), "{summary}");
    assert!(summary["checks"]["evaluated"].as_u64() >= Some(1), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_missed_and_found_again() {
    let mut cluster = planted(Cluster::operator(3)).max_connections(2, 14).start().await;
    let clients = crowd(&cluster, 2).await;
    let mut watched = Watched::start(&cluster, cluster.agent_args(), &PLANTED).await;

    watched.findings.forget();
    cluster.pause(2);
    let summary = watched.epoch_without(&[("n3", "server n3 did not answer STATSZ")]).await;
    n3_is_unknown(&summary.json);
    let (warning, critical) = watched.silence_of("n3").await;
    // Its routes stand, so that it is there.
    assert_eq!(warning.json["evidence"]["named_by"], json!(["n1", "n2"]), "{}", warning.json);
    assert_eq!(critical.json["evidence"]["known_by"], "answers");
    assert_eq!(critical.json["evidence"]["cluster"], json!({"name": "east", "answered": 2, "silent": 1}));
    assert!(critical.json["evidence"]["last_answer"]["epoch"].as_u64() < Some(warning.epoch()));
    let first = critical.json["remediation"][0].as_str().unwrap();
    assert!(first.contains("may hang or be stopped"), "{first}");
    // The account that is full by what the others hold is still reported.
    let last = watched.findings.epochs(1, crate::watch::SOON).await;
    assert!(watched.firing_in(&last).iter().any(|(check, _)| check == "ACCOUNTS_001"));
    watched.nothing_ended_or_invented(&["n3"]);

    watched.findings.forget();
    cluster.resume(2);
    watched.recovers(&["n3"]).await;
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_server_is_missed_until_it_is_back_under_its_name() {
    let mut cluster = planted(Cluster::operator(3)).max_connections(2, 14).start().await;
    let clients = crowd(&cluster, 2).await;
    let mut watched = Watched::start(&cluster, cluster.agent_args(), &PLANTED).await;

    watched.findings.forget();
    cluster.kill(2);
    let summary = watched.epoch_without(&[("n3", "server n3 did not answer STATSZ")]).await;
    n3_is_unknown(&summary.json);
    let (_, critical) = watched.silence_of("n3").await;
    // Nobody has a route to it any more.
    assert_eq!(critical.json["evidence"]["named_by"], json!([]), "{}", critical.json);
    let first = critical.json["remediation"][0].as_str().unwrap();
    assert!(first.contains("see whether the process of n3 runs"), "{first}");
    watched.nothing_ended_or_invented(&["n3"]);

    watched.findings.forget();
    cluster.restart(2).await;
    // Under a new id it is the same server, and its clients come back to it.
    watched.recovers_with(&["n3"], &[("SERVER_008", "n3")]).await;
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_is_explained_and_not_missed_when_it_is_gone() {
    // The shortest time that a server accepts.
    let short = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n";
    let mut cluster = planted(Cluster::operator(3)).max_connections(2, 14).extra(short).start().await;
    let clients = crowd(&cluster, 2).await;
    // Otherwise what begins after its return would wait for two minutes.
    let file = cluster.dir().join("agent.toml");
    std::fs::write(&file, busy_host("[maintenance]\ngrace = \"0s\"\n")).unwrap();
    let args = cluster.agent_args().chain(["--config", file.to_str().unwrap()]);
    let mut watched = Watched::start(&cluster, args, &PLANTED).await;

    watched.findings.forget();
    cluster.lame_duck(2);
    let summary = watched.epoch_without(&[("n3", "lame-duck mode")]).await;
    n3_is_unknown(&summary.json);
    let gone = watched.epoch(|e| e["servers"] == json!({"known": 2, "responded": 2, "missing": []})).await;
    // Until then nothing had ended.
    let history = watched.findings.history();
    let early = history.iter().find(|m| m.status() == "resolved" && m.epoch() < gone.epoch());
    assert!(early.is_none(), "{early:?}");
    assert!(!history.iter().any(|m| m.check() == "AGENT_001"), "an announced end is no finding");
    watched.resolved("SERVER_011", |f| f["entity"]["id"] == "n3").await;

    watched.findings.forget();
    // It has ended by itself: this only takes note of it.
    cluster.kill(2);
    cluster.restart(2).await;
    watched.recovers(&[]).await;
    drop(clients);
}
