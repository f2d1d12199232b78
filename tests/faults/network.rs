//! Routes that are cut, and routes that never were.
//!
//! Servers tell each other's addresses, and would connect around any obstacle. So every server has a route password of its
//! own here: a server that was only told of another one offers its own password, and is refused.

use std::time::Duration;

use insights_agent::demo::topology::ServerConf;
use serde_json::json;

use crate::proxy::Proxy;
use crate::support::{Account, Agent, Builder, Cluster, limits};
use crate::watch::{Watched, crowd, planted};

/// Routes of a server to `others`: its number, and the port by which it is reached.
fn routes(server: usize, conf: &mut ServerConf, others: impl Fn(&[u16]) -> Vec<(usize, u16)>) {
    let cluster = conf.cluster.take().unwrap();
    let others = others(&cluster.routes).into_iter();
    let urls: Vec<String> = others
        .map(|(number, port)| format!("\"nats://route{number}:pw{number}@127.0.0.1:{port}\""))
        .collect();
    conf.extra += &format!(
        "cluster {{\n  name: \"{}\"\n  listen: \"127.0.0.1:{}\"\n  authorization {{ user: route{server}, password: pw{server}, \
         timeout: 10 }}\n  routes: [{}]\n}}\n",
        cluster.name,
        cluster.port,
        urls.join(", ")
    );
}

/// n1 and n2 on one side, n3 and n4 on the other, and all routes between the sides through these two proxies.
fn halves(builder: Builder, proxies: &[Proxy; 2]) -> Builder {
    let proxies = proxies.clone();
    builder.edit(move |server, conf| {
        routes(server, conf, |ports| {
            proxies[0].aim(ports[2]);
            proxies[1].aim(ports[3]);
            let across = [(2, proxies[0].port()), (3, proxies[1].port())];
            match server {
                0 => [(1, ports[1])].into_iter().chain(across).collect(),
                1 => across.into(),
                2 => vec![(3, ports[3])],
                _ => Vec::new(),
            }
        });
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_makes_the_other_half_unknown() {
    let proxies = [Proxy::start().await, Proxy::start().await];
    let cluster = halves(planted(Cluster::operator(4)), &proxies).max_connections(3, 14).start().await;
    let clients = crowd(&cluster, 3).await;
    let mut watched =
        Watched::start(&cluster, cluster.agent_args(), &["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"])
            .await;

    watched.findings.forget();
    proxies.iter().for_each(Proxy::cut);
    let summary = watched
        .epoch_without(&[("n3", "server n3 did not answer"), ("n4", "server n4 did not answer")])
        .await;
    assert!(summary.json["checks"]["unknown"].to_string().contains("SERVER_011"), "{}", summary.json);
    for server in ["n3", "n4"] {
        let (_, critical) = watched.silence_of(server).await;
        assert_eq!(critical.json["evidence"]["named_by"], json!([]), "{}", critical.json);
        assert_eq!(critical.json["evidence"]["cluster"], json!({"name": "east", "answered": 2, "silent": 2}));
    }
    watched.nothing_ended_or_invented(&["n3", "n4"]);

    watched.findings.forget();
    proxies.iter().for_each(Proxy::mend);
    watched.recovers(&["n3", "n4"]).await;
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_hides_a_server_that_its_hub_names() {
    // n1 is the hub; the agent is at n2, which no request leaves further than to n1.
    let cluster = Cluster::operator(3)
        .account(Account::new("FULL").limits(limits().conn(20)).user("full"))
        .max_connections(1, 14)
        .edit(|server, conf| {
            routes(server, conf, |ports| if server == 0 { Vec::new() } else { vec![(0, ports[0])] });
        })
        .peers(1, 1)
        .peers(2, 1)
        .start()
        .await;
    // Full, by connections that the agent cannot see.
    let mut clients = cluster.connect_many(2, "FULL/full", "full", 19).await;
    clients.extend(cluster.connect_many(1, "SYS/admin", "crowd", 12).await);
    let args = cluster.agent_args_as(1, "SYS/insights");
    let mut findings =
        crate::support::Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.checks.>").await;
    let agent = Agent::start(args.clone().chain(["run", "--epoch", "2s"]));

    let soon = crate::watch::SOON;
    let summary = findings.wait_for(soon, |m| m.is_epoch() && m.json["servers"]["known"] == 3).await;
    let e = &summary.json;
    assert_eq!(e["servers"], json!({"known": 3, "responded": 2, "missing": ["n3"]}), "{e}");
    assert_eq!(e["coverage"][0]["server"], "n3", "{e}");
    let reason = e["coverage"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "server n3 is named by a route of n1, but never answered this agent");
    let unknown = e["checks"]["unknown"].to_string();
    assert!(unknown.contains("ACCOUNTS_001") && unknown.contains("named by a route of n1"), "{unknown}");
    let found = findings.wait_for(soon, |m| m.check() == "AGENT_001" && m.status() == "firing").await;
    assert_eq!(
        (&found.json["entity"]["id"], &found.json["entity"]["cluster"]),
        (&json!("n3"), &json!("east"))
    );
    let evidence = &found.json["evidence"];
    assert_eq!(
        (&evidence["known_by"], &evidence["named_by"]),
        (&json!("routes"), &json!(["n1"])),
        "{evidence}"
    );
    assert_eq!(evidence["last_answer"], json!(null));
    let step = found.json["remediation"][0].as_str().unwrap();
    assert!(step.contains("connect the agent to n1"), "{step}");
    // The server that is seen is judged.
    findings.wait_for(soon, |m| m.check() == "SERVER_011" && m.json["entity"]["id"] == "n2").await;
    assert!(!findings.history().iter().any(|m| m.status() == "resolved"), "{:?}", findings.history());
    drop(agent);

    // One look judges what it can, and does not call the rest healthy.
    let looked = Agent::run(
        args.chain(["check", "--format", "json", "--fail-on", "critical"]),
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(looked.code, Some(0), "{}\n{}", looked.stdout, looked.stderr);
    let report: serde_json::Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(report["epoch"]["complete"], false);
    assert_eq!(report["epoch"]["servers"]["missing"], json!(["n3"]));

    // From the hub everything is seen.
    let args = cluster.agent_args().chain(["check", "--format", "json"]);
    let looked = Agent::run(args, Duration::from_secs(60)).await;
    let report: serde_json::Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!((looked.code, &report["epoch"]["complete"]), (Some(1), &json!(true)), "{report}");
    assert!(looked.stdout.contains("ACCOUNTS_001"), "{report}");
    drop(clients);
}
