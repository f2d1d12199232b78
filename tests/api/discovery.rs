//! Discovery as `nats micro list`, `info` and `stats` ask for it.

use std::time::Duration;

use async_nats::service::{Info, PingResponse, Stats};
use futures_util::StreamExt;
use insights_agent::api::Endpoint;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::ask::{Asked, SOON, try_ask};
use crate::support::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_found_described_and_counted() {
    let asked = Asked::start().await;
    for subject in ["$SRV.PING", "$SRV.PING.insights"] {
        let ping: PingResponse = serde_json::from_value(asked.ask(subject, "").await.unwrap()).unwrap();
        assert_eq!((ping.kind.as_str(), ping.name.as_str()), ("io.nats.micro.v1.ping_response", "insights"));
        assert_eq!(ping.version, env!("CARGO_PKG_VERSION"));
        let by_id = format!("$SRV.PING.insights.{}", ping.id);
        let same: PingResponse = serde_json::from_value(asked.ask(&by_id, "").await.unwrap()).unwrap();
        assert_eq!(same.id, ping.id);
    }
    let info: Info = serde_json::from_value(asked.ask("$SRV.INFO.insights", "").await.unwrap()).unwrap();
    assert!(!info.description.is_empty());
    let endpoints: Vec<(String, String)> =
        info.endpoints.iter().map(|e| (e.name.clone(), e.subject.clone())).collect();
    let expected: Vec<(String, String)> =
        Endpoint::ALL.iter().map(|e| (e.name().to_owned(), e.subject())).collect();
    assert_eq!(endpoints, expected);
    for endpoint in &info.endpoints {
        assert_eq!(endpoint.queue_group, "q");
        assert!(endpoint.metadata.contains_key("response_schema"), "{endpoint:?}");
    }

    asked.ask("insights.api.epoch", "").await.unwrap();
    let (code, text) = asked.ask("insights.api.catalog", r#"{"chck": 1}"#).await.unwrap_err();
    let stats: Stats = serde_json::from_value(asked.ask("$SRV.STATS.insights", "").await.unwrap()).unwrap();
    let of = |name: &str| stats.endpoints.iter().find(|e| e.name == name).unwrap();
    assert!(of("epoch").requests >= 1 && of("epoch").processing_time > Duration::ZERO);
    assert_eq!((of("catalog").requests, of("catalog").errors), (1, 1));
    let last = of("catalog").last_error.clone().unwrap();
    assert_eq!((last.code, last.status), (usize::from(code), text));
    assert_eq!((of("check").requests, of("check").last_error.is_none()), (0, true));
}

/// The server passes on reply subjects that the client library does not publish to.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_subject_that_is_none_harms_nobody_else() {
    let asked = Asked::start_on(Cluster::config(1)).await;
    let address = asked.cluster.url(0).trim_start_matches("nats://").to_owned();
    let mut raw = TcpStream::connect(address).await.unwrap();
    let (user, pass) = asked.cluster.password("SYS/admin");
    let login =
        serde_json::json!({"user": user, "pass": pass, "verbose": false, "lang": "raw", "version": "1"});
    let mut said = format!("CONNECT {login}\r\n");
    for subject in ["$SRV.PING", "$SRV.INFO.insights", "$SRV.STATS.insights", "insights.api.epoch"] {
        said.push_str(&format!("PUB {subject} a..b 0\r\n\r\n"));
    }
    said.push_str("PING\r\n");
    raw.write_all(said.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut lines = BufReader::new(&mut raw);
    while !heard.ends_with("PONG\r\n") {
        assert!(lines.read_line(&mut heard).await.unwrap() > 0 && !heard.contains("-ERR"), "{heard}");
    }
    for subject in ["$SRV.PING", "$SRV.INFO.insights", "$SRV.STATS.insights", "insights.api.epoch"] {
        assert!(asked.ask(subject, "").await.is_ok(), "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_is_asked_no_more_and_a_burst_is_bounded() {
    let mut asked = Asked::start().await;
    // Far more than can wait: all are answered, some by the code that asks to come again.
    let admin = &asked.admin;
    let mut burst = futures_util::stream::FuturesUnordered::new();
    for _ in 0..200 {
        burst.push(try_ask(admin, "insights.api.catalog", ""));
    }
    let mut answered = 0;
    while let Some(answer) = burst.next().await {
        match answer.unwrap() {
            Ok(_) => answered += 1,
            Err((code, text)) => assert!(code == 429 && text.contains("busy"), "{code} {text}"),
        }
    }
    assert!(answered > 0);
    drop(burst);

    asked.agent.terminate();
    asked.agent.wait(SOON).await;
    eventually("nobody answers", 20, async || match admin.request("insights.api.epoch", "".into()).await {
        Err(error) if error.to_string().contains("no responders") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
