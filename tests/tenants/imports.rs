//! ACCOUNTS_003 and OPT_ACCT_002, in operator mode.

use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster, Message};
use insights_agent::demo::identity::{Activation, Export, ExportKind, Import};
use nkeys::KeyPair;
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn export(subject: &str, kind: ExportKind, private: bool) -> Export {
    Export { name: subject.into(), subject: subject.into(), kind, account_token_position: None, private }
}

#[allow(clippy::disallowed_methods, reason = "servers go by the clock")]
fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(now).unwrap() + seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_do_not_work_are_told_with_their_reason_until_they_do() {
    use ExportKind::{Service, Stream};
    let mut cluster = Cluster::operator(2)
        .account(Account::new("EXPORTER").user("e"))
        .account(Account::new("IMPORTER").user("i"))
        .account(Account::new("BIG").user("b"))
        .start()
        .await;
    let (exporter, importer) = (cluster.account_id("EXPORTER"), cluster.account_id("IMPORTER"));
    let ghost = KeyPair::new_account().public_key();
    let (present, rotated) = (KeyPair::new_account(), KeyPair::new_account());
    let public_key = present.public_key();
    cluster
        .change_account("EXPORTER", |account| {
            account.exports = vec![
                export("pub.>", Stream, false),
                export("priv.>", Stream, true),
                export("svc", Service, true),
            ];
            account.signing_keys = vec![public_key];
        })
        .await;
    let mut token = |subject: &str, kind, expires: Option<i64>, signer: Option<&KeyPair>| {
        let terms = Activation { importer: &importer, subject, kind, expires, signer };
        cluster.account("EXPORTER").activate(&terms).unwrap()
    };
    let import = |subject: &str, kind, activation: Option<String>| Import {
        name: subject.into(),
        subject: subject.into(),
        account: exporter.clone(),
        kind,
        activation,
        local_subject: None,
    };
    let short = seconds_from_now(12);
    let good = vec![
        Import { local_subject: Some("in.pub.>".into()), ..import("pub.>", Stream, None) },
        import("svc", Service, Some(token("svc", Service, None, None))),
        import("priv.signed", Stream, Some(token("priv.signed", Stream, None, Some(&present)))),
    ];
    let mut all = good.clone();
    all.extend([
        import("priv.short", Stream, Some(token("priv.short", Stream, Some(short), None))),
        import("priv.missing", Stream, None),
        import(
            "priv.expired",
            Stream,
            Some(token("priv.expired", Stream, Some(seconds_from_now(-60)), None)),
        ),
        import("priv.rotated", Stream, Some(token("priv.rotated", Stream, None, Some(&rotated)))),
        import("none", Stream, None),
        Import { account: ghost.clone(), ..import("ghost", Stream, None) },
    ]);
    cluster.change_account("IMPORTER", |account| account.imports = all).await;
    cluster
        .change_account("BIG", |account| {
            account.exports =
                (0..800).map(|i| export(&format!("orders.of.region.{i}.>"), Stream, false)).collect();
        })
        .await;
    let held = (cluster.connect(1, "IMPORTER/i", "importer").await, cluster.connect(0, "BIG/b", "big").await);

    let mut watched = Watched::start(&cluster, "").await;
    let id = |subject: &str| format!("stream/{exporter}/{subject}");
    for (id, reason, text) in [
        (id("priv.missing"), "token_missing", "the export needs an activation token and the import has none"),
        (id("priv.expired"), "token_expired", "its activation token has expired"),
        (id("priv.rotated"), "token_signer", "its activation token was signed neither by"),
        (id("none"), "no_export", "account EXPORTER has no export of that kind that covers it"),
        (format!("stream/{ghost}/ghost"), "exporter_unknown", "is not loaded on any server that answered"),
        // It was in effect when the agent began.
        (id("priv.short"), "token_expired", "its activation token has expired"),
    ] {
        let found = watched.firing_as("ACCOUNTS_003", |json| json["entity"]["id"] == id.as_str()).await;
        let json = &found.json;
        assert_eq!((&json["severity"], &json["entity"]["account"]), (&json!("critical"), &json!(importer)));
        let evidence = &json["evidence"];
        assert_eq!(evidence["reasons"], json!([{"name": reason, "count": 1}]), "{id}");
        assert!(json["summary"].as_str().unwrap().contains(text), "{}", json["summary"]);
        assert_eq!(evidence["exporter_loaded"], reason != "exporter_unknown", "{id}");
        let row = &evidence["examples"][0];
        assert_eq!(row["was_active"], id.ends_with("priv.short"), "{row}");
        assert_eq!(row["importer"], "IMPORTER");
        let issuer = match reason {
            "token_expired" => json!(exporter),
            "token_signer" => json!(rotated.public_key()),
            _ => json!(null),
        };
        assert_eq!(row["token"]["issuer"], issuer, "{row}");
    }
    let big = watched.firing("OPT_ACCT_002").await;
    assert_eq!(
        (&big.json["entity"]["name"], &big.json["observed"]["threshold"]),
        (&json!("BIG"), &json!(65_536))
    );
    assert_eq!(big.json["evidence"]["exports"], 800);
    assert!(big.json["observed"]["value"].as_u64().unwrap() > 65_536);
    // Nothing else is broken.
    let broken = |m: &Message| m.check() == "ACCOUNTS_003" && m.status() == "firing";
    let ids: std::collections::BTreeSet<String> = watched
        .findings
        .history()
        .iter()
        .filter(|m| broken(m))
        .map(|m| m.json["entity"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 6, "{ids:?}");

    cluster.change_account("IMPORTER", |account| account.imports = good).await;
    cluster.change_account("BIG", |account| account.exports.truncate(10)).await;
    for id in ids {
        let is = |m: &Message| {
            m.check() == "ACCOUNTS_003" && m.status() == "resolved" && m.json["entity"]["id"] == id.as_str()
        };
        watched.findings.wait_for(SOON, is).await;
    }
    watched.resolved("OPT_ACCT_002").await;
    drop(held);
    watched.check_everything_published();
}
