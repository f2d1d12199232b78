//! Whether the agent keeps up with its epochs.

use crate::text::Name;
use std::time::Duration;

/// How the agent's own work went; filled by the loop of epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// The agent's name.
    pub agent: Name,
    /// From the start of one epoch to that of the next.
    pub interval: Duration,
    /// From the start of this epoch to its judging.
    pub took: Duration,
    /// From the start of the previous epoch to its end, publishing included; none in the first.
    pub previous_took: Option<Duration>,
    /// Epochs left out since the previous one, because it took too long.
    pub skipped: u64,
    /// Epochs in a row that were cut at their deadline or followed by some that were left out, this one included.
    pub overruns: u64,
}

/// Epochs that may be missing in a row, in lengths of one.
const IN_A_ROW: u32 = 3;

impl Pace {
    /// Whether so long a time since an earlier epoch means that the agent did not look in between: it was suspended, or another
    /// one was at it. Where epochs take longer than they should, their own time counts.
    pub fn breaks(&self, since: time::Duration) -> bool {
        let step = self.interval.max(self.previous_took.unwrap_or_default());
        !self.interval.is_zero() && since > step.saturating_mul(IN_A_ROW)
    }
}
