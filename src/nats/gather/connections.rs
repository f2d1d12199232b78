//! The sweep over connections: page by page on each server, several servers at a time, folded while parsed.

use super::Plan;
use super::ask_one::{Missed, ask_one};
use super::scatter::note_cost;
use crate::nats::encoding::DecodeError;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, ConnectionFold, Endpoint, PageSource, Snapshot};
use crate::text::Name;
use crate::wire::WireError;
use crate::wire::connz::{ConnzOptions, parse};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// Servers that are swept at the same time. With compressed pages of about 1 MB this stays far below the 64 MB that a
/// server keeps pending for a client (`max_pending`).
const SERVERS_AT_ONCE: usize = 8;

/// Connections by which a page overlaps the one before, so that connections closed in between are noticed.
const OVERLAP: u64 = 32;

/// How often a page is asked again further back because connections before it were closed.
const STEPS_BACK: u32 = 3;

/// Smallest page that is tried when answers are too large.
const SMALLEST_PAGE: u64 = 64;

/// How a sweep over one server ended, and what it cost.
struct Swept {
    id: Name,
    answer: Answer,
    requests: u64,
    pages: Vec<(u64, Duration)>,
    strangers: u64,
}

/// Sweeps every server of the snapshot.
pub(super) async fn sweep(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    mut fold: ConnectionFold,
    since: &BTreeMap<Name, OffsetDateTime>,
) -> ConnectionFold {
    let sources: Vec<PageSource> = snapshot
        .servers
        .values()
        .map(|server| PageSource {
            server: server.id.clone(),
            version: server.version,
            since: since.get(&server.id).copied(),
        })
        .collect();
    for source in &sources {
        fold.server(&source.server);
    }
    let fold = Arc::new(Mutex::new(fold));
    let swept: Vec<Swept> = futures_util::stream::iter(sources)
        .map(|source| sweep_server(inbox, plan, source, &fold))
        .buffer_unordered(SERVERS_AT_ONCE)
        .collect()
        .await;
    for Swept { id, answer, requests, pages, strangers } in swept {
        snapshot.coverage.note(Endpoint::Connz, &id, answer);
        snapshot.cost.requests += requests;
        snapshot.cost.strangers += strangers;
        for (bytes, took) in pages {
            note_cost(snapshot, bytes, took);
            snapshot.cost.note_time(&id, took);
        }
    }
    // Every page was awaited, so that this is the last owner.
    match Arc::try_unwrap(fold) {
        Ok(fold) => fold.into_inner().unwrap_or_else(PoisonError::into_inner),
        Err(shared) => std::mem::replace(
            &mut *shared.lock().unwrap_or_else(PoisonError::into_inner),
            ConnectionFold::new(crate::snapshot::FoldRules::none()),
        ),
    }
}

async fn sweep_server(
    inbox: &Inbox,
    plan: &Plan,
    source: PageSource,
    fold: &Arc<Mutex<ConnectionFold>>,
) -> Swept {
    let id = source.server.clone();
    let subject = format!("$SYS.REQ.SERVER.{id}.CONNZ");
    let mut swept = Swept { id, answer: Answer::Complete, requests: 0, pages: Vec::new(), strangers: 0 };
    let source = Arc::new(source);
    let (mut offset, mut limit, mut last_cid, mut steps_back) = (0, plan.page.max(SMALLEST_PAGE), 0, 0);
    // The number of connections that were listed up to `last_cid`; it never grows, as new ones have higher cids.
    let mut reached = 0;
    loop {
        let options = ConnzOptions { offset, limit, ..ConnzOptions::open() };
        swept.requests += 1;
        let place = Place { offset, last_cid, adjoin: offset > 0 && steps_back < STEPS_BACK };
        let page = match read_page(inbox, plan, (&subject, &options), &source, fold, place, &mut swept).await
        {
            Ok(page) => page,
            Err(Lost::Unusable(Unusable::TooLarge)) if limit > SMALLEST_PAGE => {
                limit = (limit / 4).max(SMALLEST_PAGE);
                continue;
            }
            Err(lost) => {
                swept.answer = lost.answer(&subject, offset);
                return swept;
            }
        };
        if page.apart && place.adjoin {
            steps_back += 1;
            offset = offset.saturating_sub(OVERLAP << (2 * steps_back));
            continue;
        }
        if page.apart {
            let why = "connections closed faster than its pages could be read, so some were passed over";
            swept.answer = Answer::Partial(why.into());
        } else if page.repeated {
            let why = "a page lists connections twice, or not by their ids";
            swept.answer = Answer::Partial(why.into());
        }
        let end = offset.saturating_add(page.listed);
        if page.listed < limit || end >= page.total {
            return swept;
        }
        if page.last_cid == last_cid && end > reached {
            let why = "a page repeats the one before, although it should follow it";
            swept.answer = Answer::Partial(why.into());
            return swept;
        }
        // Whoever sends back and forth between the same connections is not followed for ever.
        if page.last_cid > last_cid {
            (reached, steps_back) = (end, 0);
        }
        last_cid = page.last_cid;
        offset = end - OVERLAP.min(page.listed / 2);
    }
}

