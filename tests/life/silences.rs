//! Findings that are known and not to be published.

use crate::support::{Account, Cluster, limits};
use crate::{SOON, Watched};
use serde_json::Value;

const SILENCE: &str = "[[silence]]\nmatch = { check = 'ACCOUNTS_*', account = 'KNOWN' }\nreason = 'being raised'\n\
                       until = 2999-01-01T00:00:00Z\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_silenced_finding_ends_for_everybody_and_goes_on_after_the_silence() {
    let cluster = Cluster::operator(1)
        .account(Account::new("KNOWN").limits(limits().conn(10)).user("u"))
        .account(Account::new("OTHER").limits(limits().conn(10)).user("u"))
        .start()
        .await;
    let known = cluster.connect_many(0, "KNOWN/u", "k", 9).await;
    let other = cluster.connect_many(0, "OTHER/u", "o", 9).await;
    let mut watched = Watched::start(&cluster, "").await;
    let of = |name: &'static str| move |f: &Value| f["entity"]["name"] == name;
    let began = watched.told("ACCOUNTS_001", of("KNOWN")).await;
    watched.told("ACCOUNTS_001", of("OTHER")).await;

    watched.reload(SILENCE);
    let ended = watched.told("ACCOUNTS_001", |f| of("KNOWN")(f) && f["status"] == "resolved").await;
    assert_eq!(ended.json["silenced"]["reason"], "being raised");
    assert_eq!(ended.json["silenced"]["until"], "2999-01-01T00:00:00Z");
    assert_eq!(ended.subject, began.subject);
    let summary = watched.epoch(|e| e["findings"]["silenced"] == 1).await;
    let row = &summary.json["silenced"][0];
    assert_eq!(
        (&row["fingerprint"], &row["check"]),
        (&began.json["fingerprint"], &Value::from("ACCOUNTS_001"))
    );
    assert_eq!((&row["entity"], &row["reason"]), (&Value::from("KNOWN"), &Value::from("being raised")));
    assert_eq!(summary.json["findings"]["warning"], 1, "the other one: {}", summary.json);

    // The end is said once more, and then nothing.
    watched.findings.epochs(2, SOON).await;
    watched.findings.forget();
    watched.findings.epochs(2, SOON).await;
    let told = watched.all("ACCOUNTS_001");
    assert!(!told.is_empty() && told.iter().all(of("OTHER")), "{told:?}");

    watched.reload("");
    let again = watched.told("ACCOUNTS_001", of("KNOWN")).await;
    assert_eq!((again.status(), &again.json["silenced"]), ("firing", &Value::Null));
    for key in ["first_seen", "fingerprint"] {
        assert_eq!(again.json[key], began.json[key]);
    }
    assert!(again.json["epochs"].as_u64() > began.json["epochs"].as_u64());
    drop((known, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_in_a_silence_is_only_in_the_summary_and_one_that_is_over_is_told() {
    let app = Account::new("KNOWN").limits(limits().conn(10)).user("u");
    let cluster = Cluster::operator(1).account(app).start().await;
    let known = cluster.connect_many(0, "KNOWN/u", "k", 9).await;
    let past = SILENCE.replace("2999", "1999").replace("KNOWN", "*");
    let mut watched = Watched::start(&cluster, &format!("{past}{SILENCE}")).await;
    watched.epoch(|e| e["findings"]["silenced"] == 1).await;
    watched.findings.epochs(2, SOON).await;
    assert!(watched.all("ACCOUNTS_001").is_empty());
    let line = crate::line(1);
    watched.logged(&format!("the silence at line {line} ended at 1999-01-01T00:00:00Z")).await;
    drop(known);
    watched.findings.forget();
    watched.epoch(|e| e["findings"]["silenced"] == 0).await;
    assert!(watched.all("ACCOUNTS_001").is_empty());
}
