//! CLUSTER_008, and what a rolling restart of healthy clusters looks like.

use crate::support::Cluster;
use crate::support::watched::{SOON, Watched};
use crate::{ended, found};
use insights_agent::demo::topology::GatewayConf;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_one_configuration_lacks_is_found_and_ends_when_it_is_added() {
    let mut cluster = Cluster::config(3)
        .second_cluster(1)
        .edit(|server, conf| {
            if server == 2 {
                conf.gateway.as_mut().unwrap().remotes.retain(|(name, _)| name != "west");
            }
        })
        .start()
        .await;
    let mut watched = Watched::start(&cluster, "").await;
    let json = found(&mut watched, "CLUSTER_008", "n3").await;
    assert_eq!(json["severity"], "warning");
    assert_eq!(
        json["summary"],
        "server n3 names other remote clusters in its gateway block than most servers of cluster east"
    );
    // It was told of the other cluster, and is connected to it.
    assert_eq!(
        json["evidence"],
        json!({"configured": {"lacks": ["west"], "has_beside": [], "differing": 1, "majority": 2},
               "connected": null, "servers": 3})
    );
    let mut remotes = Vec::new();
    cluster.rewrite(0, |conf| remotes.clone_from(&conf.gateway.as_ref().unwrap().remotes));
    cluster.rewrite(2, |conf| {
        let gateway: &mut GatewayConf = conf.gateway.as_mut().unwrap();
        gateway.remotes = remotes;
    });
    cluster.restart(2).await;
    ended(&mut watched, "CLUSTER_008", "n3").await;
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_healthy_clusters_gives_no_critical_finding() {
    let mut cluster = Cluster::config(3).second_cluster(2).start().await;
    let mut watched = Watched::start(&cluster, "").await;
    watched.epoch(|e| e["complete"] == true).await;
    // The agent is at n1.
    for server in [4, 3, 2, 1] {
        if server % 2 == 0 {
            // It does not wait for its clients: it has none.
            cluster.lame_duck(server);
        }
        cluster.restart(server).await;
        watched.findings.epochs(1, SOON).await;
    }
    watched.findings.forget();
    watched.epoch(|e| e["complete"] == true).await;
    let mine = [
        "CLUSTER_005",
        "CLUSTER_007",
        "CLUSTER_008",
        "SERVER_010",
        "SERVER_018",
        "OPT_SYS_005",
        "OPT_SYS_014",
    ];
    for message in watched.findings.history() {
        assert_ne!(message.json["severity"], "critical", "{}", message.json);
        let fires = message.status() == "firing" && message.json["held"].is_null();
        assert!(!fires || !mine.contains(&message.check()), "{}", message.json);
    }
}
