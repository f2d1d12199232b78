//! What the sink's bucket holds of findings, and what it should hold.
//!
//! A finding is written when it begins, changes or ends, when anything but the clock has changed in it, and in every
//! tenth epoch. An ended one stays for an hour, so that who looks late sees that it has ended; then its key is purged, and
//! after another hour, in which watchers see that, its last trace is erased.

use super::{Finding, Fingerprint, Said, Status, Why};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Epochs after which a finding is written although nothing changed: so much the clock in the bucket may be behind.
const EPOCHS: u32 = 10;
/// How long an ended finding, and then the mark of its purge, stays.
const STAYS: Duration = Duration::HOUR;

/// How much longer one stays at the most that ended because of a silence: it may go on after it, with its `first_seen`.
const SILENCED_STAYS: Duration = Duration::WEEK;

/// The state of the bucket.
#[derive(Debug, Default)]
pub struct Mirror {
    slots: BTreeMap<Fingerprint, Slot>,
}

#[derive(Debug)]
struct Slot {
    life: Life,
    /// Digest of what the bucket holds.
    held: Option<u64>,
    /// Epochs since it was written.
    age: u32,
    /// To be written.
    wanted: Option<Arc<Finding>>,
    /// Until when it stays, where a silence ended it.
    silenced: Option<OffsetDateTime>,
    /// What the bucket has as firing, until this agent says something of it.
    stored: Option<Box<Finding>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The bucket has it as firing; this agent has not judged it.
    Stored,
    Open {
        first_seen: OffsetDateTime,
        /// Whether it ended before, as this agent knows: an older beginning is that of a life that is over.
        again: bool,
    },
    Ended {
        at: OffsetDateTime,
    },
    Purged {
        at: OffsetDateTime,
    },
}

/// What stands under a key of the bucket.
#[derive(Debug)]
pub enum Stored {
    /// A finding.
    Finding(Box<Finding>),
    /// The mark of its purge.
    Purged(Fingerprint, OffsetDateTime),
}

/// Keys whose time has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Those of ended findings.
    pub purge: Vec<Fingerprint>,
    /// Those that were purged.
    pub erase: Vec<Fingerprint>,
}

impl Mirror {
    /// Takes in the whole bucket, and gives the findings that this agent should know of: firing ones that it has not judged,
    /// or that began earlier than it thinks, and those that a silence ended, which may live on.
    pub fn take_stock(&mut self, stored: Vec<Stored>) -> Vec<Finding> {
        for slot in self.slots.values_mut() {
            (slot.held, slot.stored) = (None, None);
        }
        let mut news = Vec::new();
        for stored in stored {
            match stored {
                Stored::Purged(fingerprint, at) => {
                    self.slots.entry(fingerprint).or_insert_with(|| Slot::new(Life::Purged { at }));
                }
                Stored::Finding(finding) => {
                    self.found(&finding);
                    if self.is_news(&finding) {
                        news.push(*finding.clone());
                    }
                    if let Some(slot) = self.slots.get_mut(&finding.fingerprint) {
                        slot.stored = (slot.life == Life::Stored).then_some(finding);
                    }
                }
            }
        }
        // What is neither there nor to be written needs no key.
        self.slots.retain(|_, slot| match slot.life {
            Life::Open { .. } | Life::Purged { .. } => true,
            Life::Stored => slot.held.is_some(),
            Life::Ended { .. } => slot.held.is_some() || slot.wanted.is_some(),
        });
        news
    }

    fn found(&mut self, finding: &Finding) {
        let life = match finding.status {
            Status::Firing => Life::Stored,
            Status::Resolved => Life::Ended { at: finding.resolved_at.unwrap_or(finding.last_seen) },
        };
        let slot = self.slots.entry(finding.fingerprint.clone()).or_insert_with(|| Slot::new(life));
        slot.held = Some(digest(finding));
        slot.age = 0;
        slot.silenced = silenced_until(finding);
        match slot.life {
            Life::Purged { .. } | Life::Stored => slot.life = life,
            // It ended while the bucket could not be told, and what was to be written is gone.
            Life::Ended { at } if finding.status == Status::Firing && finding.last_seen <= at => {
                if slot.wanted.is_none() {
                    let ended =
                        Finding { status: Status::Resolved, resolved_at: Some(at), ..finding.clone() };
                    slot.wanted = Some(Arc::new(ended));
                }
            }
            Life::Ended { .. } | Life::Open { .. } => {}
        }
    }

    /// Whether a finding of the bucket tells more than this agent knows.
    pub fn is_news(&self, finding: &Finding) -> bool {
        if finding.status == Status::Resolved {
            // It may live on behind its silence, which only its agent knew.
            let slot = self.slots.get(&finding.fingerprint);
            let as_told = |slot: &Slot| !matches!(slot.life, Life::Open { .. }) && slot.wanted.is_none();
            return finding.silenced.is_some() && slot.is_none_or(as_told);
        }
        finding.status == Status::Firing
            && self.slots.get(&finding.fingerprint).is_none_or(|slot| match slot.life {
                Life::Stored | Life::Purged { .. } => true,
                Life::Open { first_seen, again } => !again && finding.first_seen < first_seen,
                Life::Ended { at } => finding.last_seen > at,
            })
    }

