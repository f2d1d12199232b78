//! Faults of servers on which conditions are planted: whatever an epoch could not see, no finding ends, none is made up,
//! the summary names the server, and the next good epoch is right again.

use crate::stand::{Sight, Simulation, real_server, sight};
use crate::support::{Agent, Findings, Message};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Long enough for some ten epochs on a slow machine.
const AT_MOST: Duration = Duration::from_secs(120);

/// Messages about the system itself, in one status.
fn about(history: &[Message], status: &str) -> BTreeSet<Sight> {
    let messages = history.iter().filter(|message| message.status() == status);
    messages
        .filter(|message| !message.check().starts_with("AGENT_"))
        .map(|message| sight(&message.json))
        .collect()
}

/// Waits for an epoch in which everything that is planted fires, after `after` others, and which is complete.
async fn whole_epoch(findings: &Findings, expected: &BTreeSet<Sight>, after: usize) -> usize {
    let deadline = Instant::now() + AT_MOST;
    loop {
        let history = findings.history();
        let epochs: Vec<&Message> = history.iter().filter(|message| message.is_epoch()).collect();
        for (number, summary) in epochs.iter().enumerate().skip(after) {
            let of_epoch: Vec<Message> =
                history.iter().filter(|message| message.epoch() == summary.epoch()).cloned().collect();
            if summary.json["complete"] == true && about(&of_epoch, "firing") == *expected {
                return number + 1;
            }
        }
        let seen: Vec<String> = epochs.iter().map(|summary| summary.json.to_string()).collect();
        assert!(Instant::now() < deadline, "no whole epoch after the first {after}:\n{}", seen.join("\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs the agent over a fault of the first server, on which most conditions are planted, from the fifth roll call to the
/// eighth. `named`: whether a summary must name the server meanwhile.
async fn over(fault: &str, named: bool) {
    let cluster = real_server().await;
    let fault = format!("{fault}@5..8");
    let simulation = Simulation::start(&cluster, &["--faults-on-planted", "--fault", &fault]).await;
    let (expected, faulty) = (simulation.expected(), simulation.faulty());
    assert_eq!((expected.len(), faulty.len()), (7, 1), "{}", simulation.line);
    let findings = Findings::subscribe(&cluster).await;
    let _agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s"]));
    let before = whole_epoch(&findings, &expected, 0).await;
    // The fault is over at the eighth roll call, and none of an epoch comes before its epoch.
    whole_epoch(&findings, &expected, before.max(8)).await;
    let mut history = findings.history();
    if fault.starts_with("restart") {
        // It came back as another process without a word: that is no finding that was made up, but the fault itself.
        let restarts = |message: &Message| message.check() == "SERVER_008";
        let mut told = history.iter().filter(|message| restarts(message));
        assert!(told.any(|message| message.json["entity"]["id"] == *faulty[0]), "{fault} is not told");
        history.retain(|message| !restarts(message));
    }
    assert_eq!(about(&history, "resolved"), BTreeSet::new(), "ended by {fault}");
    assert_eq!(about(&history, "firing"), expected, "made up by {fault}");
    if named {
        let incomplete =
            history.iter().filter(|message| message.is_epoch() && message.json["complete"] == false);
        let names = incomplete.filter(|summary| summary.json.to_string().contains(&faulty[0])).count();
        assert!(names > 0, "no summary names {}", faulty[0]);
    }
    simulation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server() {
    over("silent=1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_silent_to_varz() {
    over("silent=1:VARZ", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_silent_to_connz() {
    over("silent=1:CONNZ", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_silent_to_statz() {
    over("silent=1:STATZ", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_server() {
    over("late=1:5s", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_twice() {
    over("twice=1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_nonsense() {
    over("garbage=1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_pages_end_in_the_middle() {
    over("half-page=1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_vanishes_and_comes_back() {
    over("vanish=1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_with_a_new_id() {
    over("restart=1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_wrong_total() {
    over("wrong-total=1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_appears() {
    let cluster = real_server().await;
    let simulation = Simulation::start(&cluster, &["--fault", "appear=1@5"]).await;
    let expected = simulation.expected();
    let findings = Findings::subscribe(&cluster).await;
    let _agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "1s"]));
    let before = whole_epoch(&findings, &expected, 0).await;
    whole_epoch(&findings, &expected, before.max(6)).await;
    let history = findings.history();
    assert_eq!(about(&history, "resolved"), BTreeSet::new());
    assert_eq!(about(&history, "firing"), expected);
    let last = history.iter().rfind(|message| message.is_epoch()).unwrap();
    // Six that are simulated, and the real one.
    assert_eq!(last.json["servers"]["known"], 7, "{}", last.json);
    simulation.stop().await;
}
