//! The fold, connection by connection.

use super::*;
use crate::checks::catalogue;
use crate::checks::laws::judge_entry;
use crate::snapshot::build::{System, at};
use crate::snapshot::{ClosedFold, ClosedSource, Snapshot, Version};
use crate::text::{NAME_BYTES, TEXT_BYTES};
use crate::wire::connz::{self, Connection, PageHead};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const OLD: Version = Version(2, 10, 26);
pub(super) const NEW: Version = Version(2, 15, 1);
/// Public key of a user.
pub(super) const USER: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
pub(super) const ACCOUNT: &str = "ADXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

pub(super) fn rules(own: Vec<(Name, u64)>) -> FoldRules {
    FoldRules { own, ..FoldRules::uniform(FoldThresholds::silent_after(Duration::from_secs(300))) }
}

pub(super) fn source(version: Version) -> PageSource {
    PageSource { server: "S1".into(), version: Some(version), since: None, max_subscriptions: None }
}

pub(super) fn client(account: &'static str, user: &'static str) -> Connection<'static> {
    Connection { account: account.into(), authorized_user: user.into(), in_msgs: 1, ..Connection::default() }
}

pub(super) fn fold(version: Version, connections: &[Connection<'_>]) -> Folded {
    let mut fold = ConnectionFold::new(rules(Vec::new()));
    for connection in connections {
        fold.add(&source(version), &PageHead { now: Some(at(0)), ..PageHead::default() }, connection);
    }
    fold.finish()
}

fn user_ids(version: Version, connection: Connection<'_>) -> Vec<String> {
    let fold = fold(version, &[connection]);
    fold.accounts.values().flat_map(|account| &account.users).map(|user| user.id().to_owned()).collect()
}

pub(super) fn jwt(claims: &serde_json::Value) -> String {
    format!("eyJ0eXAiOiJKV1QifQ.{}.c2lnbmF0dXJl", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()))
}

#[test]
fn the_agents_own_connection_is_skipped_on_its_server_only() {
    let mut fold = ConnectionFold::new(rules(vec![("S1".into(), 7)]));
    let own = Connection { cid: 7, ..client("SYS", "agent") };
    fold.add(&source(NEW), &PageHead::default(), &own);
    assert!(fold.accounts.is_empty());
    let elsewhere = PageSource { server: "S2".into(), ..source(NEW) };
    fold.add(&elsewhere, &PageHead::default(), &own);
    let fold = fold.finish();
    assert_eq!((fold.servers["S1"].own, fold.servers["S1"].clients), (1, 0));
    assert_eq!(fold.servers["S1"].own_accounts(), ["SYS".into()]);
    assert_eq!((fold.servers["S2"].own, fold.servers["S2"].clients), (0, 1));
}

#[test]
fn each_of_many_own_connections_is_skipped_in_whatever_order_they_are_known() {
    let known = [("S2", 7), ("S1", 9), ("S1", 7), ("S1", 3), ("S2", 5)];
    let mut fold = ConnectionFold::new(rules(known.map(|(server, cid)| (server.into(), cid)).into()));
    for server in ["S1", "S2"] {
        for cid in 1..=10 {
            let source = PageSource { server: server.into(), ..source(NEW) };
            fold.add(&source, &PageHead::default(), &Connection { cid, ..client("SYS", "agent") });
        }
    }
    let fold = fold.finish();
    let counted = |server: &str| (fold.servers[server].own, fold.servers[server].clients);
    assert_eq!((counted("S1"), counted("S2")), ((3, 7), (2, 8)));
}

#[test]
fn leafnodes_are_counted_apart_and_other_kinds_by_their_transport() {
    let of = |kind: &'static str, client_type: &'static str| Connection {
        kind: kind.into(),
        client_type: client_type.into(),
        ..client("APP", "u")
    };
    // `kind` and `type` are left out before 2.10.
    let all = [
        of("Client", "nats"),
        of("", ""),
        of("Client", "websocket"),
        of("Client", "mqtt"),
        of("Leafnode", ""),
    ];
    let fold = fold(NEW, &all);
    let account = &fold.accounts["APP"];
    assert_eq!(account.kinds(), Kinds { nats: 2, websocket: 1, mqtt: 1, leafnode: 1 });
    assert_eq!(account.kinds().clients(), 4);
    assert_eq!((fold.servers["S1"].clients, fold.servers["S1"].leafnodes), (4, 1));
    assert_eq!(account.users.get("u").unwrap().connections(), 4);
}

