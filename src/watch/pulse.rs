//! Whether an agent is heard, and how far the epochs are.

use super::Epoch;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Systems whose epochs are followed; one account rarely hears of more than one.
const SYSTEMS: usize = 64;
/// Epochs without a message after which an agent is missed.
pub(super) const PATIENCE: u64 = 2;

/// What was heard, and when.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// The last two epochs of each system of which there was a summary, the later one first.
    systems: BTreeMap<String, (Epoch, Option<u64>)>,
    /// When anything was heard last; at first, when the watching began.
    heard: OffsetDateTime,
    anything: bool,
    /// The length of an epoch, as far as it is known.
    interval: Duration,
}

impl Pulse {
    /// Nothing has been heard. `interval` holds until two epochs tell another.
    pub const fn new(interval: Duration, now: OffsetDateTime) -> Self {
        Self { systems: BTreeMap::new(), heard: now, anything: false, interval }
    }

    /// Takes in that there was a message.
    pub(super) fn heard(&mut self, now: OffsetDateTime) {
        self.heard = self.heard.max(now);
        self.anything = true;
    }

    /// Takes in a summary.
    pub(super) fn epoch(&mut self, epoch: Epoch) {
        let full = self.systems.len() >= SYSTEMS;
        let (last, before) = match self.systems.remove(&epoch.system) {
            None if full => return,
            None => (epoch, None),
            Some((last, before)) if epoch.epoch > last.epoch => {
                let previous = last.epoch;
                (epoch, Some(before.unwrap_or(0).max(previous)))
            }
            Some((last, before)) if epoch.epoch < last.epoch => {
                (last, Some(before.unwrap_or(0).max(epoch.epoch)))
            }
            Some(same) => same,
        };
        if let Some(before) = before {
            self.interval =
                Duration::from_secs(last.epoch.saturating_sub(before)).max(Duration::from_secs(1));
        }
        self.systems.insert(last.system.clone(), (last, before));
    }

    /// Whether what was last said in this epoch has not been repeated since, although two epochs have ended.
    pub(super) fn passed(&self, system: &str, epoch: u64) -> bool {
        self.systems.get(system).and_then(|(_, before)| *before).is_some_and(|before| epoch < before)
    }

    /// Whole epochs without any message.
    pub fn silent_epochs(&self, now: OffsetDateTime) -> u64 {
        let silent = Duration::try_from(now - self.heard).unwrap_or_default();
        silent.as_secs() / self.interval.as_secs().max(1)
    }

    /// Whether there was any message.
    pub const fn anything(&self) -> bool {
        self.anything
    }

    /// Whether there was a summary; an account that imports its own findings hears of none.
    pub fn any_summary(&self) -> bool {
        !self.systems.is_empty()
    }

    /// The latest summary of any system.
    pub fn latest(&self) -> Option<&Epoch> {
        self.systems.values().map(|(last, _)| last).max_by_key(|epoch| epoch.epoch)
    }

    /// When anything was heard last.
    pub const fn last_heard(&self) -> OffsetDateTime {
        self.heard
    }

    /// The length of an epoch, as far as it is known.
    pub const fn interval(&self) -> Duration {
        self.interval
    }
}
