//! Messages of an account.

use crate::support::try_eventually;
use async_nats::Client;
use futures_util::StreamExt;
use std::time::Duration;

/// Waits until what this client publishes there reaches that one: interest travels at its own pace.
pub(crate) async fn wait_for_interest(publisher: &Client, subject: &str, reader: &Client) {
    let mut probe = reader.subscribe(format!("probe.{subject}")).await.unwrap();
    reader.flush().await.unwrap();
    let heard = try_eventually(20, async || {
        publisher.publish(format!("probe.{subject}"), "x".into()).await.map_err(|error| error.to_string())?;
        let heard = tokio::time::timeout(Duration::from_millis(200), probe.next()).await;
        heard.map_err(|_| "nothing heard".to_owned()).map(drop)
    });
    heard.await.unwrap();
}

/// Publishes this many MiB.
pub(crate) async fn publish(client: &Client, subject: &str, mebibytes: usize) {
    let message = vec![b'x'; 128 * 1024];
    for _ in 0..mebibytes * 8 {
        client.publish(subject.to_owned(), message.clone().into()).await.unwrap();
    }
    client.flush().await.unwrap();
}
