//! The agent's user loses a permission, and gets it back.

use insights_agent::permissions::Permissions;
use serde_json::json;

use crate::support::{Cluster, busy_host};
use crate::watch::{Watched, crowd, planted, rows};

const SUBJECT: &str = "$SYS.REQ.SERVER.*.CONNZ";

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_request_is_a_finding_and_blinds_only_what_needs_it() {
    let mut cluster = planted(Cluster::config(3)).max_connections(2, 14).start().await;
    let clients = crowd(&cluster, 2).await;
    let config = cluster.dir().join("insights.toml");
    std::fs::write(
        &config,
        busy_host("[accounts.FULL]\nmax_connections = 20\n[accounts.FINE]\nmax_connections = 100\n"),
    )
    .unwrap();
    let args = cluster.agent_args().chain(["--config", &config.to_string_lossy()]);
    // The last two need the sweep over connections.
    let checks = ["ACCOUNTS_001", "SERVER_011", "OPT_BALANCE_006"];
    let mut watched = Watched::start(&cluster, args, &checks).await;

    watched.findings.forget();
    let all = Permissions::defaults().publish;
    let less = all.iter().filter(|subject| **subject != SUBJECT).cloned().collect();
    cluster.allow_agent(less).await;
    let denied = watched.firing("AGENT_002", |f| f["entity"]["id"] == SUBJECT).await;
    assert_eq!(
        (&denied.json["severity"], &denied.json["entity"]["type"]),
        (&json!("warning"), &json!("subject"))
    );
    let blind = denied.json["evidence"]["blind"].as_array().unwrap();
    assert!(blind.contains(&json!("USER_002")) && !blind.contains(&json!("SERVER_011")), "{blind:?}");
    let step = denied.json["remediation"][0].as_str().unwrap();
    assert!(step.contains("insights-agent permissions"), "{step}");
    let row = |server: &str| (server.to_owned(), "CONNZ".to_owned(), "denied".to_owned());
    // Beside it stand other requests on the same subject.
    let open = |e: &serde_json::Value| {
        rows(e).into_iter().filter(|(_, what, _)| what == "CONNZ").collect::<Vec<_>>()
    };
    let summary = watched.epoch(|e| open(e) == ["n1", "n2", "n3"].map(row)).await;
    let e = &summary.json;
    assert_eq!((&e["complete"], &e["servers"]["responded"]), (&json!(false), &json!(3)), "{e}");
    let unknown = e["checks"]["unknown"].to_string();
    assert!(unknown.contains("USER_002") && !unknown.contains("SERVER_011"), "{unknown}");
    assert!(unknown.contains("may not publish to $SYS.REQ.SERVER."), "{unknown}");
    // What the sweep is not needed for goes on.
    let firing = watched.firing_in(&summary);
    assert!(firing.iter().any(|(check, id)| check == "SERVER_011" && id == "n3"), "{firing:?}");
    watched.findings.epochs(2, crate::watch::SOON).await;
    watched.nothing_ended_or_invented(&[SUBJECT, "n1", "n2", "n3"]);

    watched.findings.forget();
    cluster.allow_agent(all).await;
    watched.resolved("AGENT_002", |f| f["entity"]["id"] == SUBJECT).await;
    watched.recovers(&[]).await;
    drop(clients);
}
