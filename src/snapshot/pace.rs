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
