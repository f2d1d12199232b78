//! Worlds without a network: the same seed gives the same answers, every answer can be read, and all of them agree.

use crate::read::{accountz, ask, connz, moment, now, plain, roll_call, statz, varz, world};
use insights_agent::simulate::{Condition, Fault, Moment, Plants, Shape, World};
use insights_agent::snapshot::Version;
use insights_agent::wire::jwt::user_claims;
use insights_agent::wire::{WireError, connz as wire_connz, envelope, varz::Varz};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const WHOLE: u64 = 1 << 30;

/// Worlds of all kinds.
fn shapes() -> Vec<Shape> {
    let small = Shape { servers: 3, clusters: 1, accounts: 7, connections: 100, ..Shape::default() };
    vec![
        Shape::default(),
        small.clone(),
        Shape { plants: Plants::none(), ..small.clone() },
        Shape { servers: 1, clusters: 1, accounts: 1, connections: 0, ..small.clone() },
        Shape { jwt_share: 0.3, streams: 50, consumers: 200, ..Shape::default() },
        Shape {
            servers: 11,
            clusters: 3,
            accounts: 40,
            connections: 5000,
            spread: true,
            seed: 9,
            ..Shape::default()
        },
        Shape { subscriptions: 0, accounts: 2, clusters: 1, connections: 2000, ..small },
    ]
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// Asks one server for a page.
fn page(world: &World, id: &str, body: &Value) -> (wire_connz::Page, Vec<crate::read::Seen>) {
    let answers = ask(world, &format!("$SYS.REQ.SERVER.{id}.CONNZ"), body);
    assert_eq!(answers.len(), 1);
    connz(&answers[0])
}

#[test]
fn the_same_seed_gives_the_same_answers_and_another_one_others() {
    let requests = [
        ("$SYS.REQ.SERVER.PING.STATSZ", ""),
        ("$SYS.REQ.SERVER.PING", ""),
        ("$SYS.REQ.SERVER.PING.VARZ", ""),
        ("$SYS.REQ.SERVER.PING.CONNZ", r#"{"auth":true,"offset":7,"limit":100}"#),
        ("$SYS.REQ.SERVER.PING.ACCOUNTZ", ""),
        ("$SYS.REQ.SERVER.PING.ROUTEZ", ""),
        ("$SYS.REQ.SERVER.PING.GATEWAYZ", r#"{"accounts":true}"#),
        ("$SYS.REQ.SERVER.PING.LEAFZ", ""),
        ("$SYS.REQ.SERVER.PING.SUBSZ", ""),
        ("$SYS.REQ.SERVER.PING.HEALTHZ", r#"{"details":true}"#),
        ("$SYS.REQ.ACCOUNT.PING.STATZ", r#"{"include_unused":true}"#),
    ];
    for shape in shapes() {
        let [one, two] = [world(shape.clone()), world(shape.clone())];
        let other = world(Shape { seed: 77, ..shape });
        for (subject, body) in requests {
            for compressed in [false, true] {
                let ask = |world: &World| world.answer(&moment(), subject, body.as_bytes(), compressed);
                assert_eq!(ask(&one), ask(&two), "{subject}");
                assert_eq!(ask(&one).len(), one.servers(), "{subject}");
                assert_ne!(ask(&one), ask(&other), "{subject}");
            }
        }
    }
}

#[test]
fn all_answers_agree_on_who_is_connected_where() {
    for shape in shapes() {
        let world = world(shape.clone());
        let by_statz: BTreeMap<String, _> =
            statz(&world).into_iter().map(|(info, statz)| (info.id, statz)).collect();
        let names: BTreeSet<String> = roll_call(&world).into_iter().map(|info| info.name).collect();
        assert_eq!(names.len(), shape.servers as usize);
        let mut everywhere = 0;
        let mut interest: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut told: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
        let mut users: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (info, varz) in varz(&world) {
            let cluster = info.cluster.clone().unwrap();
            assert!(Version::parse(&info.ver) >= Some(Version(2, 15, 0)) && varz.cluster.cluster_port > 0);
            let (page, seen) = page(&world, &info.id, &json!({"auth": true, "limit": WHOLE}));
            assert_eq!(
                (page.total, page.listed, page.server.id.as_str()),
                (seen.len() as u64, page.total, info.id.as_str())
            );
            assert_eq!(varz.connections, seen.len() as i64);
            assert!(seen.is_sorted_by_key(|connection| connection.cid));
            assert_eq!(seen.iter().map(|c| c.cid).collect::<BTreeSet<_>>().len(), seen.len());
            everywhere += page.total;
            let mut here: BTreeMap<&str, i64> = BTreeMap::new();
            for connection in &seen {
                *here.entry(&connection.account).or_default() += 1;
                *interest.entry((cluster.clone(), connection.account.clone())).or_default() +=
                    connection.subscriptions;
                *users.entry((connection.account.clone(), connection.user.clone())).or_default() += 1;
            }
            for stat in by_statz[&info.id].account_statz.as_ref().unwrap() {
                assert_eq!(stat.conns, here.remove(stat.acc.as_str()).unwrap_or(0), "{}", stat.acc);
                let key = (cluster.clone(), stat.acc.clone());
                told.entry(key).or_default().insert(stat.num_subscriptions.unwrap());
            }
            assert!(here.is_empty(), "accounts that STATZ does not list: {here:?}");
        }
        assert_eq!(everywhere, world.connections());
        for (key, interest) in interest {
            assert_eq!(told[&key], BTreeSet::from([interest]), "{key:?}");
        }
        let planted: BTreeSet<_> = world
            .expected()
            .into_iter()
            .filter(|e| e.check == "USER_002")
            .map(|e| (e.account.unwrap(), e.entity))
            .collect();
        for (user, connections) in users {
            assert_eq!(connections > 100, planted.contains(&user), "{user:?} has {connections}");
        }
    }
}

#[test]
fn any_page_is_a_part_of_the_whole_compressed_or_not() {
    let world = world(Shape {
        servers: 1,
        clusters: 1,
        accounts: 5,
        connections: 333,
        plants: Plants::none(),
        ..Shape::default()
    });
    let id = roll_call(&world).remove(0).id;
    let subject = format!("$SYS.REQ.SERVER.{id}.CONNZ");
    let (_, all) = page(&world, &id, &json!({"auth": true, "limit": WHOLE}));
    assert_eq!(all.len(), 333);
    let edges = [0, 1, 31, 32, 33, 63, 64, 95, 96, 319, 320, 321, 332, 333, 334, 1000];
    for offset in edges {
        for limit in edges.into_iter().chain([WHOLE]) {
            let body = json!({"auth": true, "offset": offset, "limit": limit}).to_string();
            let [small, large] = [true, false]
                .map(|compressed| world.answer(&moment(), &subject, body.as_bytes(), compressed).remove(0));
            assert!(small.snappy && !large.snappy);
            assert_eq!(plain(&small), plain(&large), "{body}");
            let (page, seen) = connz(&plain(&large));
            // A server takes 0 for 1024.
            let end = (offset + if limit == 0 { 1024 } else { limit }).min(333) as usize;
            assert_eq!(seen, all[(offset as usize).min(end)..end], "{body}");
            assert_eq!(page.total, 333);
        }
    }
    let (_, first) = page(&world, &id, &json!({}));
    assert_eq!(first.len(), 333);
    assert!(first.iter().all(|connection| connection.account.is_empty() && connection.user.is_empty()));
}

#[test]
fn connections_can_be_chosen_and_ordered() {
    let world = world(Shape::default());
    let near = world.expected().into_iter().find(|e| e.check == "ACCOUNTS_006").unwrap();
    let body = json!({"auth": true, "subscriptions": true, "sort": "subs", "limit": 3});
    let answers = ask(&world, &format!("$SYS.REQ.ACCOUNT.{}.CONNZ", near.entity), &body);
    assert_eq!(answers.len(), world.servers());
    let mut top: Vec<_> = answers.iter().flat_map(|body| connz(body).1).collect();
    assert!(!top.is_empty() && top.len() <= 3 * world.servers());
    top.sort_by_key(|connection| connection.subscriptions);
    let most = top.last().unwrap();
    assert_eq!((most.subscriptions, most.listed_subscriptions), (950, 950));
    assert!(top.iter().all(|connection| connection.account == near.entity));

    let user = &most.user;
    let of_user = ask(&world, "$SYS.REQ.SERVER.PING.CONNZ", &json!({"auth": true, "user": user}));
    let of_user: Vec<_> = of_user.iter().flat_map(|body| connz(body).1).collect();
    assert!(!of_user.is_empty() && of_user.iter().all(|connection| connection.user == *user));

    let closed = ask(&world, "$SYS.REQ.SERVER.PING.CONNZ", &json!({"state": 1, "sort": "stop"}));
    assert!(closed.iter().all(|body| connz(body).0.total == 0));
    let nobody = ask(&world, "$SYS.REQ.ACCOUNT.NOBODY.CONNZ", &Value::Null);
    assert!(nobody.iter().all(|body| connz(body).0.total == 0));
}

#[test]
fn servers_are_chosen_by_name_and_cluster() {
    let world = world(Shape { servers: 24, clusters: 2, ..Shape::default() });
    let count = |body: Value| ask(&world, "$SYS.REQ.SERVER.PING.VARZ", &body).len();
    assert_eq!(count(json!({"server_name": "sim1-n1"})), 4);
    assert_eq!(count(json!({"server_name": "sim1-n1", "exact_match": true})), 1);
    assert_eq!(count(json!({"cluster": "sim2"})), 12);
    assert_eq!(count(json!({"cluster": "sim"})), 24);
    assert_eq!(count(json!({"cluster": "sim", "exact_match": true})), 0);
    assert_eq!(count(json!({"domain": "hub"})), 0);
    assert_eq!(ask(&world, "$SYS.REQ.SERVER.NOBODY.VARZ", &Value::Null).len(), 0);
    assert_eq!(ask(&world, "$SYS.REQ.SERVER.PING.RAFTZ", &Value::Null).len(), 0);
}

#[test]
fn refusals_are_those_of_a_server() {
    let world = world(Shape { servers: 1, clusters: 1, ..Shape::default() });
    let refused = |subject: &str, body: &str| {
        let reply = world.answer(&moment(), subject, body.as_bytes(), true).remove(0);
        assert!(!reply.snappy, "errors are never compressed");
        match envelope::parse::<Varz>(&reply.payload).unwrap().1 {
            Err(WireError::Refused { code, .. }) => code,
            other => panic!("{subject} {body}: {other:?}"),
        }
    };
    assert_eq!(refused("$SYS.REQ.SERVER.PING.CONNZ", r#"{"state":"closed"}"#), 400);
    assert_eq!(refused("$SYS.REQ.SERVER.PING.CONNZ", "{"), 400);
    assert_eq!(refused("$SYS.REQ.SERVER.PING.CONNZ", r#"{"sort":"stop"}"#), 500);
    assert_eq!(refused("$SYS.REQ.SERVER.PING.CONNZ", r#"{"sort":"colour"}"#), 500);
    assert_eq!(refused("$SYS.REQ.SERVER.PING.ACCOUNTZ", r#"{"account":"NOBODY"}"#), 500);
}

#[test]
fn accounts_have_claims_where_they_have_keys() {
    let world = world(Shape { jwt_share: 0.5, ..Shape::default() });
    let near = world.expected().into_iter().find(|e| e.check == "ACCOUNTS_001").unwrap();
    let mut claimed = 0;
    for (info, list) in accountz(&world, "$SYS.REQ.SERVER.PING.ACCOUNTZ", &Value::Null) {
        for account in list.accounts.unwrap() {
            let subject = format!("$SYS.REQ.SERVER.{}.ACCOUNTZ", info.id);
            let detail =
                accountz(&world, &subject, &json!({"account": account})).remove(0).1.account_detail.unwrap();
            assert_eq!(detail.account_name, account);
            let limits = detail.decoded_jwt.and_then(|jwt| jwt.nats.limits);
            assert_eq!(limits.is_some(), account.len() == 56, "{account}");
            claimed += u32::from(limits.is_some());
            if account == near.entity {
                let used: i64 = statz(&world)
                    .iter()
                    .flat_map(|(_, statz)| statz.account_statz.iter().flatten())
                    .filter(|stat| stat.acc == account)
                    .map(|stat| stat.conns)
                    .sum();
                let limit = limits.unwrap().conn;
                assert!(used <= limit && used * 100 >= limit * 90, "{used} of {limit}");
            }
        }
    }
    // Ten accounts of twenty, on the three servers of their cluster.
    assert_eq!(claimed, 30);
}

#[test]
fn users_have_jwts_of_their_own() {
    let world = world(Shape::default());
    let id = roll_call(&world).remove(0).id;
    let body =
        ask(&world, &format!("$SYS.REQ.SERVER.{id}.CONNZ"), &json!({"auth": true, "limit": WHOLE})).remove(0);
    let mut users = 0;
    wire_connz::parse(&body, &mut |head, connection| {
        let claims = user_claims(&connection.jwt, &connection.authorized_user).unwrap();
        assert!(claims.name.is_some() && claims.subscriptions == Some(-1));
        assert!(head.now.is_some());
        users += 1;
    })
    .unwrap();
    assert!(users > 0);
}

#[test]
fn conditions_are_planted_as_often_as_wanted_or_it_is_said_why_not() {
    let wanted = Condition::ALL.into_iter().map(|condition| (condition, 3)).collect();
    let plants = Plants { wanted, explicit: true };
    let shape =
        Shape { servers: 20, clusters: 4, accounts: 200, connections: 20_000, plants, ..Shape::default() };
    let world = World::new(shape.clone(), now()).unwrap();
    for condition in Condition::ALL {
        let found: BTreeSet<_> = world
            .expected()
            .into_iter()
            .filter(|e| e.check == condition.check())
            .map(|e| (e.account, e.entity))
            .collect();
        assert_eq!(found.len(), 3, "{condition:?}");
    }
    assert!(world.not_planted().is_empty());

    let tiny = Shape { servers: 2, clusters: 1, accounts: 3, connections: 10, ..shape };
    let error = World::new(tiny.clone(), now()).unwrap_err().to_string();
    assert!(error.contains("cannot be planted 3 times: it needs"), "{error}");
    let world = World::new(Shape { plants: Plants::default(), ..tiny }, now()).unwrap();
    let not: BTreeSet<_> = world.not_planted().into_iter().map(|row| row.condition).collect();
    assert!(not.contains("hot-server") && not.contains("account-on-one-server"), "{not:?}");
    assert_eq!(world.expected().len() + not.len(), Condition::ALL.len());
}

#[test]
fn shapes_that_cannot_be_are_refused_with_the_value() {
    for (shape, part) in [
        (Shape { servers: 0, ..Shape::default() }, "--servers is 0"),
        (Shape { clusters: 7, ..Shape::default() }, "--clusters is 7, and must be from 1 to 6"),
        (Shape { jwt_share: 1.5, ..Shape::default() }, "--jwt-share is 1.5"),
        (Shape { accounts: 1, ..Shape::default() }, "1 accounts cannot be at home in 2 clusters"),
        (Shape { faults: vec![fault("silent=4")], ..Shape::default() }, "4 servers with faults are too many"),
        (Shape { faults: vec![fault("silent=1")], spread: true, ..Shape::default() }, "with --spread"),
    ] {
        let error = World::new(shape, now()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn faulty_servers_are_apart_from_conditions_unless_it_is_wanted() {
    let faults = vec![fault("silent=1"), fault("garbage=1")];
    let world = world(Shape { faults: faults.clone(), ..Shape::default() });
    let faulty = world.faulty();
    assert_eq!(faulty.iter().map(|row| row.fault).collect::<Vec<_>>(), ["garbage", "silent"]);
    assert!(faulty.iter().all(|row| row.cluster == "sim2"));
    let near = world.expected().into_iter().filter(|row| row.entity_type == "server");
    assert!(near.into_iter().all(|row| row.entity.starts_with("sim1-")));
    let world = crate::read::world(Shape { faults, faults_on_planted: true, ..Shape::default() });
    assert!(world.faulty().iter().all(|row| row.cluster == "sim1"));
}

#[test]
fn faults_change_answers_only_while_they_hold() {
    let asked = |faults: &str, roll_call: u64, subject: &str, body: &str| {
        let faults = vec![fault(faults)];
        let shape = Shape { faults, plants: Plants::none(), connections: 600, ..Shape::default() };
        let at = Moment { roll_call, since_start: Duration::from_secs(1), ..moment() };
        world(shape).answer(&at, subject, body.as_bytes(), true)
    };
    let (varz, connz_page, call) =
        ("$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.STATSZ");
    for (faults, counts) in [
        ("silent=1@2..3", [6, 5, 6]),
        ("silent=2:VARZ@2..3", [6, 4, 6]),
        ("silent=1:CONNZ", [6, 6, 6]),
        ("twice=1@2..3", [6, 7, 6]),
        ("appear=1@2", [5, 6, 6]),
        ("vanish=1@2", [6, 5, 5]),
        ("vanish=1@2..3", [6, 5, 6]),
        ("restart=1@2", [6, 6, 6]),
    ] {
        assert_eq!([1, 2, 3].map(|number| asked(faults, number, varz, "").len()), counts, "{faults}");
    }
    let ids = |number| {
        let answers = asked("restart=1@2", number, call, "");
        answers
            .iter()
            .map(|reply| insights_agent::wire::statsz::parse(&reply.payload).unwrap().0)
            .map(|i| (i.name, i.id))
            .collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (ids(1), ids(2));
    assert!(before.keys().eq(after.keys()));
    assert_eq!(before.iter().filter(|(name, id)| after[*name] != **id).count(), 1);

    let late: Vec<_> = asked("late=2:3s", 1, varz, "").iter().map(|reply| reply.delay).collect();
    assert_eq!(late.iter().filter(|delay| **delay == Duration::from_secs(3)).count(), 2);
    let unreadable = |faults: &str, subject: &str| {
        let answers = asked(faults, 1, subject, "");
        answers.iter().filter(|reply| serde_json::from_slice::<Value>(&try_plain(reply)).is_err()).count()
    };
    assert_eq!((unreadable("garbage=2", varz), unreadable("garbage=2", call)), (2, 0));
    assert_eq!((unreadable("half-page=2", connz_page), unreadable("half-page=2", varz)), (2, 0));

    let totals = |faults: &str, body: &str| {
        let answers = asked(faults, 1, connz_page, body);
        answers
            .iter()
            .map(|reply| {
                let (page, seen) = connz(&plain(reply));
                (page.total, seen.len(), seen.first().map(|c| c.cid))
            })
            .collect::<Vec<_>>()
    };
    let (sound, wrong) = (totals("wrong-total=0", "{}"), totals("wrong-total=1", "{}"));
    assert_eq!(sound[..5], wrong[..5]);
    assert_eq!((wrong[5].0, wrong[5].1), (sound[5].0 / 3, sound[5].1));
    let at_50 = r#"{"offset":50}"#;
    let (sound, shifted) = (totals("shifting=0", at_50), totals("shifting=1:10", at_50));
    assert_eq!(sound[..5], shifted[..5]);
    assert_eq!((shifted[5].0, shifted[5].1), (sound[5].0 - 5, sound[5].1 - 5));
    assert!(shifted[5].2 > sound[5].2);
}

/// The plain bytes, or what of them can be read.
fn try_plain(reply: &insights_agent::simulate::Reply) -> Vec<u8> {
    if !reply.snappy {
        return reply.payload.to_vec();
    }
    let mut plain = Vec::new();
    let _ = std::io::Read::read_to_end(&mut snap::read::FrameDecoder::new(&reply.payload[..]), &mut plain);
    plain
}

#[test]
fn servers_name_their_neighbours() {
    let world = world(Shape { servers: 9, clusters: 3, ..Shape::default() });
    for body in ask(&world, "$SYS.REQ.SERVER.PING.STATSZ", &Value::Null) {
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let names = |list: &str| {
            let rows = answer["statsz"][list].as_array().unwrap().iter();
            rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let (name, cluster) =
            (answer["server"]["name"].as_str().unwrap(), answer["server"]["cluster"].as_str().unwrap());
        let of_cluster: BTreeSet<_> =
            (1..=3).map(|n| format!("{cluster}-n{n}")).filter(|n| n != name).collect();
        assert_eq!(names("routes"), of_cluster);
        let others: BTreeSet<_> = (1..=3).map(|n| format!("sim{n}")).filter(|n| n != cluster).collect();
        assert_eq!(names("gateways"), others);
        // The envelope stands first, as servers print it.
        assert!(body.starts_with(b"{\"server\":{\"name\":"));
    }
}
