//! What waits for the sink: in order, and bounded.
//!
//! Transitions wait for as long as it takes, up to a bound. A repeat is worth nothing once a newer epoch has been told,
//! and summaries are the same: they are not kept for a sink that cannot be reached.
//!
//! Messages are sent many at a time, yet whoever reads the stream must find them in order even if one of them has to be
//! sent again. So those that are under way together are of one epoch and of different findings, a summary goes alone, and
//! behind a message that failed nothing new is sent until all that was under way has come to an end.

use super::{EpochSummary, Finding, Fingerprint, Said, Why};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages for the sink.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Waiting>,
    bound: usize,
    /// Number of the next message that comes in.
    next: u64,
    under_way: usize,
    /// Findings that a message under way is about.
    about: BTreeSet<Fingerprint>,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    letter: Letter,
    transition: bool,
    under_way: bool,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its place in the order of all messages.
    pub number: u64,
    /// The epoch that told it.
    pub epoch: u64,
    /// The system account, which subjects name.
    pub system_account: Arc<str>,
    /// What it says.
    pub content: Content,
    /// Whether it may have arrived already: it was sent, and no answer came.
    pub unsure: bool,
}

/// What a message says.
#[derive(Debug, Clone)]
pub enum Content {
    /// Something about a finding.
    Finding(Arc<Finding>),
    /// The summary of an epoch.
    Summary(Arc<EpochSummary>),
}

/// How the sending of a message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It was refused.
    NotArrived,
    /// No answer came.
    Unsure,
}

impl Outbox {
    /// Nothing waits; of transitions, `bound` are kept for later epochs.
    pub const fn new(bound: usize) -> Self {
        Self { waiting: VecDeque::new(), bound, next: 0, under_way: 0, about: BTreeSet::new(), dropped: 0 }
    }

    /// Takes in what an epoch tells. `reachable`: whether the sink takes messages now.
    ///
    /// The second telling of an end stays out: it is for those who may lose a message, and here each is acknowledged.
    pub fn take_in(
        &mut self,
        said: &[Said],
        summary: &Arc<EpochSummary>,
        system_account: &str,
        reachable: bool,
    ) {
        let (epoch, system_account) = (summary.epoch, Arc::<str>::from(system_account));
        self.forget_repeats();
        if reachable {
            // Before the new ones, of which an epoch may have any number.
            self.enforce_bound();
        }
        for said in said.iter().filter(|said| said.why != Why::EndedAgain) {
            let transition = said.why.is_transition();
            if transition || reachable {
                let content = Content::Finding(Arc::clone(&said.finding));
                self.push(epoch, &system_account, content, transition);
            }
        }
        if reachable {
            self.push(epoch, &system_account, Content::Summary(Arc::clone(summary)), false);
        } else {
            self.enforce_bound();
        }
    }

    fn push(&mut self, epoch: u64, system_account: &Arc<str>, content: Content, transition: bool) {
        let number = self.next;
        self.next += 1;
        let system_account = Arc::clone(system_account);
        let letter = Letter { number, epoch, system_account, content, unsure: false };
        self.waiting.push_back(Waiting { letter, transition, under_way: false });
    }

    /// The sink cannot be reached: what comes again is not kept.
    pub fn close(&mut self) {
        self.forget_repeats();
        self.enforce_bound();
    }

    /// Forgets everything that is not under way.
    pub fn clear(&mut self) {
        self.waiting.retain(|waiting| waiting.under_way);
        for waiting in &mut self.waiting {
            waiting.transition = false;
        }
    }

    fn forget_repeats(&mut self) {
        self.waiting.retain(|waiting| waiting.transition || waiting.under_way);
    }

    fn enforce_bound(&mut self) {
        let idle = |waiting: &Waiting| waiting.transition && !waiting.under_way;
        let mut surplus =
            self.waiting.iter().filter(|waiting| idle(waiting)).count().saturating_sub(self.bound);
        self.dropped += surplus as u64;
        self.waiting.retain(|waiting| {
            let drop = surplus > 0 && idle(waiting);
            surplus -= usize::from(drop);
            !drop
        });
    }

    /// The number that the next message gets: everything below it is here already.
    pub const fn end(&self) -> u64 {
        self.next
    }

    /// The next message that may be sent now, if its number is below `end`. It is under way until [`Outbox::arrived`] or
    /// [`Outbox::failed`].
    pub fn next(&mut self, end: u64) -> Option<Letter> {
        let first = self.waiting.iter().position(|waiting| !waiting.under_way)?;
        if first != self.under_way {
            return None;
        }
        let epoch_under_way = self.waiting.front().filter(|_| first > 0).map(|waiting| waiting.letter.epoch);
        let next = self.waiting.get_mut(first).filter(|waiting| waiting.letter.number < end)?;
        let epoch = next.letter.epoch;
        if epoch_under_way.is_some_and(|under_way| under_way != epoch) {
            return None;
        }
        match &next.letter.content {
            Content::Finding(finding) if self.about.contains(&finding.fingerprint) => return None,
            Content::Finding(finding) => {
                self.about.insert(finding.fingerprint.clone());
            }
            Content::Summary(_) if first > 0 => return None,
            Content::Summary(_) => {}
        }
        next.under_way = true;
        self.under_way += 1;
        Some(next.letter.clone())
    }

    /// A message has arrived, or never will.
    pub fn arrived(&mut self, number: u64) {
        if let Some(at) = self.landed(number) {
            self.waiting.remove(at);
        }
    }

    /// A message did not get through: it waits again, unless it is a repeat and something newer waits.
    pub fn failed(&mut self, number: u64, how: Failed) {
        let newest = self.waiting.back().map_or(0, |waiting| waiting.letter.epoch);
        let Some(at) = self.landed(number) else { return };
        let Some(waiting) = self.waiting.get_mut(at) else { return };
        waiting.letter.unsure |= how == Failed::Unsure;
        if !waiting.transition && waiting.letter.epoch < newest {
            self.waiting.remove(at);
        }
    }

    fn landed(&mut self, number: u64) -> Option<usize> {
        let at = self.waiting.binary_search_by_key(&number, |waiting| waiting.letter.number).ok()?;
        let waiting = self.waiting.get_mut(at).filter(|waiting| waiting.under_way)?;
        waiting.under_way = false;
        if let Content::Finding(finding) = &waiting.letter.content {
            self.about.remove(&finding.fingerprint);
        }
        self.under_way -= 1;
        Some(at)
    }

    /// Messages that wait or are under way.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Transitions that have not arrived.
    pub fn transitions(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.transition).count()
    }

    /// Transitions that were dropped because too many waited.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests;
