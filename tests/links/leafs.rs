//! Leafnodes: LEAF_001, LEAF_002, LEAF_003, OPT_SYS_006, OPT_SYS_017.

use crate::proxy::Proxy;
use crate::support::watched::Watched;
use crate::support::{Account, Builder, Cluster, server_of_version};
use crate::{PINGS, ended, found, is_about};
use async_nats::ConnectOptions;
use insights_agent::demo::ports::free_port;
use insights_agent::demo::server::{Server, find_binary};
use insights_agent::demo::topology::{Access, FileAccount, FileUser, ServerConf};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A leaf server that logs in to `hub` once for each of these users of accounts of the hub, from an account of its own each.
async fn leaf(cluster: &Cluster, name: &str, hub: u16, logins: &[&str], compression: &str) -> (Server, u16) {
    let binary = find_binary(None).unwrap();
    leaf_of(&binary, cluster, (name, ""), hub, logins, compression).await
}

/// The same of another version, with more lines in its configuration.
async fn leaf_of(
    binary: &Path,
    cluster: &Cluster,
    (name, extra): (&str, &str),
    hub: u16,
    logins: &[&str],
    compression: &str,
) -> (Server, u16) {
    let local = |n: usize| format!("L{n}");
    let account = |name: String| {
        let user = FileUser { user: name.to_lowercase(), password: "pw".into(), ..FileUser::default() };
        FileAccount { name, users: vec![user], ..FileAccount::default() }
    };
    let mut accounts: Vec<FileAccount> = (0..logins.len()).map(|n| account(local(n))).collect();
    accounts.push(account("LEAFSYS".into()));
    let port = free_port().unwrap();
    let mut conf =
        ServerConf::new(name, port.into(), Access::File { system_account: "LEAFSYS".into(), accounts });
    conf.extra = PINGS.to_owned() + extra + "leafnodes { remotes: [\n";
    for (n, login) in logins.iter().enumerate() {
        let (user, password) = cluster.password(login);
        conf.extra += &format!(
            "  {{ url: \"nats://{user}:{password}@127.0.0.1:{hub}\", account: \"{}\"{compression} }}\n",
            local(n)
        );
    }
    conf.extra += "] }\n";
    let file = cluster.dir().join(format!("{name}.conf"));
    std::fs::write(&file, conf.to_string()).unwrap();
    let mut server = Server::spawn(binary, name, &file, cluster.dir()).unwrap();
    server.wait_ready(Duration::from_secs(20)).await.unwrap();
    (server, port)
}

