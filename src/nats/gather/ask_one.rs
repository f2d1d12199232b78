//! One request to one server.

use super::scatter::LOOK;
use super::tally::Tally;
use super::{Plan, QUIET};
use crate::nats::inbox::{self, Inbox, Question};
use crate::snapshot::Answer;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Why one answer did not come.
pub(super) enum Missed {
    Silent,
    Deadline,
    Denied,
    NoResponders,
    NotSent(String),
}

impl Missed {
    pub(super) fn answer(self, subject: &str, offset: u64) -> Answer {
        let why = match self {
            Self::Denied => return Answer::Denied(subject.to_owned()),
            Self::Silent | Self::NoResponders if offset == 0 => return Answer::Silent,
            Self::Silent | Self::NoResponders => "no answer",
            Self::Deadline if offset == 0 => return Answer::Partial(super::CUT.into()),
            Self::Deadline => super::CUT,
            Self::NotSent(why) => return Answer::Failed(why),
        };
        Answer::Partial(format!("the page after {offset} connections: {why}"))
    }
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer"),
            Self::Deadline => f.write_str(super::CUT),
            Self::Denied => f.write_str("this agent's user may not publish there"),
            Self::NoResponders => f.write_str("nobody listens there"),
            Self::NotSent(why) => f.write_str(why),
        }
    }
}

/// Why an answer is of no use.
pub(super) enum Unusable {
    /// Another server wrote it.
    Stranger,
    Broken(String),
}

/// Why one server did not tell.
pub(super) enum Untold {
    Missed(Missed),
    /// It answered, and that is of no use.
    Broken(String),
}

impl Untold {
    pub(super) fn answer(self, subject: &str, offset: u64) -> Answer {
        match self {
            Self::Missed(missed) => missed.answer(subject, offset),
            Self::Broken(why) => Answer::Failed(why),
        }
    }
}

/// Asks one server, and gives what `read` makes of the first answer that it can use, with the bytes of that. For answers
/// that are small enough to be read on the spot; pages of connections are read elsewhere, and pace the sweep.
pub(super) async fn ask_for<B: serde::Serialize + Sync, T>(
    (inbox, plan): (&Inbox, &Plan),
    (subject, body): (&str, &B),
    tally: &mut Tally,
    mut read: impl FnMut(&[u8]) -> Result<T, Unusable>,
) -> Result<(T, u64), Untold> {
    tally.request();
    let mut asked = ask_one(inbox, plan, subject, body).await.map_err(Untold::Missed)?;
    let mut why = None;
    loop {
        let (answer, bytes, took) = match asked.next().await {
            Ok(answer) => answer,
            Err(missed) => return Err(why.map_or(Untold::Missed(missed), Untold::Broken)),
        };
        tally.answer(bytes, took);
        let body = answer.decode().map_err(|error| Unusable::Broken(error.to_string()));
        match body.and_then(|body| read(&body)) {
            Ok(told) => return Ok((told, bytes)),
            Err(Unusable::Stranger) => tally.stranger(),
            Err(Unusable::Broken(error)) => why = Some(error),
        }
    }
}

/// A request to one server. Whoever may read requests may answer them as well, so that the caller has to look whose an
/// answer is, and asks for the next one if it is of no use.
pub(super) struct Asked<'a> {
    inbox: &'a Inbox,
    subject: &'a str,
    question: Question,
    until: Instant,
    deadline: Instant,
}

/// Sends a request to one server.
pub(super) async fn ask_one<'a, B: serde::Serialize + Sync>(
    inbox: &'a Inbox,
    plan: &Plan,
    subject: &'a str,
    body: &B,
) -> Result<Asked<'a>, Missed> {
    let body = serde_json::to_vec(body).map_err(|error| Missed::NotSent(error.to_string()))?;
    if Instant::now() >= plan.deadline {
        return Err(Missed::Deadline);
    }
    let question = inbox
        .ask(subject, Bytes::from(body), true)
        .await
        .map_err(|error| Missed::NotSent(error.to_string()))?;
    let until = (question.asked_at + plan.patience).min(plan.deadline);
    Ok(Asked { inbox, subject, question, until, deadline: plan.deadline })
}

impl Asked<'_> {
    /// The next answer, with its bytes and the time it took. Only the first is waited for with patience.
    pub(super) async fn next(&mut self) -> Result<(inbox::Answer, u64, Duration), Missed> {
        loop {
            tokio::select! {
                biased;
                answer = self.question.next() => {
                    let Some(answer) = answer else { return Err(Missed::Silent) };
                    if answer.no_responders {
                        return Err(Missed::NoResponders);
                    }
                    self.until = self.until.min(answer.at + QUIET);
                    let (bytes, took) = (answer.size(), answer.at - self.question.asked_at);
                    return Ok((answer, bytes, took));
                }
                () = sleep_until(self.until.min(Instant::now() + LOOK)) => {
                    if self.inbox.carrier().events().denied(self.subject) {
                        return Err(Missed::Denied);
                    }
                    if Instant::now() >= self.until {
                        return Err(if self.until == self.deadline { Missed::Deadline } else { Missed::Silent });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::carrier::Incoming;
    use crate::nats::encoding::Encoding;
    use crate::nats::gather::world::{World, plan};
    use crate::snapshot::Snapshot;
    use futures_util::StreamExt;

    /// What comes of these answers to one request, and how many of them were used and were of strangers.
    async fn told(answers: &'static [&'static str]) -> (Result<String, String>, u64, u64) {
        let incoming = |text: &&'static str| Incoming {
            token: Some(1),
            payload: Bytes::from_static(text.as_bytes()),
            encoding: Encoding::Plain,
            no_responders: false,
        };
        let answers: Vec<Incoming> = answers.iter().map(incoming).collect();
        // Nothing comes before it is asked.
        let later = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            futures_util::stream::iter(answers).chain(futures_util::stream::pending())
        };
        let answers = futures_util::stream::once(later).flatten();
        let (world, _) = World::of(Vec::new(), &[]);
        let inbox = Inbox::over(std::sync::Arc::new(world), "_INBOX.y".into(), answers.boxed());
        let read = |body: &[u8]| match std::str::from_utf8(body).unwrap() {
            "stranger" => Err(Unusable::Stranger),
            text if text.starts_with("bad") => Err(Unusable::Broken(text.into())),
            text => Ok(text.to_owned()),
        };
        let mut tally = Tally::default();
        let asked = ("$SYS.REQ.SERVER.X.VARZ", &serde_json::json!({}));
        let told = ask_for((&inbox, &plan(1)), asked, &mut tally, read).await;
        let told = told.map(|(told, _)| told).map_err(|untold| format!("{:?}", untold.answer("x", 0)));
        let mut snapshot = Snapshot::empty(1, time::OffsetDateTime::UNIX_EPOCH);
        tally.add_to(&mut snapshot);
        assert_eq!(snapshot.cost.requests, 1);
        (told, snapshot.cost.responses, snapshot.cost.strangers)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_of_use_is_taken() {
        assert_eq!(told(&["stranger", "bad", "one", "two"]).await, (Ok("one".into()), 3, 1));
        // Who wrote a stranger's answer is not who is silent.
        assert_eq!(told(&["stranger"]).await, (Err("Silent".into()), 1, 1));
        assert_eq!(told(&["bad 1", "stranger", "bad 2"]).await, (Err("Failed(\"bad 2\")".into()), 3, 1));
    }
}
