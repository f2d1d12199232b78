//! The agent before simulated servers: it finds what is planted, and nothing else.

use crate::stand::{AT_MOST, Simulation, arguments, check, found, real_server};
use crate::support::{Account, Agent, Cluster};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_is_found_and_nothing_else() {
    let cluster = real_server().await;
    for options in [
        &[][..],
        &["--servers", "3", "--connections", "100", "--accounts", "10"],
        &["--servers", "3", "--connections", "100", "--accounts", "10", "--plant", "none"],
        &[
            "--servers",
            "30",
            "--accounts",
            "60",
            "--connections",
            "3000",
            "--jwt-share",
            "0.5",
            "--streams",
            "40",
        ],
        &["--servers", "9", "--accounts", "50", "--connections", "2000", "--spread", "--seed", "3"],
        &["--servers", "8", "--plant", "hot-server=2,account-near-connections=4,silent-connections=2"],
    ] {
        let simulation = Simulation::start(&cluster, options).await;
        let report = check(&cluster, &[]).await;
        assert_eq!(found(&report), simulation.expected(), "{options:?}");
        let servers = simulation.line["servers"].as_u64().unwrap() + 1;
        assert_eq!(report["epoch"]["servers"]["known"], servers, "{options:?}");
        assert_eq!(report["epoch"]["complete"], true, "{options:?}: {}", report["epoch"]);
        // Besides those of the simulation: its own and the agent's on the real server, of which the agent's does not count.
        let connections = simulation.line["connections"].as_u64().unwrap() + 1;
        assert_eq!(report["epoch"]["scanned"]["connections"], connections, "{options:?}");
        let served = simulation.stop().await;
        assert!(served["answers"].as_u64() > served["requests"].as_u64(), "{served}");
        assert_eq!(served["too_large"], 0, "{served}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_advice() {
    let cluster = Cluster::config(1).start().await;
    let options = ["--servers", "1", "--accounts", "5", "--connections", "9000", "--plant", "none"];
    let ended = Agent::run(arguments(&cluster, &options), AT_MOST).await;
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("the server's max_payload is 1048576: set `max_payload: 4MB`"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_right_to_it_is_told_so() {
    let cluster = Cluster::config(1).account(Account::new("APP").user("app")).start().await;
    // The agent's own user may ask, and nothing else.
    let agent = Agent::run(cluster.agent_args().chain(["simulate"]), AT_MOST).await;
    assert_eq!(agent.code, Some(3));
    assert!(agent.stderr.contains("may not subscribe to $SYS.REQ."), "{}", agent.stderr);
    let tenant = Agent::run(cluster.agent_args_as(0, "APP/app").chain(["simulate"]), AT_MOST).await;
    assert_eq!(tenant.code, Some(3));
    assert!(tenant.stderr.contains("needs a user of the system account"), "{}", tenant.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_are_refused() {
    let cluster = Cluster::config(1).start().await;
    for (options, part) in [
        (&["--clusters", "9"][..], "--clusters is 9, and must be from 1 to 6"),
        (&["--plant", "gremlins"], "`gremlins` is no condition"),
        (&["--fault", "gremlins=1"], "`gremlins=1` is no fault"),
        (&["--servers", "2", "--plant", "hot-server"], "hot-server cannot be planted 1 times: it needs"),
    ] {
        let ended = Agent::run(arguments(&cluster, options), AT_MOST).await;
        assert_eq!(ended.code, Some(3), "{options:?}");
        assert!(ended.stderr.contains(part), "{options:?}: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ceiling_is_measured() {
    let cluster = real_server().await;
    let ended = Agent::run(arguments(&cluster, &["--ceiling"]), AT_MOST).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ceiling: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ceiling["answers"], 30);
    let rate = |key: &str| ceiling[key].as_f64().unwrap();
    assert!(
        rate("gb_per_second_wire") > 0.0 && rate("gb_per_second_plain") > rate("gb_per_second_wire"),
        "{ceiling}"
    );
}
