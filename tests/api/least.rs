//! The least-privilege user, in both ways of writing accounts, and one that may do less.

use insights_agent::demo::topology::{Access, FileUser, ServerConf};
use insights_agent::permissions::Permissions;

use crate::ask::{Asked, SOON, ask, planted};
use crate::support::{Agent, Cluster, Findings, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_a_configuration_file_can_be_asked_as_well() {
    // Its limits are not visible, so that nothing of them can be judged.
    let cluster = planted(Cluster::config(2)).start().await;
    let _clients = cluster.connect_many(0, "FULL/full", "full", 19).await;
    let mut findings = Findings::subscribe(&cluster).await;
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", "2s"]));
    findings.epochs(2, SOON).await;
    let admin = cluster.connect(1, "SYS/admin", "asker").await;
    let told = ask(&admin, "insights.api.check.ACCOUNTS_001", "").await.unwrap();
    let rows = told["unknown"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["entity"] == "FULL"), "{told}");
    assert!(ask(&admin, "$SRV.INFO.insights", "").await.is_ok());
    let told = agent.stderr();
    assert!(!told.contains("WARN") && !told.contains("ERROR"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_privilege_user_in_operator_mode_is_refused_nothing() {
    let asked = Asked::start().await;
    for subject in
        ["insights.api.findings", "insights.api.check.USER_002", "$SRV.PING", "$SRV.STATS.insights"]
    {
        assert!(asked.ask(subject, "").await.is_ok(), "{subject}");
    }
    let told = asked.agent.stderr();
    assert!(!told.contains("WARN") && !told.contains("ERROR"), "{told}");
    let log = asked.cluster.log_end(0);
    assert!(!log.contains("Permissions Violation"), "{log}");
}

/// A user made for an agent that could not be asked: everything else works, and one line says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_it_is_said_once_and_the_agent_goes_on() {
    let Permissions { publish, subscribe, .. } = Permissions::defaults();
    for (subscribe, said, not_said) in [
        (subscribe, "nobody can ask there", "allow_responses"),
        (Permissions::defaults().subscriptions(), "allow_responses", "nobody can ask there"),
    ] {
        let old = FileUser {
            user: "old".into(),
            password: "old".into(),
            publish: publish.clone(),
            subscribe,
            responses: false,
        };
        let with_old = move |_: usize, conf: &mut ServerConf| {
            if let Access::File { accounts, .. } = &mut conf.access {
                let system = accounts.iter_mut().find(|account| account.name == "SYS").unwrap();
                system.users.push(old.clone());
            }
        };
        let cluster = Cluster::config(1).edit(with_old).start().await;
        let mut findings = Findings::subscribe(&cluster).await;
        let args = ["--server", &cluster.url(0), "--user", "old", "--password", "old"];
        let agent = Agent::start(crate::support::AgentArgs::from(args).chain(["run", "--epoch", "1s"]));
        findings.epochs(2, SOON).await;
        let admin = cluster.connect(0, "SYS/admin", "asker").await;
        for _ in 0..5 {
            // It is heard in one of the cases, and answered in neither.
            let inbox = admin.new_inbox();
            admin.publish_with_reply("insights.api.epoch", inbox, "".into()).await.unwrap();
        }
        admin.flush().await.unwrap();
        eventually("the log says what is missing", 30, async || {
            let told = agent.stderr();
            if told.contains(said) { Ok(()) } else { Err(told) }
        })
        .await;
        let summary = findings.epochs(2, SOON).await;
        let told = agent.stderr();
        assert_eq!((told.matches("WARN").count(), told.matches("ERROR").count()), (1, 0), "{told}");
        assert!(!told.contains(not_said), "{told}");
        // It is no reason to call an epoch incomplete.
        assert_eq!(summary.json["complete"], true, "{}", summary.json);
        assert!(findings.history().iter().all(|m| m.check() != "AGENT_002"));
    }
}
