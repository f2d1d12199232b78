//! Gateways: CLUSTER_007, SERVER_018, OPT_SYS_014, OPT_PLACE_003.

use crate::proxy::Proxy;
use crate::support::watched::Watched;
use crate::support::{Account, Builder, Cluster, at_least};
use crate::traffic::{publish, wait_for_interest};
use crate::{PINGS, ended, found, is_about};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_lost_is_critical_until_it_is_back_and_planned_where_goodbye_was_said() {
    let mut cluster = Cluster::config(1).second_cluster(1).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["complete"] == true && e["servers"]["responded"] == 2).await;
    cluster.kill(1);
    let json = found(&mut watched, "CLUSTER_007", "n1/west").await;
    assert_eq!((&json["severity"], &json["entity"]["type"]), (&json!("critical"), &json!("gateway")));
    assert_eq!(json["summary"], "server n1 has no gateway to cluster west");
    let mut evidence = json["evidence"].clone();
    assert!(evidence["last_seen"].take().as_str().is_some(), "{json}");
    assert_eq!(
        evidence,
        json!({"remote": "west", "configured": true, "last_seen": null, "inbound": 0, "connected": [],
               "connected_servers": 0, "disconnected_servers": 1, "remote_answered": 0, "remote_silent": 1,
               "remote_left": [], "planned": false})
    );
    assert!(json["remediation"][0].as_str().unwrap().starts_with("No server of west answers"), "{json}");
    cluster.start(1);
    ended(&mut watched, "CLUSTER_007", "n1/west").await;

    watched.findings.forget();
    cluster.stop(1).await;
    let json = found(&mut watched, "CLUSTER_007", "n1/west").await;
    assert_eq!(json["severity"], "info", "{json}");
    assert_eq!(
        (&json["evidence"]["planned"], &json["evidence"]["remote_left"]),
        (&json!(true), &json!(["n2"]))
    );
    cluster.start(1);
    ended(&mut watched, "CLUSTER_007", "n1/west").await;
    // The end of the first one may be told once more.
    let critical = |m: &&crate::support::Message| {
        m.check() == "CLUSTER_007" && m.status() == "firing" && m.json["severity"] == "critical"
    };
    assert_eq!(watched.findings.history().iter().find(critical).map(|m| m.json.to_string()), None);
    watched.check_everything_published();
}

