//! When findings begin and end.

use crate::Watched;
use crate::support::{Account, Cluster, limits};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_takes_its_epochs_to_begin_and_to_end() {
    let cluster = Cluster::operator(1)
        .account(Account::new("SLOW").limits(limits().conn(10)).user("u"))
        .account(Account::new("QUICK").limits(limits().conn(10)).user("u"))
        .account(Account::new("OFF").limits(limits().conn(10)).user("u"))
        .start()
        .await;
    let slow = cluster.connect_many(0, "SLOW/u", "s", 9).await;
    let quick = cluster.connect_many(0, "QUICK/u", "q", 9).await;
    let off = cluster.connect_many(0, "OFF/u", "o", 9).await;
    let mut watched = Watched::start(
        &cluster,
        "[checks.ACCOUNTS_001]\nfor = 3\nkeep = 3\n\
         [[checks.ACCOUNTS_001.override]]\nmatch = { account = 'QUICK' }\nfor = 1\nkeep = 1\nseverity = 'info'\n\
         [[checks.ACCOUNTS_001.override]]\nmatch = { account = 'OFF' }\nenabled = false\n",
    )
    .await;
    let of = |name: &'static str| move |f: &Value| f["entity"]["name"] == name;
    let began = watched.told("ACCOUNTS_001", of("SLOW")).await;
    assert_eq!((&began.json["epochs"], began.status()), (&Value::from(3), "firing"));
    let first = watched.findings.history().into_iter().find(|m| m.is_epoch()).unwrap();
    assert_eq!(first.json["findings"]["pending"], 1, "{}", first.json);
    let info = watched.told("ACCOUNTS_001", of("QUICK")).await;
    assert_eq!((&info.json["epochs"], &info.json["severity"]), (&Value::from(1), &Value::from("info")));
    assert_eq!(info.epoch(), first.epoch());
    assert_eq!(info.subject.split('.').nth(3), Some("info"));

    drop((slow, quick));
    let ended = watched.told("ACCOUNTS_001", |f| of("SLOW")(f) && f["status"] == "resolved").await;
    watched.findings.epochs(2, crate::SOON).await;
    let told = watched.all("ACCOUNTS_001");
    let of_slow = |f: &&Value| f["entity"]["name"] == "SLOW";
    let clear: Vec<_> = told.iter().filter(of_slow).filter_map(|f| f["clear_epochs"].as_u64()).collect();
    assert_eq!(clear, [1, 2], "two epochs of calm are told, the third ends it");
    // The end is said twice, word for word; one that takes no time to end has no calm to tell.
    let ends: Vec<_> = told.iter().filter(of_slow).filter(|f| f["status"] == "resolved").collect();
    assert_eq!(ends, [&ended.json, &ended.json]);
    assert!(!told.iter().any(|f| f["entity"]["name"] == "QUICK" && f["clear_epochs"].is_u64()));
    assert!(!told.iter().any(|f| f["entity"]["name"] == "OFF"), "{told:?}");
    drop(off);
}