#[test]
fn the_global_account_has_its_name() {
    let fold = fold(NEW, &[client("", "u")]);
    assert_eq!(fold.accounts.keys().map(|id| &**id).collect::<Vec<_>>(), ["$G"]);
    assert_eq!(&*fold.servers["S1"].accounts[0].name, "$G");
}

#[test]
fn identities_are_honest_and_never_a_token() {
    assert_eq!(user_ids(NEW, client("", "[REDACTED]")), ["[token]"]);
    assert_eq!(user_ids(NEW, client("", "")), ["[unauthenticated]"]);
    assert_eq!(user_ids(OLD, client("APP", "")), ["[unauthenticated]"]);
    assert_eq!(user_ids(NEW, client("", "bob")), ["bob"]);
    assert_eq!(user_ids(OLD, client("", "s3cret")), ["[hidden]"]);
    assert_eq!(user_ids(OLD, client("APP", "bob")), ["bob"]);
    for version in [Version(2, 9, 10), Version(2, 10, 27), Version(2, 11, 0), Version(2, 11, 1)] {
        assert_eq!(user_ids(version, client("", "s3cret")), ["[hidden]"], "{version:?}");
    }
    for version in [Version(2, 10, 28), Version(2, 10, 29), Version(2, 11, 2), Version(2, 12, 0)] {
        assert_eq!(user_ids(version, client("", "bob")), ["bob"], "{version:?}");
    }
    let unknown = PageSource { version: None, ..source(NEW) };
    let mut fold = ConnectionFold::new(rules(Vec::new()));
    fold.add(&unknown, &PageHead::default(), &client("", "s3cret"));
    assert!(fold.finish().accounts["$G"].users.get(super::user::HIDDEN).is_some());
}

#[test]
fn public_keys_stay_on_every_version_and_what_only_looks_like_one_does_not() {
    let key = nkeys::KeyPair::new_user().public_key();
    let connection = || Connection { authorized_user: key.clone().into(), ..client("", "") };
    for version in [OLD, NEW] {
        assert_eq!(user_ids(version, connection()), std::slice::from_ref(&key));
    }
    assert_eq!(user_ids(OLD, client("", "UNOTAKEYBUTATOKEN")), ["[hidden]"]);
}

#[test]
fn the_users_jwt_gives_its_name_and_its_subscription_limit() {
    let claims = json!({"sub": USER, "name": "worker", "nats": {"subs": 50, "type": "user"}});
    let connection = Connection { jwt: jwt(&claims).into(), ..client(ACCOUNT, USER) };
    let fold_of = fold(NEW, &[connection]);
    let user = fold_of.accounts[ACCOUNT].users.get(USER).unwrap();
    assert_eq!((user.name(), user.subscription_limit()), (Some("worker"), Some(50)));

    // Before 2.11.0 the tag named the user, since then it names the account.
    let tagged = || Connection { name_tag: "worker".into(), ..client(ACCOUNT, USER) };
    let name = |version| {
        fold(version, &[tagged()]).accounts[ACCOUNT].users.get(USER).unwrap().name().map(str::to_owned)
    };
    assert_eq!((name(OLD).as_deref(), name(NEW)), (Some("worker"), None));
}

#[test]
fn an_mqtt_password_in_the_place_of_a_jwt_is_never_kept() {
    for password in ["hunter2", "hunter2.hunter2.hunter2", &jwt(&json!({"sub": "other", "name": "hunter2"}))]
    {
        let connection = Connection { jwt: password.to_owned().into(), ..client("APP", "meter") };
        let fold = fold(OLD, &[connection]);
        assert_eq!(fold.accounts["APP"].users.get("meter").unwrap().name(), None);
        assert!(!format!("{fold:?}").contains("hunter2"));
    }
}