/// Asks for a page and folds it. Behind an answer that is of no use another one may come, if a stranger wrote the first.
async fn read_page(
    inbox: &Inbox,
    plan: &Plan,
    (subject, options): (&str, &ConnzOptions),
    source: &Arc<PageSource>,
    fold: &Arc<Mutex<ConnectionFold>>,
    place: Place,
    swept: &mut Swept,
) -> Result<Folded, Lost> {
    let mut asked = ask_one(inbox, plan, subject, options).await.map_err(Lost::Missed)?;
    let mut lost = None;
    loop {
        let (body, bytes, took) = match asked.next().await {
            Ok(answer) => answer,
            Err(missed) => return Err(lost.unwrap_or(Lost::Missed(missed))),
        };
        swept.pages.push((bytes, took));
        match fold_page(body, Arc::clone(source), Arc::clone(fold), place).await {
            Ok(page) => return Ok(page),
            Err(Unusable::Stranger) => {
                swept.strangers += 1;
                lost.get_or_insert(Lost::Unusable(Unusable::Stranger));
            }
            // A smaller page mends it, which no other failure can be mended by.
            Err(Unusable::TooLarge) => lost = Some(Lost::Unusable(Unusable::TooLarge)),
            Err(why) => drop(lost.get_or_insert(Lost::Unusable(why))),
        }
    }
}

/// Why there is no page.
enum Lost {
    Missed(Missed),
    Unusable(Unusable),
}

impl Lost {
    fn answer(self, subject: &str, offset: u64) -> Answer {
        match self {
            Self::Missed(missed) => missed.answer(subject, offset),
            Self::Unusable(why) if offset == 0 => Answer::Failed(why.to_string()),
            Self::Unusable(why) => Answer::Partial(format!("the page after {offset} connections: {why}")),
        }
    }
}

/// Where a page belongs.
#[derive(Clone, Copy)]
struct Place {
    /// Connections that it passes over.
    offset: u64,
    /// The highest cid that was folded.
    last_cid: u64,
    /// Whether the page must begin at or before it. Connections are listed by ascending cid, so a page that begins
    /// behind it has passed over some because others before them were closed; then nothing of it is folded.
    adjoin: bool,
}

/// What a page brought.
struct Folded {
    listed: u64,
    total: u64,
    last_cid: u64,
    /// Whether it begins behind the last page's end, or has nothing to show that it does not.
    apart: bool,
    /// Whether it lists a connection that does not follow the one before.
    repeated: bool,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the answer is too large, however few connections are asked for")]
    TooLarge,
    #[error("{0}")]
    Decode(DecodeError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("another server answered")]
    Stranger,
    #[error("the page was not read to its end: {0}")]
    Task(String),
}

/// Decoding and folding is work of milliseconds, which must not hold up the reader of answers.
async fn fold_page(
    body: crate::nats::inbox::Answer,
    source: Arc<PageSource>,
    fold: Arc<Mutex<ConnectionFold>>,
    place: Place,
) -> Result<Folded, Unusable> {
    let work = move || {
        let body = body.decode().map_err(|error| match error {
            DecodeError::TooLarge => Unusable::TooLarge,
            other => Unusable::Decode(other),
        })?;
        // First without folding: nothing of a page that turns out to be cut off or a stranger's may be counted.
        let (mut first, mut before, mut repeated) = (None, 0, false);
        let page = parse(&body, &mut |_, connection| {
            first.get_or_insert(connection.cid);
            repeated |= connection.cid <= before;
            before = connection.cid;
        })?;
        if *page.server.id != *source.server {
            return Err(Unusable::Stranger);
        }
        // If it is empty, those before it were closed, and with them some between may have moved to where it does not look.
        let apart = place.offset > 0 && first.is_none_or(|cid| cid > place.last_cid);
        let mut last_cid = place.last_cid;
        let mut fold = fold.lock().unwrap_or_else(PoisonError::into_inner);
        if !(apart && place.adjoin) {
            parse(&body, &mut |head, connection| {
                if connection.cid > last_cid {
                    last_cid = connection.cid;
                    fold.add(&source, head, connection);
                }
            })?;
        }
        fold.server(&source.server).now = page.head.now;
        Ok(Folded { listed: page.listed, total: page.total, last_cid, apart, repeated })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Unusable::Task(error.to_string())))
}
