//! Connections that ended since the previous epoch. A server lists those that it remembers, the newest first, so that one
//! small page is enough where little happened.

mod whose;

use super::ask_one::{Missed, Unusable, ask_one};
use super::lanes::{Lanes, WIDEST};
use super::page::is_whole;
use super::tally::Tally;
use super::{CUT, Gatherer, Plan};
use crate::nats::inbox::{self, Inbox};
use crate::snapshot::{Answer, CLOSED_GROUPS, Closed, ClosedFold, ClosedSource, Endpoint, Snapshot};
use crate::text::Name;
use crate::wire::connz::{ConnzOptions, parse};
use crate::wire::time::timestamp;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use whose::{Named, Untold, fold_untold};

/// Connections of the first page, which is the only one where few ended: a server copies and sorts all that it remembers for
/// every page.
const FIRST: u64 = 64;

/// Connections of every further page.
const FURTHER: u64 = 512;

/// Pages of one server. What ended beyond them is not told any more: an epoch is to know who was closed, not to count
/// reconnects.
const PAGES: u64 = 4;

/// Connections of all pages.
const MOST: u64 = FIRST + (PAGES - 1) * FURTHER;

/// A server notes when a connection ended before it adds it to its list, from a goroutine of its own, so that one may turn up
/// after a later look (server source).
const LATE: Duration = Duration::from_secs(1);

/// Bytes of a closed connection on the network, with its user's JWT (measured for open ones).
const BYTES: u64 = 340;

/// Where the last look at each server ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended(BTreeMap<Name, Look>);

/// The last look at a server.
#[derive(Debug, Clone)]
struct Look {
    /// The server's clock.
    at: OffsetDateTime,
    /// Connections that ended shortly before it and were taken in; none where nothing was listed, as in the first look.
    late: Option<Arc<HashSet<u64>>>,
    /// Until when the server is not asked for single ones, because that took it long.
    again_at: Option<Instant>,
}

impl Ended {
    /// Forgets all other servers.
    pub(super) fn retain(&mut self, known: &BTreeSet<Name>) {
        self.0.retain(|id, _| known.contains(id));
    }

    /// Lets the next look begin where these end.
    pub(super) fn back_to(&mut self, before: &Self) {
        for (id, look) in &mut self.0 {
            if let Some(Look { at, late, .. }) = before.0.get(id) {
                (look.at, look.late) = (*at, late.clone());
            }
        }
    }
}

/// A server to look at.
struct Target {
    source: ClosedSource,
    before: Look,
    /// The server's clock when it told its counters: what ended later is the next epoch's, as it is for them. None where it
    /// told none.
    until: Option<OffsetDateTime>,
    own: Vec<u64>,
    /// Whether the list comes without users and accounts.
    without_users: bool,
}

/// What a look at a server brought.
struct Looked {
    id: Name,
    closed: Option<(Closed, Look)>,
    answer: Answer,
    tally: Tally,
}

impl Gatherer {
    /// Asks these servers for connections that ended since their clocks of the epoch before. One that is seen for the first
    /// time is asked from the next epoch on.
    pub(super) async fn ask_closed(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        servers: &BTreeSet<Name>,
    ) {
        if !plan.requests.contains(Endpoint::Closed) {
            // Whoever asks again later begins anew.
            self.ended = Ended::default();
            return;
        }
        let mut targets = Vec::new();
        for id in servers {
            let Some(server) = snapshot.servers.get_mut(id) else { continue };
            let Some(before) = self.ended.0.get(id).cloned() else {
                if let Some(at) = server.now {
                    self.ended.0.insert(id.clone(), Look { at, late: None, again_at: None });
                }
                server.closed = Some(Closed::default());
                snapshot.coverage.note(Endpoint::Closed, id, Answer::Complete);
                continue;
            };
            let version = server.version;
            let source = ClosedSource {
                server: id.clone(),
                version: server.version,
                auth_required: server.vars.as_ref().map(|vars| vars.auth_required),
            };
            let own = self.own.iter().filter(|(server, _)| server == id).map(|(_, cid)| *cid).collect();
            let until = server.now;
            let without_users = whose::may_ask_resolver(snapshot, self.system_account.as_ref(), version);
            targets.push(Target { source, before, until, own, without_users });
        }
        let looks = targets.into_iter().map(|target| look(&self.inbox, plan, &self.lanes, target));
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(WIDEST);
        let mut looked = Vec::new();
        while let Some(one) = looks.next().await {
            looked.push(one);
        }
        drop(looks);
        for Looked { id, closed, answer, tally } in looked {
            tally.add_to(snapshot);
            snapshot.coverage.note(Endpoint::Closed, &id, answer);
            // After a look that brought nothing the next one reaches further back.
            if let Some((closed, look)) = closed {
                self.ended.0.insert(id.clone(), look);
                if let Some(server) = snapshot.servers.get_mut(&id) {
                    server.closed = Some(closed);
                }
            }
        }
    }
}

