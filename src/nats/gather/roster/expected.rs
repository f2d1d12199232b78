//! Servers that findings of an agent that ran before are about.

use crate::finding::Finding;
use crate::text::{NAME_BYTES, Name, bounded};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// A server that findings of an agent that ran before are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: Name,
    /// Its cluster, where that is known.
    pub cluster: Option<Name>,
    /// For how many epochs in a row it had been silent by then; 0 if it had not.
    pub silent_epochs: u64,
    /// Since when, where it had.
    pub silent_since: Option<OffsetDateTime>,
    /// When it was known to have left in order with all of its cluster, where a finding says so.
    pub left_at: Option<OffsetDateTime>,
}

/// The servers of a remote cluster that left in order, of a finding which says that they are all.
fn left(finding: &Finding) -> impl Iterator<Item = Expected> + '_ {
    let evidence = &finding.evidence;
    let planned = evidence.get("planned").and_then(Value::as_bool) == Some(true);
    let remote = evidence.get("remote").and_then(Value::as_str).filter(|_| planned);
    let names = evidence.get("remote_left").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).filter_map(move |name| {
        let cluster = Some(bounded(remote?, NAME_BYTES));
        let left_at = Some(finding.first_seen);
        Some(Expected {
            name: bounded(name, NAME_BYTES),
            cluster,
            silent_epochs: 0,
            silent_since: None,
            left_at,
        })
    })
}

impl Expected {
    /// The servers of these findings, each once. Of those that did not answer it is known for how long.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<Self> {
        let mut servers: BTreeMap<Name, Self> = BTreeMap::new();
        for finding in findings {
            for gone in left(finding) {
                servers.entry(gone.name.clone()).or_insert_with(|| gone.clone()).left_at = gone.left_at;
            }
            let Some(name) = &finding.entity.server else {
                continue;
            };
            let silent_epochs = finding.evidence.get("silent_epochs").and_then(Value::as_u64).unwrap_or(0);
            let server = servers.entry(name.clone()).or_insert_with(|| Self {
                name: name.clone(),
                cluster: None,
                silent_epochs: 0,
                silent_since: None,
                left_at: None,
            });
            if server.cluster.is_none() {
                server.cluster.clone_from(&finding.entity.cluster);
            }
            if silent_epochs > server.silent_epochs {
                (server.silent_epochs, server.silent_since) = (silent_epochs, Some(finding.first_seen));
            }
        }
        servers.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Entity;
    use crate::finding::samples;
    use serde_json::json;

    fn finding(check: &str, entity: Entity, evidence: Value) -> Finding {
        Finding { evidence, ..samples::finding(check, entity) }
    }

    #[test]
    fn each_server_is_expected_once_and_silence_goes_on() {
        let east = Name::from("east");
        let n1 = |cluster| Entity::server(&"n1".into(), cluster);
        let findings = [
            finding("SERVER_011", n1(None), json!({"silent_epochs": "many"})),
            finding("AGENT_001", n1(Some(&east)), json!({"silent_epochs": 7})),
            finding("SERVER_011", Entity::server(&"n2".into(), None), json!({})),
            finding("ACCOUNTS_001", Entity::account("A", None), json!({})),
        ];
        let expected = Expected::of(&findings);
        let [first, second] = &expected[..] else { panic!("{expected:?}") };
        assert_eq!((&*first.name, first.cluster.as_ref(), first.silent_epochs), ("n1", Some(&east), 7));
        assert_eq!(first.silent_since, Some(OffsetDateTime::UNIX_EPOCH));
        assert_eq!((&*second.name, second.silent_epochs, second.silent_since), ("n2", 0, None));
    }

    #[test]
    fn servers_that_left_with_their_cluster_are_told_by_the_gateway_that_went_with_them() {
        let gateway = || Entity::gateway(&"n1".into(), Some(&"east".into()), &"west".into());
        let lost = |planned| json!({"remote": "west", "planned": planned, "remote_left": ["w1", "w2"]});
        let left = |evidence| {
            let expected = Expected::of(&[finding("CLUSTER_007", gateway(), evidence)]);
            let left = expected.into_iter().filter(|one| one.left_at.is_some());
            left.map(|one| (one.name.to_string(), one.cluster)).collect::<Vec<_>>()
        };
        let west = || Some(Name::from("west"));
        assert_eq!(left(lost(true)), [("w1".to_owned(), west()), ("w2".to_owned(), west())]);
        assert_eq!(left(lost(false)), []);
        assert_eq!(left(json!({"planned": true, "remote_left": "w1"})), []);
    }
}
