//! Nothing is found on a healthy system of any supported version.

use crate::support::watched::Watched;
use crate::support::{Account, Cluster, is_too_old, limits, server_of_version};
use crate::traffic;
use std::time::Duration;

async fn super_cluster(version: &str) {
    let cluster = crate::super_cluster(version).await;
    let _traffic = traffic::start(&cluster, &[0, 1, 2, 3, 4], "APP/a", 3).await;
    is_silent(&cluster, version).await;
}

async fn operator_cluster(version: &str) {
    let app = Account::new("APP").limits(limits().conn(500).subs(500)).user("a").jetstream();
    let cluster =
        Cluster::operator(3).jetstream().account(app).binary(&server_of_version(version)).start().await;
    let _traffic = traffic::start(&cluster, &[0, 1, 2], "APP/a", 3).await;
    is_silent(&cluster, version).await;
}

/// For more epochs than any check needs before it says something.
async fn is_silent(cluster: &Cluster, version: &str) {
    // Declared, because no server tells the limits of accounts in configuration files.
    let declared = "[accounts.APP]\nmax_connections = 1000\nmax_subscriptions = 1000\nmax_leafnodes = 10\n\
                    [accounts.SYS]\nmax_connections = 1000\nmax_subscriptions = 1000\nmax_leafnodes = 10\n";
    let config = if cluster.is_operator() { "" } else { declared };
    let mut watched = Watched::start(cluster, config).await;
    let last = watched.findings.epochs(13, Duration::from_secs(90)).await;
    let lines = crate::told(&watched.findings.history());
    assert!(lines.is_empty(), "{version}:\n{}", crate::list(&lines));
    let summary = &last.json;
    assert_eq!(summary["complete"], true, "{summary}");
    let unknown: Vec<String> = summary["checks"]["unknown"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !is_too_old(version, row["check"].as_str().unwrap()))
        .map(|row| format!("{} {}: {}", row["check"], row["entity"], row["reason"]))
        .collect();
    assert!(unknown.is_empty(), "{version}: {unknown:#?}");
    watched.check_everything_published();
}

macro_rules! on {
    ($($name:ident: $version:literal),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            super_cluster($version).await;
        }
    )+};
}

on! {
    nothing_is_found_on_2_10_26: "2.10.26",
    nothing_is_found_on_2_11_11: "2.11.11",
    nothing_is_found_on_2_12_8: "2.12.8",
    nothing_is_found_on_2_14_6: "2.14.6",
    nothing_is_found_on_2_15_1: "2.15.1",
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_with_jwts_on_the_oldest_and_the_newest() {
    operator_cluster("2.10.26").await;
    operator_cluster("2.15.1").await;
}
