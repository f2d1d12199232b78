//! Agents that cannot, or shall not, know of each other.

use serde_json::json;

use crate::SOON;
use crate::support::{Cluster, Message};
use crate::team::{Team, planted};
use insights_agent::permissions::Permissions;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_speak_to_other_agents_does_not_stop_the_agent() {
    let mut cluster = planted(Cluster::config(3)).start().await;
    let declared = "[accounts.FULL]\nmax_connections = 20\n";
    let less = Permissions::defaults().publish.into_iter().filter(|subject| subject != "insights.agents.*");
    cluster.allow_agent(less.collect()).await;
    let mut team = Team::start(&cluster, &[0], declared).await;
    let summary = team.findings.wait_for(SOON, |m| m.is_epoch() && m.json["agents"]["by"] == "alone").await;
    let notes = summary.json["notes"].to_string();
    assert!(notes.contains("insights.agents.*"), "{notes}");
    let found = team.findings.wait_for(SOON, |m| m.check() == "AGENT_002").await;
    assert_eq!(found.json["entity"]["id"], "insights.agents.*");
    let log = team.agent(0).stderr();
    assert_eq!(log.matches("acts as if it were alone").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_take_no_notice_of_each_other_all_publish() {
    let cluster = planted(Cluster::operator(2)).start().await;
    let mut heard =
        crate::support::Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.agents.*").await;
    let mut team = Team::start(&cluster, &[0], "[election]\nenabled = false\n").await;
    team.add(&cluster, 1);
    let alone = |name: &'static str| {
        move |m: &Message| {
            m.is_epoch() && m.json["agent"]["name"] == name && m.json["agents"]["by"] == "alone"
        }
    };
    let one = team.findings.wait_for(SOON, alone("n1")).await;
    team.findings.wait_for(SOON, alone("n2")).await;
    assert_eq!(one.json["agents"]["standby"], json!(0));
    let said = heard.find_within(std::time::Duration::ZERO, |_| true).await;
    assert!(said.is_none(), "{said:?}");
}
