//! No sink: the system account exports, another account imports, and a stream lies there.

use crate::support::{Account, Builder, Cluster, Findings};
use crate::{Reader, SECONDS, SOON, Stored, fill, start, tenant};
use async_nats::jetstream::stream;
use std::collections::BTreeSet;

impl Reader {
    /// Makes a stream of everything on `insights.checks.>` in the account.
    async fn own_stream(&self, name: &str) {
        let config = stream::Config {
            name: name.into(),
            subjects: vec!["insights.checks.>".into()],
            ..stream::Config::default()
        };
        crate::support::eventually("JetStream takes a stream", SECONDS, async || {
            self.context.create_stream(config.clone()).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    async fn stream_until(&self, name: &str, what: &str, wanted: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        crate::support::eventually(what, SECONDS, async || {
            let all = self.stream(name).await?;
            let list = || all.iter().map(|m| format!("{} {}\n", m.subject, m.id())).collect::<String>();
            if all.iter().any(&wanted) { Ok(all) } else { Err(list()) }
        })
        .await
    }
}

async fn an_import_fills_a_stream(builder: Builder) {
    let monitoring = Account::new("MONITORING").jetstream().user("m").imports_everything();
    let cluster = builder.jetstream().account(monitoring).account(tenant("FULL")).start().await;
    let reader = Reader::new(&cluster, "MONITORING/m").await;
    reader.own_stream("FINDINGS").await;
    let clients = fill(&cluster, "FULL").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let _agent = start(&cluster, "");
    heard.wait_for(SOON, |m| m.check() == "ACCOUNTS_001" && m.status() == "firing").await;
    drop(clients);
    let all = reader.stream_until("FINDINGS", "the end", |m| m.is("ACCOUNTS_001", "resolved")).await;
    let first = all.iter().find(|m| m.is("ACCOUNTS_001", "firing")).unwrap();
    let published = heard.wait_for(SOON, |m| m.header("Nats-Msg-Id") == first.id()).await;
    assert_eq!((&published.subject, &published.json), (&first.subject, &first.json));
    // The second telling of the end is known as a duplicate by its id.
    heard.epochs(2, SOON).await;
    let resolved = |m: &crate::support::Message| m.check() == "ACCOUNTS_001" && m.status() == "resolved";
    assert_eq!(heard.history().iter().filter(|m| resolved(m)).count(), 2);
    let all = reader.stream("FINDINGS").await.unwrap();
    assert_eq!(all.iter().filter(|m| m.is("ACCOUNTS_001", "resolved")).count(), 1);
    assert_eq!(all.iter().map(Stored::id).collect::<BTreeSet<_>>().len(), all.len());
    assert!(all.iter().any(|m| m.json["type"] == "io.nats.insights.v1.epoch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_fills_a_stream_in_operator_mode() {
    an_import_fills_a_stream(Cluster::operator(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_fills_a_stream_in_configuration_file_mode() {
    an_import_fills_a_stream(Cluster::config(1)).await;
}

async fn tenants_see_their_own(builder: Builder, thief: Option<Account>) {
    let own = |name| tenant(name).jetstream().imports_findings();
    let mut builder = builder.jetstream().account(own("SHOP")).account(own("BANK"));
    let is_thief = thief.is_some();
    if let Some(thief) = thief {
        builder = builder.account(thief);
    }
    let cluster = builder.start().await;
    let names = if is_thief { vec!["SHOP", "BANK", "THIEF"] } else { vec!["SHOP", "BANK"] };
    let mut readers = Vec::new();
    for name in &names {
        let reader = Reader::new(&cluster, &format!("{name}/{}-u", name.to_lowercase())).await;
        reader.own_stream("MINE").await;
        readers.push(reader);
    }
    let _of_shop = fill(&cluster, "SHOP").await;
    let _of_bank = fill(&cluster, "BANK").await;
    let mut heard = Findings::subscribe(&cluster).await;
    let _agent = start(&cluster, "");
    let ids = ["SHOP", "BANK"].map(|name| cluster.account_id(name));
    for (reader, id) in readers.iter().zip(&ids) {
        let wanted = |m: &Stored| m.is("ACCOUNTS_001", "firing") && m.json["entity"]["id"] == *id;
        reader.stream_until("MINE", "the own finding", wanted).await;
    }
    heard.epochs(3, SOON).await;
    for (reader, id) in readers.iter().zip(&ids) {
        let all = reader.stream("MINE").await.unwrap();
        let own = format!("insights.checks.{id}.");
        assert!(all.iter().all(|m| m.subject.starts_with(&own)), "{all:#?}");
        assert!(all.iter().all(|m| m.json["entity"]["account"] == *id), "{all:#?}");
    }
    for thief in readers.iter().skip(2) {
        assert_eq!(thief.stream("MINE").await.unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_findings_only_in_operator_mode() {
    // Its JWT claims an import that the export does not grant.
    let thief = tenant("THIEF").jetstream().imports_findings_about("SHOP");
    tenants_see_their_own(Cluster::operator(3), Some(thief)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_findings_only_in_configuration_file_mode() {
    tenants_see_their_own(Cluster::config(1), None).await;
}
