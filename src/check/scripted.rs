//! A rule that says what a test has written down.

use super::{Context, Entity, FoldsBy, Judge, Verdict};
use crate::snapshot::{FollowUp, LookBack};

pub(crate) struct Scripted(pub(crate) Vec<Verdict>);

impl Judge for Scripted {
    fn follow_ups(&self, _: &Context<'_>) -> Vec<FollowUp> {
        Vec::new()
    }
    fn judge(&self, _: &Context<'_>) -> Vec<Verdict> {
        self.0.clone()
    }
    fn thresholds(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
    fn folds_by(&self, _: &dyn Fn() -> Entity) -> FoldsBy {
        FoldsBy::default()
    }
    fn looks_back(&self) -> LookBack {
        LookBack::default()
    }
}
