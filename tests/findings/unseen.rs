//! What a request would have told is unknown without it, for every check that needs it, and for no other.

use crate::support::{Account, Cluster};
use crate::{SOON, Watched};
use insights_agent::checks::catalogue;
use insights_agent::permissions::Permissions;
use insights_agent::snapshot::Endpoint;
use std::collections::{BTreeMap, BTreeSet};

/// Checks by the subject without which they cannot be judged. Who may not ask for the roll call sees nothing at all.
fn by_subject() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut by_subject: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in catalogue() {
        let subjects = entry.meta.needs.iter().filter(|need| **need != Endpoint::Statsz);
        for subject in subjects.filter_map(|need| need.subject()) {
            by_subject.entry(subject).or_default().insert(entry.meta.id);
        }
    }
    by_subject
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_request_its_checks_are_unknown_and_no_others() {
    let mut cluster = Cluster::config(2).account(Account::new("APP").user("a")).start().await;
    let clients = cluster.connect_many(0, "APP/a", "web", 3).await;
    let mut watched = Watched::start(&cluster, "[accounts.APP]\nmax_connections = 100\n").await;
    watched.epoch(|e| e["complete"] == true).await;
    let all = Permissions::defaults().publish;
    for (subject, expected) in by_subject() {
        assert!(all.iter().any(|allowed| allowed == subject), "{subject} is not in {all:?}");
        watched.findings.forget();
        let less = all.iter().filter(|allowed| *allowed != subject).cloned().collect();
        cluster.allow_agent(less).await;
        let denied = subject.split('*').next().unwrap_or_default().to_owned();
        let last = subject.rsplit('.').next().unwrap_or_default().to_owned();
        let blind = |e: &serde_json::Value| -> BTreeSet<String> {
            let rows = e["checks"]["unknown"].as_array().cloned().unwrap_or_default();
            let of_it = |row: &&serde_json::Value| {
                let reason = row["reason"].as_str().unwrap_or_default();
                reason.contains(&format!("may not publish to {denied}")) && reason.contains(&last)
            };
            rows.iter().filter(of_it).filter_map(|row| row["check"].as_str().map(str::to_owned)).collect()
        };
        let wanted: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
        let seen = watched.findings.find_within(SOON, |m| m.is_epoch() && blind(&m.json) == wanted).await;
        let last_seen = watched.findings.history().into_iter().rfind(|m| m.is_epoch()).unwrap();
        let found = blind(&last_seen.json);
        let (missing, more): (Vec<_>, Vec<_>) =
            (wanted.difference(&found).collect(), found.difference(&wanted).collect());
        assert!(seen.is_some(), "{subject}: not unknown {missing:?}, unknown as well {more:?}");
    }
    cluster.allow_agent(all).await;
    watched.epoch(|e| e["complete"] == true).await;
    drop(clients);
    watched.check_everything_published();
}