async fn look(inbox: &Inbox, plan: &Plan, lanes: &Lanes, target: Target) -> Looked {
    let id = target.source.server.clone();
    let subject = format!("$SYS.REQ.SERVER.{id}.CONNZ");
    let mut tally = Tally::default();
    let mut taken = Taken::new(target);
    let (mut page, mut offset) = (0, 0);
    loop {
        let limit = if page == 0 { FIRST } else { FURTHER };
        let asked = read(inbox, plan, lanes, (&subject, offset, limit), &mut taken, &mut tally).await;
        let done = match asked {
            Ok(done) => done,
            Err(answer) => {
                let closed = (page > 0).then(|| taken.end(true)).flatten();
                return Looked { id, closed, answer, tally };
            }
        };
        offset += limit;
        if done || page + 1 == PAGES {
            let untold = std::mem::take(&mut taken.untold);
            let parts = (inbox, plan, lanes);
            taken.named = whose::name(parts, &taken.target, &mut taken.fold, untold, &mut tally).await;
            let untold = taken.named.left;
            let closed = taken.end(!done);
            let answer = match &closed {
                Some((closed, _)) => wholeness(closed, done, untold as u64 + closed.unsure),
                None => Answer::Failed("it does not tell its time".into()),
            };
            return Looked { id, closed, answer, tally };
        }
        page += 1;
    }
}

/// What was left out may be what a check looks for: without saying so, it would pass for what did not happen.
fn wholeness(closed: &Closed, done: bool, untold: u64) -> Answer {
    if !done {
        return Answer::Partial(format!("only the last {MOST} connections that ended were read"));
    }
    if closed.ungrouped > 0 {
        return Answer::Partial(format!(
            "of connections that ended no more than {CLOSED_GROUPS} pairs of account and reason are kept apart"
        ));
    }
    if untold > 0 {
        return Answer::Partial(format!(
            "of {untold} connections that ended it is not known whose they were"
        ));
    }
    Answer::Complete
}

/// Asks for a page; whether what ended before it is known already.
async fn read(
    inbox: &Inbox,
    plan: &Plan,
    lanes: &Lanes,
    (subject, offset, limit): (&str, u64, u64),
    taken: &mut Taken,
    tally: &mut Tally,
) -> Result<bool, Answer> {
    let missed = |missed: Missed| missed.answer(subject, offset);
    let server = taken.target.source.server.clone();
    let Some(mut pass) = lanes.enter(&server, limit * BYTES, plan.deadline).await else {
        return Err(Answer::Partial(CUT.into()));
    };
    tally.request();
    let auth = !taken.target.without_users;
    let options = ConnzOptions { auth, state: 1, sort: "stop", offset, limit, ..ConnzOptions::open() };
    let mut asked = ask_one(inbox, plan, subject, &options).await.map_err(missed)?;
    let mut why = None;
    loop {
        let (answer, bytes, took) = match asked.next().await {
            Ok(answer) => answer,
            Err(over) => return Err(why.map_or_else(|| missed(over), Answer::Failed)),
        };
        pass.answered();
        tally.answer(bytes, took);
        tally.time(&server, took);
        // A page of JWTs takes milliseconds, which must not hold up the reader of answers.
        let mut work = std::mem::take(taken);
        let done = tokio::task::spawn_blocking(move || {
            let read = work.page(answer, limit);
            (work, read)
        });
        match done.await {
            Ok((work, read)) => {
                *taken = work;
                match read {
                    Ok(done) => return Ok(done),
                    Err(Unusable::Stranger) => {
                        tally.stranger();
                        why.get_or_insert("another server answered".into());
                    }
                    Err(Unusable::Broken(error)) => why = Some(error),
                }
            }
            Err(error) => return Err(Answer::Failed(error.to_string())),
        }
    }
}

