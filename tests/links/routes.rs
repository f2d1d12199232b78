//! Routes: SERVER_010, CLUSTER_005, OPT_SYS_005.
//!
//! Servers tell each other's addresses, and would connect around any obstacle. So every server has a route password of its
//! own here: a server that was only told of another one offers its own password, and is refused.

use crate::proxy::Proxy;
use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Agent, Cluster, Findings};
use crate::{PINGS, ended, found, is_about};
use insights_agent::demo::topology::ServerConf;
use serde_json::{Value, json};
use std::time::Duration;

/// Routes of a server to others: their number, and the port by which they are reached.
fn routes(server: usize, conf: &mut ServerConf, others: impl Fn(&[u16]) -> Vec<(usize, u16)>) {
    let cluster = conf.cluster.take().unwrap();
    let urls: Vec<String> = others(&cluster.routes)
        .into_iter()
        .map(|(number, port)| format!("\"nats://route{number}:pw{number}@127.0.0.1:{port}\""))
        .collect();
    conf.extra += &format!(
        "cluster {{\n  name: \"{}\"\n  listen: \"127.0.0.1:{}\"\n  authorization {{ user: route{server}, password: \
         pw{server}, timeout: 10 }}\n  routes: [{}]\n}}\n",
        cluster.name,
        cluster.port,
        urls.join(", ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_slow_and_then_cut_is_found_at_both_ends_and_ends() {
    let proxy = Proxy::start().await;
    let through = proxy.clone();
    let cluster = Cluster::config(3)
        .extra(PINGS)
        .edit(move |server, conf| {
            routes(server, conf, |ports| match server {
                0 => Vec::new(),
                1 => {
                    through.aim(ports[2]);
                    vec![(0, ports[0]), (2, through.port())]
                }
                _ => vec![(0, ports[0])],
            });
        })
        .start()
        .await;
    // Far above what a busy machine takes for the other routes.
    let delay = Duration::from_millis(600);
    proxy.delay(delay);
    let mut watched = Watched::start(&cluster, "[checks.SERVER_010]\nrtt = \"500ms\"\n").await;
    for (server, peer) in [("n2", "n3"), ("n3", "n2")] {
        let json = found(&mut watched, "SERVER_010", &format!("{server}/{peer}")).await;
        assert_eq!(json["entity"]["type"], "route");
        assert_eq!((&json["entity"]["server"], &json["entity"]["cluster"]), (&json!(server), &json!("east")));
        assert!(is_about(&json["observed"]["value"], delay), "{json}");
        let evidence = &json["evidence"];
        assert_eq!((&evidence["peer"], &evidence["connections"]), (&json!(peer), &json!(4)), "{json}");
        assert_eq!((&evidence["routes"], &evidence["slow_routes"]), (&json!(2), &json!(1)), "{json}");
        assert!(is_about(&evidence["rtt_at_peer_ms"], delay), "{json}");
    }
    assert!(!watched.findings.history().iter().any(|m| m.check() == "CLUSTER_005"));
    proxy.delay(Duration::ZERO);
    ended(&mut watched, "SERVER_010", "n2/n3").await;
    ended(&mut watched, "SERVER_010", "n3/n2").await;

    proxy.cut();
    for (server, peer) in [("n2", "n3"), ("n3", "n2")] {
        // One end may notice before the other.
        let both = |json: &Value| json["entity"]["id"] == server && json["evidence"]["such_servers"] == 2;
        let json = watched.firing_as("CLUSTER_005", both).await.json;
        assert_eq!(json["severity"], "warning");
        let expected = format!("server {server} of cluster east has routes to 1 of 2 other servers");
        assert_eq!(json["summary"], expected);
        let mut evidence = json["evidence"].clone();
        // They try again every second, and either may just list what the other refuses.
        for told in ["missing_there_too", "one_sided"] {
            assert!(evidence["no_route_to"][0].as_object_mut().unwrap().remove(told).is_some(), "{json}");
        }
        assert_eq!(
            evidence,
            json!({"no_route_to": [{"server": peer, "reached_by": ["n1"]}], "missing": 1, "routes_to": ["n1"],
                   "expected": 2, "such_servers": 2})
        );
    }
    proxy.mend();
    ended(&mut watched, "CLUSTER_005", "n2").await;
    ended(&mut watched, "CLUSTER_005", "n3").await;
    let n1 =
        |m: &crate::support::Message| m.json["entity"]["id"].as_str().is_some_and(|id| id.starts_with("n1"));
    assert!(!watched.findings.history().iter().any(n1), "{:?}", watched.findings.history());
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_is_seen_from_a_spoke() {
    // n1 is the middle; the agent is at n2, whose requests do not reach n3.
    let cluster = Cluster::config(3)
        .edit(|server, conf| {
            routes(server, conf, |ports| if server == 0 { Vec::new() } else { vec![(0, ports[0])] });
        })
        .peers(1, 1)
        .peers(2, 1)
        .start()
        .await;
    let mut findings = Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.checks.>").await;
    let agent = Agent::start(cluster.agent_args_as(1, "SYS/insights").chain(["run", "--epoch", "2s"]));
    let firing = |m: &crate::support::Message| m.check() == "CLUSTER_005" && m.status() == "firing";
    let json = findings.wait_for(SOON, firing).await.json;
    assert_eq!(json["entity"]["id"], "n2");
    assert_eq!(
        json["evidence"],
        json!({"no_route_to": [{"server": "n3", "missing_there_too": null, "one_sided": false, "reached_by": ["n1"]}],
               "missing": 1, "routes_to": ["n1"], "expected": 2, "such_servers": 1})
    );
    drop(agent);
    // From the middle both spokes are seen.
    let mut watched = Watched::start(&cluster, "").await;
    for (server, peer) in [("n2", "n3"), ("n3", "n2")] {
        // In the first epoch one of them may be late.
        let both = |json: &Value| json["entity"]["id"] == server && json["evidence"]["such_servers"] == 2;
        let json = watched.firing_as("CLUSTER_005", both).await.json;
        assert_eq!(json["evidence"]["no_route_to"][0]["server"], peer);
    }
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_a_server_does_not_read_are_found_until_it_does() {
    // After ten seconds the server would give the route up.
    let mut cluster = Cluster::config(2)
        .account(Account::new("APP").user("a"))
        .extra("write_deadline: \"60s\"\n")
        .start()
        .await;
    let (publisher, reader) =
        (cluster.connect(0, "APP/a", "p").await, cluster.connect(1, "APP/a", "s").await);
    let _subscription = reader.subscribe("bulk").await.unwrap();
    reader.flush().await.unwrap();
    crate::traffic::wait_for_interest(&publisher, "bulk", &reader).await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["complete"] == true).await;
    cluster.pause(1);
    crate::traffic::publish(&publisher, "bulk", 48).await;
    let json = found(&mut watched, "OPT_SYS_005", "n1/n2").await;
    assert_eq!((&json["severity"], &json["kind"]), (&json!("warning"), &json!("optimization")));
    assert!(json["observed"]["value"].as_u64().unwrap() > 1 << 20, "{json}");
    let evidence = &json["evidence"];
    assert_eq!((&evidence["peer"], &evidence["peer_answers"]), (&json!("n2"), &json!(false)), "{json}");
    assert_eq!((&evidence["routes"], &evidence["pending_routes"]), (&json!(1), &json!(1)), "{json}");
    let first = json["remediation"][0].as_str().unwrap();
    assert!(first.starts_with("Server n2 did not answer either"), "{first}");
    cluster.resume(1);
    ended(&mut watched, "OPT_SYS_005", "n1/n2").await;
    watched.check_everything_published();
}
