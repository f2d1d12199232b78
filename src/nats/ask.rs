//! One question to any number of answerers, with an inbox of its own that is gone afterwards.
//!
//! For the few questions of the start-up self-test and of the demo, which need no roster and no cost. The gather asks
//! over the one inbox of [`super::inbox`].

use std::future::Future;
use std::time::Duration;

use async_nats::StatusCode;
use async_nats::service::NATS_SERVICE_ERROR;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::connect::Connection;

/// How often a wait looks whether the question was refused, which only an event says.
const LOOK: Duration = Duration::from_millis(25);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was answered.
    pub payload: Bytes,
    /// Whether the server itself answers that nobody listens on the subject (status 503).
    pub no_responders: bool,
    /// What a micro service says instead of an answer, in its own words.
    pub refusal: Option<String>,
}

/// How long to wait for answers.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// For the first answer.
    pub first: Duration,
    /// For another one after each.
    pub quiet: Duration,
}

/// A question that could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask on {subject}: {reason}")]
pub struct AskError {
    /// The question's subject.
    pub subject: String,
    /// What the client said.
    pub reason: String,
}

/// Something that can be asked.
pub trait Ask {
    /// All answers that come in time. No answer is no error; a subject that is refused ends the wait early.
    fn ask(
        &self,
        subject: &str,
        body: Bytes,
        wait: Wait,
    ) -> impl Future<Output = Result<Vec<Answer>, AskError>> + Send;
}

impl Ask for Connection {
    async fn ask(&self, subject: &str, body: Bytes, wait: Wait) -> Result<Vec<Answer>, AskError> {
        let failed = |reason: String| AskError { subject: subject.to_owned(), reason };
        let client = self.client();
        let inbox = client.new_inbox();
        // `Client::request` of async-nats 0.51 gives the first answer only, and keeps an entry for each that never comes.
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
        client
            .publish_with_reply(subject.to_owned(), inbox.clone(), body)
            .await
            .map_err(|error| failed(error.to_string()))?;

        let mut collected = Vec::new();
        let mut deadline = Instant::now() + wait.first;
        loop {
            tokio::select! {
                message = answers.next() => {
                    let Some(message) = message else { break };
                    let no_responders = message.status == Some(StatusCode::NO_RESPONDERS);
                    let headers = message.headers.unwrap_or_default();
                    let refusal = headers.get(NATS_SERVICE_ERROR).map(|text| text.as_str().to_owned());
                    collected.push(Answer { payload: message.payload, no_responders, refusal });
                    if no_responders {
                        break;
                    }
                    deadline = Instant::now() + wait.quiet;
                }
                () = sleep_until(deadline.min(Instant::now() + LOOK)) => {
                    let refused = self.events().denied(subject) || self.events().subscription_denied(&inbox);
                    if refused || Instant::now() >= deadline {
                        break;
                    }
                }
            }
        }
        // Dropping the subscription would leave the server's interest until the next message to it.
        answers.unsubscribe().await.ok();
        Ok(collected)
    }
}
