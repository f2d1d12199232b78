//! Clients as they are: some on every server, publishing, subscribing in a queue, asking a service, and storing messages
//! in a replicated stream.

use crate::support::Cluster;
use async_nats::Client;
use async_nats::jetstream::{self, consumer, stream};
use async_nats::service::ServiceExt;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::task::JoinHandle;

/// More than the fewest connections with which a server counts as used.
const CLIENTS: usize = 12;

/// Often enough that no connection looks idle, and little enough that two processors have time for more.
const PAUSE: Duration = Duration::from_millis(250);

/// Running clients; they end when it is dropped.
pub(crate) struct Traffic {
    tasks: Vec<JoinHandle<()>>,
    _clients: Vec<Client>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts clients as `login` on these servers, of which the first has a stream made with as many replicas.
pub(crate) async fn start(cluster: &Cluster, servers: &[usize], login: &str, replicas: usize) -> Traffic {
    let mut traffic = Traffic { tasks: Vec::new(), _clients: Vec::new() };
    for server in servers {
        let clients = cluster.connect_many(*server, login, &format!("app-{server}"), CLIENTS).await;
        for client in &clients {
            traffic.tasks.push(tokio::spawn(work(client.clone())));
        }
        if *server == servers[0] || *server == servers[1] {
            traffic.tasks.push(tokio::spawn(serve(clients[0].clone())));
        }
        traffic._clients.extend(clients);
    }
    if replicas > 0 {
        let first = &traffic._clients[0];
        create(first, replicas).await;
        for client in [first, &traffic._clients[CLIENTS]] {
            traffic.tasks.push(tokio::spawn(store(client.clone())));
        }
        traffic.tasks.push(tokio::spawn(read(first.clone())));
    }
    traffic
}

/// Publishes to everybody, hears what others publish, and asks the service.
async fn work(client: Client) {
    let Ok(mut heard) = client.queue_subscribe("work.>", "workers".into()).await else { return };
    let Ok(mut all) = client.subscribe("news").await else { return };
    loop {
        // While its server is away nothing can be sent: that is a client's life.
        let _ = client.publish("work.item", "x".into()).await;
        let _ = client.publish("news", "y".into()).await;
        let _ = tokio::time::timeout(PAUSE, client.request("echo", "z".into())).await;
        let _ = tokio::time::timeout(PAUSE, async { while heard.next().await.is_some() {} }).await;
        let _ = tokio::time::timeout(Duration::ZERO, async { while all.next().await.is_some() {} }).await;
    }
}

/// An instance of a service.
async fn serve(client: Client) {
    let service = client.service_builder().start("echo", "1.0.0").await.unwrap();
    let mut endpoint = service.endpoint("echo").await.unwrap();
    while let Some(request) = endpoint.next().await {
        let _ = request.respond(Ok("z".into())).await;
    }
}

async fn create(client: &Client, replicas: usize) {
    let context = jetstream::new(client.clone());
    let config = stream::Config {
        name: "ORDERS".into(),
        subjects: vec!["orders.>".into()],
        num_replicas: replicas,
        max_messages: 10_000,
        ..stream::Config::default()
    };
    let made = crate::support::try_eventually(30, async || {
        context.create_stream(config.clone()).await.map_err(|error| error.to_string())
    });
    let stream = made.await.unwrap();
    let durable = consumer::pull::Config { durable_name: Some("reader".into()), ..Default::default() };
    stream.create_consumer(durable).await.unwrap();
}

async fn store(client: Client) {
    let context = jetstream::new(client);
    loop {
        if let Ok(stored) = context.publish("orders.new", "o".into()).await {
            let _ = tokio::time::timeout(Duration::from_secs(2), stored).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(client: Client) {
    let context = jetstream::new(client);
    loop {
        let fetched: Result<(), async_nats::Error> = async {
            let consumer: consumer::PullConsumer =
                context.get_consumer_from_stream("reader", "ORDERS").await?;
            let mut messages =
                consumer.fetch().max_messages(50).expires(Duration::from_secs(1)).messages().await?;
            while let Some(message) = messages.next().await {
                message?.ack().await?;
            }
            Ok(())
        }
        .await;
        if fetched.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