/// A hub for leafnodes, and its port for them.
fn hub(builder: Builder) -> (Builder, u16) {
    let port = free_port().unwrap();
    let builder = builder.extra(PINGS).edit(move |_, conf| conf.leafnode_port = Some(port));
    (builder, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn leafnodes_that_are_far_uncompressed_and_busy_are_found_and_end_with_them() {
    let accounts = ["FAR", "PLAIN", "BUSY"];
    let mut builder = Cluster::config(1);
    for account in accounts {
        builder = builder.account(Account::new(account).user(&account.to_lowercase()));
    }
    let (builder, port) = hub(builder);
    let cluster = builder.start().await;
    let proxy = Proxy::start().await;
    proxy.aim(port);
    let (far, _) = leaf(&cluster, "far", proxy.port(), &["FAR/far"], "").await;
    let (plain, _) = leaf(&cluster, "plain", port, &["PLAIN/plain"], ", compression: off").await;
    let (busy, clients) = leaf(&cluster, "busy", port, &["BUSY/busy"], "").await;
    // Far above what a busy machine takes for the others.
    let delay = Duration::from_millis(600);
    proxy.delay(delay);
    let mut watched = Watched::start(&cluster, "checks.LEAF_002.rtt = '500ms'\n").await;

    let json = found(&mut watched, "OPT_SYS_006", "plain").await;
    assert_eq!((&json["severity"], &json["entity"]["type"]), (&json!("info"), &json!("leafnode")));
    assert_eq!((&json["entity"]["account"], &json["entity"]["server"]), (&json!("PLAIN"), &Value::Null));
    assert_eq!(json["summary"], "the link of leafnode plain of account PLAIN is not compressed");
    let evidence = &json["evidence"];
    assert_eq!((&evidence["on_server"], &evidence["off_on_server"]), (&json!(3), &json!(1)), "{json}");
    let row = &evidence["off"]["top"][0];
    assert_eq!(
        (&row["server"], &row["is_spoke"], &row["compression"]),
        (&json!("n1"), &json!(false), &json!("off"))
    );

    let json = found(&mut watched, "LEAF_002", "far").await;
    assert_eq!((&json["severity"], &json["entity"]["account"]), (&json!("warning"), &json!("FAR")));
    assert!(is_about(&json["observed"]["value"], delay), "{json}");
    let evidence = &json["evidence"];
    assert_eq!(
        (&evidence["slow_connections"], &evidence["such_leafnodes"]),
        (&json!(1), &json!(1)),
        "{json}"
    );

    let options = ConnectOptions::with_user_and_password("l0".into(), "pw".into());
    let client = options.connect(format!("nats://127.0.0.1:{clients}")).await.unwrap();
    let mut subscriptions = Vec::new();
    for n in 0..20_100 {
        subscriptions.push(client.subscribe(format!("busy.{n}")).await.unwrap());
    }
    let json = found(&mut watched, "LEAF_003", "busy").await;
    assert_eq!((&json["severity"], &json["entity"]["account"]), (&json!("warning"), &json!("BUSY")));
    assert_eq!(json["observed"]["threshold"], 20_000);
    assert!((20_001..21_000).contains(&json["observed"]["value"].as_u64().unwrap()), "{json}");
    assert!(json["evidence"]["account_subscriptions"].as_u64().unwrap() >= 20_001, "{json}");

    // A hub that hears the pings of a leafnode sends none itself for an hour: it measures when the leafnode connects.
    proxy.delay(Duration::ZERO);
    proxy.cut();
    ended(&mut watched, "LEAF_002", "far").await;
    watched.findings.forget();
    proxy.mend();
    drop((subscriptions, client, busy, plain));
    ended(&mut watched, "LEAF_003", "busy").await;
    ended(&mut watched, "OPT_SYS_006", "plain").await;
    assert!(!watched.findings.history().iter().any(|m| m.check() == "LEAF_002" && m.status() == "firing"));
    drop(far);
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_of_many_leafnodes_with_compression_by_round_trip_is_found_until_one_level_is_chosen() {
    let names: Vec<String> = (0..21).map(|n| format!("EDGE{n:02}")).collect();
    let mut builder = Cluster::config(1);
    for name in &names {
        builder = builder.account(Account::new(name).user(&name.to_lowercase()));
    }
    let (builder, port) = hub(builder);
    let mut cluster = builder.start().await;
    let logins: Vec<String> = names.iter().map(|name| format!("{name}/{}", name.to_lowercase())).collect();
    let logins: Vec<&str> = logins.iter().map(String::as_str).collect();
    let (server, _) = leaf(&cluster, "edges", port, &logins, "").await;
    let mut watched = Watched::start(&cluster, "").await;
    let json = found(&mut watched, "OPT_SYS_017", "n1").await;
    assert_eq!((&json["severity"], &json["entity"]["type"]), (&json!("info"), &json!("server")));
    assert_eq!(json["observed"], json!({"value": 21, "threshold": 20, "unit": "leafnodes"}));
    assert_eq!(
        (&json["evidence"]["sign"], &json["evidence"]["accounts"]),
        (&json!("uncompressed"), &json!(21))
    );
    // Where the machine is busy a round trip may take more than 10 ms.
    let levels = json["evidence"]["levels"].as_array().unwrap();
    assert!(levels.iter().all(|level| level["name"].as_str().unwrap().starts_with("s2_")), "{json}");
    assert_eq!(levels.iter().map(|level| level["count"].as_u64().unwrap()).sum::<u64>(), 21, "{json}");
    // All of them come again; each end compresses what it sends as it is told.
    cluster.rewrite(0, |conf| {
        conf.leafnode_port = None;
        conf.extra += &format!("leafnodes {{ listen: \"127.0.0.1:{port}\", compression: s2_fast }}\n");
    });
    cluster.restart(0).await;
    ended(&mut watched, "OPT_SYS_017", "n1").await;
    drop(server);
    watched.check_everything_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_space_is_found_until_it_is_gone() {
    let (builder, port) = hub(Cluster::config(1).account(Account::new("EDGE").user("edge")));
    let cluster = builder.start().await;
    let mut watched = Watched::start(&cluster, "").await;
    // The last version that starts with such a name. With a cluster of its own it is no cluster's name, and accepted.
    let own = format!("cluster {{ name: edge, listen: \"127.0.0.1:{}\" }}\n", free_port().unwrap());
    let old = server_of_version("2.10.26");
    let (server, _) = leaf_of(&old, &cluster, ("leaf a", &own), port, &["EDGE/edge"], "").await;
    let json = found(&mut watched, "LEAF_001", "leaf a").await;
    assert_eq!((&json["severity"], &json["entity"]["account"]), (&json!("warning"), &json!("EDGE")));
    assert_eq!(json["summary"], "the name \"leaf a\" of a leafnode of account EDGE contains whitespace");
    let evidence = &json["evidence"];
    assert_eq!((&evidence["written"], &evidence["whitespace"]), (&json!("leaf a"), &json!(1)));
    assert_eq!(evidence["connections"]["connections"], 1);
    drop(server);
    ended(&mut watched, "LEAF_001", "leaf a").await;
    watched.check_everything_published();
}
