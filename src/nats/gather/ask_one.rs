//! One request to one server.

use super::scatter::LOOK;
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