#[test]
fn long_names_are_bounded_and_stay_apart() {
    let long = |end: &str| "x".repeat(5000) + end;
    let connection = |end: &str| Connection {
        name: long(end).into(),
        ip: long(end).into(),
        lang: long(end).into(),
        account: long("").into(),
        authorized_user: long(end).into(),
        ..Connection::default()
    };
    let fold = fold(NEW, &[connection("a"), connection("b")]);
    let account = fold.accounts.values().next().unwrap();
    assert_eq!((fold.accounts.len(), account.users.len()), (1, 2));
    assert!(account.users.iter().all(|user| user.id().len() <= NAME_BYTES));
    let names = account.names.top(9);
    assert!(names.len() == 2 && names.iter().all(|counted| counted.name.len() <= TEXT_BYTES));
    assert!(format!("{fold:?}").len() < 20_000);
}

#[test]
fn silent_is_longer_than_the_threshold_without_any_message_ever() {
    let silent = |last_activity: &'static str, in_msgs, out_msgs| {
        let connection =
            Connection { last_activity: last_activity.into(), in_msgs, out_msgs, ..client("APP", "u") };
        let fold = fold(NEW, &[connection]);
        let account = &fold.accounts["APP"];
        assert_eq!(account.silent, account.users.get("u").unwrap().silent());
        assert_eq!(account.silent, fold.servers["S1"].silent);
        account.silent == 1
    };
    // The page was written at 22:13:20.
    assert!(!silent("2023-11-14T22:08:20Z", 0, 0));
    assert!(silent("2023-11-14T22:08:19.999999999Z", 0, 0));
    assert!(!silent("2023-11-14T20:00:00Z", 1, 0));
    assert!(!silent("2023-11-14T20:00:00Z", 0, 1));
    assert!(!silent("2023-11-14T23:00:00Z", 0, 0));
    assert!(!silent("0001-01-01T00:00:00Z", 0, 0));
    assert!(!silent("", 0, 0));
    let mut fold = ConnectionFold::new(rules(Vec::new()));
    let connection = Connection { last_activity: "2023-11-14T20:00:00Z".into(), ..Connection::default() };
    fold.add(&source(NEW), &PageHead { now: None, ..PageHead::default() }, &connection);
    assert_eq!(fold.finish().servers["S1"].silent, 0);
}

#[test]
fn the_threshold_is_asked_for_by_account_user_and_readable_name() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = asked.clone();
    let thresholds = move |login: Login<'_>| {
        let Login { account, account_name, user, user_name } = login;
        log.lock().unwrap().push(format!("{account} {account_name:?} {user} {user_name:?}"));
        FoldThresholds::silent_after(Duration::from_secs(if user == "patient" { 7200 } else { 60 }))
    };
    let mut fold = ConnectionFold::new(FoldRules { thresholds: Box::new(thresholds), own: Vec::new() });
    for user in ["patient", "hasty", "hasty"] {
        let connection = Connection {
            last_activity: "2023-11-14T22:00:00Z".into(),
            in_msgs: 0,
            // From 2.11.0 on the account's name.
            name_tag: "Applications".into(),
            ..client("APP", user)
        };
        fold.add(&source(NEW), &PageHead { now: Some(at(0)), ..PageHead::default() }, &connection);
    }
    let silent = |fold: &Folded, user| fold.accounts["APP"].users.get(user).unwrap().silent();
    let fold = fold.finish();
    assert_eq!((silent(&fold, "patient"), silent(&fold, "hasty")), (0, 2));
    assert_eq!(
        *asked.lock().unwrap(),
        [r#"APP Some("Applications") patient None"#, r#"APP Some("Applications") hasty None"#]
    );
}

#[test]
fn opened_are_those_that_started_after_the_last_page_of_the_previous_epoch() {
    let mut fold = ConnectionFold::new(rules(Vec::new()));
    let source = PageSource { since: Some(at(-30)), ..source(NEW) };
    for start in ["2023-11-14T22:12:50Z", "2023-11-14T22:12:51Z", "2023-11-14T22:13:00Z", "", "nonsense"] {
        fold.add(
            &source,
            &PageHead { now: Some(at(0)), ..PageHead::default() },
            &Connection { start: start.into(), ..client("APP", "u") },
        );
    }
    let fold = fold.finish();
    assert_eq!(fold.accounts["APP"].opened, 2);
    let user = fold.accounts["APP"].users.get("u").unwrap().details().unwrap();
    assert_eq!((user.oldest, user.newest), (Some(at(-30)), Some(at(-20))));
}

