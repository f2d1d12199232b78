//! The connections of the agents themselves.

use crate::SOON;
use crate::support::{Cluster, Message};
use crate::team::{Team, planted};

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_an_agent_that_stands_by_is_no_clients() {
    let cluster = planted(Cluster::operator(3)).start().await;
    let mut team = Team::start(&cluster, &[0, 1, 2], "checks.USER_002.max_connections = 1\n").await;
    let of_agents = |m: &Message| m.check() == "USER_002" && m.json["entity"]["user_name"] == "insights";
    team.findings.forget();
    team.findings.epochs(3, SOON).await;
    assert!(!team.findings.history().iter().any(of_agents), "{:?}", team.findings.history());

    // Others of the same user are clients.
    let clients = cluster.connect_many(0, "SYS/insights", "other", 2).await;
    let found = team.findings.wait_for(SOON, of_agents).await;
    assert_eq!((found.status(), &found.json["observed"]["value"]), ("firing", &2.into()), "{}", found.json);
    drop(clients);
    team.findings.wait_for(SOON, |m| of_agents(m) && m.status() == "resolved").await;

    // Nor is the one that leads next, or one that has come back with another connection.
    team.findings.forget();
    let leader = Team::beside(&team.next().await);
    team.remove(leader).kill();
    team.successor_of(leader).await;
    team.add(&cluster, leader);
    team.findings.wait_for(SOON, |m| m.is_epoch() && m.json["agents"]["standby"] == 2).await;
    team.findings.epochs(3, SOON).await;
    let fires = |m: &Message| of_agents(m) && m.status() == "firing";
    assert!(!team.findings.history().iter().any(fires), "{}", team.logs());
}
