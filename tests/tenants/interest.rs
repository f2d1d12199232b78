//! ACCOUNTS_004 and ACCOUNTS_005, with accounts in configuration files.

use crate::raw::raw;
use crate::support::watched::Watched;
use crate::support::{Account, Cluster};
use insights_agent::demo::topology::FileExport;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn exports_without_imports_and_imports_without_subscribers_are_told() {
    let mut cluster = Cluster::config(2)
        .account(Account::new("APP").user("app"))
        .account(Account::new("IMP").user("imp"))
        .start()
        .await;
    let exports = |subjects: &[&str]| -> Vec<FileExport> {
        let each = subjects.iter();
        each.map(|subject| FileExport { subject: (*subject).into(), ..FileExport::default() }).collect()
    };
    cluster
        .change_file_accounts(|accounts| {
            let account = |name: &str| accounts.iter().position(|account| account.name == name).unwrap();
            let (app, imp) = (account("APP"), account("IMP"));
            accounts[app].exports = exports(&["app.unused.>", "in.>"]);
            accounts[imp].imports = vec![("APP".into(), "in.>".into())];
        })
        .await;
    let elsewhere = raw(&cluster, 1, "IMP/imp", "go", &["other.subject"]).await;
    let mut watched = Watched::start(&cluster, "").await;

    let found = watched.firing("ACCOUNTS_004").await;
    let json = &found.json;
    assert_eq!(
        (&json["entity"]["id"], &json["entity"]["account"]),
        (&json!("stream/app.unused.>"), &json!("APP"))
    );
    assert_eq!(json["summary"], "no account imports the stream app.unused.> that account APP exports");
    assert_eq!(
        json["evidence"],
        json!({"orphaned": 1, "of_exports": 2, "importers": 1, "operator_mode": false, "unloaded_read": null, "exports": [
            {"kind": "stream", "subject": "app.unused.>", "token_required": false, "approved_accounts": null}]})
    );
    let found = watched.firing("ACCOUNTS_005").await;
    let json = &found.json;
    assert_eq!(
        (&json["entity"]["id"], &json["entity"]["account"]),
        (&json!("stream/APP/in.>"), &json!("IMP"))
    );
    assert_eq!(json["severity"], "info");
    assert_eq!(
        json["evidence"],
        json!({"unheard": 1, "connections": 1, "leafnodes": 0, "servers_asked": 1,
               "imports": [{"exporter": "APP", "subject": "in.>", "local_subject": "in.>"}]})
    );

    let heard = raw(&cluster, 0, "IMP/imp", "go", &["in.orders.*"]).await;
    watched.resolved("ACCOUNTS_005").await;
    cluster
        .change_file_accounts(|accounts| {
            let app = accounts.iter_mut().find(|account| account.name == "APP").unwrap();
            app.exports = exports(&["in.>"]);
        })
        .await;
    watched.resolved("ACCOUNTS_004").await;
    drop((elsewhere, heard));
    watched.check_everything_published();
}
