//! Servers with more connections than a page has.

use crate::stand::{Simulation, check, found, real_server};

/// Looks once at one server with 20,000 connections: the report, what must be found, and all connections.
async fn looked(fault: &str) -> (serde_json::Value, Simulation, u64) {
    let cluster = real_server().await;
    let mut options =
        vec!["--servers", "1", "--clusters", "1", "--connections", "20000", "--jwt-share", "0.2"];
    if !fault.is_empty() {
        options.extend(["--faults-on-planted", "--fault", fault]);
    }
    let simulation = Simulation::start(&cluster, &options).await;
    let report = check(&cluster, &["--timeout", "10s"]).await;
    let connections = simulation.line["connections"].as_u64().unwrap() + 1;
    (report, simulation, connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_many_pages() {
    let (report, simulation, connections) = looked("").await;
    assert_eq!(found(&report), simulation.expected());
    assert_eq!(report["epoch"]["complete"], true, "{}", report["epoch"]);
    assert_eq!(report["epoch"]["scanned"]["connections"], connections);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_shift_are_read_whole_or_it_is_said_that_they_were_not() {
    let (report, simulation, connections) = looked("shifting=1").await;
    let (found, expected) = (found(&report), simulation.expected());
    assert!(found.is_subset(&expected), "made up: {:?}", found.difference(&expected));
    let epoch = &report["epoch"];
    if epoch["complete"] == true {
        assert_eq!(found, expected);
        assert_eq!(epoch["scanned"]["connections"], connections);
    } else {
        assert!(epoch["checks"]["unknown"].to_string().contains("sim1-n1"), "{epoch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_is_wrong_ends_no_list() {
    let (report, simulation, connections) = looked("wrong-total=1").await;
    assert_eq!(found(&report), simulation.expected());
    assert_eq!(report["epoch"]["scanned"]["connections"], connections);
}
