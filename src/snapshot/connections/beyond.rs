//! Compiled for tests only. Connections beyond a threshold, those with a bearer token, and those with most subscriptions.

use super::tests::{ACCOUNT, NEW, OLD, USER, client, fold, jwt, rules, source};
use super::*;
use crate::snapshot::Version;
use crate::wire::connz::{Connection, PageHead};
use serde_json::json;

fn beyond(rtt: &'static str, pending_bytes: i64, kind: &'static str) -> (u64, u64) {
    let thresholds = FoldThresholds {
        rtt_above: Duration::from_millis(100),
        pending_above: 1 << 20,
        ..FoldThresholds::NONE
    };
    let mut fold = ConnectionFold::new(FoldRules::uniform(thresholds));
    let connection = Connection { rtt: rtt.into(), pending_bytes, kind: kind.into(), ..client("APP", "u") };
    fold.add(&source(NEW), &PageHead::default(), &connection);
    let fold = fold.finish();
    fold.accounts["APP"]
        .users
        .get("u")
        .map_or((0, 0), |user| (user.offenders(Offence::Slow), user.offenders(Offence::Backlog)))
}

#[test]
fn slow_and_backed_up_are_above_the_threshold_and_leafnodes_are_neither() {
    for (rtt, slow) in [
        ("", 0),
        ("0s", 0),
        ("219µs", 0),
        ("99.999999ms", 0),
        ("100ms", 0),
        ("100.001ms", 1),
        ("162.06ms", 1),
        ("1.5s", 1),
        ("2h0m0s", 1),
        ("-5s", 0),
        ("nonsense", 0),
    ] {
        assert_eq!(beyond(rtt, 0, "Client").0, slow, "{rtt}");
        assert_eq!(beyond(rtt, 0, "Leafnode"), (0, 0), "{rtt}");
    }
    for (pending, backlog) in [(i64::MIN, 0), (0, 0), (1 << 20, 0), ((1 << 20) + 1, 1), (i64::MAX, 1)] {
        assert_eq!(beyond("", pending, "Client").1, backlog, "{pending}");
        assert_eq!(beyond("1h0m0s", pending, "Leafnode"), (0, 0));
    }
}

#[test]
fn the_worst_are_kept_in_order_with_all_that_finds_them() {
    let mut fold = ConnectionFold::new(FoldRules::uniform(FoldThresholds {
        rtt_above: Duration::from_millis(10),
        ..FoldThresholds::NONE
    }));
    for (cid, ms) in [(1u64, 20u64), (2, 90), (3, 15), (4, 90), (5, 70), (6, 30), (7, 5)] {
        let connection = Connection {
            cid,
            rtt: format!("{ms}.5ms").into(),
            name: "edge".into(),
            ip: "10.0.0.1".into(),
            client_type: "websocket".into(),
            ..client("APP", "u")
        };
        fold.add(&source(NEW), &PageHead::default(), &connection);
    }
    let fold = fold.finish();
    let user = fold.accounts["APP"].users.get("u").unwrap();
    let (worst, of) = user.worst(Offence::Slow);
    assert_eq!((user.offenders(Offence::Slow), of), (6, 6));
    let order: Vec<_> = worst.iter().map(|row| (row.cid, row.value)).collect();
    assert_eq!(order, [(2, 90_500), (4, 90_500), (5, 70_500), (6, 30_500), (1, 20_500)]);
    assert_eq!(
        (&*worst[0].server, worst[0].name.as_deref(), &*worst[0].address),
        ("S1", Some("edge"), "10.0.0.1")
    );
    assert_eq!(worst[0].kind, ClientKind::Websocket);
}

#[test]
fn bearer_users_are_seen_by_their_jwt_or_by_its_absence() {
    let claims = |bearer: bool| jwt(&json!({"sub": USER, "nats": {"bearer_token": bearer}}));
    let key = nkeys::KeyPair::new_user().public_key();
    let account: &'static str = nkeys::KeyPair::new_account().public_key().leak();
    let user: &'static str = key.leak();
    let bearer = |version, connection: Connection<'_>| {
        let id = (connection.account.to_string(), connection.authorized_user.to_string());
        let told = Owner::of(&connection, Some(version)).bearer;
        let fold = fold(version, &[connection]);
        let counted = fold.accounts[&*id.0].users.get(&id.1).unwrap().bearer();
        assert_eq!(u64::from(told), counted);
        counted
    };
    let shown = |is_bearer| Connection { jwt: claims(is_bearer).into(), ..client(ACCOUNT, USER) };
    for version in [OLD, Version(2, 11, 16), Version(2, 12, 7)] {
        assert_eq!((bearer(version, shown(true)), bearer(version, shown(false))), (1, 0), "{version}");
        assert_eq!(bearer(version, client(account, user)), 0, "{version}");
    }
    for version in [Version(2, 11, 17), Version(2, 12, 8), Version(2, 14, 0), NEW] {
        assert_eq!(bearer(version, client(account, user)), 1, "{version}");
        assert_eq!(bearer(version, shown(false)), 0, "{version}");
        // A name, a key of a configuration file, and an MQTT client that shows its user name.
        assert_eq!(bearer(version, client("APP", "bob")), 0, "{version}");
        assert_eq!(bearer(version, client("APP", user)), 0, "{version}");
        assert_eq!(bearer(version, client(account, "meter")), 0, "{version}");
    }
    // Each connection has what the JWT says that it logged in with.
    let mut all = ConnectionFold::new(rules(Vec::new()));
    for is_bearer in [true, false, true, true] {
        all.add(&source(OLD), &PageHead::default(), &shown(is_bearer));
    }
    assert_eq!(all.finish().accounts[ACCOUNT].users.get(USER).unwrap().bearer(), 3);
    let owner = Owner::of(&client(account, user), Some(NEW));
    let mut recalled = ConnectionFold::new(rules(Vec::new()));
    recalled.add_of(&source(NEW), &PageHead::default(), &Connection::default(), &owner);
    assert_eq!(recalled.finish().accounts[account].users.get(user).unwrap().bearer(), 1);
}

#[test]
fn a_server_names_the_accounts_and_clients_with_most_subscriptions() {
    let of =
        |account: &'static str, cid, subscriptions| Connection { cid, subscriptions, ..client(account, "u") };
    let all = [
        of("A", 1, 5),
        of("B", 2, 100),
        of("A", 3, 300),
        of("C", 4, 0),
        of("B", 5, 300),
        of("B", 6, u64::MAX),
        of("A", 7, 1),
        of("A", 8, 2),
    ];
    let fold = fold(NEW, &all);
    let server = &fold.servers["S1"];
    let top: Vec<_> = server.top_subscriptions.iter().map(|(account, top)| (&**account, top.cid)).collect();
    assert_eq!(top, [("B", 6), ("A", 3), ("B", 5), ("B", 2), ("A", 1)]);
    let accounts: Vec<_> =
        server.accounts_by_subscriptions.iter().map(|row| (&*row.name, row.count)).collect();
    assert_eq!(accounts, [("B", u64::from(u32::MAX)), ("A", 308)]);
}
