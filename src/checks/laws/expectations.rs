//! Laws of what an operator expects: they hold for every check, whatever it finds.

use super::*;
use crate::check::{Match, Override, PolicySetting, Severity};

/// A pattern that covers the entity, and maybe others.
fn covering(entity: &Entity) -> Match {
    let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
    Match {
        account: text(&entity.account),
        cluster: text(&entity.cluster),
        server: text(&entity.server),
        user: text(&entity.user),
        stream: text(&entity.stream),
    }
}

fn narrowed(entity: &Entity, policy: PolicySetting) -> Settings {
    let one = Override { matcher: covering(entity), policy, ..Override::default() };
    Settings { overrides: vec![one], ..Settings::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_operators_severity_holds_for_every_verdict(world in any_world()) {
        let now = world.snapshot(&[]);
        let policy = PolicySetting { severity: Some(Severity::Info), ..PolicySetting::default() };
        let settings = Settings { policy, ..Settings::default() };
        for entry in catalogue() {
            let judgement = judge_entry(entry, &now, None, &[], &settings);
            for (entity, firing) in &judgement.firing {
                prop_assert_eq!(judgement.severity(entity, firing), Severity::Info);
            }
            for (entity, firing) in &judge_default(entry, &now).firing {
                let own = firing.severity.unwrap_or(entry.meta.severity);
                prop_assert_eq!(judge_default(entry, &now).severity(entity, firing), own);
            }
        }
    }

    #[test]
    fn what_is_not_judged_neither_fires_nor_is_unknown(world in any_world(), lost in any_losses()) {
        let (full, partial) = (world.snapshot(&[]), world.snapshot(&lost));
        let off = PolicySetting { enabled: Some(false), ..PolicySetting::default() };
        for entry in catalogue() {
            for (entity, _) in &judge_default(entry, &full).firing {
                // Subjects and agents have nothing that a pattern could name.
                if covering(entity).is_empty() {
                    continue;
                }
                let settings = narrowed(entity, off.clone());
                for now in [&full, &partial] {
                    let judgement = judge_entry(entry, now, None, &[], &settings);
                    prop_assert!(!judgement.firing.iter().any(|(other, _)| same(other, entity)));
                    prop_assert_eq!(judgement.standing(entity), Standing::Clear);
                    // All others stand as they did.
                    for (other, _) in judge_default(entry, now).firing {
                        let covered = covering(entity).covers(&other);
                        let fires = judgement.firing.iter().any(|(one, _)| same(one, &other));
                        prop_assert_eq!(fires, !covered, "{:?}", other);
                    }
                }
            }
        }
    }
}
