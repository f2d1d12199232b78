//! What Alertmanager is sent: retried, refreshed, ended, and never in the way of an epoch.

use crate::fake::{Fake, Received, SILENT};
use crate::support::{Agent, Findings};
use crate::{SOON, Served, args, nearly_full, shop};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_rustls::TlsAcceptor;

fn full(alert: &Value) -> bool {
    alert["labels"]["alertname"] == "ACCOUNTS_001"
}

fn time(alert: &Value, key: &str) -> OffsetDateTime {
    OffsetDateTime::parse(alert[key].as_str().unwrap(), &Rfc3339).unwrap()
}

/// The alert of the nearly full account in a request.
fn of(received: &Received) -> Option<&Value> {
    received.alerts.iter().find(|alert| full(alert))
}

fn config(urls: &[&str], more: &str) -> String {
    format!("[alertmanager]\nurls = {urls:?}\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_sent_until_it_is_taken_then_refreshed_and_ended() {
    let cluster = shop(1).start().await;
    let clients = nearly_full(&cluster).await;
    let fake = Fake::start(503).await;
    let password = cluster.dir().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let more = format!("user = 'Aladdin'\npassword_file = {password:?}\nlabels = {{ env = 'test' }}");
    let url = format!("{}/am/", fake.url());
    let served = Served::start(args(&cluster, &config(&[&url], &more))).await;
    let instance = format!("{{instance=\"{}/am\"}}", fake.url());
    let refused = fake.wait_for("an attempt", |one| of(one).is_some()).await;
    assert_eq!((refused.path.as_str(), refused.status), ("/am/api/v2/alerts", 503));
    assert_eq!(refused.authorization.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    served
        .sampled(&format!("insights_alertmanager_failures_total{instance}"), |value| value >= Some(2.0))
        .await;
    assert!(served.sample(&format!("insights_alertmanager_pending{instance}")).await >= Some(1.0));
    assert_eq!(served.sample(&format!("insights_alertmanager_alerts_sent_total{instance}")).await, Some(0.0));

    fake.answer(200);
    let taken = fake.wait_for("it is taken", |one| one.status == 200 && of(one).is_some()).await;
    let first = of(&taken).unwrap().clone();
    let labels = &first["labels"];
    assert_eq!((&labels["env"], &labels["severity"]), (&"test".into(), &"warning".into()));
    assert_eq!(labels["account"], cluster.account_id("SHOP"));
    assert_eq!(first["annotations"]["account_name"], "SHOP");
    assert!(time(&first, "endsAt") - time(&first, "startsAt") > time::Duration::minutes(4), "{first}");
    let later = |one: &Received| of(one).is_some_and(|alert| time(alert, "endsAt") > time(&first, "endsAt"));
    let refreshed = fake.wait_for("it is refreshed", later).await;
    let refreshed = of(&refreshed).unwrap();
    assert_eq!((&refreshed["labels"], &refreshed["startsAt"]), (labels, &first["startsAt"]));
    served
        .sampled(&format!("insights_alertmanager_alerts_sent_total{instance}"), |value| value >= Some(2.0))
        .await;

    drop(clients);
    let ended = |one: &Received| of(one).is_some_and(|alert| time(alert, "endsAt") < time(&first, "endsAt"));
    let end = fake.wait_for("it is ended", ended).await;
    assert_eq!(&of(&end).unwrap()["labels"], labels);
    // Told once, and then no more.
    let sent = fake.received().len();
    served.sampled("insights_epochs_total", |value| value >= Some(5.0)).await;
    let after = fake.received().split_off(sent);
    assert!(
        after.iter().filter_map(of).all(|alert| time(alert, "endsAt") < time(&first, "endsAt")),
        "{after:?}"
    );
    assert_eq!(
        served.agent.stderr().matches("Alertmanager gets no alerts").count(),
        1,
        "{}",
        served.agent.stderr()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_delays_neither_epochs_nor_the_others() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let (silent, well) = (Fake::start(SILENT).await, Fake::start(200).await);
    let mut findings = Findings::subscribe(&cluster).await;
    let more = "timeout = '1h'";
    let mut agent = Agent::start(args(&cluster, &config(&[&silent.url(), &well.url()], more)));
    silent.wait_for("the first attempt", |one| of(one).is_some()).await;
    findings.epochs(5, SOON).await;
    let first = well.wait_for("the other is told", |one| of(one).is_some()).await;
    let ends = time(of(&first).unwrap(), "endsAt");
    well.wait_for("and refreshed", |one| of(one).is_some_and(|alert| time(alert, "endsAt") > ends)).await;
    assert_eq!(silent.received().len(), 1);
    // Nor the end.
    agent.terminate();
    assert!(agent.wait(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_told_once_and_not_repeated_as_it_was() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let fake = Fake::start(400).await;
    let served = Served::start(args(&cluster, &config(&[&fake.url()], ""))).await;
    let instance = format!("{{instance=\"{}\"}}", fake.url());
    served
        .sampled(&format!("insights_alertmanager_alerts_refused_total{instance}"), |value| value >= Some(4.0))
        .await;
    assert_eq!(served.sample(&format!("insights_alertmanager_failures_total{instance}")).await, Some(0.0));
    let bodies: Vec<String> = fake.received().iter().map(|one| format!("{:?}", one.alerts)).collect();
    assert!(bodies.windows(2).all(|pair| pair[0] != pair[1]), "{bodies:?}");
    let log = served.agent.stderr();
    assert_eq!(
        log.matches("Alertmanager refuses alerts: it answers with status 400: \"as told\"").count(),
        1,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_its_own_is_trusted_and_no_other() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let fake = Fake::start_with(200, Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let url = format!("https://{}", fake.address);
    let authority = cluster.dir().join("am.pem");
    std::fs::write(&authority, cert.pem()).unwrap();
    let trusting = Agent::start(args(&cluster, &config(&[&url], &format!("tls_ca = {authority:?}"))));
    fake.wait_for("it is taken", |one| of(one).is_some()).await;
    drop(trusting);

    let received = fake.received().len();
    let stranger = Served::start(args(&cluster, &config(&[&url], ""))).await;
    let failures = format!("insights_alertmanager_failures_total{{instance=\"{url}\"}}");
    stranger.sampled(&failures, |value| value >= Some(1.0)).await;
    assert_eq!(fake.received().len(), received);
    assert!(stranger.agent.stderr().contains("certificate"), "{}", stranger.agent.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_last_is_told_before_the_end() {
    let cluster = shop(1).start().await;
    let clients = nearly_full(&cluster).await;
    let fake = Fake::start(200).await;
    let mut findings = Findings::subscribe(&cluster).await;
    let mut agent = Agent::start(args(&cluster, &config(&[&fake.url()], "")));
    let taken = fake.wait_for("it is taken", |one| of(one).is_some()).await;
    let first = time(of(&taken).unwrap(), "endsAt");
    // One attempt fails, and the next would not come before the signal but for it.
    fake.answer(503);
    drop(clients);
    findings.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.status() == "resolved").await;
    let ended = |one: &Received| of(one).is_some_and(|alert| time(alert, "endsAt") < first);
    fake.wait_for("its end is attempted", ended).await;
    fake.answer(200);
    agent.terminate();
    assert!(agent.wait(SOON).await.success());
    assert!(fake.received().iter().any(|one| one.status == 200 && ended(one)), "{:?}", fake.received());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silenced_is_not_sent() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let fake = Fake::start(200).await;
    let silence =
        "[[silence]]\nmatch = { check = 'ACCOUNTS_001' }\nreason = 'known'\nuntil = 2999-01-01T00:00:00Z\n";
    let mut agent = Agent::start(args(&cluster, &format!("{}\n{silence}", config(&[&fake.url()], ""))));
    let mut findings = Findings::subscribe(&cluster).await;
    findings.wait_for(SOON, |m| m.is_epoch() && m.json["findings"]["silenced"].as_u64() >= Some(1)).await;
    findings.epochs(2, SOON).await;
    // Whatever is left to be sent is sent at the end.
    agent.terminate();
    assert!(agent.wait(SOON).await.success());
    assert!(fake.received().iter().all(|one| of(one).is_none()), "{:?}", fake.received());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_one_sends_and_the_other_when_it_has_gone() {
    let cluster = shop(1).start().await;
    let _clients = nearly_full(&cluster).await;
    let fake = Fake::start(200).await;
    // Told apart by a label: nothing else in an alert says who sent it.
    let start = |name: &str| {
        let path = cluster.dir().join(format!("{name}.toml"));
        let more = format!("labels = {{ sender = {name:?} }}");
        std::fs::write(&path, format!("name = {name:?}\n{}", config(&[&fake.url()], &more))).unwrap();
        let path = path.to_string_lossy().into_owned();
        cluster.agent_args().chain(["run", "--epoch", "1s", "--config", &path])
    };
    let by =
        |name: &str, received: &Received| of(received).is_some_and(|alert| alert["labels"]["sender"] == name);
    let mut first = Agent::start(start("first"));
    fake.wait_for("the first sends", |one| by("first", one)).await;
    let second = Served::start(start("second")).await;
    second.until("/readyz", 200).await;
    assert_eq!(second.sample("insights_leader").await, Some(0.0));
    let so_far = fake.received().len();
    let mut findings = Findings::subscribe(&cluster).await;
    findings.epochs(3, SOON).await;
    assert!(fake.received().len() > so_far);
    assert!(!fake.received().iter().any(|one| by("second", one)), "a standby sent alerts");

    first.terminate();
    assert!(first.wait(SOON).await.success());
    let so_far = fake.received().len();
    fake.wait_for("the second sends", |one| by("second", one)).await;
    second.sampled("insights_leader", |value| value == Some(1.0)).await;
    assert!(!fake.received()[so_far..].iter().any(|one| by("first", one)));
}
