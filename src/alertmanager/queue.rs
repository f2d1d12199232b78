//! What one Alertmanager is to be sent, and when. It is told the state and not the changes: an epoch that comes while
//! the last one is still being sent takes its place, and what an instance that was away has missed is never made up for.

use super::{Alert, Update};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Alerts for one instance. More open findings than these, the least severe, are not sent.
const ALERTS: usize = 10_000;
/// Alerts in one request.
const BATCH_ALERTS: usize = 500;
/// Bytes of one request; one alert alone is a few thousand at the most.
const BATCH_BYTES: usize = 1_000_000;
/// How long an instance goes without hearing of an alert: it forgets them all when it restarts.
const REFRESH: Duration = Duration::from_secs(60);
/// The first and the longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The queue of one instance. Times are counted from the beginning of the program, but for those of alerts.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<String, Entry>,
    /// Counts the epochs.
    revision: u64,
    until: Option<OffsetDateTime>,
    /// From then on what is known is not of today.
    stale_from: Duration,
    dropped: u64,
    failures: u32,
    not_before: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    alert: Arc<Alert>,
    /// When the finding ended; none while it is open.
    ended: Option<OffsetDateTime>,
    /// The last attempt that came to an end of any kind.
    sent: Option<Sent>,
    /// Until when the instance holds it, if the last attempt reached it.
    holds_until: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    revision: u64,
    at: Duration,
    refused: bool,
}

/// Why an alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The instance has not been told of it.
    Began,
    /// The instance has not been told of its end.
    Ended,
    /// There is a later epoch than the one it was told of.
    Renewed,
    /// It was told a while ago, and may have restarted since.
    Refresh,
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// There is nothing to tell, or nothing of today.
    UpToDate,
    /// The last attempt failed.
    BackingOff,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send this, then [`Queue::settle`] it.
    Send(Batch),
    /// Wait for the next epoch, or until then.
    Wait {
        /// None: for the next epoch only.
        until: Option<Duration>,
        /// Why.
        why: Waits,
    },
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The body.
    pub body: Vec<u8>,
    /// The alerts in it, and why each.
    pub alerts: Vec<(String, Due)>,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The instance has the alerts.
    Accepted,
    /// It does not want them, now or later.
    Refused,
    /// It was not reached, or is not well: again later.
    Failed,
}

impl Outcome {
    /// What a status code means.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted,
            // Too slow, and too much for now: the same may be taken later.
            408 | 429 | 500.. => Self::Failed,
            _ => Self::Refused,
        }
    }
}

impl Queue {
    /// Takes in an epoch.
    pub fn update(&mut self, update: &Update, now: Duration) {
        self.revision += 1;
        self.stale_from = now + update.fresh_for;
        self.until = Some(update.until);
        let room = update.open.len().min(ALERTS);
        self.dropped += (update.open.len() - room) as u64;
        let open: BTreeSet<&str> = update.open.iter().map(|alert| alert.key.as_str()).collect();
        self.entries.retain(|key, entry| {
            // Whoever was never told of a beginning needs no end, and what was not refreshed in time ended by itself.
            let told = entry.sent.is_some();
            open.contains(key.as_str()) || (told && entry.holds_until.is_some_and(|until| until > update.at))
        });
        for (key, entry) in &mut self.entries {
            if !open.contains(key.as_str()) && entry.ended.is_none() {
                entry.ended = Some(update.ended.get(key).copied().unwrap_or(update.at));
            }
        }
        for (at, alert) in update.open.iter().enumerate() {
            if at >= room {
                self.entries.remove(&alert.key);
            } else if let Some(entry) = self.entries.get_mut(&alert.key) {
                entry.alert = Arc::clone(alert);
                entry.ended = None;
            } else {
                let entry = Entry { alert: Arc::clone(alert), ended: None, sent: None, holds_until: None };
                self.entries.insert(alert.key.clone(), entry);
            }
        }
        let mut excess = self.entries.len().saturating_sub(ALERTS);
        self.dropped += excess as u64;
        // Those that ended end by themselves if nobody says so.
        self.entries.retain(|_, entry| {
            let stays = excess == 0 || entry.ended.is_none();
            excess -= usize::from(!stays);
            stays
        });
    }

