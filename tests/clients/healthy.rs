//! A healthy system at work gives none of these findings.

use crate::support::watched::{SOON, Watched};
use crate::support::{Account, Cluster};
use futures_util::StreamExt;

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_work_give_no_finding_over_a_dozen_epochs() {
    let account = Account::new("APP").user("service").user("caller").user("pool");
    let cluster = Cluster::operator(3).account(account).second_cluster(1).start().await;
    let mut tasks = Vec::new();
    for server in 0..4 {
        let service = cluster.connect(server, "APP/service", "service").await;
        let mut requests = service.queue_subscribe("work.>", "workers".into()).await.unwrap();
        service.flush().await.unwrap();
        let caller = cluster.connect(server, "APP/caller", "caller").await;
        tasks.push(tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    let _ = service.publish(reply, "done".into()).await;
                }
            }
        }));
        tasks.push(tokio::spawn(async move {
            for number in 0u64.. {
                let _ = caller.request(format!("work.{}", number % 50), "do".into()).await;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }));
    }
    let mut pool = Vec::new();
    for server in 0..4 {
        for client in cluster.connect_many(server, "APP/pool", "pool", 5).await {
            for subject in 0..30 {
                pool.push(client.subscribe(format!("topic.{subject}")).await.unwrap());
            }
            client.publish("topic.0", "x".into()).await.unwrap();
        }
    }
    let mut watched = Watched::start(&cluster, "").await;
    watched.findings.epochs(12, SOON).await;
    let found = crate::about(&watched, |_| true);
    assert!(found.is_empty(), "{found:#?}");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    watched.check_everything_published();
}
