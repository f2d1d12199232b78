//! Clients that make a system look used: what `demo` shows findings about.

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

/// Connects at the same time. All at once would be a stampede, which servers and limits answer with refusals.
const AT_ONCE: usize = 16;
/// How long one connect may take; the servers are on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often each client that publishes does.
const BEAT: Duration = Duration::from_secs(1);
/// Small buffers: there may be hundreds of clients, and none has much to say.
const BUFFER: u16 = 1024;

/// Clients that are alike.
#[derive(Debug, Clone)]
pub struct Group {
    /// The server; they stay with it.
    pub url: String,
    /// The text of their credentials file.
    pub creds: String,
    /// Their name.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Where each publishes now and then; none for clients that never say anything.
    pub publishes: Option<String>,
    /// What each subscribes to.
    pub subscribes: Vec<String>,
}

/// A client that cannot do its part.
#[derive(Debug, thiserror::Error)]
#[error("the client {name} cannot use {url}: {reason}")]
pub struct LoadError {
    name: String,
    url: String,
    reason: String,
}

/// Open clients; dropping it closes them.
#[derive(Debug)]
pub struct Load {
    clients: Vec<OneClient>,
    _traffic: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct OneClient {
    client: Client,
    publishes: Option<String>,
    /// Kept, never read: a dropped one would end the subscription.
    _subscriptions: Vec<Subscriber>,
}

impl Load {
    /// Opens the clients, in about this order, and has those publish that do.
    pub async fn open(groups: Vec<Group>) -> Result<Self, LoadError> {
        let each = groups.into_iter().flat_map(|group| {
            let count = group.count;
            std::iter::repeat_n(group, count)
        });
        let mut opening = stream::iter(each.map(open_one)).buffer_unordered(AT_ONCE);
        let mut clients = Vec::new();
        while let Some(opened) = opening.next().await {
            clients.push(opened?);
        }
        let talkers: Vec<(Client, String)> =
            clients.iter().filter_map(|one| Some((one.client.clone(), one.publishes.clone()?))).collect();
        let _traffic = AbortOnDropHandle::new(tokio::spawn(talk(talkers)));
        Ok(Self { clients, _traffic })
    }

    /// How many clients are open.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

async fn open_one(group: Group) -> Result<OneClient, LoadError> {
    let failed = |reason: String| LoadError { name: group.name.clone(), url: group.url.clone(), reason };
    let client = ConnectOptions::with_credentials(&group.creds)
        .map_err(|error| failed(error.to_string()))?
        .name(&group.name)
        .connection_timeout(PATIENCE)
        .read_buffer_capacity(BUFFER)
        .subscription_capacity(usize::from(BUFFER))
        // Where the clients are is what the findings are about.
        .ignore_discovered_servers()
        .connect(&group.url)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut subscriptions = Vec::with_capacity(group.subscribes.len());
    for subject in &group.subscribes {
        let subscribed = client.subscribe(subject.clone()).await;
        subscriptions.push(subscribed.map_err(|error| failed(error.to_string()))?);
    }
    // The first message is sent before anybody looks: a connection without one counts as never used.
    if let Some(subject) = &group.publishes {
        beat(&client, subject).await.map_err(failed)?;
    }
    client.flush().await.map_err(|error| failed(error.to_string()))?;
    Ok(OneClient { client, publishes: group.publishes, _subscriptions: subscriptions })
}

async fn beat(client: &Client, subject: &str) -> Result<(), String> {
    let sent = client.publish(subject.to_owned(), "{}".into()).await;
    sent.map_err(|error| error.to_string())
}

async fn talk(talkers: Vec<(Client, String)>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        for (client, subject) in &talkers {
            // A client whose server is gone has nothing to say; the demo notices the server.
            let _ = beat(client, subject).await;
        }
    }
}