impl Default for Target {
    fn default() -> Self {
        let before = Look { at: OffsetDateTime::UNIX_EPOCH, late: None, again_at: None };
        Self { source: ClosedSource::default(), before, until: None, own: Vec::new(), without_users: false }
    }
}

/// What the pages of a server brought so far.
#[derive(Default)]
struct Taken {
    target: Target,
    fold: ClosedFold,
    /// Those of which only the server knows whose they were, the newest first.
    untold: Vec<Untold>,
    named: Named,
    /// Connections that were counted: while pages are read others end, so that the next page repeats some.
    counted: HashSet<u64>,
    /// Those of them that ended late enough to be met again in the next look.
    stops: Vec<(OffsetDateTime, u64)>,
    /// The moment up to which connections are looked at: by the clock in the first page where no other is known.
    now: Option<OffsetDateTime>,
}

impl Taken {
    fn new(target: Target) -> Self {
        Self { now: target.until, target, ..Self::default() }
    }

    /// The first moment that is looked at.
    fn from(&self) -> OffsetDateTime {
        let Look { at, late, .. } = &self.target.before;
        // Before the first look there is nothing to be late for.
        if late.is_some() { at.checked_sub(LATE.try_into().unwrap_or_default()).unwrap_or(*at) } else { *at }
    }

    /// Takes in a page; whether it reaches back to the look before, or there is no other.
    fn page(&mut self, answer: inbox::Answer, limit: u64) -> Result<bool, Unusable> {
        let body = answer.decode().map_err(|error| Unusable::Broken(error.to_string()))?;
        if !is_whole(&body) {
            return Err(Unusable::Broken("the answer ends early".into()));
        }
        let from = self.from();
        let (mut reached, mut listed) = (false, 0);
        let parsed = parse(&body, &mut |head, connection| {
            listed += 1;
            // Servers write who they are first; nobody lists more than was asked for.
            if head.server != *self.target.source.server || listed > limit {
                return;
            }
            self.now = self.now.or(head.now);
            let (Some(until), Some(stop)) = (self.now, timestamp(&connection.stop)) else { return };
            if stop <= from {
                reached = true;
                return;
            }
            let before = self.target.before.late.as_ref();
            let is_known = before.is_some_and(|late| late.contains(&connection.cid));
            if stop > until || is_known || !self.counted.insert(connection.cid) {
                return;
            }
            self.stops.push((stop, connection.cid));
            if self.target.own.contains(&connection.cid) {
                self.fold.add_own(&connection.reason);
                return;
            }
            match self.target.without_users {
                true => self.untold.extend(fold_untold(&mut self.fold, &self.target, connection, stop)),
                false => self.fold.add(&self.target.source, connection, stop),
            }
        });
        let page = parsed.map_err(|error| Unusable::Broken(error.to_string()))?;
        if *page.server.id != *self.target.source.server {
            return Err(Unusable::Stranger);
        }
        self.now = self.now.or(page.head.now);
        Ok(reached || page.listed < limit)
    }

    /// What was found, and where the next look begins; none where the server did not tell its time.
    fn end(mut self, at_least: bool) -> Option<(Closed, Look)> {
        let at = self.now?;
        // A page was lost before they could be asked for.
        for untold in std::mem::take(&mut self.untold) {
            self.fold.count(untold.reason());
        }
        let since = at.checked_sub(LATE.try_into().unwrap_or_default()).unwrap_or(at);
        let before = self.target.before.late.iter().flat_map(|late| late.iter().copied());
        // What was late in the look before may still be within reach of the next one, where epochs are short.
        let late = self.stops.iter().filter(|(stop, _)| *stop > since).map(|(_, cid)| *cid);
        let near = at - self.target.before.at < LATE;
        let late: HashSet<u64> = late.chain(before.filter(|_| near)).collect();
        let again_at = self.named.again_at.or(self.target.before.again_at);
        Some((self.fold.finish(at_least), Look { at, late: Some(Arc::new(late)), again_at }))
    }
}

#[cfg(test)]
mod tests;