/// Both clusters reach each other through these proxies only, and say so: servers tell each other's addresses.
fn behind(builder: Builder, proxies: &[Proxy; 2]) -> Builder {
    let proxies = proxies.clone();
    builder.edit(move |server, conf| {
        let gateway = conf.gateway.take().unwrap();
        proxies[server].aim(gateway.port);
        let other = 1 - server;
        conf.extra += &format!(
            "gateway {{\n  name: \"{}\"\n  listen: \"127.0.0.1:{}\"\n  advertise: \"127.0.0.1:{}\"\n  gateways: [ {{ name: \
             \"{}\", urls: [\"nats://127.0.0.1:{}\"] }} ]\n}}\n",
            gateway.name,
            gateway.port,
            proxies[server].port(),
            ["east", "west"][other],
            proxies[other].port()
        );
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_to_another_cluster_is_found_from_the_side_that_measures_it() {
    let proxies = [Proxy::start().await, Proxy::start().await];
    let cluster = behind(Cluster::config(1).second_cluster(1).extra(PINGS), &proxies).start().await;
    let mut watched = Watched::start(&cluster, "checks.SERVER_018.rtt = '500ms'\n").await;
    watched.epoch(|e| e["complete"] == true).await;
    // Far above what a busy machine takes for the way back.
    let delay = Duration::from_millis(600);
    // What n1 dialled goes through the proxy before n2.
    proxies[1].delay(delay);
    let json = found(&mut watched, "SERVER_018", "n1/west").await;
    assert_eq!((&json["severity"], &json["entity"]["cluster"]), (&json!("warning"), &json!("east")));
    assert!(is_about(&json["observed"]["value"], delay), "{json}");
    let evidence = &json["evidence"];
    assert_eq!((&evidence["remote"], &evidence["peer"]), (&json!("west"), &json!("n2")), "{json}");
    assert_eq!(evidence["measured"], 1);
    assert_eq!(evidence["same_remote"][0]["server"], "n1");
    proxies[1].delay(Duration::ZERO);
    ended(&mut watched, "SERVER_018", "n1/west").await;
    // The other direction was as fast as ever.
    let other =
        |m: &crate::support::Message| m.check() == "SERVER_018" && m.json["entity"]["id"] == "n2/east";
    assert!(!watched.findings.history().iter().any(other));
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crosses_is_found_by_its_share_of_an_account() {
    let cluster = Cluster::config(1).second_cluster(1).account(Account::new("APP").user("a"));
    let cluster = cluster.binary(&at_least("2.11.11")).start().await;
    let (publisher, reader) =
        (cluster.connect(0, "APP/a", "p").await, cluster.connect(1, "APP/a", "s").await);
    let _crossing = reader.subscribe("bulk").await.unwrap();
    wait_for_interest(&publisher, "bulk", &reader).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["complete"] == true).await;

    // Each MiB is counted four times, twice of these at a gateway.
    publish(&publisher, "bulk", 2).await;
    let json = found(&mut watched, "OPT_PLACE_003", "APP").await;
    assert_eq!((&json["severity"], &json["entity"]["type"]), (&json!("info"), &json!("account")));
    let evidence = &json["evidence"];
    assert!(json["observed"]["percent"].as_f64().unwrap() >= 30.0, "{json}");
    assert!(evidence["gateway_bytes"].as_u64().unwrap() >= 2 << 20, "{json}");
    let through: Vec<&str> =
        evidence["through"].as_array().unwrap().iter().map(|row| row["server"].as_str().unwrap()).collect();
    assert!(through.contains(&"n1") || through.contains(&"n2"), "{json}");
    assert_eq!(
        evidence["clients"],
        json!([{"cluster": "east", "connections": 1}, {"cluster": "west", "connections": 1}])
    );
    // What does not cross makes the share smaller: 8 MiB of 8 and 32.
    let local = cluster.connect(0, "APP/a", "l").await;
    let _local = local.subscribe("near").await.unwrap();
    local.flush().await.unwrap();
    publish(&publisher, "near", 16).await;
    ended(&mut watched, "OPT_PLACE_003", "APP").await;
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_another_cluster_does_not_read_are_found_until_it_does() {
    // After ten seconds the server would give the gateway up.
    let mut cluster = Cluster::config(1)
        .second_cluster(1)
        .account(Account::new("APP").user("a"))
        .extra("write_deadline: \"60s\"\n")
        .start()
        .await;
    let (publisher, reader) =
        (cluster.connect(0, "APP/a", "p").await, cluster.connect(1, "APP/a", "s").await);
    let _crossing = reader.subscribe("bulk").await.unwrap();
    wait_for_interest(&publisher, "bulk", &reader).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["complete"] == true).await;
    cluster.pause(1);
    publish(&publisher, "bulk", 48).await;
    let json = found(&mut watched, "OPT_SYS_014", "n1/west").await;
    assert_eq!((&json["severity"], &json["entity"]["type"]), (&json!("warning"), &json!("gateway")));
    assert!(json["observed"]["value"].as_u64().unwrap() > 1 << 20, "{json}");
    let evidence = &json["evidence"];
    assert_eq!((&evidence["peer"], &evidence["peer_answers"]), (&json!("n2"), &json!(false)), "{json}");
    assert_eq!((&evidence["gateways"], &evidence["pending_gateways"]), (&json!(1), &json!(1)), "{json}");
    cluster.resume(1);
    ended(&mut watched, "OPT_SYS_014", "n1/west").await;
    watched.check_everything_published();
}
