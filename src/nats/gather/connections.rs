//! The sweep over connections: page by page on each server, several servers at a time, folded while parsed.

use super::Plan;
use super::ask_one::{Missed, ask_one};
use super::lanes::{Lanes, WIDEST};
use super::learnt::Learnt;
use super::owners::{Reading, decodes};
use super::page::{Folded, Folding, Place, Unusable};
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, PageSource};
use crate::text::Name;
use crate::wire::connz::ConnzOptions;
use futures_util::StreamExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Connections by which a page overlaps the one before, so that connections closed in between are noticed.
const OVERLAP: u64 = 32;

/// How often a page is asked again further back because connections before it were closed.
const STEPS_BACK: u32 = 3;

/// Smallest page that is tried when answers are too large.
const SMALLEST_PAGE: u64 = 64;

/// What is swept on one server.
pub(super) struct Target {
    pub(super) source: PageSource,
    /// Only connections of this account; none for all.
    pub(super) account: Option<Name>,
    /// Connections that it is expected to have.
    pub(super) expected: u64,
    /// Not asked before then.
    pub(super) start: Instant,
    pub(super) reading: Reading,
}

/// How a sweep over one server ended, and what it cost.
pub(super) struct Swept {
    pub(super) id: Name,
    pub(super) account: Option<Name>,
    pub(super) answer: Answer,
    pub(super) tally: Tally,
    pub(super) reading: Reading,
    /// Whether all connections were listed, be it known whose they are or not.
    pub(super) whole: bool,
}

/// What all sweeps of an epoch share.
pub(super) struct Sweep<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) plan: &'a Plan,
    pub(super) lanes: &'a Lanes,
    pub(super) learnt: &'a Mutex<Learnt>,
    pub(super) folding: &'a Folding,
}

impl Sweep<'_> {
    /// Sweeps these, in their order as far as lanes allow it.
    pub(super) async fn run(&self, targets: Vec<Target>) -> Vec<Swept> {
        let swept = targets.into_iter().map(|target| self.sweep_one(target));
        futures_util::stream::iter(swept).buffer_unordered(WIDEST).collect().await
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        // Estimates stay usable whatever happened while they were locked.
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sweep_one(&self, target: Target) -> Swept {
        let Target { source, account, expected, start, reading } = target;
        sleep_until(start.min(self.plan.deadline)).await;
        let mut one = OneSweep {
            all: self,
            subject: format!("$SYS.REQ.SERVER.{}.CONNZ", source.server),
            source: Arc::new(source),
            account,
            expected,
            reading,
            tally: Tally::default(),
            last_cid: 0,
        };
        let listed = one.list(0).await;
        let whole = listed == Answer::Complete;
        let answer = if whole { one.read_new().await } else { listed };
        Swept {
            id: one.source.server.clone(),
            account: one.account,
            answer,
            tally: one.tally,
            reading: one.reading,
            whole,
        }
    }
}

struct OneSweep<'a> {
    all: &'a Sweep<'a>,
    subject: String,
    source: Arc<PageSource>,
    account: Option<Name>,
    expected: u64,
    reading: Reading,
    tally: Tally,
    /// The highest cid that was folded.
    last_cid: u64,
}

