use super::*;
use crate::check::{DeclaredLimits, Settings, Standing};
use crate::checks::laws::{judge, judge_with, jwt, only};
use crate::snapshot::build::System;
use crate::snapshot::{ConnectionSubscriptions, Counted, History};
use crate::wire::connz::Connection;
use serde_json::json;

type Check = SubscriptionLimit;

fn with(subscriptions: u64) -> impl Fn(&mut Connection<'_>, u64) {
    move |c, _| c.subscriptions = subscriptions
}

/// The gauge as every server of a cluster shows it.
fn gauge(system: System, subscriptions: u64) -> System {
    system.with(move |snapshot| {
        for on in snapshot.accounts.values_mut().flat_map(|account| account.servers.values_mut()) {
            on.subscriptions = Some(subscriptions);
        }
    })
}

fn app() -> Entity {
    Entity::account("APP", None)
}

#[test]
fn the_gauge_is_the_largest_and_not_the_sum() {
    let system =
        |n| gauge(System::of(3).account("APP", -1, 200, -1).connect("n1", "APP", "u", 3, with(60)), n);
    let judgement = judge::<Check>(&system(179).done());
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&app()), Standing::Clear);
    let judgement = judge::<Check>(&system(180).done());
    let firing = only(&judgement).1;
    assert_eq!(firing.summary, "account APP has 180 of 200 subscriptions (90.0 %)");
    assert_eq!(
        json!(firing.observed),
        json!({"value": 180, "limit": 200, "percent": 90.0, "threshold": 90.0, "unit": "subscriptions",
               "limit_source": "jwt", "scope": "account"})
    );
    assert_eq!(
        firing.evidence["connection"],
        json!({"server": "n1", "cid": 1, "name": "app", "user": "u", "subscriptions": 60, "limit": 200,
               "limit_source": "jwt", "percent": 30.0, "fires": false})
    );
    assert_eq!(firing.evidence["per_connection"], json!({"median": 60, "max": 60}));
}

#[test]
fn the_largest_connection_is_what_the_server_enforces() {
    let two = System::of(1).account("APP", -1, 100, -1).connect("n1", "APP", "u", 2, with(89));
    assert!(judge::<Check>(&two.done()).firing.is_empty());
    let one = gauge(System::of(1).account("APP", -1, 100, -1).connect("n1", "APP", "u", 1, with(90)), 95);
    let judgement = judge::<Check>(&one.done());
    let firing = only(&judgement).1;
    assert_eq!(
        firing.summary,
        "account APP: connection 1 of user u on server n1 has 90 of 100 subscriptions (90.0 %)"
    );
    assert_eq!(firing.observed.scope.as_deref(), Some("connection"));
    assert_eq!(
        firing.evidence["account"],
        json!({"subscriptions": 95, "limit": 100, "percent": 95.0, "fires": true})
    );
}

#[test]
fn the_smallest_limit_of_account_user_and_server_counts() {
    let limited_system = |limit: Option<i64>| {
        let system = System::of(2).account("APP", -1, 1000, -1);
        system.connect("n1", "APP", "big", 1, with(500)).connect("n1", "APP", "small", 1, move |c, _| {
            c.subscriptions = 95;
            c.jwt = limit.map_or_else(String::new, |limit| jwt("small", limit)).into();
        })
    };
    let system = || limited_system(None);
    assert!(judge::<Check>(&system().done()).firing.is_empty());
    let limited = |limit| limited_system(Some(limit)).done();
    let judgement = judge::<Check>(&limited(100));
    let firing = only(&judgement).1;
    assert_eq!(firing.observed.limit_source.as_deref(), Some("user_jwt"));
    assert_eq!(firing.evidence["connection"]["user"], "small");
    assert!(firing.remediation.iter().any(|step| step.contains("--name 'small' --subs 200")));
    assert!(judge::<Check>(&limited(-1)).firing.is_empty());

    let judgement = judge::<Check>(&system().vars("n1", |vars| vars.max_subscriptions = Some(500)).done());
    let firing = only(&judgement).1;
    assert_eq!(
        (firing.observed.limit_source.as_deref(), firing.observed.percent),
        (Some("server"), Some(100.0))
    );
    let elsewhere = system().vars("n2", |vars| vars.max_subscriptions = Some(500));
    assert!(judge::<Check>(&elsewhere.done()).firing.is_empty());
    for none in [Some(0), Some(-1), None] {
        let unlimited = system().vars("n1", move |vars| vars.max_subscriptions = none);
        assert!(judge::<Check>(&unlimited.done()).firing.is_empty());
    }
}

