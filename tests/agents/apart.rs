//! Agents that do not hear each other, because the routes between their servers are cut.

use serde_json::json;

use crate::SOON;
use crate::proxy::Proxy;
use crate::support::{Builder, Cluster, Findings, Message, only_routes};
use crate::team::{Team, planted};

/// n1 on one side, n2 and n3 on the other, and the routes between the sides through these proxies.
fn sides(builder: Builder, proxies: &[Proxy; 2]) -> Builder {
    let proxies = proxies.clone();
    builder.edit(move |server, conf| {
        only_routes(server, conf, |ports| {
            proxies[0].aim(ports[1]);
            proxies[1].aim(ports[2]);
            match server {
                0 => vec![(1, proxies[0].port()), (2, proxies[1].port())],
                1 => vec![(2, ports[2])],
                _ => Vec::new(),
            }
        });
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_publish_the_same_and_one_goes_on_when_it_heals() {
    let proxies = [Proxy::start().await, Proxy::start().await];
    let cluster = sides(planted(Cluster::operator(3)), &proxies).start().await;
    let mut team = Team::start(&cluster, &[0, 1], "").await;
    let before = team.finding().await;
    let mut other_side = Findings::subscribe_at(&cluster, 1, "SYS/admin", "insights.checks.>").await;

    team.findings.forget();
    proxies.iter().for_each(Proxy::cut);
    let by = |server: usize| move |m: &Message| m.is_epoch() && Team::beside(m) == server;
    let alone = |server: usize| move |m: &Message| by(server)(m) && m.json["agents"]["standby"] == 0;
    team.findings.wait_for(SOON, alone(0)).await;
    let there = other_side.wait_for(SOON, alone(1)).await;
    // The finding hangs on connections to n1: the side without n1 can only hold it, and repeats it all the same.
    let same = other_side.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.epoch() >= there.epoch()).await;
    let here =
        team.findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.epoch() == same.epoch()).await;
    for key in ["fingerprint", "first_seen", "status", "severity", "epoch"] {
        assert_eq!(here.json[key], same.json[key], "{key}");
    }
    assert_eq!((&here.subject, here.header("Nats-Msg-Id")), (&same.subject, same.header("Nats-Msg-Id")));
    // Each side finds that the other one is silent, which the other one does not know of.
    let silent = |server: &'static str| {
        move |m: &Message| {
            m.check() == "AGENT_001" && m.status() == "firing" && m.json["entity"]["id"] == server
        }
    };
    team.findings.wait_for(SOON, silent("n2")).await;
    other_side.wait_for(SOON, silent("n1")).await;

    proxies.iter().for_each(Proxy::mend);
    let healed = team.findings.wait_for(SOON, |m| {
        m.is_epoch() && m.json["agents"]["standby"] == 1 && m.json["servers"]["responded"] == 3
    });
    let leader = Team::beside(&healed.await);
    // What either side has begun is ended by the one that leads.
    for server in ["n1", "n2", "n3"] {
        let ends = |m: &Message| {
            let about = m.check() == "AGENT_001" && m.json["entity"]["id"] == server;
            about && m.status() == "resolved" && m.json["successor"].is_null()
        };
        let begun = team.findings.history().iter().chain(&other_side.history()).any(silent(server));
        if begun {
            let ended = team.findings.wait_for(SOON, ends).await;
            assert_eq!(Team::beside(&ended), leader);
        }
    }
    let seen = team.epochs().len();
    team.findings.epochs(3, SOON).await;
    assert!(
        team.epochs()[seen..].iter().all(|(_, by)| *by == leader),
        "{:?}\n{}",
        team.epochs(),
        team.logs()
    );
    let history = [team.findings.history(), other_side.history()].concat();
    for message in history.iter().filter(|m| m.check() == "ACCOUNTS_001") {
        assert_eq!(message.status(), "firing", "{}", message.json);
        assert_eq!(message.json["first_seen"], before["first_seen"], "{}", message.json);
    }
    let strange = |m: &&Message| m.status() == "resolved" && m.check() != "AGENT_001";
    assert_eq!(history.iter().find(strange).map(|m| m.json.clone()).unwrap_or(json!(null)), json!(null));
}
