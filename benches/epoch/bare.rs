//! The same requests as the agent's, with the answers thrown away.

use crate::support::Cluster;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// No answer of a healthy system takes as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests of one epoch follow each other closer than that.
const BETWEEN_EPOCHS: Duration = Duration::from_millis(700);

/// A request as the agent sent it.
#[derive(Clone)]
pub(crate) struct Request {
    subject: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Listens to a running agent until it has seen the requests of a whole epoch. Its epochs must be 2 s apart or more.
pub(crate) async fn record(cluster: &Cluster) -> Vec<Request> {
    let client = cluster.connect(0, "SYS/admin", "recorder").await;
    let mut requests = client.subscribe("$SYS.REQ.>").await.unwrap();
    client.flush().await.unwrap();
    let (mut bursts, mut epoch) = (0, Vec::new());
    loop {
        match tokio::time::timeout(BETWEEN_EPOCHS, requests.next()).await {
            Ok(Some(message)) => epoch.push(Request {
                subject: message.subject.to_string(),
                headers: message.headers.unwrap_or_default(),
                body: message.payload,
            }),
            Ok(None) => panic!("the recorder lost its connection"),
            Err(_) if epoch.is_empty() => {}
            // The first burst may have begun before the recorder did.
            Err(_) if bursts > 0 => return epoch,
            Err(_) => {
                bursts += 1;
                epoch.clear();
            }
        }
    }
}

/// A client that asks and does not look at the answers.
pub(crate) struct Bare {
    client: Client,
    base: String,
    servers: usize,
    /// Answered by every server.
    to_all: Vec<Request>,
    /// Answered by one server, by its id.
    to_one: BTreeMap<String, Vec<Request>>,
    arrivals: UnboundedReceiver<(u64, usize)>,
    next: u64,
}

impl Bare {
    pub(crate) async fn connect(cluster: &Cluster, servers: usize, requests: Vec<Request>) -> Self {
        let client = cluster.connect(0, "SYS/admin", "bare").await;
        let (to_all, targeted): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| request.subject.contains(".PING."));
        let mut to_one: BTreeMap<String, Vec<Request>> = BTreeMap::new();
        for request in targeted {
            let id = request.subject.split('.').nth(3).unwrap().to_owned();
            to_one.entry(id).or_default().push(request);
        }
        let base = client.new_inbox();
        let (sender, arrivals) = unbounded_channel();
        let inbox = client.subscribe(format!("{base}.*")).await.unwrap();
        client.flush().await.unwrap();
        tokio::spawn(arrive(inbox, sender));
        Self { client, base, servers, to_all, to_one, arrivals, next: 0 }
    }

    async fn send(&mut self, request: &Request) -> u64 {
        self.next += 1;
        let reply = format!("{}.{}", self.base, self.next);
        let Request { subject, headers, body } = request.clone();
        self.client.publish_with_reply_and_headers(subject, reply, headers, body).await.unwrap();
        self.next
    }

    async fn arrival(&mut self) -> (u64, usize) {
        tokio::time::timeout(PATIENCE, self.arrivals.recv()).await.expect("an answer").unwrap()
    }

    /// All requests once: those to everybody one after another, then those to single servers, one at a time to each.
    pub(crate) async fn fetch(&mut self) -> Duration {
        let started = Instant::now();
        for request in self.to_all.clone() {
            let token = self.send(&request).await;
            let mut heard = 0;
            while heard < self.servers {
                heard += usize::from(self.arrival().await.0 == token);
            }
        }
        let mut waiting: HashMap<u64, (String, usize)> = HashMap::new();
        let first: Vec<(String, Request)> =
            self.to_one.iter().map(|(id, requests)| (id.clone(), requests[0].clone())).collect();
        for (id, request) in first {
            let token = self.send(&request).await;
            waiting.insert(token, (id, 1));
        }
        while !waiting.is_empty() {
            let (token, _) = self.arrival().await;
            let Some((id, next)) = waiting.remove(&token) else { continue };
            if let Some(request) = self.to_one[&id].get(next).cloned() {
                let token = self.send(&request).await;
                waiting.insert(token, (id, next + 1));
            }
        }
        started.elapsed()
    }
}

async fn arrive(mut inbox: async_nats::Subscriber, sender: UnboundedSender<(u64, usize)>) {
    while let Some(message) = inbox.next().await {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(token) = token else { continue };
        if sender.send((token, message.payload.len())).is_err() {
            return;
        }
    }
}
