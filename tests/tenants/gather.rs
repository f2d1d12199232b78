//! What the gather reads of accounts and services.

use crate::lens::{Lens, account, assert_whole, named};
use crate::raw::{instance, raw};
use crate::support::{Account, Cluster};
use insights_agent::demo::identity::{Activation, Export, ExportKind, Import};
use insights_agent::demo::topology::FileExport;
use insights_agent::snapshot::{Answer, Endpoint, ImportState, ShareKind, Snapshot};

const NEW: [Endpoint; 5] = [
    Endpoint::AccountDetails,
    Endpoint::Services,
    Endpoint::Interest,
    Endpoint::ClaimsList,
    Endpoint::ClaimsLookup,
];

fn assert_all(snapshot: &Snapshot) {
    assert_whole(snapshot);
    for endpoint in NEW {
        assert_eq!(snapshot.coverage.gaps(endpoint), [], "{endpoint:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_files_and_services_of_accounts_are_read() {
    let mut cluster = Cluster::config(2)
        .account(Account::new("APP").user("svc"))
        .account(Account::new("IMP").user("imp"))
        .account(Account::new("LOG").user("log"))
        .start()
        .await;
    cluster
        .change_file_accounts(|accounts| {
            for account in accounts {
                match &*account.name {
                    "APP" => {
                        account.exports = ["app.unused.>", "app.used.>", "app.other.*"]
                            .map(|subject| FileExport { subject: subject.into(), ..FileExport::default() })
                            .into();
                    }
                    "IMP" => {
                        account.imports = ["app.used.>", "app.other.x"]
                            .map(|subject| ("APP".into(), subject.into()))
                            .into();
                    }
                    _ => {}
                }
            }
        })
        .await;
    let mut held = vec![
        instance(&cluster, 0, "APP/svc", "echo").await,
        instance(&cluster, 1, "APP/svc", "echo").await,
        instance(&cluster, 1, "APP/svc", "other").await,
    ];
    // Who listens to everything, or to what all services listen to, is none.
    let log = raw(&cluster, 0, "LOG/log", "go", &[">", "$SRV.>"]).await;
    let old = raw(&cluster, 0, "APP/svc", "go", &["$SRV.PING", "$SRV.PING.echo", "$SRV.PING.echo.RAW"]).await;
    let heard = raw(&cluster, 1, "IMP/imp", "go", &["app.used.1"]).await;

    let mut lens = Lens::of(&cluster).await;
    let snapshot = lens.sweep().await;
    assert_all(&snapshot);
    let details = account(&snapshot, "IMP").details.clone().unwrap();
    let mut imports: Vec<(&str, &str, ShareKind, ImportState)> = details
        .imports
        .iter()
        .map(|import| (&*import.account, &*import.subject, import.kind, import.state))
        .collect();
    imports.sort_unstable_by_key(|import| import.1);
    assert_eq!(
        imports,
        [
            ("APP", "app.other.x", ShareKind::Stream, ImportState::Active),
            ("APP", "app.used.>", ShareKind::Stream, ImportState::Active)
        ]
    );
    assert!(details.claims.is_none() && details.complete && !details.expired);
    let details = account(&snapshot, "APP").details.clone().unwrap();
    let exports: Vec<&str> = details.exports.iter().map(|export| &*export.subject).collect();
    assert_eq!(exports, ["app.other.*", "app.unused.>", "app.used.>"]);
    assert!(details.imports.is_empty(), "what every account has is left out: {details:?}");
    let heard_of = |snapshot: &Snapshot, local: &str| snapshot.interest[&("IMP".into(), local.into())].heard;
    assert_eq!(heard_of(&snapshot, "app.used.>"), Some(true));
    assert_eq!(heard_of(&snapshot, "app.other.x"), Some(false));
    assert_eq!(snapshot.interest.len(), 2);

    let keys: Vec<(&str, &str)> =
        snapshot.services.keys().map(|(account, name)| (&**account, &**name)).collect();
    assert_eq!(keys, [("APP", "echo"), ("APP", "other")]);
    let echo = &snapshot.services[&("APP".into(), "echo".into())];
    assert_eq!((echo.instances(), echo.behind_leafnodes, echo.libraries.len()), (3, 0, 2));
    assert_eq!(echo.servers[&named(&snapshot, "n1").id], 2);
    assert_eq!(echo.servers[&named(&snapshot, "n2").id], 1);
    let raw_one =
        echo.connections.iter().find(|connection| connection.name.as_deref() == Some("raw")).unwrap();
    assert_eq!(
        (&*raw_one.library.language, &*raw_one.library.version, &*raw_one.server, &*raw_one.address),
        ("go", "1.9.9", "n1", "127.0.0.1")
    );
    assert!(echo.libraries.keys().any(|library| *library.language == *"rust"));

    drop((old, heard));
    for service in held.drain(1..) {
        service.stop().await.unwrap();
    }
    let snapshot = lens.sweep().await;
    assert_all(&snapshot);
    assert_eq!(snapshot.services.len(), 1);
    assert_eq!(snapshot.services[&("APP".into(), "echo".into())].instances(), 1);
    assert_eq!(heard_of(&snapshot, "app.used.>"), Some(false));

    cluster.pause(1);
    lens.patience = std::time::Duration::from_secs(2);
    let snapshot = lens.sweep().await;
    for endpoint in NEW {
        let silent: Vec<String> =
            snapshot.coverage.gaps(endpoint).into_iter().map(|gap| gap.server.to_string()).collect();
        assert_eq!(silent, ["n2"], "{endpoint:?}");
    }
    cluster.resume(1);
    drop((held, log));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_jwts_are_read_with_what_they_declare() {
    let mut cluster = Cluster::operator(2)
        .account(Account::new("E").user("e"))
        .account(Account::new("I").user("i"))
        .start()
        .await;
    let (exporter, importer) = (cluster.account_id("E"), cluster.account_id("I"));
    let export = |subject: &str, private| Export {
        name: subject.into(),
        subject: subject.into(),
        kind: ExportKind::Service,
        account_token_position: None,
        private,
    };
    cluster
        .change_account("E", |account| {
            account.exports = vec![export("svc.*", false), export("secret", true)];
            account.signing_keys = vec![account.public_key()];
        })
        .await;
    let terms = Activation {
        importer: &importer,
        subject: "secret",
        kind: ExportKind::Service,
        expires: Some(4_000_000_000),
        signer: None,
    };
    let token = cluster.account("E").activate(&terms).unwrap();
    let import = |subject: &str, local: Option<&str>, activation: Option<&str>| Import {
        name: subject.into(),
        subject: subject.into(),
        account: exporter.clone(),
        kind: ExportKind::Service,
        activation: activation.map(str::to_owned),
        local_subject: local.map(str::to_owned),
    };
    let imports = vec![
        import("svc.a", Some("mine"), None),
        import("svc.*", Some("all.*"), None),
        import("secret", None, Some(&token)),
        import("secret", Some("other"), None),
    ];
    cluster.change_account("I", |account| account.imports = imports).await;
    // Accounts are loaded by who needs them.
    let client = cluster.connect(1, "I/i", "importer").await;
    let mut lens = Lens::of(&cluster).await;
    let snapshot = lens.sweep().await;
    assert_all(&snapshot);
    let details = account(&snapshot, &importer).details.clone().unwrap();
    let mut rows: Vec<(&str, &str, ImportState, bool)> = details
        .imports
        .iter()
        .map(|import| (&*import.local, &*import.subject, import.state, import.token.is_some()))
        .collect();
    rows.sort_unstable_by_key(|row| row.0);
    assert_eq!(
        rows,
        [
            ("all.*", "svc.*", ImportState::Active, false),
            ("mine", "svc.a", ImportState::Active, false),
            ("other", "secret", ImportState::Refused, false),
            ("secret", "secret", ImportState::Active, true)
        ]
    );
    assert!(details.imports.iter().all(|import| import.declared && *import.account == *exporter));
    let claims = details.claims.as_ref().unwrap();
    assert!(claims.bytes > 1000 && claims.token_bytes == token.len() as u64, "{claims:?}");
    assert!(!format!("{snapshot:?}").contains(&token), "tokens are not kept");
    let details = account(&snapshot, &exporter).details.clone().unwrap();
    assert_eq!(details.exports.len(), 2);
    assert_eq!(details.claims.as_ref().unwrap().signing_keys, [exporter.as_str().into()]);
    assert_eq!(details.server, named(&snapshot, "n2").id);

    // A resolver in memory lists nothing.
    assert_eq!(snapshot.unloaded, None);

    // The same claims, read again: what is in effect is taken anew.
    let again = lens.sweep().await;
    assert_eq!(account(&again, &importer).details.as_ref().unwrap().epoch, 2);
    let server = &named(&again, "n1").id;
    assert_eq!(again.coverage.answer(Endpoint::AccountDetails, server), Some(&Answer::Complete));
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_jetstream_stores_is_heard() {
    let mut cluster = Cluster::config(1)
        .account(Account::new("APP").user("app"))
        .account(Account::new("IMP").user("imp").jetstream())
        .jetstream()
        .start()
        .await;
    cluster
        .change_file_accounts(|accounts| {
            for account in accounts {
                match &*account.name {
                    "APP" => {
                        account.exports =
                            vec![FileExport { subject: "in.>".into(), ..FileExport::default() }];
                    }
                    "IMP" => {
                        account.imports =
                            ["in.a.>", "in.b.>"].map(|subject| ("APP".into(), subject.into())).into();
                    }
                    _ => {}
                }
            }
        })
        .await;
    let client = cluster.connect(0, "IMP/imp", "imp").await;
    let config = async_nats::jetstream::stream::Config {
        name: "STORED".into(),
        subjects: vec!["in.a.1".into()],
        ..Default::default()
    };
    async_nats::jetstream::new(client.clone()).create_stream(config).await.unwrap();
    let mut lens = Lens::of(&cluster).await;
    let snapshot = lens.sweep().await;
    assert_all(&snapshot);
    let heard = |local: &str| snapshot.interest[&("IMP".into(), local.into())].heard;
    assert_eq!((heard("in.a.>"), heard("in.b.>")), (Some(true), Some(false)));
}
