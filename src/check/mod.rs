//! What a check is: its metadata, its thresholds, and a pure function from what is known to verdicts.
//!
//! A check implements [`Rule`] in a file of its own and is listed once, in its family's `mod.rs`. Everything else
//! (documentation, configuration keys, schema, unknown verdicts for missing data) is derived from that here.

mod context;
mod evaluate;
mod limit;
mod meta;
mod policy;
#[cfg(test)]
mod scripted;
mod thresholds;
mod verdict;

pub use context::{Context, DeclaredLimits, EventsSeen};
#[cfg(test)]
pub(crate) use evaluate::same;
pub use evaluate::{Judgement, Standing, UnknownRow, evaluate};
pub use limit::{AccountLimit, LimitView};
pub use meta::{Category, Disturbed, EntityType, Kind, Meta, Partial, Scope, Severity};
pub use policy::{MOST_EPOCHS, Policies, Policy, PolicySetting};
#[cfg(test)]
pub(crate) use scripted::Scripted;
pub use thresholds::{
    Match, NoThresholds, OutOfRange, Override, SettingError, Settings, Thresholds, Validate, above, at_least,
    glob, no_shorter, percent, seconds,
};
pub use verdict::{Entity, Firing, Observed, Outcome, Verdict, count, percent_of, rounded};

use crate::snapshot::{FollowUp, LookBack, Series};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A rule of the catalogue. Implementations know no network, no file and no clock.
pub trait Rule: Send + Sync + Sized + 'static {
    /// Identity, texts and needs.
    const META: Meta;
    /// Epochs in a row for which the bad state must be seen before it fires, unless the operator says otherwise. More than
    /// one where a single sample lies.
    const FOR: u64 = 1;
    /// Epochs in a row for which it must be seen to be over before the finding ends, unless the operator says otherwise.
    const KEEP: u64 = 1;
    /// What of it a server that leaves in order can bring about. Such a finding does not begin before the maintenance is
    /// over.
    const DISTURBED: Disturbed = Disturbed::Own;
    /// Epochs that must have been seen, the present one included, before anything can be said: 2 for a rule that compares
    /// with the epoch before. Until then the verdict is unknown.
    const EPOCHS: u64 = 1;
    /// The series that it reads; see [`Context::tracks`].
    const SERIES: &'static [Series] = &[];
    /// Most findings of one epoch. The first ones by their entities are named, in every epoch the same; how many more there
    /// are is told, and what is not named is unknown.
    const MOST: usize = usize::MAX;
    /// What an operator can set, with defaults; the doc comments of its fields are the documentation.
    type Thresholds: Serialize + DeserializeOwned + JsonSchema + Default + Validate + Send + Sync;
    /// The shape of a finding's evidence.
    type Evidence: Serialize + JsonSchema;

    /// Targeted requests that the evidence of (probably) firing entities needs, decided on the first sweep.
    fn follow_ups(_: &Context<'_>, _: &Thresholds<Self::Thresholds>) -> Vec<FollowUp> {
        Vec::new()
    }

    /// How long a connection that never carried a message may be idle, where the thresholds say so. The fold has to know
    /// it before anything is judged.
    fn idle_after(_: &Self::Thresholds) -> Option<Duration> {
        None
    }

    /// The round trip above which a connection counts as slow, where the thresholds say so; for the fold as well.
    fn rtt_above(_: &Self::Thresholds) -> Option<Duration> {
        None
    }

    /// The bytes above which what waits to be sent to a connection counts as a backlog, where the thresholds say so; for the
    /// fold as well.
    fn pending_above(_: &Self::Thresholds) -> Option<u64> {
        None
    }

    /// What the history has to remember of accounts and users, by these thresholds.
    fn looks_back(_: &Self::Thresholds) -> LookBack {
        LookBack::default()
    }

    /// Verdicts that fire, and those that are unknown for a reason only the rule can know. Every entity that is
    /// not named is clear, as far as the answers of the servers allow; the framework settles that.
    fn judge(context: &Context<'_>, thresholds: &Thresholds<Self::Thresholds>) -> Vec<Verdict>;
}

