//! One request, an unknown number of answers.

use super::{Plan, QUIET};
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Snapshot};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::WireError;
use crate::wire::envelope::{self, ServerInfo};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a wait looks whether the request was denied, which only an event says.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Who is expected to answer.
pub(super) struct Expect {
    /// The servers known, by id.
    pub(super) ids: BTreeSet<Name>,
    /// Whether others may answer as well, and are waited for.
    pub(super) discover: bool,
}

/// What came.
pub(super) struct Scatter<T> {
    /// By server id.
    pub(super) answers: BTreeMap<Name, (ServerInfo, Result<T, WireError>)>,
    /// Answers that could not be read, by the id found in them.
    pub(super) failed: BTreeMap<Name, String>,
    /// The subject, if the agent's user may not publish to it.
    pub(super) denied: Option<String>,
}

/// Asks, and waits until everybody known has answered, or for the patience of the plan; then, if there may be others,
/// until it has been quiet for a while. Never beyond the deadline.
#[expect(clippy::too_many_arguments, reason = "a request has that many sides; each call names them in order")]
pub(super) async fn scatter<T>(
    inbox: &Inbox,
    plan: &Plan,
    subject: &str,
    body: &str,
    compressed: bool,
    expect: &Expect,
    parse: impl Fn(&[u8]) -> Result<(ServerInfo, Result<T, WireError>), WireError>,
    snapshot: &mut Snapshot,
) -> Scatter<T> {
    let mut result = Scatter { answers: BTreeMap::new(), failed: BTreeMap::new(), denied: None };
    snapshot.cost.requests += 1;
    let mut question = match inbox.ask(subject, Bytes::copy_from_slice(body.as_bytes()), compressed).await {
        Ok(question) => question,
        Err(error) => {
            snapshot.coverage.notes.push(error.to_string());
            return result;
        }
    };
    let patience = question.asked_at + plan.patience;
    let mut last = question.asked_at;
    loop {
        let everybody =
            expect.ids.iter().all(|id| result.answers.contains_key(id) || result.failed.contains_key(id));
        let known = !expect.ids.is_empty() && everybody;
        // Behind an answer that says nothing a good one of the same server may come, if a stranger wrote the first.
        let good = result.failed.is_empty() && result.answers.values().all(|(_, data)| data.is_ok());
        if known && good && !expect.discover {
            return result;
        }
        let heard = !result.answers.is_empty() || !result.failed.is_empty();
        let quiet = if heard && everybody { last + QUIET } else { patience };
        let until = quiet.min(plan.deadline);
        tokio::select! {
            biased;
            answer = question.next() => {
                let Some(answer) = answer else { return result };
                if answer.no_responders {
                    return result;
                }
                last = answer.at;
                take(&mut result, answer, expect, question.asked_at, &parse, snapshot);
            }
            () = sleep_until(until.min(Instant::now() + LOOK)) => {
                if inbox.connection().events().denied(subject) {
                    result.denied = Some(subject.to_owned());
                    return result;
                }
                if Instant::now() >= until {
                    return result;
                }
            }
        }
    }
}

/// A request that every server of the roll call answers in the usual envelope; how each did is noted.
pub(super) async fn ping<T: DeserializeOwned>(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    endpoint: Endpoint,
    subject: &str,
    body: &str,
) -> Scatter<T> {
    let expect = Expect { ids: snapshot.able(endpoint), discover: false };
    let asked = scatter(inbox, plan, subject, body, true, &expect, envelope::parse::<T>, snapshot).await;
    for id in &expect.ids {
        let answer = match (asked.answers.get(id), asked.failed.get(id), &asked.denied) {
            (Some((_, Ok(_))), _, _) => Answer::Complete,
            (Some((_, Err(error))), _, _) => Answer::Failed(error.to_string()),
            (None, Some(why), _) => Answer::Failed(why.clone()),
            (None, None, Some(subject)) => Answer::Denied(subject.clone()),
            (None, None, None) => Answer::Silent,
        };
        snapshot.coverage.note(endpoint, id, answer);
    }
    asked
}

fn take<T>(
    result: &mut Scatter<T>,
    answer: crate::nats::inbox::Answer,
    expect: &Expect,
    asked_at: Instant,
    parse: impl Fn(&[u8]) -> Result<(ServerInfo, Result<T, WireError>), WireError>,
    snapshot: &mut Snapshot,
) {
    let (size, took) = (answer.size(), answer.at - asked_at);
    let body = match answer.decode() {
        Ok(body) => body,
        Err(error) => {
            note_once(snapshot, error.to_string());
            return;
        }
    };
    match parse(&body) {
        Ok((info, data)) => {
            let id = bounded(&info.id, NAME_BYTES);
            if id.is_empty() {
                note_once(snapshot, "an answer names no server".into());
            } else if !expect.discover && !expect.ids.contains(&id) {
                // It was not there at the roll call: nothing could tell for what part of the system it speaks.
                snapshot.cost.strangers += 1;
            } else if let Some((_, before)) = result.answers.get(&id) {
                snapshot.cost.duplicates += 1;
                if before.is_err() && data.is_ok() {
                    result.answers.insert(id, (info, data));
                }
            } else {
                note_cost(snapshot, size, took);
                snapshot.cost.note_time(&id, took);
                result.answers.insert(id, (info, data));
            }
        }
        Err(error) => match server_id_in(&body) {
            Some(id) if expect.discover || expect.ids.contains(&id) => {
                result.failed.insert(id, error.to_string());
            }
            Some(_) => snapshot.cost.strangers += 1,
            None => note_once(snapshot, error.to_string()),
        },
    }
}

/// Anybody may send any number of answers; one sentence tells of all that are alike.
fn note_once(snapshot: &mut Snapshot, note: String) {
    if !snapshot.coverage.notes.contains(&note) {
        snapshot.coverage.notes.push(note);
    }
}

/// Adds an answer to the cost.
pub(super) fn note_cost(snapshot: &mut Snapshot, bytes: u64, took: Duration) {
    snapshot.cost.responses += 1;
    snapshot.cost.bytes += bytes;
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    snapshot.cost.slowest_server_ms = snapshot.cost.slowest_server_ms.max(took);
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
