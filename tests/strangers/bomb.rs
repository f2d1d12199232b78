//! Answers that are small on the network and a hundred megabytes unpacked.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use insights_agent::connection::ConnectionOptions;
use insights_agent::demo::server::{Server, find_binary};
use insights_agent::demo::topology::{Access, FileAccount, FileUser, ServerConf};
use insights_agent::nats::connect::connect;
use insights_agent::nats::events::ClientEvents;
use insights_agent::nats::gather::{Gatherer, Plan, Sweep};
use insights_agent::snapshot::{Answer, Endpoint, FoldRules};
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::impostor::{GHOST, Impostor, Reply, server};
use crate::support::eventually;

fn bomb() -> Bytes {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    let start = json!({"server": server(GHOST, "ghost")}).to_string();
    encoder.write_all(start.trim_end_matches('}').as_bytes()).unwrap();
    let spaces = vec![b' '; 1024 * 1024];
    for _ in 0..100 {
        encoder.write_all(&spaces).unwrap();
    }
    encoder.into_inner().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_and_the_server_is_judged() {
    let directory = tempfile::tempdir().unwrap();
    let user = FileUser { user: "s".into(), password: "s".into(), ..FileUser::default() };
    let system = FileAccount { name: "SYS".into(), users: vec![user], ..FileAccount::default() };
    let access = Access::File { system_account: "SYS".into(), accounts: vec![system] };
    let port = insights_agent::demo::ports::free_port().unwrap();
    let mut conf = ServerConf::new("n1", port.into(), access);
    // Servers answer with messages larger than clients may send; here a client sends such an answer.
    conf.extra = "max_payload: 33554432\n".into();
    let file = directory.path().join("n1.conf");
    std::fs::write(&file, conf.to_string()).unwrap();
    let mut process = Server::spawn(&find_binary(None).unwrap(), "n1", &file, directory.path()).unwrap();
    process.wait_ready(Duration::from_secs(20)).await.unwrap();
    let url = format!("nats://127.0.0.1:{port}");
    let client = || async {
        let options = async_nats::ConnectOptions::with_user_and_password("s".into(), "s".into());
        options.connect(&url).await.unwrap()
    };
    let options = ConnectionOptions {
        servers: vec![url.clone()],
        user: Some("s".into()),
        password: Some("s".into()),
        ..ConnectionOptions::default()
    };
    let connection = connect(&options, ClientEvents::new()).await.unwrap();
    let mut gatherer = Gatherer::start(&connection, None).await.unwrap();
    let bomb = bomb();
    assert!(bomb.len() < 16 * 1024 * 1024);
    let reply = Reply { encoding: Some("snappy"), ..Reply::bytes(bomb) };
    let _impostor = Impostor::start(client().await, move |request| {
        if request.is("PING", "STATSZ") {
            return vec![Reply::json(&json!({"server": server(GHOST, "ghost"), "statsz": {}}))];
        }
        let aimed = request.is("PING", "VARZ") || request.endpoint == "CONNZ";
        aimed.then(|| reply.clone()).into_iter().collect()
    })
    .await;
    let _others = [client().await, client().await];
    let mut epoch = 0;
    eventually("the bombs are met", 60, async || {
        epoch += 1;
        let plan = Plan {
            epoch,
            taken_at: OffsetDateTime::UNIX_EPOCH,
            deadline: Instant::now() + Duration::from_secs(40),
            patience: Duration::from_secs(5),
            connections: Sweep::Whole,
            accounts: true,
            requests: insights_agent::snapshot::Requests::all(),
            page: 8192,
            spread: Duration::ZERO,
            period: Duration::ZERO,
        };
        let snapshot = gatherer.sweep(&plan, FoldRules::none()).await;
        let real = snapshot.server_named("n1").unwrap();
        for endpoint in [Endpoint::Varz, Endpoint::Connz, Endpoint::AccountStatz] {
            assert_eq!(snapshot.coverage.answer(endpoint, &real.id), Some(&Answer::Complete));
        }
        // Two others and the impostor.
        assert_eq!(real.fold.as_ref().unwrap().clients, 3);
        let ghost = snapshot.server_named("ghost").unwrap();
        let Some(Answer::Failed(why)) = snapshot.coverage.answer(Endpoint::Connz, &ghost.id) else {
            return Err(format!("{:?}", snapshot.coverage));
        };
        assert!(why.contains("too large, however few"), "{why}");
        let noted = snapshot.coverage.notes.iter().any(|note| note.contains("larger than 64 MiB"));
        if noted { Ok(()) } else { Err(format!("{:?}", snapshot.coverage)) }
    })
    .await;
}
