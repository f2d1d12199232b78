//! Answers of servers that do not exist.

use serde_json::{Value, json};

use crate::impostor::{GHOST, Reply, Request, server};
use crate::lens::{missing, named};
use crate::support::eventually;
use crate::system::System;
use insights_agent::snapshot::Endpoint;

fn ghost(request: &Request) -> Option<Value> {
    let server = server(GHOST, "ghost");
    match request.endpoint.as_str() {
        "VARZ" => Some(json!({"server": server, "data": {"connections": 9, "system_account": "STRANGE"}})),
        "STATZ" => Some(json!({"server": server, "data": {"account_statz": [
            {"acc": "A", "conns": 1000}, {"acc": "STRANGE", "conns": 1}]}})),
        "ACCOUNTZ" => Some(json!({"server": server, "data": {"accounts": ["STRANGE", "A"]}})),
        "CONNZ" => Some(
            json!({"server": server, "data": {"now": "2026-01-01T00:00:00Z", "total": 2, "connections": [
            {"cid": 7, "kind": "Client", "account": "A", "authorized_user": "a"},
            {"cid": 9, "kind": "Client", "account": "STRANGE", "authorized_user": "x"}]}}),
        ),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_missed_the_roll_call_is_not_heard() {
    let mut system = System::start().await;
    let _impostor = system.impostor(|request| ghost(request).iter().map(Reply::json).collect()).await;
    let mut strangers = 0;
    for _ in 0..6 {
        let snapshot = system.sweep().await;
        assert_eq!(snapshot.servers.len(), 3);
        strangers += snapshot.cost.strangers;
    }
    assert!(strangers > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ghost_at_the_roll_call_is_a_server_that_does_not_answer() {
    let mut system = System::start().await;
    system.lens.patience = std::time::Duration::from_secs(2);
    let impostor = system
        .impostor(|request| match request.is("PING", "STATSZ") {
            true => vec![Reply::json(
                &json!({"server": server(GHOST, "ghost"), "statsz": {"start": "2026-01-01T00:00:00Z"}}),
            )],
            false => Vec::new(),
        })
        .await;
    let snapshot = eventually("the ghost is in time for the roll call", 60, async || {
        let snapshot = system.sweep().await;
        match snapshot.server_named("ghost") {
            Some(_) => Ok(snapshot),
            None => Err(format!("{:?}", snapshot.coverage)),
        }
    })
    .await;
    assert_eq!(&*named(&snapshot, "ghost").id, GHOST);
    for endpoint in [Endpoint::Varz, Endpoint::Connz, Endpoint::AccountStatz] {
        let gaps = snapshot.coverage.gaps(endpoint);
        let servers: Vec<&str> = gaps.iter().map(|gap| &*gap.server).collect();
        assert_eq!(servers, ["ghost"], "{endpoint:?}");
    }
    drop(impostor);
    let snapshot = system.sweep().await;
    assert_eq!(missing(&snapshot), ["ghost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_kept_within_bounds() {
    let mut system = System::start().await;
    system.lens.patience = std::time::Duration::from_secs(2);
    let names = [
        "\u{0}\u{1}\u{1b}[31m\r\n\t",
        "a.b.*.> \"\\'`$(x)",
        "\u{202e}gnp.exe\u{feff}💥",
        &"n".repeat(5000),
        "",
    ]
    .map(str::to_owned);
    for (number, name) in names.into_iter().enumerate() {
        let id = format!("N{number}{}", "X".repeat(54));
        let (own, odd) = (id.clone(), name.clone());
        let _impostor = system
            .impostor(move |request| {
                let server = server(&own, &odd);
                if request.is("PING", "STATSZ") {
                    return vec![Reply::json(&json!({"server": server, "statsz": {}}))];
                }
                let mut value = ghost(request).unwrap_or_default();
                value["server"] = server;
                if request.endpoint == "CONNZ" {
                    value["data"]["connections"][0]["name"] = json!(odd);
                }
                match request.is(&own, "CONNZ") {
                    true => vec![Reply::json(&value)],
                    false => Vec::new(),
                }
            })
            .await;
        let snapshot = eventually("it is in time for the roll call", 60, async || {
            let snapshot = system.lens.sweep().await;
            match snapshot.servers.contains_key(&*id) {
                true => Ok(snapshot),
                false => Err(format!("{:?}", snapshot.coverage)),
            }
        })
        .await;
        let server = &snapshot.servers[&*id];
        assert!(server.name.len() <= 1024);
        assert_eq!(server.fold.as_ref().unwrap().clients, 2, "{name:?}");
        if name.is_empty() {
            assert_eq!(*server.name, *id);
        } else if name.len() < 1024 {
            assert_eq!(*server.name, *name);
        }
    }
}