    /// Takes in what an epoch said. After an epoch every open finding has been said once.
    pub fn take_in(&mut self, said: &[Said]) {
        for Said { finding, why } in said {
            match why {
                // What it goes on as comes next.
                Why::Succeeded => {}
                // Said in the epoch before, and written then.
                Why::EndedAgain => {}
                Why::Ended => {
                    let slot = self.slot(finding);
                    slot.silenced = silenced_until(finding);
                    slot.life = Life::Ended { at: finding.resolved_at.unwrap_or(finding.last_seen) };
                    slot.wanted = Some(Arc::clone(finding));
                }
                Why::Began | Why::Changed | Why::Repeated | Why::Kept | Why::Held => {
                    let slot = self.slot(finding);
                    let again = match slot.life {
                        Life::Stored => false,
                        Life::Open { again, .. } => again,
                        Life::Ended { .. } | Life::Purged { .. } => true,
                    };
                    slot.life = Life::Open { first_seen: finding.first_seen, again };
                    slot.age = slot.age.saturating_add(1);
                    let same = slot.age < EPOCHS && slot.held == Some(digest(finding));
                    slot.wanted = (!same).then(|| Arc::clone(finding));
                }
            }
        }
    }

    /// After what an epoch said was taken in by an agent that knows what the bucket has as firing: what it said nothing of is
    /// over, since another agent saw its end and was not able to store that. Gives what is to be told.
    pub fn settle(&mut self, system: &str, epoch: u64, now: OffsetDateTime) -> Vec<Said> {
        let mut over = Vec::new();
        for slot in self.slots.values_mut() {
            // A bucket may hold the findings of several systems.
            let Some(finding) = slot.stored.take_if(|finding| finding.system == system) else { continue };
            let ended = Finding { status: Status::Resolved, epoch, resolved_at: Some(now), ..*finding };
            let ended = Arc::new(ended);
            slot.life = Life::Ended { at: now };
            slot.wanted = Some(Arc::clone(&ended));
            over.push(Said { finding: ended, why: Why::Ended });
        }
        over
    }

    fn slot(&mut self, finding: &Finding) -> &mut Slot {
        let slot = self.slots.entry(finding.fingerprint.clone());
        let slot = slot.or_insert_with(|| Slot::new(Life::Stored));
        slot.stored = None;
        slot
    }

    /// Findings of this status that are to be written.
    pub fn wanted(&self, status: Status) -> Vec<Arc<Finding>> {
        let wanted = self.slots.values().filter_map(|slot| slot.wanted.as_ref());
        wanted.filter(|finding| finding.status == status).cloned().collect()
    }

    /// How many are to be written.
    pub fn wanting(&self) -> usize {
        self.slots.values().filter(|slot| slot.wanted.is_some()).count()
    }

    /// A finding was written, or never can be.
    pub fn written(&mut self, finding: &Arc<Finding>) {
        let Some(slot) = self.slots.get_mut(&finding.fingerprint) else { return };
        slot.held = Some(digest(finding));
        slot.age = 0;
        // A newer one may have come meanwhile.
        if slot.wanted.as_ref().is_some_and(|wanted| Arc::ptr_eq(wanted, finding)) {
            slot.wanted = None;
        }
    }

    /// Keys whose time has come.
    pub fn due(&self, now: OffsetDateTime) -> Due {
        let mut due = Due::default();
        let stays = |slot: &Slot| slot.wanted.is_some() || slot.silenced.is_some_and(|until| now < until);
        for (fingerprint, slot) in self.slots.iter().filter(|(_, slot)| !stays(slot)) {
            match slot.life {
                Life::Ended { at } if now - at >= STAYS => due.purge.push(fingerprint.clone()),
                Life::Purged { at } if now - at >= STAYS => due.erase.push(fingerprint.clone()),
                _ => {}
            }
        }
        due
    }

    /// A key was purged. What fires again meanwhile is written anew.
    pub fn purged(&mut self, fingerprint: &Fingerprint, now: OffsetDateTime) {
        let Some(slot) = self.slots.get_mut(fingerprint) else { return };
        slot.held = None;
        if let Life::Ended { .. } = slot.life {
            slot.life = Life::Purged { at: now };
        }
    }

    /// The mark of a purge was erased.
    pub fn erased(&mut self, fingerprint: &Fingerprint) {
        if self.slots.get(fingerprint).is_some_and(|slot| matches!(slot.life, Life::Purged { .. })) {
            self.slots.remove(fingerprint);
        }
    }
}

impl Slot {
    const fn new(life: Life) -> Self {
        Self { life, held: None, age: 0, wanted: None, silenced: None, stored: None }
    }
}

fn silenced_until(finding: &Finding) -> Option<OffsetDateTime> {
    let ended = finding.resolved_at?;
    finding.silenced.as_ref().map(|silenced| silenced.until.min(ended + SILENCED_STAYS))
}

/// Digest of what a finding says, but for what changes with every epoch.
fn digest(finding: &Finding) -> u64 {
    let clockless = (
        finding.status,
        finding.severity,
        &finding.entity,
        &finding.summary,
        &finding.observed,
        &finding.evidence,
        &finding.remediation,
        finding.first_seen.unix_timestamp_nanos(),
        finding.flaps,
        &finding.held,
        &finding.silenced,
        &finding.agent,
    );
    let mut hashing = Hashing(DefaultHasher::new());
    // Nothing of this can fail to be written as JSON; if it did, the digest would be of less.
    let _ = serde_json::to_writer(&mut hashing, &clockless);
    hashing.0.finish()
}

struct Hashing(DefaultHasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
