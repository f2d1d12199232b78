//! Answers that say nothing, in nobody's or in a real server's name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::impostor::{GHOST, Reply, Request, server};
use crate::lens::account;
use crate::support::{Agent, Findings, eventually};
use crate::system::System;

/// Who wins the race for an answer changes from sweep to sweep.
const SWEEPS: usize = 6;

fn noted(notes: &[String], what: &str) -> bool {
    notes.iter().any(|note| note.contains(what))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_noted_once_and_changes_nothing() {
    let mut system = System::start().await;
    let cases: [(Reply, &str); 6] = [
        (Reply::bytes(&b"\x00\xff\xfe garbage"[..]), "not UTF-8"),
        (Reply::bytes(""), "the answer is empty"),
        (Reply::bytes("null"), "not the expected JSON"),
        (Reply::bytes("[1, 2"), "not the expected JSON"),
        (Reply { encoding: Some("gzip"), ..Reply::bytes("\x1f") }, "\"gzip\", which was not asked for"),
        (Reply { encoding: Some("snappy"), ..Reply::bytes("plain") }, "not valid snappy"),
    ];
    for (reply, note) in cases {
        let impostor = system.impostor(move |_| vec![reply.clone(), reply.clone(), reply.clone()]).await;
        eventually(note, 60, async || {
            let snapshot = system.sweep().await;
            let notes = &snapshot.coverage.notes;
            // Three answers to each of the requests to all servers, one note of a kind.
            assert!(notes.len() <= 3, "{notes:?}");
            if noted(notes, note) { Ok(()) } else { Err(format!("{:?}", snapshot.coverage)) }
        })
        .await;
        drop(impostor);
    }
    let quiet = system.sweep().await;
    assert_eq!(quiet.servers.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_halves_in_the_name_of_real_servers_do_not_hide_their_answers() {
    let mut system = System::start().await;
    let ids = system.ids.clone();
    let in_the_name_of = move |request: &Request, make: fn(Value) -> Vec<Reply>| -> Vec<Reply> {
        let asked = ids.iter().zip(["n1", "n2", "n3"]);
        let asked = asked.filter(|(id, _)| request.of_account || request.to == "PING" || request.to == **id);
        asked.flat_map(|(id, name)| make(server(id, name))).collect()
    };
    let makers: [fn(Value) -> Vec<Reply>; 4] = [
        |server| vec![Reply::json(&json!({"server": server, "error": {"code": 500, "description": "no"}}))],
        |server| vec![Reply::json(&json!({"server": server}))],
        |server| vec![Reply::json(&json!({"server": server, "data": 1}))],
        |server| {
            let whole = Reply::json(
                &json!({"server": server, "statsz": {}, "data": {"now": "2026-01-01T00:00:00Z",
                "connections": [{"cid": 1, "kind": "Client", "account": "A"}, {"cid": 2, "account": "STRANGE"}]}}),
            );
            vec![Reply::bytes(whole.payload.slice(..whole.payload.len() - 4))]
        },
    ];
    for make in makers {
        let in_the_name_of = in_the_name_of.clone();
        let _impostor = system.impostor(move |request| in_the_name_of(request, make)).await;
        for _ in 0..SWEEPS {
            let snapshot = system.sweep().await;
            assert_eq!(snapshot.servers.len(), 3);
            assert_eq!(account(&snapshot, "A").connections(), 155);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_twice_or_too_late_are_counted_and_dropped() {
    let mut system = System::start().await;
    let id = system.ids[1].clone();
    let impostor = system
        .impostor(move |request| match request.is("PING", "STATSZ") {
            // The roll call waits for others, so that both are met.
            true => vec![
                Reply::json(
                    &json!({"server": server(&id, "n2"), "error": {"code": 400, "description": "no"}})
                );
                2
            ],
            false => Vec::new(),
        })
        .await;
    // On a busy machine they may come after the roll call has ended.
    eventually("both are duplicates", 60, async || match system.sweep().await.cost.duplicates {
        2 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    drop(impostor);

    let late = Reply { delay: Duration::from_millis(1500), ..Reply::bytes("late") };
    let _impostor = system
        .impostor(move |request| if request.endpoint == "VARZ" { vec![late.clone()] } else { Vec::new() })
        .await;
    eventually("the late answer is a stranger", 60, async || {
        let snapshot = system.sweep().await;
        match snapshot.cost.strangers {
            0 => Err("none".into()),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_events_are_noted() {
    let mut system = System::start().await;
    let impostor = system.impostor(|_| Vec::new()).await;
    for body in ["", "null", "{\"client\":1}", "\u{0}", "{\"server\":"] {
        impostor.client().publish("$SYS.ACCOUNT.A.DISCONNECT", body.into()).await.unwrap();
    }
    // Announcements of a server that does not exist are of no consequence, nor is an odd subject.
    for what in ["SHUTDOWN", "LAMEDUCK"] {
        let subject = format!("$SYS.SERVER.{GHOST}.{what}");
        impostor.client().publish(subject, "garbage".into()).await.unwrap();
    }
    let mut noted_events = 0;
    eventually("the events are noted", 30, async || {
        let snapshot = system.sweep().await;
        for note in &snapshot.coverage.notes {
            let count = note.strip_suffix(" disconnect events could not be read").unwrap();
            noted_events += count.parse::<u64>().unwrap();
        }
        if noted_events == 5 { Ok(()) } else { Err(format!("{noted_events}")) }
    })
    .await;
    assert_eq!(system.sweep().await.coverage.missing, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_of_a_server_that_never_answers_is_heard_and_garbage_is_noted() {
    let mut system = System::start().await;
    system.lens.patience = Duration::from_secs(2);
    let impostor = system.impostor(|_| Vec::new()).await;
    let subject = format!("$SYS.SERVER.{GHOST}.STATSZ");
    // One that says another name than its subject is garbage, too.
    for body in ["", "garbage", "{\"server\":{\"id\":\"N\"}}"] {
        impostor.client().publish(subject.clone(), body.into()).await.unwrap();
    }
    let mut unusable = 0;
    eventually("the garbage is noted", 60, async || {
        let snapshot = system.sweep().await;
        assert_eq!(snapshot.coverage.missing, []);
        for note in &snapshot.coverage.notes {
            let count = note.strip_suffix(" heartbeats of servers could not be used").unwrap();
            unusable += count.parse::<u64>().unwrap();
        }
        if unusable == 3 { Ok(()) } else { Err(format!("{unusable}")) }
    })
    .await;
    let heartbeat = json!({"server": server(GHOST, "ghost"), "statsz": {"start": "2026-01-01T00:00:00Z"}});
    impostor.client().publish(subject, heartbeat.to_string().into()).await.unwrap();
    let snapshot = eventually("it is missed", 60, async || {
        let snapshot = system.sweep().await;
        if snapshot.coverage.missing.is_empty() { Err("not yet".into()) } else { Ok(snapshot) }
    })
    .await;
    let missing = &snapshot.coverage.missing[0];
    assert_eq!((&*missing.name, missing.last_epoch, missing.heartbeats), ("ghost", None, true));
    assert_eq!(missing.reason("VARZ"), "server ghost sends heartbeats but does not answer requests");
    let goodbye = format!("$SYS.SERVER.{GHOST}.SHUTDOWN");
    impostor.client().publish(goodbye, "{}".into()).await.unwrap();
    eventually("it has left", 60, async || {
        let missing = system.sweep().await.coverage.missing;
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_goes_on_judging() {
    let mut builder_clients = Vec::new();
    let cluster = crate::support::Cluster::operator(3)
        .account(crate::support::Account::new("FULL").limits(crate::support::limits().conn(20)).user("a"))
        .start()
        .await;
    for server in 0..3 {
        builder_clients.extend(cluster.connect_many(server, "FULL/a", "a", 6).await);
    }
    let turn = AtomicUsize::new(0);
    let client = cluster.connect(1, "SYS/admin", "impostor").await;
    let _impostor = crate::impostor::Impostor::start(client, move |_| {
        let mixed = ["", "null", "{}", "\u{fffd}", "{\"server\":{\"id\":\"NABC", "{\"error\":{\"code\":1}}"];
        vec![Reply::bytes(mixed[turn.fetch_add(1, Ordering::Relaxed) % mixed.len()])]
    })
    .await;
    let mut findings = Findings::subscribe(&cluster).await;
    let mut agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s"]));
    for _ in 0..4 {
        findings.forget();
        let found = findings
            .wait_for(Duration::from_secs(40), |message| {
                message.check() == "ACCOUNTS_001" && message.status() == "firing"
            })
            .await;
        assert_eq!(found.json["observed"]["value"], 18, "{}", found.json);
        let summary = findings.epochs(1, Duration::from_secs(40)).await;
        assert_eq!(summary.json["complete"], false, "{}", summary.json);
        assert!(summary.json["notes"].to_string().contains("answer"), "{}", summary.json);
        assert_eq!(summary.json["servers"]["responded"], 3, "{}", summary.json);
    }
    assert!(agent.is_running());
    assert!(!agent.stderr().contains("panicked"), "{}", agent.stderr());
}