/// A rule with its thresholds, ready to judge.
pub trait Judge: Send + Sync {
    /// See [`Rule::follow_ups`].
    fn follow_ups(&self, context: &Context<'_>) -> Vec<FollowUp>;
    /// See [`Rule::judge`].
    fn judge(&self, context: &Context<'_>) -> Vec<Verdict>;
    /// The effective thresholds, as the configuration writes them.
    fn thresholds(&self) -> serde_json::Map<String, serde_json::Value>;
    /// What the fold goes by for a user; the entity is made only where there are overrides, for the fold asks for every user.
    fn folds_by(&self, entity: &dyn Fn() -> Entity) -> FoldsBy;
    /// See [`Rule::looks_back`]: the most that any of the thresholds asks for.
    fn looks_back(&self) -> LookBack;
}

/// What a check asks of the fold for one user: see [`Rule::idle_after`], [`Rule::rtt_above`] and [`Rule::pending_above`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoldsBy {
    /// See [`Rule::idle_after`].
    pub idle_after: Option<Duration>,
    /// See [`Rule::rtt_above`].
    pub rtt_above: Option<Duration>,
    /// See [`Rule::pending_above`].
    pub pending_above: Option<u64>,
}

impl FoldsBy {
    /// What this one says, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            idle_after: self.idle_after.or(other.idle_after),
            rtt_above: self.rtt_above.or(other.rtt_above),
            pending_above: self.pending_above.or(other.pending_above),
        }
    }
}

struct Configured<R: Rule> {
    thresholds: Thresholds<R::Thresholds>,
}

impl<R: Rule> Judge for Configured<R> {
    fn follow_ups(&self, context: &Context<'_>) -> Vec<FollowUp> {
        R::follow_ups(context, &self.thresholds)
    }
    fn judge(&self, context: &Context<'_>) -> Vec<Verdict> {
        R::judge(context, &self.thresholds)
    }
    fn thresholds(&self) -> serde_json::Map<String, serde_json::Value> {
        thresholds::to_map(self.thresholds.base())
    }
    fn folds_by(&self, entity: &dyn Fn() -> Entity) -> FoldsBy {
        let by = |thresholds| FoldsBy {
            idle_after: R::idle_after(thresholds),
            rtt_above: R::rtt_above(thresholds),
            pending_above: R::pending_above(thresholds),
        };
        let base = by(self.thresholds.base());
        if base == FoldsBy::default() || self.thresholds.is_uniform() {
            return base;
        }
        by(self.thresholds.of(&entity()))
    }
    fn looks_back(&self) -> LookBack {
        self.thresholds.all().map(R::looks_back).fold(LookBack::default(), LookBack::and)
    }
}

/// One line of a family's list: a rule with its type erased.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Identity, texts and needs.
    pub meta: &'static Meta,
    /// See [`Rule::FOR`].
    pub for_epochs: u64,
    /// See [`Rule::KEEP`].
    pub keep: u64,
    /// See [`Rule::DISTURBED`].
    pub disturbed: Disturbed,
    /// See [`Rule::EPOCHS`].
    pub epochs: u64,
    /// See [`Rule::SERIES`].
    pub series: &'static [Series],
    /// See [`Rule::MOST`].
    pub most: usize,
    configure: fn(&Settings) -> Result<Box<dyn Judge>, SettingError>,
    defaults: fn() -> serde_json::Map<String, serde_json::Value>,
    thresholds_schema: fn() -> Schema,
    evidence_schema: fn() -> Schema,
}

impl Entry {
    /// The entry of a rule.
    pub const fn of<R: Rule>() -> Self {
        Self {
            meta: const { &R::META },
            for_epochs: R::FOR,
            keep: R::KEEP,
            disturbed: R::DISTURBED,
            epochs: R::EPOCHS,
            series: R::SERIES,
            most: R::MOST,
            configure: |settings| {
                let thresholds = Thresholds::<R::Thresholds>::new(settings)?;
                Ok(Box::new(Configured::<R> { thresholds }))
            },
            defaults: || thresholds::to_map(&R::Thresholds::default()),
            thresholds_schema: || {
                SchemaSettings::default().into_generator().into_root_schema_for::<R::Thresholds>()
            },
            evidence_schema: || {
                let mut schema = published_schema::<R::Evidence>();
                // No part is required: evidence is cut where a message would be too large.
                schema.remove("required");
                schema
            },
        }
    }

    /// The rule with an operator's settings.
    pub fn configure(&self, settings: &Settings) -> Result<Box<dyn Judge>, SettingError> {
        (self.configure)(settings)
    }

    /// Every threshold with its default, in the order of the file.
    pub fn defaults(&self) -> serde_json::Map<String, serde_json::Value> {
        (self.defaults)()
    }

    /// What an operator with these settings expects of the check.
    pub fn policies(&self, settings: &Settings) -> Policies {
        Policies::new(self, settings)
    }

    /// JSON Schema of the thresholds; the descriptions are the fields' documentation.
    pub fn thresholds_schema(&self) -> Schema {
        (self.thresholds_schema)()
    }

    /// JSON Schema of a finding's evidence.
    pub fn evidence_schema(&self) -> Schema {
        (self.evidence_schema)()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Entry").field(&self.meta.id).finish()
    }
}

/// JSON Schema of something that is published: what may be left out is not required.
pub fn published_schema<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}