#[test]
fn a_small_connection_with_a_small_limit_is_found_behind_a_large_one() {
    // Nine on a server that allows one, while another server without a limit has ninety-five of the same user.
    let system = System::of(2)
        .account("APP", -1, 1000, -1)
        .connect("n1", "APP", "u", 1, with(95))
        .connect("n2", "APP", "u", 1, with(9))
        .vars("n2", |vars| vars.max_subscriptions = Some(1));
    let judgement = judge::<Check>(&system.done());
    let firing = only(&judgement).1;
    assert_eq!(
        (firing.observed.limit_source.as_deref(), firing.observed.percent),
        (Some("server"), Some(900.0))
    );
    assert_eq!(
        (&firing.evidence["connection"]["cid"], &firing.evidence["connection"]["server"]),
        (&json!(2), &json!("n2"))
    );
}

#[test]
fn connections_of_one_user_have_the_limits_of_the_jwt_that_each_logged_in_with() {
    let system = |first: i64, second: i64| {
        let limited = |subscriptions, limit| {
            move |c: &mut Connection<'_>, _| {
                c.subscriptions = subscriptions;
                c.jwt = jwt("u", limit).into();
            }
        };
        let system = System::of(1).account("APP", -1, -1, -1);
        system.connect("n1", "APP", "u", 1, limited(95, first)).connect(
            "n1",
            "APP",
            "u",
            1,
            limited(9, second),
        )
    };
    assert!(judge::<Check>(&system(1000, 100).done()).firing.is_empty());
    for (first, second, cid) in [(100, 1000, 1), (1000, 10, 2)] {
        let judgement = judge::<Check>(&system(first, second).done());
        assert_eq!(only(&judgement).1.evidence["connection"]["cid"], cid);
    }
}

#[test]
fn unlimited_zero_and_above_the_limit() {
    let system =
        |limit, n| System::of(1).account("APP", -1, limit, -1).connect("n1", "APP", "u", 1, with(n)).done();
    let judgement = judge::<Check>(&system(-1, 1_000_000));
    assert!(judgement.firing.is_empty());
    assert_eq!(judgement.standing(&app()), Standing::Clear);
    assert!(judge::<Check>(&system(0, 0)).firing.is_empty());
    assert_eq!(only(&judge::<Check>(&system(0, 1))).1.observed.percent, None);
    assert!(
        only(&judge::<Check>(&system(10, 12)))
            .1
            .summary
            .ends_with("12 of 10 subscriptions (120.0 %), above the limit")
    );
}

#[test]
fn a_limit_that_nobody_sees_is_unknown_until_connections_are_refused() {
    let system = || System::of(1).config_account("APP").connect("n1", "APP", "u", 1, with(95));
    let judgement = judge::<Check>(&system().done());
    assert!(judgement.firing.is_empty());
    let rows = judgement.unknown_rows();
    assert!(rows.len() == 1 && rows[0].reason.contains("declare max_subscriptions"), "{rows:?}");

    let refusing = system().with(|snapshot| {
        snapshot.accounts.values_mut().for_each(|account| account.events.refused_subscriptions = 2);
    });
    let judgement = judge::<Check>(&refusing.done());
    let (entity, firing) = only(&judgement);
    assert_eq!(firing.severity, Some(Severity::Critical));
    assert_eq!(
        firing.summary,
        "account APP: 2 connections were closed for too many subscriptions since the previous epoch; the limit \
         itself is not visible"
    );
    assert_eq!(firing.evidence["refused"], 2);
    assert_eq!(judge::<Check>(&system().done()).standing(entity), Standing::Clear);
    let blind = judge::<Check>(&system().silent("n1", Endpoint::Events).done());
    assert!(matches!(blind.standing(entity), Standing::Unknown(_)));

    let declared = DeclaredLimits { max_subscriptions: Some(100), ..DeclaredLimits::default() };
    let judgement = judge_with::<Check>(&system().done(), None, &[("APP", declared)]);
    assert_eq!(only(&judgement).1.observed.limit_source.as_deref(), Some("declared"));
    let server = judge::<Check>(&system().vars("n1", |vars| vars.max_subscriptions = Some(100)).done());
    assert_eq!(only(&server).1.observed.limit_source.as_deref(), Some("server"));
}