impl OneSweep<'_> {
    /// Lists the connections from the one on that has so many before it.
    async fn list(&mut self, from: u64) -> Answer {
        let mut answer = Answer::Complete;
        let (mut offset, mut steps_back, mut most) = (from, 0, self.all.plan.page.max(SMALLEST_PAGE));
        // The number of connections that were listed up to `last_cid`; it never grows, as new ones have higher cids.
        let mut reached = 0;
        loop {
            let whole = self.reading.asks() && decodes(self.source.version);
            let limit = self.all.learnt().page(&self.source.server, most, whole);
            let last_cid = self.last_cid;
            let place = Place { offset, last_cid, adjoin: offset > 0 && steps_back < STEPS_BACK, only: None };
            let page = match self.read_page(limit, place).await {
                Ok(page) => page,
                Err(Lost::Unusable(Unusable::TooLarge)) if limit > SMALLEST_PAGE => {
                    most = (limit / 4).max(SMALLEST_PAGE);
                    continue;
                }
                Err(lost) => return lost.answer(&self.subject, offset, self.last_cid > 0),
            };
            if page.apart && place.adjoin {
                steps_back += 1;
                offset = offset.saturating_sub(OVERLAP << (2 * steps_back));
                continue;
            }
            if page.apart {
                let why = "connections closed faster than its pages could be read, so some were passed over";
                answer = Answer::Partial(why.into());
            } else if page.repeated {
                let why = "a page lists connections twice, or not by their ids";
                answer = Answer::Partial(why.into());
            }
            let end = offset.saturating_add(page.listed);
            // A full page may have others behind it, whatever the server says how many there are.
            if page.listed < limit {
                return answer;
            }
            if page.last_cid == last_cid && end > reached {
                let why = "a page repeats the one before, although it should follow it";
                return if answer == Answer::Complete { Answer::Partial(why.into()) } else { answer };
            }
            // Whoever sends back and forth between the same connections is not followed for ever.
            if page.last_cid > last_cid {
                (reached, steps_back) = (end, 0);
            }
            self.last_cid = page.last_cid;
            self.expected = self.expected.max(page.total);
            offset = end - OVERLAP.min(page.listed / 2);
        }
    }

    /// Reads whose the connections are that the list has brought and nobody knows.
    async fn read_new(&mut self) -> Answer {
        let Some(unread) = self.reading.known().and_then(|mut known| known.take_unread()) else {
            return Answer::Complete;
        };
        let Reading::Recalled(remembered) = self.reading.clone() else {
            return Answer::Complete;
        };
        self.reading = Reading::Noted(remembered.clone());
        if !unread.cids.is_empty() {
            for cid in &unread.cids {
                if let Err(lost) = self.read_one(*cid).await {
                    return lost.of_new(unread.count);
                }
            }
            return Answer::Complete;
        }
        let now = Instant::now();
        if !remembered.lock().may_be_read(now, self.expected) {
            return Answer::Partial(format!(
                "{} connections are new, and it is not known yet whose they are: telling it costs the server much, so that \
                 it is asked only now and then",
                unread.count
            ));
        }
        self.last_cid = unread.last_cid;
        let answer = self.list(unread.from.saturating_sub(OVERLAP)).await;
        if answer == Answer::Complete {
            remembered.lock().read(now);
        }
        answer
    }

    /// Asks for a page and folds it. Behind an answer that is of no use another one may come, if a stranger wrote the
    /// first.
    async fn read_page(&mut self, limit: u64, place: Place) -> Result<Folded, Lost> {
        let options = ConnzOptions {
            auth: self.reading.asks(),
            offset: place.offset,
            limit,
            acc: self.account.as_ref().map(ToString::to_string),
            ..ConnzOptions::open()
        };
        let listed = self.expected.saturating_sub(place.offset).clamp(1, limit);
        self.read(&options, listed, place).await
    }

    /// Asks for one connection. It may have ended meanwhile.
    async fn read_one(&mut self, cid: u64) -> Result<Folded, Lost> {
        let options = ConnzOptions { cid: Some(cid), limit: 1, ..ConnzOptions::open() };
        self.read(&options, 1, Place { offset: 0, last_cid: 0, adjoin: false, only: Some(cid) }).await
    }

    async fn read(&mut self, options: &ConnzOptions, listed: u64, mut place: Place) -> Result<Folded, Lost> {
        let Sweep { inbox, plan, lanes, folding, .. } = self.all;
        let server = self.source.server.clone();
        let bytes = self.all.learnt().bytes(&server, listed);
        let pass = lanes.enter(&server, bytes, plan.deadline).await;
        let mut pass = pass.ok_or(Lost::Missed(Missed::Deadline))?;
        self.tally.request();
        let mut asked = ask_one(inbox, plan, &self.subject, options).await.map_err(Lost::Missed)?;
        let mut lost = None;
        loop {
            let (body, bytes, took) = match asked.next().await {
                Ok(answer) => answer,
                Err(missed) => {
                    if matches!(missed, Missed::Silent) {
                        lanes.judge(Duration::MAX, None);
                    }
                    return Err(lost.unwrap_or(Lost::Missed(missed)));
                }
            };
            pass.answered();
            self.tally.answer(bytes, took);
            self.tally.time(&server, took);
            match folding.add(body, &self.source, place, &self.reading, took).await {
                Ok(page) => {
                    let before = self.all.learnt().learn(&server, page.measured);
                    if place.only.is_none() {
                        lanes.judge(took, before);
                    }
                    return Ok(page);
                }
                Err(Unusable::Stranger) => {
                    self.tally.stranger();
                    lost.get_or_insert(Lost::Unusable(Unusable::Stranger));
                }
                // A smaller page mends it, which no other failure can be mended by.
                Err(Unusable::TooLarge) => lost = Some(Lost::Unusable(Unusable::TooLarge)),
                Err(why) => {
                    if let Unusable::Wire { last_cid, .. } = why
                        && place.only.is_none()
                    {
                        // What it brought before it broke is not counted again.
                        (self.last_cid, place.last_cid) = (last_cid, last_cid);
                    }
                    lost.get_or_insert(Lost::Unusable(why));
                }
            }
        }
    }
}

/// Why there is no page.
enum Lost {
    Missed(Missed),
    Unusable(Unusable),
}

impl Lost {
    /// Some of the new connections could not be read by themselves.
    fn of_new(self, count: u64) -> Answer {
        let why = match self {
            Self::Missed(missed) => missed.to_string(),
            Self::Unusable(why) => why.to_string(),
        };
        Answer::Partial(format!("{count} connections are new, and it was not told whose they are: {why}"))
    }

    /// `begun` says whether connections of the server were counted.
    fn answer(self, subject: &str, offset: u64, begun: bool) -> Answer {
        match self {
            Self::Missed(missed) => missed.answer(subject, offset),
            Self::Unusable(why) if offset == 0 && !begun => Answer::Failed(why.to_string()),
            Self::Unusable(why) => Answer::Partial(format!("the page after {offset} connections: {why}")),
        }
    }
}
