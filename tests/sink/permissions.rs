//! Users that may too little.

use crate::support::{Account, Cluster, Findings};
use crate::{Reader, SOON, fill, start, table, tenant};
use insights_agent::config::Config;
use insights_agent::permissions::Permissions;

fn least() -> Permissions {
    Permissions::for_sink(&Config::default())
}

/// What the summary says is wrong where the sink's user lacks a subject.
async fn told_without(subject: &str, account: impl Fn(Account) -> Account) -> String {
    let Permissions { publish, subscribe, .. } = least();
    let less =
        |list: Vec<String>| -> Vec<String> { list.into_iter().filter(|known| known != subject).collect() };
    let (publish, mut subscribe) = (less(publish), less(subscribe));
    if subscribe.is_empty() {
        subscribe.push("nothing".into());
    }
    let sink = account(Account::new("INSIGHTS").restricted_user("sink", &publish, &subscribe).user("reader"));
    let cluster = Cluster::config(1).jetstream().account(sink).account(tenant("FULL")).start().await;
    let _clients = fill(&cluster, "FULL").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let agent = start(&cluster, &table(&cluster, "INSIGHTS/sink"));
    let told = heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["last_error"].is_string()).await;
    let error = told.json["sink"]["last_error"].as_str().unwrap().to_owned();
    heard.forget();
    heard.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.status() == "firing").await;
    assert!(agent.stderr().contains(&error), "{}", agent.stderr());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_missing_is_named_and_the_agent_goes_on() {
    for subject in ["$JS.API.STREAM.CREATE.INSIGHTS", "$JS.API.STREAM.INFO.KV_INSIGHTS_STATE"] {
        let told = told_without(subject, Account::jetstream).await;
        assert_eq!(
            told,
            format!("the sink's user may not publish to {subject}: allow it in the user's permissions")
        );
    }
    let told = told_without("insights.checks.>", Account::jetstream).await;
    assert!(told.starts_with("the sink's user may not publish to insights.checks."), "{told}");
    let told = told_without("_INBOX_INSIGHTS.>", Account::jetstream).await;
    assert_eq!(
        told,
        "the sink's user may not subscribe to _INBOX_INSIGHTS.>: allow it in the user's permissions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_jetstream_is_told_so() {
    let told = told_without("", |account| account).await;
    assert_eq!(
        told,
        "no JetStream answers in the account of the sink's user: enable it for the servers and for that account"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_stream_and_bucket_need_not_create_them() {
    let creates = |subject: &String| {
        subject.contains("STREAM.CREATE") || subject == "$JS.API.STREAM.NAMES" || subject == "$JS.API.INFO"
    };
    let Permissions { mut publish, subscribe, .. } = least();
    publish.retain(|subject| !creates(subject));
    let account = Account::new("INSIGHTS").jetstream().restricted_user("sink", &publish, &subscribe);
    let account = account.restricted_user("maker", &least().publish, &least().subscribe).user("reader");
    let cluster = Cluster::config(1).jetstream().account(account).account(tenant("FULL")).start().await;
    let _clients = fill(&cluster, "FULL").await;
    let reader = Reader::new(&cluster, "INSIGHTS/reader").await;
    let mut maker = start(&cluster, &table(&cluster, "INSIGHTS/maker"));
    reader.state_until("FULL", "a state", |state| state["status"] == "firing").await;
    maker.kill();
    let agent = start(&cluster, &table(&cluster, "INSIGHTS/sink"));
    let mut heard = Findings::subscribe(&cluster).await;
    heard.wait_for(SOON, |m| m.is_epoch() && m.json["sink"]["published"].as_u64() > Some(1)).await;
    assert!(!agent.stderr().contains("the sink's user may not"), "{}", agent.stderr());
}

#[test]
fn the_documentation_lists_what_the_user_needs() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sink.md")).unwrap();
    for subject in least().publish.iter().chain(&least().subscribe) {
        assert!(page.contains(&format!("\"{subject}\"")), "docs/sink.md does not list {subject}");
    }
    let listed =
        page.lines().filter(|line| line.trim().starts_with("\"$") || line.trim().starts_with("\"insights"));
    assert_eq!(listed.count(), least().publish.len(), "docs/sink.md lists more than the user needs");
}
