//! One request, an unknown number of answers.

use super::tally::Tally;
use super::{Plan, QUIET};
use crate::nats::inbox::{Answer as Incoming, Inbox, Question};
use crate::snapshot::{Answer, Coverage, Endpoint};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::WireError;
use crate::wire::envelope::ServerInfo;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a wait looks whether the request was denied, which only an event says.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Plain bytes from which decoding is no work for a task that also waits for answers.
const LARGE: u64 = 32 * 1024;

/// How an answer is read: who answers, and what.
pub(super) type Parse<T> = fn(&[u8]) -> Result<(ServerInfo, Result<T, WireError>), WireError>;

/// What is asked, and of whom.
pub(super) struct Request<'a, T> {
    pub(super) subject: &'a str,
    pub(super) body: &'a str,
    /// Whether compressed answers are offered.
    pub(super) compressed: bool,
    pub(super) parse: Parse<T>,
    /// The servers that are waited for, by id.
    pub(super) awaited: BTreeSet<Name>,
    /// The servers that may answer as well; none for everybody.
    pub(super) others: Option<&'a BTreeSet<Name>>,
}

/// An open request to many and what has come of it.
pub(super) struct Scatter<T> {
    question: Option<Question>,
    subject: String,
    parse: Parse<T>,
    awaited: BTreeSet<Name>,
    others: Option<BTreeSet<Name>>,
    /// Awaited servers of which nothing has come.
    waiting: usize,
    /// How each server that was heard did.
    outcomes: BTreeMap<Name, Result<(), String>>,
    failed: usize,
    patience: Instant,
    deadline: Instant,
    last: Instant,
    /// The subject, if the agent's user may not publish to it.
    pub(super) denied: Option<String>,
    /// Whether nobody listens there.
    pub(super) nobody: bool,
    pub(super) tally: Tally,
}

/// When a wait for answers ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// When everybody who is awaited has answered, or the patience is over.
    ForAll,
    /// When everybody who is awaited has answered, or it has been quiet for a while: who answers late is met later.
    UntilQuiet,
}

