//! The simulated answers have the keys of real ones, recorded from nats-server 2.15.1 (`tests/fixtures`).

use crate::read::{ask, roll_call, world};
use insights_agent::simulate::Shape;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// The paths of all keys, with `[]` for every element of a list.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                // Gateways stand under the names of clusters.
                let key = if path.ends_with("bound_gateways") { "*" } else { key };
                let path = format!("{path}.{key}");
                keys(value, &path, into);
                into.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{path}[]"), into)),
        _ => {}
    }
}

fn recorded(files: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/2.15.1").join(file);
        let recording: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        recording["replies"].as_array().unwrap().iter().for_each(|reply| keys(reply, "", &mut all));
    }
    all
}

#[track_caller]
fn like_recorded(subject: &str, body: &Value, files: &[&str], left_out: &[&str]) {
    let world = world(Shape { streams: 5, jwt_share: 0.5, ..Shape::default() });
    let subject = subject.replace("ID", &roll_call(&world)[0].id);
    let mut simulated = BTreeSet::new();
    for answer in ask(&world, &subject, body) {
        keys(&serde_json::from_slice(&answer).unwrap(), "", &mut simulated);
    }
    let recorded = recorded(files);
    let strange: Vec<_> = simulated.difference(&recorded).collect();
    assert!(strange.is_empty(), "no server prints {strange:?}");
    let known = |key: &&String| left_out.iter().any(|left_out| key.starts_with(left_out));
    let missing: Vec<_> = recorded.difference(&simulated).filter(|key| !known(key)).collect();
    assert!(missing.is_empty(), "a server prints also {missing:?}");
    let stale: Vec<_> =
        left_out.iter().filter(|left_out| !recorded.iter().any(|key| key.starts_with(**left_out))).collect();
    assert!(stale.is_empty(), "never recorded: {stale:?}");
}

/// What depends on settings that simulated servers do not have.
const OF_OTHERS: [&str; 2] = [".server.domain", ".server.tags"];

#[test]
fn statsz() {
    // Streams and consumers are only counted, so there is no group that places them.
    let left_out = [&OF_OTHERS[..], &[".statsz.jetstream.meta", ".statsz.jetstream.config.domain"]].concat();
    like_recorded("$SYS.REQ.SERVER.PING.STATSZ", &Value::Null, &["statsz.json"], &left_out);
}

#[test]
fn varz() {
    let of_others = [
        ".data.jetstream.meta",
        ".data.jetstream.config.domain",
        ".data.leaf.",
        ".data.tags",
        ".data.connect_urls",
    ];
    let left_out = [&OF_OTHERS[..], &of_others].concat();
    like_recorded("$SYS.REQ.SERVER.PING.VARZ", &Value::Null, &["varz.json"], &left_out);
}

#[test]
fn connz() {
    let body = json!({"auth": true});
    like_recorded(
        "$SYS.REQ.SERVER.PING.CONNZ",
        &body,
        &["connz_default.json", "jwt/connz_auth.json"],
        &OF_OTHERS,
    );
}

#[test]
fn account_statz() {
    let body = json!({"include_unused": true});
    like_recorded("$SYS.REQ.ACCOUNT.PING.STATZ", &body, &["account_ping_statz_unused.json"], &OF_OTHERS);
}

#[test]
fn accountz() {
    like_recorded("$SYS.REQ.SERVER.PING.ACCOUNTZ", &Value::Null, &["accountz.json"], &OF_OTHERS);
}

#[test]
fn routez() {
    like_recorded("$SYS.REQ.SERVER.PING.ROUTEZ", &Value::Null, &["routez.json"], &OF_OTHERS);
}

#[test]
fn gatewayz() {
    // Interest of accounts depends on what crosses, and only what goes out is looked at.
    let accounts = ".data.outbound_gateways.*.accounts[].num_";
    let left_out = [&OF_OTHERS[..], &[accounts, ".data.inbound_gateways.*[].accounts"]].concat();
    let body = json!({"accounts": true});
    like_recorded("$SYS.REQ.SERVER.PING.GATEWAYZ", &body, &["gatewayz_accounts.json"], &left_out);
}

#[test]
fn leafz() {
    let left_out = [&OF_OTHERS[..], &[".data.leafs[]"]].concat();
    like_recorded("$SYS.REQ.SERVER.PING.LEAFZ", &Value::Null, &["leafz.json"], &left_out);
}
