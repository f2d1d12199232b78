//! Which ids of the public catalogue are there. An operator who comes from it finds each of them, or why it is gone.

use crate::checks::{RETIRED, catalogue};
use std::collections::BTreeSet;

/// Of the public catalogue, those that need no detail of JetStream: family and numbers.
const WITHOUT_JETSTREAM: &[(&str, &[u16])] = &[
    ("ACCOUNTS", &[1, 2, 3, 4, 5, 6]),
    ("CHANGE", &[1, 2, 3]),
    ("CLUSTER", &[1, 4, 5, 6, 7, 8]),
    ("CONN", &[1, 2, 3]),
    ("LEAF", &[1, 2, 3]),
    ("SERVER", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
    ("SERVICE", &[1, 2]),
    ("USER", &[1, 2]),
    ("OPT_ACCT", &[2]),
    ("OPT_BALANCE", &[2, 3, 6]),
    ("OPT_IDLE", &[1, 5, 6, 7]),
    ("OPT_PLACE", &[3, 4]),
    ("OPT_SYS", &[5, 6, 11, 12, 14, 17, 22]),
];

#[test]
fn every_id_that_needs_no_jetstream_is_there_or_retired_with_a_reason() {
    let expected: BTreeSet<String> = WITHOUT_JETSTREAM
        .iter()
        .flat_map(|(family, numbers)| numbers.iter().map(move |number| format!("{family}_{number:03}")))
        .collect();
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
