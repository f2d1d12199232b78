//! One answer of every server to the same request.

use super::Plan;
use super::ask_one::{Missed, Unusable, ask_for};
use super::lanes::{BUDGET, Lanes, WIDEST};
use super::learnt::Faded;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Snapshot};
use crate::text::Name;
use crate::wire::envelope::{self, ServerInfo};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct What {
    pub(super) endpoint: Endpoint,
    /// The last token of the subject.
    pub(super) request: &'static str,
    /// Options as JSON, or nothing.
    pub(super) body: &'static str,
    /// Bytes of an answer on the network until one has come.
    pub(super) bytes: f64,
}

/// What an answer of the system's servers can be.
pub(super) trait Told: DeserializeOwned + Send + 'static {}

impl<T: DeserializeOwned + Send + 'static> Told for T {}

/// What servers answered.
pub(super) type Answers<T> = BTreeMap<Name, (ServerInfo, T)>;

/// What the round brought, to be noted when nothing else uses the snapshot.
pub(super) struct Round<T> {
    what: What,
    answers: Answers<T>,
    outcome: Outcome<T>,
    tally: Tally,
}

enum Outcome<T> {
    Scattered(Box<Scatter<T>>),
    Each(Vec<(Name, Answer)>),
}

impl<T: Told> Round<T> {
    pub(super) const fn what(&self) -> What {
        self.what
    }

    /// Bytes of one answer on average, if there was any.
    pub(super) fn bytes_of_an_answer(&self) -> Option<f64> {
        match &self.outcome {
            Outcome::Scattered(scatter) => scatter.tally.bytes_of_an_answer(),
            Outcome::Each(_) => self.tally.bytes_of_an_answer(),
        }
    }

    /// Adds costs and coverage to the snapshot.
    pub(super) fn settle(self, snapshot: &mut Snapshot) -> Answers<T> {
        match self.outcome {
            Outcome::Scattered(scatter) => {
                scatter.note(&mut snapshot.coverage, self.what.endpoint);
                scatter.tally.add_to(snapshot);
            }
            Outcome::Each(each) => {
                for (id, answer) in each {
                    snapshot.coverage.note(self.what.endpoint, &id, answer);
                }
            }
        }
        self.tally.add_to(snapshot);
        self.answers
    }
}

/// Asks all servers at once, unless their answers together would be too much; then each by itself, some at a time.
pub(super) async fn ask_all<T: Told>(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    (what, size): (What, Faded),
    servers: &BTreeSet<Name>,
) -> Round<T> {
    if servers.len() as f64 * size.value() > BUDGET as f64 {
        return ask_each(inbox, plan, lanes, (what, size), servers).await;
    }
    let request = Request {
        subject: &format!("$SYS.REQ.SERVER.PING.{}", what.request),
        body: what.body,
        compressed: true,
        parse: envelope::parse::<T>,
        awaited: servers.clone(),
        others: Some(servers),
    };
    let mut answers = Answers::new();
    let mut scatter = Scatter::ask(inbox, plan, request).await;
    scatter.collect(inbox, Wait::ForAll, |id, info, told| keep(&mut answers, id, info, told.ok())).await;
    Round { what, answers, outcome: Outcome::Scattered(Box::new(scatter)), tally: Tally::default() }
}

/// Asks these servers one by one.
pub(super) async fn ask_each<T: Told>(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    (what, size): (What, Faded),
    servers: &BTreeSet<Name>,
) -> Round<T> {
    let asked = servers.iter().cloned().map(|id| async move {
        let mut tally = Tally::default();
        let options: serde_json::Value =
            serde_json::from_str(what.body).unwrap_or_else(|_| serde_json::json!({}));
        let asked = (what.request, &options, size.value() as u64);
        let answer = ask_server(inbox, plan, lanes, asked, &id, &mut tally).await;
        (id, answer, tally)
    });
    let mut asked = futures_util::stream::iter(asked).buffer_unordered(WIDEST);
    let (mut answers, mut each, mut tally) = (Answers::new(), Vec::new(), Tally::default());
    while let Some((id, answer, cost)) = asked.next().await {
        tally.merge(cost);
        let outcome = match answer {
            Ok((info, told)) => {
                keep(&mut answers, id.clone(), info, Some(told));
                Answer::Complete
            }
            Err(answer) => answer,
        };
        each.push((id, outcome));
    }
    Round { what, answers, outcome: Outcome::Each(each), tally }
}

/// Asks one server, with the last token of the subject, options, and the bytes that its answer may have.
pub(super) async fn ask_server<T: Told>(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    (request, options, bytes): (&str, &serde_json::Value, u64),
    id: &Name,
    tally: &mut Tally,
) -> Result<(ServerInfo, T), Answer> {
    let subject = format!("$SYS.REQ.SERVER.{id}.{request}");
    let Some(_pass) = lanes.enter(id, bytes, plan.deadline).await else {
        return Err(Missed::Deadline.answer(&subject, 0));
    };
    let read = |body: &[u8]| match envelope::parse::<T>(body) {
        Ok((info, _)) if *info.id != **id => Err(Unusable::Stranger),
        Ok((info, told)) => {
            told.map(|told| (info, told)).map_err(|error| Unusable::Broken(error.to_string()))
        }
        Err(error) => Err(Unusable::Broken(error.to_string())),
    };
    let told = ask_for((inbox, plan), (&subject, options), tally, read).await;
    told.map(|(told, _)| told).map_err(|untold| untold.answer(&subject, 0))
}

fn keep<T>(answers: &mut Answers<T>, id: Name, info: ServerInfo, told: Option<T>) {
    if let Some(told) = told {
        answers.insert(id, (info, told));
    }
}
