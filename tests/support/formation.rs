//! Whether servers know each other, asked over the system account with a client of the test's own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use super::Cluster;

const QUIET: Duration = Duration::from_millis(300);
const FIRST: Duration = Duration::from_secs(2);

/// All answers to `$SYS.REQ.SERVER.PING.<endpoint>`, at most `expected`.
pub async fn ping(cluster: &Cluster, endpoint: &str, expected: usize) -> Result<Vec<Value>, String> {
    let server = cluster.nodes.iter().position(super::cluster::Node::answers).ok_or("no server runs")?;
    let client = cluster.try_connect(server, "SYS/admin", "harness").await.map_err(|e| e.to_string())?;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
    let subject = format!("$SYS.REQ.SERVER.PING.{endpoint}");
    client.publish_with_reply(subject, inbox, "".into()).await.map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    while all.len() < expected {
        let patience = if all.is_empty() { FIRST } else { QUIET };
        let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await else {
            break;
        };
        all.push(serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?);
    }
    Ok(all)
}

/// How many routes a server with this VARZ has to `peers` others once all of them stand: to each of them
/// a pool, which accounts share, and one that is the system account's own. Until the route of an account stands,
/// its messages are lost, though the server already counts the peer among its `remotes`.
pub fn routes_needed(varz: &Value, peers: u64) -> u64 {
    peers * (varz["cluster"]["pool_size"].as_u64().unwrap_or(0) + 1)
}

/// Whether each running server sees all others of its cluster, the other cluster, and its leafnodes.
pub async fn formed(cluster: &Cluster) -> Result<(), String> {
    let members: Vec<_> = cluster.nodes.iter().filter(|n| n.answers() && n.cluster != usize::MAX).collect();
    let leafs = cluster.nodes.iter().filter(|n| n.answers() && n.cluster == usize::MAX).count();
    let varz = ping(cluster, "VARZ", members.len()).await?;
    if varz.len() != members.len() {
        return Err(format!("{} of {} servers answered", varz.len(), members.len()));
    }
    let mut leafnodes = 0;
    for answer in &varz {
        let name = answer["server"]["name"].as_str().unwrap_or_default();
        let node = members.iter().find(|n| n.conf.name == name).ok_or(format!("a stranger, {name}"))?;
        let others = members.iter().filter(|n| n.cluster == node.cluster).count() - 1;
        let peers = node.peers.unwrap_or(others);
        let routes = answer["data"]["routes"].as_u64().unwrap_or(0);
        let needed = routes_needed(&answer["data"], peers as u64);
        // More is fine: the routes to a paused server stay until its pings are missed.
        if routes < needed {
            return Err(format!("{name} has {routes} of {needed} routes"));
        }
        leafnodes += answer["data"]["leafnodes"].as_u64().unwrap_or(0);
    }
    if leafs as u64 > leafnodes {
        return Err(format!("{leafnodes} of {leafs} leafnodes are connected"));
    }
    if members.iter().any(|n| n.conf.gateway.is_some()) {
        for answer in ping(cluster, "GATEWAYZ", members.len()).await? {
            let outbound = answer["data"]["outbound_gateways"].as_object().map_or(0, |all| all.len());
            if outbound == 0 {
                return Err(format!("{} has no outbound gateway", answer["server"]["name"]));
            }
        }
    }
    Ok(())
}

/// Whether the meta leader counts every server with JetStream as a member. On 2.10.26 a server that was still busy with
/// its routes when the others elected may stay out for good, deaf to every leader, until it is restarted (10 of 300
/// starts of a super-cluster on a busy machine); then no stream of three replicas finds its peers.
pub async fn meta_group_met(cluster: &Cluster) -> Result<(), String> {
    let nodes =
        cluster.nodes.iter().filter(|n| n.conf.jetstream.is_some() && n.cluster != usize::MAX).count();
    if nodes < 2 {
        return Ok(());
    }
    // Only the leader tells its replicas.
    let answers = ping(cluster, "JSZ", nodes).await?;
    let others = answers.iter().find_map(|answer| answer["data"]["meta_cluster"]["replicas"].as_array());
    match others.map_or(0, |others| others.len() + 1) {
        0 => Err("the meta group has no leader".into()),
        members if members < nodes => Err(format!("{members} of {nodes} servers are in the meta group")),
        _ => Ok(()),
    }
}

/// When each answering server of the clusters last read its configuration.
pub async fn load_times(cluster: &Cluster) -> BTreeMap<String, String> {
    let expected = cluster.nodes.iter().filter(|n| n.answers() && n.cluster != usize::MAX).count();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answers = ping(cluster, "VARZ", expected).await.unwrap_or_default();
    answers
        .iter()
        .map(|answer| (text(&answer["server"]["name"]), text(&answer["data"]["config_load_time"])))
        .collect()
}
