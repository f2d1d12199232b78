//! What is told once, kept until the next sweep: of an epoch that is not published nobody learns it.

use super::Gatherer;
use super::closed::Ended;
use crate::snapshot::{Answer, Events, HeardBoot};

/// What one sweep used up.
#[derive(Debug)]
pub(super) struct Once {
    pub(super) disconnects: Events,
    /// Whether all of them were seen.
    pub(super) seen: Answer,
    pub(super) boots: Vec<HeardBoot>,
    /// Where the looks for connections that ended began.
    pub(super) ended: Ended,
}

impl Gatherer {
    /// Nothing came of the last sweep: what it was told once is told of the next one as well.
    pub fn not_judged(&mut self) {
        let Some(once) = self.once.take() else { return };
        self.ended.back_to(&once.ended);
        for (id, at) in &mut self.last_page_at {
            if let Some(before) = self.since.get(id) {
                *at = *before;
            }
        }
        self.heard.unsay(&once.boots);
        self.again = Some(once);
    }
}
