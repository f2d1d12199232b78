//! VARZ of every server.

use super::Plan;
use super::ask_one::{Missed, ask_one};
use super::lanes::{BUDGET, Lanes, WIDEST};
use super::learnt::Faded;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Endpoint, Snapshot};
use crate::text::Name;
use crate::wire::envelope::{self, ServerInfo};
use crate::wire::varz::Varz;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};

/// What servers answered.
pub(super) type Answers = BTreeMap<Name, (ServerInfo, Varz)>;

/// What the round brought, to be noted when nothing else uses the snapshot.
pub(super) struct Round {
    pub(super) answers: Answers,
    outcome: Outcome,
    tally: Tally,
}

enum Outcome {
    Scattered(Box<Scatter<Varz>>),
    Each(Vec<(Name, Answer)>),
}

impl Round {
    /// Bytes of one answer on average, if there was any.
    pub(super) fn bytes_of_an_answer(&self) -> Option<f64> {
        match &self.outcome {
            Outcome::Scattered(scatter) => scatter.tally.bytes_of_an_answer(),
            Outcome::Each(_) => self.tally.bytes_of_an_answer(),
        }
    }

    /// Adds costs and coverage to the snapshot.
    pub(super) fn settle(self, snapshot: &mut Snapshot) -> Answers {
        match self.outcome {
            Outcome::Scattered(scatter) => {
                scatter.note(&mut snapshot.coverage, Endpoint::Varz);
                scatter.tally.add_to(snapshot);
            }
            Outcome::Each(each) => {
                for (id, answer) in each {
                    snapshot.coverage.note(Endpoint::Varz, &id, answer);
                }
            }
        }
        self.tally.add_to(snapshot);
        self.answers
    }
}

/// Asks all servers at once, unless their answers together would be too much; then each by itself, some at a time.
pub(super) async fn ask_all(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    size: &Faded,
    servers: &BTreeSet<Name>,
) -> Round {
    if servers.len() as f64 * size.value() > BUDGET as f64 {
        return ask_each(inbox, plan, lanes, size, servers).await;
    }
    let request = Request {
        subject: "$SYS.REQ.SERVER.PING.VARZ",
        body: "",
        compressed: true,
        parse: envelope::parse::<Varz>,
        awaited: servers.clone(),
        others: Some(servers),
    };
    let mut answers = Answers::new();
    let mut scatter = Scatter::ask(inbox, plan, request).await;
    scatter.collect(inbox, Wait::ForAll, |id, info, varz| keep(&mut answers, id, info, varz.ok())).await;
    Round { answers, outcome: Outcome::Scattered(Box::new(scatter)), tally: Tally::default() }
}

/// Asks these servers one by one.
pub(super) async fn ask_each(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    size: &Faded,
    servers: &BTreeSet<Name>,
) -> Round {
    let asked = servers.iter().cloned().map(|id| async move {
        let mut tally = Tally::default();
        let answer = ask_server(inbox, plan, lanes, size.value() as u64, &id, &mut tally).await;
        (id, answer, tally)
    });
    let mut asked = futures_util::stream::iter(asked).buffer_unordered(WIDEST);
    let (mut answers, mut each, mut tally) = (Answers::new(), Vec::new(), Tally::default());
    while let Some((id, answer, cost)) = asked.next().await {
        tally.merge(cost);
        let outcome = match answer {
            Ok((info, varz)) => {
                keep(&mut answers, id.clone(), info, Some(varz));
                Answer::Complete
            }
            Err(answer) => answer,
        };
        each.push((id, outcome));
    }
    Round { answers, outcome: Outcome::Each(each), tally }
}

async fn ask_server(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    bytes: u64,
    id: &Name,
    tally: &mut Tally,
) -> Result<(ServerInfo, Varz), Answer> {
    let subject = format!("$SYS.REQ.SERVER.{id}.VARZ");
    let missed = |missed: Missed| missed.answer(&subject, 0);
    let Some(_pass) = lanes.enter(id, bytes, plan.deadline).await else {
        return Err(missed(Missed::Deadline));
    };
    tally.request();
    let mut asked = ask_one(inbox, plan, &subject, &serde_json::json!({})).await.map_err(missed)?;
    let mut why = None;
    loop {
        let (answer, bytes, took) = match asked.next().await {
            Ok(answer) => answer,
            Err(over) => return Err(why.map_or_else(|| missed(over), Answer::Failed)),
        };
        tally.answer(bytes, took);
        let read = answer.decode().map_err(|error| error.to_string());
        let read = read.and_then(|body| envelope::parse::<Varz>(&body).map_err(|error| error.to_string()));
        match read {
            Ok((info, _)) if *info.id != **id => tally.stranger(),
            Ok((info, Ok(varz))) => return Ok((info, varz)),
            Ok((_, Err(error))) => why = Some(error.to_string()),
            Err(error) => why = Some(error),
        }
    }
}

fn keep(answers: &mut Answers, id: Name, info: ServerInfo, varz: Option<Varz>) {
    if let Some(varz) = varz {
        answers.insert(id, (info, varz));
    }
}