impl<T: Send + 'static> Scatter<T> {
    /// Sends the request.
    pub(super) async fn ask(inbox: &Inbox, plan: &Plan, request: Request<'_, T>) -> Self {
        let Request { subject, body, compressed, parse, awaited, others } = request;
        let mut tally = Tally::default();
        let (mut question, now) = (None, Instant::now());
        if now < plan.deadline {
            tally.request();
            let asked = inbox.ask(subject, Bytes::copy_from_slice(body.as_bytes()), compressed).await;
            question = asked.map_err(|error| tally.note(error.to_string())).ok();
        }
        let asked_at = question.as_ref().map_or(now, |question| question.asked_at);
        Self {
            question,
            subject: subject.to_owned(),
            parse,
            waiting: awaited.len(),
            awaited,
            others: others.cloned(),
            outcomes: BTreeMap::new(),
            failed: 0,
            patience: asked_at + plan.patience,
            deadline: plan.deadline,
            last: asked_at,
            denied: None,
            nobody: false,
            tally,
        }
    }

    /// Waits for answers, never beyond the deadline. `take` gets each server's first good one, and before it the first
    /// in which it says who it is and no more.
    pub(super) async fn collect(
        &mut self,
        inbox: &Inbox,
        wait: Wait,
        mut take: impl FnMut(Name, ServerInfo, Result<T, WireError>),
    ) {
        loop {
            // Behind an answer that says nothing a good one of the same server may come, if a stranger wrote the first.
            let everybody = self.waiting == 0;
            if everybody && !self.awaited.is_empty() && self.failed == 0 {
                return;
            }
            let enough = everybody || wait == Wait::UntilQuiet;
            let quiet = if !self.outcomes.is_empty() && enough { self.last + QUIET } else { self.patience };
            let until = quiet.min(self.deadline);
            let Some(question) = &mut self.question else { return };
            tokio::select! {
                biased;
                answer = question.next() => match answer {
                    Some(answer) if !answer.no_responders => self.take(answer, &mut take).await,
                    other => {
                        self.nobody = other.is_some();
                        self.question = None;
                        return;
                    }
                },
                () = sleep_until(until.min(Instant::now() + LOOK)) => {
                    if inbox.carrier().events().denied(&self.subject) {
                        self.denied = Some(self.subject.clone());
                        self.question = None;
                        return;
                    }
                    if Instant::now() >= until {
                        return;
                    }
                }
            }
        }
    }

    /// Takes what has come already, without waiting.
    pub(super) async fn collect_waiting(
        &mut self,
        mut take: impl FnMut(Name, ServerInfo, Result<T, WireError>),
    ) {
        while let Some(answer) = self.question.as_mut().and_then(Question::waiting) {
            if !answer.no_responders {
                self.take(answer, &mut take).await;
            }
        }
    }

    /// Whether somebody who is awaited has not been heard.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Notes how each server that was awaited did.
    pub(super) fn note(&self, coverage: &mut Coverage, endpoint: Endpoint) {
        let cut = Instant::now() >= self.deadline && self.deadline < self.patience;
        for id in &self.awaited {
            let answer = match (self.outcomes.get(id), &self.denied) {
                (Some(Ok(())), _) => Answer::Complete,
                (Some(Err(why)), _) => Answer::Failed(why.clone()),
                (None, Some(subject)) => Answer::Denied(subject.clone()),
                (None, None) if cut => Answer::Partial(super::CUT.into()),
                (None, None) => Answer::Silent,
            };
            coverage.note(endpoint, id, answer);
        }
    }

    async fn take(
        &mut self,
        answer: Incoming,
        take: &mut impl FnMut(Name, ServerInfo, Result<T, WireError>),
    ) {
        self.last = answer.at;
        let (size, took) = (answer.size(), answer.at.saturating_duration_since(self.asked_at()));
        let parse = self.parse;
        let read = move || {
            let body = answer.decode().map_err(|error| (error.to_string(), None))?;
            parse(&body).map_err(|error| (error.to_string(), server_id_in(&body)))
        };
        let read = if size < LARGE {
            read()
        } else {
            let unread = |error: tokio::task::JoinError| Err((error.to_string(), None));
            tokio::task::spawn_blocking(read).await.unwrap_or_else(unread)
        };
        let (id, answered) = match read {
            Ok((info, data)) => (bounded(&info.id, NAME_BYTES), Ok((info, data))),
            Err((error, Some(id))) => (id, Err(error)),
            Err((error, None)) => return self.tally.note(error),
        };
        if id.is_empty() {
            return self.tally.note("an answer names no server".into());
        }
        let expected = self.awaited.contains(&id);
        if !expected && self.others.as_ref().is_some_and(|others| !others.contains(&id)) {
            // It was not there at the roll call: nothing could tell for what part of the system it speaks.
            return self.tally.stranger();
        }
        let before = self.outcomes.get(&id);
        let (outcome, told) = match answered {
            Ok((info, data)) => (data.as_ref().map(|_| ()).map_err(ToString::to_string), Some((info, data))),
            Err(error) => (Err(error), None),
        };
        match (before, &outcome) {
            (None, _) => {
                self.waiting -= usize::from(expected);
                self.failed += usize::from(outcome.is_err());
                self.tally.answer(size, took);
                self.tally.time(&id, took);
            }
            (Some(Err(_)), Ok(())) => {
                self.failed -= 1;
                self.tally.duplicate();
            }
            (Some(_), _) => return self.tally.duplicate(),
        }
        self.outcomes.insert(id.clone(), outcome);
        if let Some((info, data)) = told {
            take(id, info, data);
        }
    }

    fn asked_at(&self) -> Instant {
        self.question.as_ref().map_or(self.last, |question| question.asked_at)
    }
}

/// The server id in an answer that cannot be parsed as a whole: servers write who they are first.
fn server_id_in(body: &[u8]) -> Option<Name> {
    const KEY: &[u8] = b"\"id\":\"";
    let head = &body[..body.len().min(2048)];
    let at = head.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let id = std::str::from_utf8(head.get(at..at + 56)?).ok()?;
    (id.starts_with('N') && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Name::from(id))
}

#[cfg(test)]
mod tests {
    use super::server_id_in;

    #[test]
    fn half_an_answer_still_tells_whose_it_is() {
        let id = format!("N{}", "A".repeat(55));
        let half = format!(r#"{{"server":{{"name":"n1","host":"h","id":"{id}","ver":"2.1"#);
        assert_eq!(server_id_in(half.as_bytes()).as_deref(), Some(id.as_str()));
        for bad in ["", "{\"id\":\"", "{\"id\":\"NABC\"}", "\u{fffd}garbage"] {
            assert_eq!(server_id_in(bad.as_bytes()), None, "{bad}");
        }
    }
}