#[test]
fn the_median_is_exact_below_a_hundred_and_of_two_digits_above() {
    let median = |values: &[u64]| {
        let connections: Vec<_> =
            values.iter().map(|n| Connection { subscriptions: *n, ..client("APP", "u") }).collect();
        fold(NEW, &connections).accounts["APP"].median_subscriptions()
    };
    assert_eq!(median(&[5]), Some(5));
    assert_eq!(median(&[99, 1, 7]), Some(7));
    assert_eq!(median(&[1, 2, 3, 4]), Some(2));
    assert_eq!(median(&[12_345, 12_345, 3]), Some(12_000));
    assert_eq!(median(&[u64::MAX]), Some(18_000_000_000_000_000_000));
    assert_eq!(AccountFold::default().median_subscriptions(), None);
}

#[test]
fn top_lists_hold_the_largest_in_order() {
    let subscriptions = [3, 9, 1, 9, 7, 2, 8, 0];
    let connections: Vec<_> = subscriptions
        .iter()
        .zip(1u64..)
        .map(|(n, cid)| Connection { cid, subscriptions: *n, ..client("APP", "u") })
        .collect();
    let fold_of = fold(NEW, &connections);
    let account = &fold_of.accounts["APP"];
    let top: Vec<_> = account.top_subscriptions.iter().map(|top| (top.subscriptions, top.cid)).collect();
    assert_eq!(top, [(9, 2), (9, 4), (8, 7), (7, 5), (3, 1)]);

    let silent: Vec<_> = (0..8)
        .map(|i| Connection {
            cid: i,
            in_msgs: 0,
            last_activity: format!("2023-11-14T2{}:00:00Z", if i % 2 == 0 { 1 } else { 0 }).into(),
            ..client("APP", "u")
        })
        .collect();
    let fold_of = fold(NEW, &silent);
    let (oldest, of) = fold_of.accounts["APP"].users.get("u").unwrap().silent_oldest();
    assert_eq!(of, 8);
    let oldest: Vec<_> = oldest.iter().map(|silent| silent.cid).collect();
    assert_eq!(oldest, [1, 3, 5, 7, 0]);
}

/// What a server might send that nobody may ever see again.
const SECRETS: [&str; 4] =
    ["s3cr3t-token-of-old-servers", "mqtt-p4ssw0rd", "c2lnbmF0dXJlLW9mLWJlYXJlcg", "dG9rZW4"];

/// A page as a server before 2.10.28 writes it, with enough of everything for findings.
fn page_with_secrets() -> String {
    let mut connections = Vec::new();
    let claims = BASE64URL_NOPAD
        .encode(json!({"sub": USER, "name": "worker", "nats": {"subs": 10}}).to_string().as_bytes());
    for cid in 0..480u64 {
        let mut row = json!({
            "cid": cid, "kind": "Client", "type": "nats", "ip": "10.0.0.1", "port": 4000 + cid,
            "start": "2023-11-14T20:00:00Z", "last_activity": "2023-11-14T20:00:00Z", "in_msgs": 0, "out_msgs": 0,
            "subscriptions": 950, "lang": "go", "version": "1.30.0",
        });
        let auth = match cid % 4 {
            0 => json!({"authorized_user": SECRETS[0]}),
            1 => json!({"authorized_user": "meter", "account": "APP", "type": "mqtt", "jwt": SECRETS[1]}),
            2 => json!({"authorized_user": USER, "account": ACCOUNT,
                        "jwt": format!("{}.{claims}.{}", SECRETS[3], SECRETS[2])}),
            _ => json!({"authorized_user": "meter", "account": "APP", "type": "mqtt",
                        "jwt": format!("{0}.{0}.{0}", SECRETS[1])}),
        };
        row.as_object_mut().unwrap().extend(auth.as_object().cloned().unwrap());
        connections.push(row);
    }
    // Servers write the head of a page before its connections; serde_json would sort them.
    let connections = json!(connections);
    format!(
        r#"{{"server":{{"name":"n1","id":"ID-n1","ver":"2.10.26"}},"data":{{"server_id":"ID-n1",
        "now":"2023-11-14T22:13:20Z","num_connections":480,"total":480,"connections":{connections}}}}}"#
    )
}

