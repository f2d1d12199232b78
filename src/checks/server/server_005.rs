//! SERVER_005: the memory streams of a server come near what is reserved for them.

use super::reserve::{Evidence, Limits, Medium, judge};
use crate::check::{
    Category, Context, EntityType, Kind, Meta, Partial, Rule, Scope, Severity, Thresholds, Verdict,
};
use crate::snapshot::Endpoint;

/// See [`Rule::META`].
pub(super) struct JetStreamMemoryPressure;

impl Rule for JetStreamMemoryPressure {
    const META: Meta = Meta {
        id: "SERVER_005",
        name: "JetStream Memory Pressure",
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
        rule: "The streams that a server keeps in memory use 90 % or more of what is reserved for them there.",
        why: "Reserved is the sum of the `max_bytes` of the memory streams that a server hosts. A stream that has used up its own \
              drops its oldest messages or refuses new ones, as its discard policy says.\n\n\
              Streams without `max_bytes` reserve nothing but use memory all the same, and a server tells only the sum. Where \
              that is above 110 % of what is reserved such streams are in it for certain, and there is nothing to compare with; \
              below that they may still be. Where no stream has `max_bytes` nothing is reserved, which is so in most \
              installations. What accounts may use at most is not counted as reserved.",
        remedy: &[
            "Find the memory streams that are near their `max_bytes`, and let them keep less or raise it.",
            "Give every memory stream a `max_bytes`, so that one cannot take what others reserved.",
            "Move streams that need not be fast to file storage.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        judge(context, thresholds, Medium::Memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::JetStreamVars;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = JetStreamMemoryPressure;

    fn system(memory: u64, reserved_memory: u64) -> System {
        let with = |memory, reserved_memory| {
            Some(JetStreamVars { max_memory: 1000, memory, reserved_memory, ..JetStreamVars::default() })
        };
        System::of(2)
            .vars("n1", |vars| vars.jetstream = with(memory, reserved_memory))
            .vars("n2", |vars| vars.jetstream = with(0, 10))
    }

    #[test]
    fn fires_at_nine_tenths_of_what_is_reserved() {
        assert!(judge::<Check>(&system(89, 100).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(90, 100).done());
        let firing = only(&judgement).1;
        assert_eq!(
            firing.summary,
            "the streams of server n1 use 90 bytes of 100 bytes of memory reserved for them (90.0 %)"
        );
        assert_eq!(
            firing.evidence,
            json!({"used": 90, "reserved": 100, "most": 1000, "percent_of_most": 9.0, "cluster": [
                {"server": "n1", "used": 90, "reserved": 100, "most": 1000},
                {"server": "n2", "used": 0, "reserved": 10, "most": 1000}]})
        );
        assert!(
            firing.remediation.iter().any(|step| step.contains("placement tags")),
            "{:?}",
            firing.remediation
        );
    }

    #[test]
    fn more_than_is_reserved_is_said_and_the_edges_hold() {
        let judgement = judge::<Check>(&system(950, 864).done());
        let firing = only(&judgement).1;
        assert_eq!(firing.observed.percent, Some(110.0));
        assert!(firing.remediation[0].starts_with("More is used than is reserved"));
        assert!(firing.remediation.iter().any(|step| step.contains("max_memory_store")));
        for (used, reserved) in [(u64::MAX, 0), (0, 0), (0, u64::MAX)] {
            assert!(judge::<Check>(&system(used, reserved).done()).firing.is_empty(), "{used} {reserved}");
        }
        assert_eq!(judge::<Check>(&system(u64::MAX, u64::MAX).done()).firing.len(), 1);
        // Streams without a reservation are counted in: 1000 times what one bucket reserves tells nothing.
        for used in [1101, 1_000_000, u64::MAX] {
            let judgement = judge::<Check>(&system(used, 1000).done());
            let n1 = Entity::server(&"n1".into(), Some(&"east".into()));
            assert!(judgement.firing.is_empty() && judgement.standing(&n1) == Standing::Clear, "{used}");
        }
        // JetStream is off.
        assert!(judge::<Check>(&System::of(1).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(99, 100).silent("n1", Endpoint::Varz).done());
        let n1 = Entity::server(&"n1".into(), Some(&"east".into()));
        assert_eq!(judgement.standing(&n1), Standing::Unknown("server n1 did not answer VARZ".into()));
        assert!(judgement.firing.is_empty());
    }
}
