//! The sink without an agent: what would take hours, or ten thousand findings.

use crate::support::{Cluster, eventually, server_of_version};
use crate::{Reader, SECONDS, SOON, sink_account};
use insights_agent::config::SinkConfig;
use insights_agent::finding::{
    AgentInfo, CheckCounts, EPOCH_TYPE, EpochSummary, FINDING_TYPE, Finding, FindingCounts, Said, Scanned,
    ServerCounts, Status, SummaryCost, Why,
};
use insights_agent::nats::sink::Sink;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

fn at(epoch: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + epoch as i64).unwrap()
}

fn agent() -> AgentInfo {
    AgentInfo { id: "1".into(), name: "test".into(), version: "0".into() }
}

/// The finding `number`, which began in epoch 0, as it is said in this epoch.
fn finding(number: usize, epoch: u64) -> Finding {
    let account = format!("ACCOUNT-{number}");
    let started = serde_json::to_value("2027-01-15T08:00:00Z").unwrap();
    let finding = json!({
        "type": FINDING_TYPE, "fingerprint": format!("{number:032x}"), "status": "firing",
        "check": "ACCOUNTS_001", "name": "Account Connection Limit", "severity": "warning",
        "category": "saturation", "kind": "operational",
        "entity": {"type": "account", "id": account, "account": account},
        "summary": format!("account {account} uses 180 of 200 connections (90.0 %)"),
        "observed": {"value": 180, "limit": 200, "percent": 90.0, "threshold": 90.0, "unit": "connections"},
        "evidence": {"users": {"distinct": 3, "top": [{"name": "a".repeat(500), "count": 60}]}},
        "remediation": ["Close connections that are leaked."],
        "epoch": epoch, "first_seen": started, "last_seen": started, "epochs": 1,
        "system": "test", "agent": {"id": "1", "name": "test", "version": "0"},
    });
    serde_json::from_value(finding).unwrap()
}

fn firing(number: usize, epoch: u64, why: Why) -> Said {
    Said { finding: Arc::new(finding(number, epoch)), why }
}

fn ended(number: usize, epoch: u64) -> Said {
    let finding =
        Finding { status: Status::Resolved, resolved_at: Some(at(epoch)), ..finding(number, epoch) };
    Said { finding: Arc::new(finding), why: Why::Ended }
}

fn summary(epoch: u64) -> Arc<EpochSummary> {
    Arc::new(EpochSummary {
        kind_of_message: EPOCH_TYPE,
        epoch,
        started_at: at(epoch),
        duration_ms: 0,
        complete: true,
        servers: ServerCounts::default(),
        coverage: Vec::new(),
        coverage_omitted: None,
        checks: CheckCounts::default(),
        findings: FindingCounts::default(),
        silenced: Vec::new(),
        silenced_omitted: None,
        maintenance: Vec::new(),
        maintenance_omitted: None,
        scanned: Scanned::default(),
        cost: SummaryCost::default(),
        sink: None,
        agents: None,
        notes: Vec::new(),
        config: None,
        system: "test".into(),
        agent: agent(),
    })
}

/// A sink on the first server of a cluster in configuration-file mode, once it has read its bucket.
async fn sink(cluster: &Cluster, replicas: usize) -> Sink {
    let mut config = SinkConfig { replicas, ..SinkConfig::default() };
    let (user, password) = cluster.password("INSIGHTS/sink");
    config.connection.servers = vec![cluster.url(0)];
    config.connection.user = Some(user);
    config.connection.password = Some(password.into());
    config.connection.timeout = Some(Duration::from_secs(10));
    let sink = Sink::start(&config, "insights.checks");
    sink.known(SOON).await.unwrap_or_else(|| panic!("{:?}", sink.status()));
    sink
}

