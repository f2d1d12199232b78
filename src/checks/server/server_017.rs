//! SERVER_017: the file streams of a server come near what is reserved for them.

use super::reserve::{Evidence, Limits, Medium, judge};
use crate::check::{
    Category, Context, EntityType, Kind, Meta, Partial, Rule, Scope, Severity, Thresholds, Verdict,
};
use crate::snapshot::Endpoint;

/// See [`Rule::META`].
pub(super) struct JetStreamStoragePressure;

impl Rule for JetStreamStoragePressure {
    const META: Meta = Meta {
        id: "SERVER_017",
        name: "JetStream Storage Pressure",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "Where more than 110 % of what is reserved is used nothing is said: a server counts what all streams use and \
             reserves for those with `max_bytes` alone, so that one small bucket with a limit beside large streams without \
             one would show thousands of percent.",
        ),
        rule: "The streams that a server keeps in files use 90 % or more of what is reserved for them there.",
        why: "Reserved is the sum of the `max_bytes` of the file streams that a server hosts. A stream that has used up its own \
              drops its oldest messages or refuses new ones, as its discard policy says.\n\n\
              Streams without `max_bytes` reserve nothing but use the disk all the same, and a server tells only the sum. Where \
              that is above 110 % of what is reserved such streams are in it for certain, and there is nothing to compare with; \
              below that they may still be. Where no stream has `max_bytes` nothing is reserved, which is so in most \
              installations. There SERVER_019 tells how near JetStream is to the most that it may use at all.\n\n\
              A stream that keeps its oldest messages until new ones need the room is meant to be full: raise \
              the threshold for servers that host nothing else.",
        remedy: &[
            "Find the file streams that are near their `max_bytes`, and let them keep less or raise it.",
            "Give every stream a `max_bytes`, so that one cannot take what others reserved.",
            "Look for consumers that are stuck, where a stream keeps messages until they are acknowledged.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        judge(context, thresholds, Medium::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::JetStreamVars;
    use crate::snapshot::build::System;

    #[test]
    fn fires_by_files_and_not_by_memory() {
        let system = |storage, memory| {
            System::of(1).vars("n1", move |vars| {
                vars.jetstream = Some(JetStreamVars {
                    storage,
                    reserved_storage: 2 << 30,
                    memory,
                    reserved_memory: 100,
                    max_storage: -1,
                    ..JetStreamVars::default()
                });
            })
        };
        type Check = JetStreamStoragePressure;
        assert!(judge::<Check>(&system(1 << 30, 100).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(2 << 30, 0).done());
        let firing = only(&judgement).1;
        assert_eq!(
            firing.summary,
            "the streams of server n1 use 2.0 GiB of 2.0 GiB of file storage reserved for them (100.0 %)"
        );
        assert_eq!(firing.evidence["most"], serde_json::json!(null));
    }
}
