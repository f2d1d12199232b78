//! SIGHUP.

use crate::support::{Account, Cluster, limits};
use crate::{SOON, Watched, line};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_applies_what_can_change_and_names_what_cannot() {
    let app = Account::new("APP").limits(limits().conn(10)).user("u");
    let cluster = Cluster::operator(1).account(app).start().await;
    let clients = cluster.connect_many(0, "APP/u", "u", 6).await;
    let mut watched = Watched::start(&cluster, "name = 'one'\n").await;
    watched.epoch(|e| e["complete"] == true).await;
    assert!(watched.all("ACCOUNTS_001").is_empty());

    // A threshold, and two keys that only a restart changes.
    watched.reload("name = 'two'\nsystem = 'other'\nchecks.ACCOUNTS_001.warn_percent = 50\n");
    let began = watched.told("ACCOUNTS_001", |f| f["status"] == "firing").await;
    assert_eq!(began.json["observed"]["threshold"], 50.0);
    assert_eq!((&began.json["agent"]["name"], began.json["system"] == "other"), (&Value::from("one"), false));
    let log = watched.logged("take effect at a restart only").await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("restart only")).collect();
    assert!(lines.len() == 1 && lines[0].contains("system, name"), "{lines:?}");

    // A bad file changes nothing, not even by its good lines.
    watched.reload("checks.ACCOUNTS_001.warn_percent = 95\nchecks.ACCOUNTS_001.warn = 1\n");
    let summary = watched.epoch(|e| e["config"].is_object()).await;
    let failed = summary.json["config"]["failed"].as_str().unwrap();
    let line = line(2);
    let expected = format!("insights.toml:{line}: unknown key `warn` of check ACCOUNTS_001");
    assert!(failed.contains(&expected), "{failed}");
    assert_eq!(summary.json["config"]["reloads"], 1);
    let log = watched.logged("was not read again").await;
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains(failed), "{errors:?}");
    watched.findings.forget();
    watched.findings.epochs(2, SOON).await;
    let told = watched.all("ACCOUNTS_001");
    assert!(!told.is_empty() && told.iter().all(|f| f["status"] == "firing"), "{told:?}");

    // The next good one is taken, with epochs of another length.
    std::fs::write(&watched.file, "epoch = '3s'\nname = 'one'\nchecks.ACCOUNTS_001.enabled = false\n")
        .unwrap();
    watched.agent.hangup();
    watched.told("ACCOUNTS_001", |f| f["status"] == "resolved").await;
    let summary = watched.epoch(|e| e["checks"]["disabled"] == 1).await;
    assert!(summary.json["config"].is_null(), "{}", summary.json);
    watched.findings.forget();
    let last = watched.findings.epochs(3, SOON).await;
    let ids: Vec<_> = watched.findings.history().iter().filter(|m| m.is_epoch()).map(|m| m.epoch()).collect();
    assert!(ids.iter().all(|id| id % 3 == 0) && ids.is_sorted(), "{ids:?}");
    assert!(!last.json.to_string().contains("AGENT_003"), "{}", last.json);
    assert!(watched.agent.is_running());
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_mends_what_keeps_an_agent_from_starting() {
    let cluster = Cluster::config(1).start().await;
    let (user, password) = cluster.password("SYS/insights");
    let findings = crate::Findings::subscribe(&cluster).await;
    let file = cluster.dir().join("insights.toml");
    let config = |password: &str| {
        let url = cluster.url(0);
        let text = format!(
            "epoch = '2s'\n[connection]\nservers = ['{url}']\nuser = '{user}'\npassword = '{password}'\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    config("wrong");
    let path = file.to_string_lossy().into_owned();
    let agent = crate::Agent::start(["run", "--config", &path]);
    let mut watched = Watched { findings, agent, file: file.clone() };
    watched.logged("retry_in=2s").await;
    config(&password);
    watched.agent.hangup();
    watched.epoch(|e| e["servers"]["responded"] == 1).await;
}