#[test]
fn no_secret_survives_the_fold_or_reaches_a_finding() {
    let body = page_with_secrets();
    assert!(SECRETS.iter().all(|secret| body.contains(secret)));
    let mut fold = ConnectionFold::new(rules(Vec::new()));
    let source = PageSource { server: "ID-n1".into(), ..source(OLD) };
    let page = connz::parse(body.as_bytes(), &mut |head, connection| {
        fold.add(&source, head, connection);
        assert!(SECRETS.iter().all(|secret| !format!("{connection:?}").contains(secret)));
    });
    assert_eq!(page.unwrap().listed, 480);
    let folded = format!("{fold:?}");

    let mut system = System::of(3)
        .account("APP", 200, 1000, -1)
        .account(ACCOUNT, 100, 1000, -1)
        .vars("n1", |vars| (vars.connections, vars.max_connections) = (480, 500));
    system.server_mut("n1").version = Some(OLD);
    system = system.vars("n1", |vars| (vars.cpu, vars.auth_required) = (400.0, false));
    for (account, connections) in [("APP", 240), (ACCOUNT, 120), ("$G", 120)] {
        system.entry(account).servers.get_mut("ID-n1").unwrap().connections = connections;
    }
    let before = System::of(3).at(-60).done();
    system = system.vars("n1", |vars| vars.slow_consumers = 480);
    system.entry("APP").slow_consumers.insert("ID-n1".into(), 480);
    let mut snapshot: Snapshot = system.done();
    snapshot.take_fold(fold);
    // The same connections, once they have ended.
    let slow = body.replace("\"cid\":", "\"reason\":\"Slow Consumer (Pending Bytes)\",\"cid\":");
    let mut ended = ClosedFold::default();
    let source = ClosedSource { server: "ID-n1".into(), version: Some(OLD), auth_required: Some(true) };
    let page =
        connz::parse(slow.as_bytes(), &mut |_, connection| ended.add(&source, connection, snapshot.taken_at));
    assert_eq!(page.unwrap().listed, 480);
    snapshot.servers.get_mut("ID-n1").unwrap().closed = Some(ended.finish(false));
    let mut said = format!("{snapshot:?}");
    let mut fired = BTreeSet::new();
    for entry in catalogue() {
        let judgement = judge_entry(entry, &snapshot, Some(&before), &[], &crate::check::Settings::default());
        if !judgement.firing.is_empty() {
            fired.insert(entry.meta.id);
        }
        for (entity, firing) in &judgement.firing {
            said += &json!({"entity": entity, "summary": firing.summary, "observed": firing.observed,
                            "evidence": firing.evidence, "remediation": firing.remediation})
            .to_string();
        }
        said += &json!(judgement.unknown_rows()).to_string();
        said += &format!("{judgement:?}");
    }
    // Those that tell of clients, by name, user or address.
    let telling = [
        "ACCOUNTS_001",
        "ACCOUNTS_002",
        "ACCOUNTS_006",
        "CONN_003",
        "OPT_BALANCE_002",
        "OPT_BALANCE_006",
        "OPT_IDLE_007",
        "SERVER_004",
        "SERVER_011",
        "USER_002",
    ];
    assert!(fired.is_superset(&telling.into()), "{fired:?}");
    for secret in SECRETS {
        assert!(!folded.contains(secret) && !said.contains(secret), "{secret}");
    }
    assert!(said.contains("worker") && said.contains("[hidden]"));
}

#[test]
fn half_a_page_leaves_no_secret_in_its_error() {
    let body = page_with_secrets();
    for end in (0..body.len()).step_by(body.len() / 300) {
        let error = connz::parse(&body.as_bytes()[..end], &mut |_, _| {}).unwrap_err();
        assert!(SECRETS.iter().all(|secret| !format!("{error:?} {error}").contains(secret)));
    }
    let wrong = body.replace("\"cid\":5", "\"cid\":\"s3cr3t-token-of-old-servers\"");
    let error = connz::parse(wrong.as_bytes(), &mut |_, _| {}).unwrap_err();
    assert!(!error.to_string().contains(SECRETS[0]), "{error}");
}
