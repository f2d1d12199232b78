//! What the simulation can give at the most, so that a figure measured with it can be read.

use super::{Served, Stage, StageError};
use crate::nats::connect::Connection;
use crate::nats::inbox::{Inbox, InboxError};
use crate::simulate::{Moment, Prepared, World};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Rounds over all servers.
const ROUNDS: u64 = 5;
/// Requests that wait for their answers.
const AT_ONCE: usize = 16;
/// How long all rounds may take.
const AT_MOST: Duration = Duration::from_secs(120);

/// What the simulation can give at the most, through the real server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ceiling {
    /// Answers to CONNZ.
    pub answers: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Bytes of the answers as they were sent.
    pub bytes: u64,
    /// Gigabytes (10^9) of answers a second as they were sent.
    pub gb_per_second_wire: f64,
    /// The same as the servers would print them without compression.
    pub gb_per_second_plain: f64,
}

/// Asks every server for all its connections over another connection, several times, and throws the answers away.
pub async fn ceiling(
    asker: &Connection,
    world: &World,
    prepared: Prepared,
    now: OffsetDateTime,
) -> Result<Ceiling, StageError> {
    let inbox = Inbox::open(asker).await?;
    let ids = world.answering(&Moment::start(now));
    let subjects = (0..ROUNDS).flat_map(|_| ids.iter().map(|id| format!("$SYS.REQ.SERVER.{id}.CONNZ")));
    let body = Bytes::from_static(b"{\"auth\":true,\"offset\":0,\"limit\":1073741824}");
    let began = Instant::now();
    let ask = |subject: String| {
        let (inbox, body) = (&inbox, body.clone());
        async move {
            let mut question = inbox.ask(&subject, body, true).await?;
            let answer = question.next().await;
            Ok::<_, InboxError>(answer.filter(|answer| !answer.no_responders).map(|answer| answer.size()))
        }
    };
    let (mut answers, mut bytes) = (0, 0);
    let all = async {
        let mut sizes = stream::iter(subjects.map(ask)).buffer_unordered(AT_ONCE);
        while let Some(size) = sizes.next().await {
            if let Some(size) = size? {
                answers += 1;
                bytes += size;
            }
        }
        Ok::<_, InboxError>(())
    };
    let expected = ROUNDS * ids.len() as u64;
    match tokio::time::timeout(AT_MOST, all).await {
        Ok(done) => done?,
        Err(_) => return Err(StageError::Incomplete { answers, expected, within: AT_MOST }),
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = |bytes: u64| bytes as f64 / seconds / 1e9;
    let plain = prepared.bytes_plain * ROUNDS * answers / expected.max(1);
    Ok(Ceiling { answers, seconds, bytes, gb_per_second_wire: rate(bytes), gb_per_second_plain: rate(plain) })
}

/// Serves in the background for as long as it is kept.
pub fn in_background(stage: Stage) -> AbortOnDropHandle<Result<Served, StageError>> {
    AbortOnDropHandle::new(tokio::spawn(stage.run(CancellationToken::new())))
}
