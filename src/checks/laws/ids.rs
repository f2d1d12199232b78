//! Which ids of the public catalogue are there. An operator who comes from it finds each of them, or why it is gone.

use crate::check::Severity;
use crate::checks::{RETIRED, catalogue};
use std::collections::{BTreeMap, BTreeSet};

/// Families with the numbers of checks.
type Families = &'static [(&'static str, &'static [u16])];

/// Of the public catalogue, those that need no detail of JetStream: severity, family and numbers. Two that grow from a
/// warning to critical stand among the warnings.
const WITHOUT_JETSTREAM: &[(Severity, Families)] = &[
    (
        Severity::Critical,
        &[("ACCOUNTS", &[2, 3]), ("CLUSTER", &[7]), ("SERVER", &[1, 4, 7, 8, 9, 14, 15]), ("SERVICE", &[2])],
    ),
    (
        Severity::Warning,
        &[
            ("ACCOUNTS", &[1, 4, 6]),
            ("CHANGE", &[2]),
            ("CLUSTER", &[1, 4, 5, 6, 8]),
            ("CONN", &[1, 2]),
            ("LEAF", &[1, 2, 3]),
            ("OPT_ACCT", &[2]),
            ("OPT_SYS", &[5, 14]),
            ("SERVER", &[2, 3, 5, 6, 10, 11, 12, 13, 16, 17, 18, 19]),
            ("SERVICE", &[1]),
            ("USER", &[1, 2]),
        ],
    ),
    (
        Severity::Info,
        &[
            ("ACCOUNTS", &[5]),
            ("CHANGE", &[1, 3]),
            ("CONN", &[3]),
            ("OPT_BALANCE", &[2, 3, 6]),
            ("OPT_IDLE", &[1, 5, 6, 7]),
            ("OPT_PLACE", &[3, 4]),
            ("OPT_SYS", &[6, 11, 12, 17, 22]),
        ],
    ),
];

fn severities() -> BTreeMap<String, Severity> {
    let mut all = BTreeMap::new();
    for (severity, families) in WITHOUT_JETSTREAM {
        for (family, numbers) in *families {
            all.extend(numbers.iter().map(|number| (format!("{family}_{number:03}"), *severity)));
        }
    }
    all
}

#[test]
fn every_check_of_the_catalogue_has_its_severity_there() {
    let expected = severities();
    for entry in catalogue().filter(|entry| !entry.meta.id.starts_with("AGENT_")) {
        assert_eq!(expected.get(entry.meta.id), Some(&entry.meta.severity), "{}", entry.meta.id);
    }
}

#[test]
fn every_id_that_needs_no_jetstream_is_there_or_retired_with_a_reason() {
    let expected: BTreeSet<String> = severities().into_keys().collect();
    assert_eq!(expected.len(), 61);
    let present: BTreeSet<String> = catalogue().map(|entry| entry.meta.id.to_owned()).collect();
    let retired: BTreeSet<String> = RETIRED.iter().map(|(id, _)| (*id).to_owned()).collect();
    let missing: Vec<&String> =
        expected.iter().filter(|id| !present.contains(*id) && !retired.contains(*id)).collect();
    assert!(missing.is_empty(), "neither there nor retired: {missing:?}");
    assert!(present.is_disjoint(&retired));
    // What is there beyond them is this agent's own.
    let own: Vec<&String> = present.difference(&expected).filter(|id| !id.starts_with("AGENT_")).collect();
    assert!(own.is_empty(), "{own:?}");
    for (id, why) in RETIRED {
        assert!(why.ends_with('.') && why.len() > 40, "{id}: {why}");
    }
}