async fn published(sink: &Sink, least: u64) {
    eventually("everything is published", SECONDS, async || {
        let status = sink.status();
        if status.published >= least { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_findings_of_an_epoch_pass_through() {
    const FINDINGS: usize = 10_000;
    let cluster = Cluster::config(3).jetstream().account(sink_account()).start().await;
    let mut sink = sink(&cluster, 3).await;
    let said: Vec<Said> = (0..FINDINGS).map(|number| firing(number, 0, Why::Began)).collect();
    let began = Instant::now();
    sink.deliver(&said, &summary(0), "SYS", at(0));
    let took_to_deliver = began.elapsed();
    published(&sink, FINDINGS as u64 + 1).await;
    println!(
        "10,000 findings: taken in {took_to_deliver:?}, stored with 3 copies, twice, in {:?}",
        began.elapsed()
    );
    sink.finish(SOON).await;
    assert_eq!((sink.status().failed, sink.status().buffered), (0, 0));

    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let all = reader.stream("INSIGHTS").await.unwrap();
    let ids: BTreeSet<String> = all.iter().map(crate::Stored::id).collect();
    assert_eq!((all.len(), ids.len()), (FINDINGS + 1, FINDINGS + 1));
    assert_eq!(all.last().unwrap().json["type"], EPOCH_TYPE);
    let began = Instant::now();
    let next = crate::alone::sink(&cluster, 3).await;
    println!("10,000 states read in {:?}", began.elapsed());
    let bucket = reader.context.get_stream("KV_INSIGHTS_STATE").await.unwrap();
    assert_eq!(bucket.cached_info().state.messages, FINDINGS as u64);
    drop(next);
}

async fn a_life(version: Option<&str>) {
    let cluster = Cluster::config(1).jetstream().account(sink_account());
    let cluster = match version {
        Some(version) => cluster.binary(&server_of_version(version)),
        None => cluster,
    };
    let cluster = cluster.start().await;
    let first = sink(&cluster, 1).await;
    first.deliver(&[firing(1, 0, Why::Began), firing(2, 0, Why::Began)], &summary(0), "SYS", at(0));
    first.deliver(&[firing(1, 1, Why::Repeated), ended(2, 1)], &summary(1), "SYS", at(1));
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let key = |number: usize| format!("{number:032x}");
    let states = async |what: &str, wanted: &[(usize, &str)]| {
        let wanted: Vec<(String, String)> =
            wanted.iter().map(|(number, status)| (key(*number), (*status).to_owned())).collect();
        eventually(what, SECONDS, async || {
            let states = reader.states().await?;
            let seen: Vec<_> = states
                .into_iter()
                .map(|(key, state)| (key, state["status"].as_str().unwrap_or("?").to_owned()))
                .collect();
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    };
    states("both are there", &[(1, "firing"), (2, "resolved")]).await;
    drop(first);

    // The next run knows what fires, and purges after an hour what ended; another hour later nothing is left of it.
    let second = sink(&cluster, 1).await;
    second.read_again();
    let known = second.known(SOON).await.unwrap();
    assert_eq!(known.iter().map(|f| f.fingerprint.to_string()).collect::<Vec<_>>(), [key(1)]);
    second.deliver(&[firing(1, 2, Why::Repeated)], &summary(2), "SYS", at(2));
    published(&second, 2).await;
    states("an end stays", &[(1, "firing"), (2, "resolved")]).await;
    let hour = 3601;
    second.deliver(&[firing(1, hour, Why::Repeated)], &summary(hour), "SYS", at(hour));
    states("an end is purged", &[(1, "firing")]).await;
    let messages = async || {
        let bucket =
            reader.context.get_stream("KV_INSIGHTS_STATE").await.map_err(|error| error.to_string())?;
        Ok::<_, String>(bucket.cached_info().state.messages)
    };
    assert_eq!(messages().await, Ok(2), "the mark of the purge is there");
    second.deliver(&[firing(1, 2 * hour, Why::Repeated)], &summary(2 * hour), "SYS", at(2 * hour));
    eventually("its mark is erased", SECONDS, async || {
        let left = messages().await?;
        if left == 1 { Ok(()) } else { Err(format!("{left} messages")) }
    })
    .await;
    assert_eq!(second.status().failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_is_purged_and_erased() {
    a_life(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_servers_keep_findings_as_well() {
    for version in ["2.10.26", "2.11.11", "2.12.8", "2.14.6"] {
        a_life(Some(version)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_too_late_is_not_stored_twice() {
    let mut cluster = Cluster::config(1).jetstream().account(sink_account()).start().await;
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    // Within this window the stream knows duplicates itself: next to none.
    let stream = async_nats::jetstream::stream::Config {
        name: "INSIGHTS".into(),
        subjects: vec!["insights.checks.>".into()],
        duplicate_window: Duration::from_millis(100),
        ..Default::default()
    };
    reader.context.create_stream(stream).await.unwrap();
    let mut config = SinkConfig::default();
    let (user, password) = cluster.password("INSIGHTS/sink");
    config.connection.servers = vec![cluster.url(0)];
    config.connection.user = Some(user);
    config.connection.password = Some(password.into());
    config.connection.timeout = Some(Duration::from_secs(1));
    let mut sink = Sink::start(&config, "insights.checks");
    sink.known(SOON).await.unwrap();

    let said: Vec<Said> = (0..20).map(|number| firing(number, 0, Why::Began)).collect();
    sink.deliver(&said, &summary(0), "SYS", at(0));
    published(&sink, 21).await;
    cluster.pause(0);
    // Ends are told before they are stored.
    let said: Vec<Said> = (0..20).map(|number| ended(number, 1)).collect();
    sink.deliver(&said, &summary(1), "SYS", at(1));
    eventually("no acknowledgement comes", SECONDS, async || {
        let status = sink.status();
        if status.failed >= 20 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    cluster.resume(0);
    eventually("all arrive", SECONDS, async || {
        let status = sink.status();
        if status.buffered == 0 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    sink.deliver(&[], &summary(2), "SYS", at(2));
    sink.finish(SOON).await;
    let all = reader.stream("INSIGHTS").await.unwrap();
    let findings: Vec<String> =
        all.iter().filter(|m| m.is("ACCOUNTS_001", "resolved")).map(|m| m.id()).collect();
    assert_eq!(findings.len(), 20, "{findings:#?}");
    assert_eq!(findings.iter().collect::<BTreeSet<_>>().len(), 20);
}
