//! ACCOUNTS_004 and accounts that no server has loaded, with a resolver that keeps all JWTs.

use crate::lens::{Lens, assert_whole};
use crate::support::watched::Watched;
use crate::support::{Account, Cluster, Message};
use insights_agent::demo::identity::{Export, ExportKind, Import};
use insights_agent::snapshot::Endpoint;
use serde_json::json;

const LIST: &str = "$SYS.REQ.CLAIMS.LIST";

/// EXP exports a stream and a service that only IMP imports, which nobody loads, and a stream that nobody does.
async fn share(cluster: &mut Cluster) {
    use ExportKind::{Service, Stream};
    let export = |subject: &str, kind| Export {
        name: subject.into(),
        subject: subject.into(),
        kind,
        account_token_position: None,
        private: false,
    };
    let exporter = cluster.account_id("EXP");
    let import = |subject: &str, kind, local: Option<&str>| Import {
        name: subject.into(),
        subject: subject.into(),
        account: exporter.clone(),
        kind,
        activation: None,
        local_subject: local.map(str::to_owned),
    };
    let imports = vec![import("used.orders", Stream, Some("from.exp")), import("svc", Service, Some("mine"))];
    cluster
        .push_account("EXP", |account| {
            account.exports =
                vec![export("used.>", Stream), export("svc", Service), export("unused.>", Stream)];
        })
        .await;
    cluster.push_account("IMP", |account| account.imports = imports).await;
}

async fn start(withheld: Option<&str>) -> Cluster {
    let builder = Cluster::operator(2)
        .full_resolver()
        .account(Account::new("EXP").user("e"))
        .account(Account::new("IMP").user("i"));
    let builder = withheld.into_iter().fold(builder, |builder, subject| builder.withhold(subject));
    let mut cluster = builder.start().await;
    share(&mut cluster).await;
    cluster
}

fn firing(watched: &Watched) -> Vec<String> {
    let history = watched.findings.history();
    let fires = history.iter().filter(|m: &&Message| m.check() == "ACCOUNTS_004" && m.status() == "firing");
    let mut ids: Vec<String> = fires.map(|m| m.json["entity"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_an_account_that_no_server_has_loaded_is_use() {
    let cluster = start(None).await;
    let held = cluster.connect(1, "EXP/e", "exporter").await;
    let mut lens = Lens::of(&cluster).await;
    for _ in 0..2 {
        let snapshot = lens.sweep().await;
        assert_whole(&snapshot);
        for endpoint in [Endpoint::ClaimsList, Endpoint::ClaimsLookup] {
            assert_eq!(snapshot.coverage.gaps(endpoint), [], "{endpoint:?}");
        }
        let (exporter, importer) = (cluster.account_id("EXP"), cluster.account_id("IMP"));
        assert!(!snapshot.accounts.contains_key(&*importer), "nobody needed it");
        let unloaded = snapshot.unloaded.as_ref().unwrap();
        assert_eq!((unloaded.listed, unloaded.loaded, unloaded.told), (3, 2, true));
        let read = &unloaded.read[&*importer];
        let rows: Vec<(&str, &str, &str)> = read
            .imports
            .iter()
            .map(|import| (import.kind.as_str(), &*import.account, &*import.subject))
            .collect();
        assert_eq!(rows, [("stream", &*exporter, "used.orders"), ("service", &*exporter, "svc")]);
    }

    let mut watched = Watched::start(&cluster, "").await;
    let found = watched.firing("ACCOUNTS_004").await;
    let json = &found.json;
    assert_eq!(json["entity"]["id"], "stream/unused.>");
    assert_eq!(json["summary"], "no account imports the stream unused.> that account EXP exports");
    assert_eq!(
        json["evidence"],
        json!({"orphaned": 1, "of_exports": 3, "importers": 1, "operator_mode": true, "unloaded_read": 1, "exports": [
            {"kind": "stream", "subject": "unused.>", "token_required": false, "approved_accounts": null}]})
    );
    // When it is loaded it tells the same of itself.
    let importer = cluster.connect(0, "IMP/i", "importer").await;
    watched
        .firing_as("ACCOUNTS_004", |json| {
            json["evidence"]["unloaded_read"] == 0 && json["evidence"]["importers"] == 1
        })
        .await;
    assert_eq!(firing(&watched), ["stream/unused.>"]);
    drop((held, importer));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_list_accounts_is_told_that_some_are_not_seen() {
    let cluster = start(Some(LIST)).await;
    let held = cluster.connect(1, "EXP/e", "exporter").await;
    let mut watched = Watched::start(&cluster, "").await;
    for id in ["stream/unused.>", "stream/used.>", "service/svc"] {
        let found = watched.firing_as("ACCOUNTS_004", |json| json["entity"]["id"] == id).await;
        let evidence = &found.json["evidence"];
        assert_eq!((&evidence["operator_mode"], &evidence["unloaded_read"]), (&json!(true), &json!(null)));
        let summary = found.json["summary"].as_str().unwrap();
        assert!(summary.starts_with("no account that is loaded imports"), "{summary}");
        let step = found.json["remediation"][0].as_str().unwrap();
        assert!(step.contains("in the accounts that no server has loaded"), "{step}");
    }
    let denied = watched.firing("AGENT_002").await;
    assert_eq!(denied.json["entity"]["id"], LIST);
    assert_eq!(
        (&denied.json["evidence"]["blind"], &denied.json["evidence"]["evidence_missing"]),
        (&json!([]), &json!(["ACCOUNTS_004"]))
    );
    let epoch = watched
        .epoch(|json| json["coverage"].as_array().unwrap().iter().any(|row| row["endpoint"] == "CLAIMS LIST"))
        .await;
    let rows = epoch.json["coverage"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["answer"] == "denied"), "{rows:?}");
    drop(held);
    watched.check_everything_published();
}