    /// What to do now.
    pub fn next(&self, now: Duration) -> Decision {
        let mut due: Vec<(Due, &String)> = self.due(now).collect();
        if due.is_empty() {
            let refresh = |entry: &Entry| Some(entry.sent.filter(|sent| !sent.refused)?.at + REFRESH);
            let ahead = |until: &Duration| now < *until && *until < self.stale_from;
            let until = self.entries.values().filter_map(refresh).filter(ahead).min();
            return Decision::Wait { until, why: Waits::UpToDate };
        }
        if let Some(until) = self.not_before.filter(|until| now < *until) {
            return Decision::Wait { until: Some(until), why: Waits::BackingOff };
        }
        due.sort_unstable();
        Decision::Send(self.batch(&due))
    }

    /// What to do at the end of the program: what no instance was told yet, without patience for one that failed.
    pub fn last(&self, now: Duration) -> Option<Batch> {
        let mut due: Vec<_> = self.due(now).filter(|(due, _)| *due <= Due::Ended).collect();
        due.sort_unstable();
        (!due.is_empty()).then(|| self.batch(&due))
    }

    /// How many alerts wait to be sent.
    pub fn pending(&self, now: Duration) -> u64 {
        self.due(now).count() as u64
    }

    /// For how many alerts there was no room, counted in each epoch.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes in how a request went. The queue must not have been updated since it gave the batch.
    pub fn settle(&mut self, batch: &Batch, outcome: Outcome, now: Duration) {
        if outcome == Outcome::Failed {
            let wait = BACKOFF.0.saturating_mul(2_u32.saturating_pow(self.failures)).min(BACKOFF.1);
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(now + wait);
        } else {
            self.failures = 0;
            self.not_before = None;
        }
        for (key, due) in &batch.alerts {
            if outcome != Outcome::Failed && *due == Due::Ended {
                self.entries.remove(key);
                continue;
            }
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let refused = outcome == Outcome::Refused;
            let sent = Sent { revision: self.revision, at: now, refused };
            // It may have got them before it failed.
            let attempted = entry.sent.unwrap_or(Sent { revision: 0, ..sent });
            entry.sent = Some(if outcome == Outcome::Failed { attempted } else { sent });
            if entry.ended.is_none() {
                entry.holds_until = entry.holds_until.max(self.until);
            }
        }
    }

    fn due(&self, now: Duration) -> impl Iterator<Item = (Due, &String)> {
        let entries = self.entries.iter().filter(move |_| now < self.stale_from);
        entries.filter_map(move |(key, entry)| {
            let due = match (entry.ended, entry.sent) {
                (Some(_), _) => Due::Ended,
                // 0: attempted, but never known to have arrived.
                (None, None | Some(Sent { revision: 0, .. })) => Due::Began,
                (None, Some(sent)) if sent.revision < self.revision => Due::Renewed,
                (None, Some(sent)) if !sent.refused && now >= sent.at + REFRESH => Due::Refresh,
                (None, Some(_)) => return None,
            };
            Some((due, key))
        })
    }

    fn batch(&self, due: &[(Due, &String)]) -> Batch {
        let mut batch = Batch { body: vec![b'['], alerts: Vec::new() };
        for (due, key) in due.iter().take(BATCH_ALERTS) {
            let Some((entry, ends_at)) =
                self.entries.get(*key).and_then(|entry| Some((entry, entry.ended.or(self.until)?)))
            else {
                continue;
            };
            let json = entry.alert.json(ends_at);
            if !batch.alerts.is_empty() && batch.body.len() + json.len() + 2 > BATCH_BYTES {
                break;
            }
            if !batch.alerts.is_empty() {
                batch.body.push(b',');
            }
            batch.body.extend_from_slice(&json);
            batch.alerts.push(((*key).clone(), *due));
        }
        batch.body.push(b']');
        batch
    }
}

#[cfg(test)]
mod tests;
