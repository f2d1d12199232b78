//! One page of connections: decoded, and folded while it is parsed.

use super::learnt::Measured;
use super::owners::Reading;
use crate::nats::encoding::DecodeError;
use crate::nats::inbox::Answer;
use crate::snapshot::{ConnectionFold, PageSource};
use crate::wire::WireError;
use crate::wire::connz::parse;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Where a page belongs.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Connections that it passes over.
    pub(super) offset: u64,
    /// The highest cid that was folded.
    pub(super) last_cid: u64,
    /// Whether the page must begin at or before it. Connections are listed by ascending cid, so a page that begins
    /// behind it has passed over some because others before them were closed; then nothing of it is folded.
    pub(super) adjoin: bool,
    /// The only connection that is asked for; none for a page.
    pub(super) only: Option<u64>,
}

/// What a page brought.
pub(super) struct Folded {
    pub(super) listed: u64,
    pub(super) total: u64,
    pub(super) last_cid: u64,
    /// Whether it begins behind the last page's end, or has nothing to show that it does not.
    pub(super) apart: bool,
    /// Whether it lists a connection that does not follow the one before.
    pub(super) repeated: bool,
    pub(super) measured: Measured,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the answer is too large, however few connections are asked for")]
    TooLarge,
    #[error("{0}")]
    Decode(DecodeError),
    /// Those up to `last_cid` were folded, and stay counted: they are connections of that server.
    #[error("{error}")]
    Wire { error: WireError, last_cid: u64 },
    #[error("its connections stand before the server that they belong to")]
    Headless,
    #[error("another server answered")]
    Stranger,
    #[error("the page was not read to its end: {0}")]
    Task(String),
}

/// The fold of an epoch, and how many pages are unpacked for it at the same time: as many as there are cores, since an
/// unpacked page is of several megabytes.
#[derive(Debug)]
pub(super) struct Folding {
    fold: Arc<Mutex<ConnectionFold>>,
    cores: Arc<Semaphore>,
}

impl Folding {
    pub(super) fn new(fold: ConnectionFold) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { fold: Arc::new(Mutex::new(fold)), cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Makes the server known even if it has no connections.
    pub(super) fn server(&self, source: &PageSource) {
        let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
        fold.server(&source.server);
    }

    /// The fold, once every page has been awaited.
    pub(super) fn end(self) -> ConnectionFold {
        match Arc::try_unwrap(self.fold) {
            Ok(fold) => fold.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => std::mem::replace(
                &mut *shared.lock().unwrap_or_else(PoisonError::into_inner),
                ConnectionFold::new(crate::snapshot::FoldRules::none()),
            ),
        }
    }

    /// Decodes and folds a page. That is work of milliseconds, which must not hold up the reader of answers.
    pub(super) async fn add(
        &self,
        answer: Answer,
        source: &Arc<PageSource>,
        place: Place,
        reading: &Reading,
        took: Duration,
    ) -> Result<Folded, Unusable> {
        let permit = Arc::clone(&self.cores).acquire_owned().await;
        let permit = permit.map_err(|error| Unusable::Task(error.to_string()))?;
        let (fold, source, reading) = (Arc::clone(&self.fold), Arc::clone(source), reading.clone());
        let work = move || {
            let _permit = permit;
            fold_page(answer, &source, &fold, place, &reading, took)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Unusable::Task(error.to_string())))
    }
}

fn fold_page(
    answer: Answer,
    source: &PageSource,
    fold: &Mutex<ConnectionFold>,
    place: Place,
    reading: &Reading,
    took: Duration,
) -> Result<Folded, Unusable> {
    let wire = answer.size();
    let body = answer.decode().map_err(|error| match error {
        DecodeError::TooLarge => Unusable::TooLarge,
        other => Unusable::Decode(other),
    })?;
    if !is_whole(&body) {
        let error = if body.is_empty() { WireError::Empty } else { WireError::Json("it ends early".into()) };
        return Err(Unusable::Wire { error, last_cid: place.last_cid });
    }
    let (mut first, mut before, mut repeated) = (None, 0, false);
    let (mut listed, mut last_cid) = (0, place.last_cid);
    let (mut headless, mut skip) = (false, false);
    let is_apart = |first: Option<u64>| place.offset > 0 && first.is_none_or(|cid| cid > place.last_cid);
    let mut fold = fold.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = reading.known();
    let parsed = parse(&body, &mut |head, connection| {
        if first.is_none() {
            // Servers write who they are first, so that whose a page is and where it begins is known before any is folded.
            first = Some(connection.cid);
            headless = head.server.is_empty();
            skip = head.server != *source.server || (place.adjoin && is_apart(first));
        }
        repeated |= connection.cid <= before;
        before = connection.cid;
        listed += 1;
        if skip || connection.cid <= last_cid || place.only.is_some_and(|only| only != connection.cid) {
            return;
        }
        last_cid = connection.cid;
        match &mut known {
            Some(known) if reading.asks() => {
                fold.add(source, head, connection);
                known.note(source, head, connection);
            }
            Some(known) => {
                if let Some(owner) = known.recall(connection.cid, place.offset + listed - 1) {
                    fold.add_of(source, head, connection, owner);
                }
            }
            None => fold.add(source, head, connection),
        }
    });
    let page = parsed.map_err(|error| Unusable::Wire { error, last_cid })?;
    if headless {
        return Err(Unusable::Headless);
    }
    if *page.server.id != *source.server {
        return Err(Unusable::Stranger);
    }
    fold.server(&source.server).now = page.head.now;
    // If it is empty, those before it were closed, and with them some between may have moved to where it does not look.
    let apart = is_apart(first);
    let measured = Measured { listed, plain: body.len() as u64, wire, took };
    Ok(Folded { listed, total: page.total, last_cid, apart, repeated, measured })
}

/// Whether an answer ends as whole ones do: with the end of the page and of the envelope. Half an answer hardly ever does,
/// so that nothing of it is folded, should a stranger have sent it and the good one follow.
pub(super) fn is_whole(body: &[u8]) -> bool {
    body.trim_ascii_end().ends_with(b"}}")
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn halves_of_pages_are_seen_at_their_end() {
        let page =
            br#"{"server":{"id":"N"},"data":{"now":"t","total":2,"connections":[{"cid":1},{"cid":2}]}}"#;
        assert!(is_whole(page) && is_whole(b"{\"server\":{}, \"data\":{}}\n"));
        let whole: Vec<usize> = (0..page.len()).filter(|end| is_whole(&page[..*end])).collect();
        assert_eq!(whole, [0usize; 0]);
    }
}