#[test]
fn a_limit_that_was_not_read_this_time_ends_nothing() {
    let unread = System::of(1).connect("n1", "APP", "u", 1, with(95));
    assert!(matches!(judge::<Check>(&unread.done()).standing(&app()), Standing::Unknown(_)));
}

#[test]
fn what_is_over_fires_from_any_answer_and_the_rest_is_unknown() {
    let system = || {
        let system = System::of(2).account("APP", -1, 100, -1).account("FINE", -1, 1000, -1);
        gauge(system.connect("n1", "APP", "u", 1, with(95)), 120)
    };
    let fine = Entity::account("FINE", None);
    for endpoint in [Endpoint::Connz, Endpoint::AccountStatz, Endpoint::Varz] {
        let judgement = judge::<Check>(&system().silent("n2", endpoint).done());
        assert_eq!(only(&judgement).0, &app());
        assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
    }
    let judgement = judge::<Check>(&system().gone("n2").done());
    assert_eq!(judgement.firing.len(), 1);
    assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
    // Without any sweep the gauge is still judged, and nothing is clear.
    let judgement =
        judge::<Check>(&system().silent("n1", Endpoint::Connz).silent("n2", Endpoint::Connz).done());
    assert_eq!(judgement.firing.len(), 1);
    assert!(judgement.evaluated());
    assert!(matches!(judgement.standing(&fine), Standing::Unknown(_)));
}

#[test]
fn subjects_and_growth_tell_the_cause() {
    let system = |second, subscriptions| {
        let system = System::of(1).at(second).account("APP", -1, 1000, -1);
        gauge(system.connect("n1", "APP", "u", 20, with(subscriptions)), subscriptions)
    };
    let token = |name: &str, count| Counted { name: name.into(), count };
    let listed = |cid, inbox, orders| ConnectionSubscriptions {
        server: "ID-n1".into(),
        cid,
        shape: SubscriptionShape {
            inbox,
            listed: inbox + orders,
            first_tokens: vec![token("_INBOX", inbox), token("orders", orders)],
        },
    };
    let mut history = History::default();
    history.push(&system(0, 500).done());
    let mut now = system(60, 950).done();
    now.follow_ups.subscriptions.insert("APP".into(), vec![listed(1, 700, 250), listed(2, 650, 300)]);
    let context = Context { now: &now, previous: None, history: &history, declared: &Default::default() };
    let rule = crate::check::Entry::of::<Check>().configure(&Settings::default()).unwrap();
    assert_eq!(rule.follow_ups(&context), [FollowUp::TopSubscriptions { account: "APP".into() }]);
    let crate::check::Outcome::Firing(firing) = &rule.judge(&context)[0].outcome else { panic!() };
    assert_eq!(
        firing.evidence["subjects"],
        json!({"listed": 1900, "inbox": 1350, "inbox_percent": 71.1,
               "first_tokens": [{"name": "_INBOX", "count": 1350}, {"name": "orders", "count": 550}]})
    );
    assert_eq!(firing.evidence["top_connections"].as_array().unwrap().len(), 5);
    assert_eq!(firing.evidence["top_connections"][0]["subjects"]["inbox"], 700);
    assert_eq!(firing.evidence["top_connections"][2]["subjects"], json!(null));
    assert_eq!(
        firing.evidence["growth"],
        json!({"subscriptions": 450, "connections": 0, "over_seconds": 60, "looks_like_a_leak": true})
    );
    assert!(firing.remediation[0].starts_with("Subscriptions grew by 450 while connections stayed flat"));
    assert!(firing.remediation[1].starts_with("71.1 % of the listed subscriptions are inboxes"));
}
