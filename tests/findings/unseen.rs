//! What a request would have told is unknown without it, for every check that needs it, and for no other.

use crate::support::{Account, Cluster, at_least};
use crate::{SOON, Watched};
use async_nats::service::ServiceExt;
use insights_agent::checks::catalogue;
use insights_agent::demo::topology::FileExport;
use insights_agent::permissions::Permissions;
use insights_agent::snapshot::Endpoint;
use serde_json::Value;
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

/// The limits that no server tells.
const DECLARED: &str = "[accounts.APP]\nmax_connections = 100\nmax_subscriptions = 100\n\
                        [accounts.IMP]\nmax_connections = 100\nmax_subscriptions = 100\n\
                        [accounts.SYS]\nmax_connections = 100\nmax_subscriptions = 100\n";

/// The checks that have a row.
fn unknown(epoch: &Value) -> BTreeSet<String> {
    let rows = epoch["checks"]["unknown"].as_array().cloned().unwrap_or_default();
    rows.iter().filter_map(|row| row["check"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_request_its_checks_are_unknown_and_no_others() {
    let importer = Account::new("IMP").user("i");
    let mut cluster =
        // What older ones do not count is judged by their ended connections, which is one more request.
        Cluster::config(2)
            .account(Account::new("APP").user("a"))
            .account(importer)
            .binary(&at_least("2.12.8"))
            .start()
            .await;
    // Somebody to ask for: a service, and an import that clients may listen to.
    cluster
        .change_file_accounts(|accounts| {
            for account in accounts {
                match &*account.name {
                    "APP" => {
                        account.exports = vec![FileExport { subject: "in.>".into(), ..FileExport::default() }]
                    }
                    "IMP" => account.imports = vec![("APP".into(), "in.>".into())],
                    _ => {}
                }
            }
        })
        .await;
    let mut clients = cluster.connect_many(0, "APP/a", "web", 3).await;
    clients.extend(cluster.connect_many(1, "APP/a", "web", 1).await);
    let _service = clients[0].service_builder().start("echo", "1.0.0").await.unwrap();
    for server in 0..2 {
        let listener = cluster.connect(server, "IMP/i", "listener").await;
        drop(listener.subscribe("in.>").await.unwrap());
        clients.push(listener);
    }
    let mut watched = Watched::start(&cluster, DECLARED).await;
    // What needs an earlier epoch has it.
    watched.findings.epochs(3, SOON).await;
    let last = watched.findings.history().into_iter().rfind(|m| m.is_epoch()).unwrap();
    let before = unknown(&last.json);
    let all = Permissions::defaults().publish;
    for (subject, expected) in by_subject() {
        assert!(all.iter().any(|allowed| allowed == subject), "{subject} is not in {all:?}");
        watched.findings.forget();
        let less = all.iter().filter(|allowed| *allowed != subject).cloned().collect();
        cluster.allow_agent(less).await;
        let blind = |e: &Value| -> BTreeSet<String> { unknown(e).difference(&before).cloned().collect() };
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
