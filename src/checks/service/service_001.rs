//! SERVICE_001: instances of one service run on several client libraries.

use super::row::{ConnectionRow, rows};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::TOP;
use crate::snapshot::{Endpoint, Library, Service, Snapshot, Version};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct LibraryMismatch;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the instances of a service have more than so many different client libraries.
    max_libraries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_libraries: 1 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("max_libraries", self.max_libraries, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Instances by client library, the most frequent first, at most 5.
    libraries: Vec<LibraryRow>,
    /// How many different libraries there are, by language and version.
    distinct: u64,
    /// Whether the libraries are of several languages.
    several_languages: bool,
    /// Instances in all.
    instances: u64,
    /// Instances behind leafnodes, of whose clients nothing is known.
    behind_leafnodes: u64,
    /// Some connections of its instances, of as many libraries as possible, at most 5.
    connections: Vec<ConnectionRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LibraryRow {
    /// The client's language, as it says itself; empty where it does not.
    #[schemars(with = "String")]
    language: Name,
    /// The version of its library.
    #[schemars(with = "String")]
    version: Name,
    /// Instances of the service.
    instances: u64,
}

impl Rule for LibraryMismatch {
    const META: Meta = Meta {
        id: "SERVICE_001",
        name: "Service Library Version Mismatch",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Service,
        since: "2.9",
        rule: "Instances of one service of an account run with more than 1 pair of client language and library version.",
        why: "Instances of a service answer in turn. Those that were built with another library were most likely built from \
              another state of the source, be it that a roll-out stopped half-way or that a host was forgotten, and then \
              the answer depends on chance.\n\n\
              What is compared is the client library, by the language and the version that each client sends when it \
              connects. The version of the service itself is told only to those who ask the service, which the system account \
              cannot.\n\n\
              Instances are known by their subscriptions to `$SRV.PING.<name>.<id>`. A client without that \
              protocol is no service to this check. Of instances behind leafnodes nothing is known but that they are there, and \
              an account that has no others is not found.",
        remedy: &[
            "Look which instances have the older library, and whether a roll-out is still going on.",
            "Roll the same build out to all of them.",
            "Give implementations in different languages names of their own if they are meant to differ.",
        ],
        needs: &[Endpoint::Subsz, Endpoint::Services],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A roll-out has both for a moment.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let verdict = |((account, name), service): (&(Name, Name), &Service)| {
            let entity = Entity::service(account, now.account_name(account), name);
            let most = thresholds.of(&entity).max_libraries;
            let distinct = service.libraries.len() as u64;
            (distinct > most).then(|| fire(now, entity, service, most))
        };
        now.services.iter().filter_map(verdict).collect()
    }
}

fn fire(now: &Snapshot, entity: Entity, service: &Service, most: u64) -> Verdict {
    let mut libraries: Vec<(&Library, u64)> =
        service.libraries.iter().map(|(library, instances)| (library, *instances)).collect();
    libraries.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(a.0)));
    let languages = libraries.iter().map(|(library, _)| &library.language);
    let several_languages = languages.clone().any(|language| Some(language) != languages.clone().next());
    let row = |(library, instances): &(&Library, u64)| LibraryRow {
        language: library.language.clone(),
        version: library.version.clone(),
        instances: *instances,
    };
    let evidence = Evidence {
        libraries: libraries.iter().take(TOP).map(row).collect(),
        distinct: libraries.len() as u64,
        several_languages,
        instances: service.instances(),
        behind_leafnodes: service.behind_leafnodes,
        connections: rows(service),
    };
    let told: Vec<String> = libraries
        .iter()
        .take(3)
        .map(|(library, instances)| format!("{} ({})", told(library), count(*instances, "instance")))
        .collect();
    let more = if libraries.len() > 3 { " and others" } else { "" };
    let account = entity.account.clone().unwrap_or_else(|| "".into());
    let summary = format!(
        "service {} of account {} runs on {} client libraries: {}{more}",
        entity.label(),
        now.account_label(&account),
        libraries.len(),
        told.join(", "),
    );
    let observed = Observed::count(evidence.distinct, most, "libraries");
    let remediation = remediation(&evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn told(library: &Library) -> String {
    match (&*library.language, &*library.version) {
        ("", "") => "unnamed".into(),
        ("", version) => format!("unnamed {version}"),
        (language, "") => language.into(),
        (language, version) => format!("{language} {version}"),
    }
}

/// The library of the oldest version, where all are of one language and have versions that can be compared.
fn oldest(evidence: &Evidence) -> Option<&LibraryRow> {
    if evidence.several_languages || evidence.distinct > TOP as u64 {
        return None;
    }
    let versions: Option<Vec<(Version, &LibraryRow)>> =
        evidence.libraries.iter().map(|row| Some((Version::parse(&row.version)?, row))).collect();
    let mut versions = versions?;
    versions.sort_by_key(|(version, _)| *version);
    match versions.as_slice() {
        [first, second, ..] if first.0 < second.0 => Some(first.1),
        _ => None,
    }
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    // When a roll-out begins the rarest is the new one, which is right.
    let odd = oldest(evidence).and_then(|old| {
        evidence.connections.iter().find(|row| row.language == old.language && row.version == old.version)
    });
    if let Some(odd) = odd {
        let name = odd.name.as_deref().unwrap_or("a client without a name");
        steps.push(format!("Begin with {name} at {} on server {}.", odd.address, odd.server));
    }
    if evidence.several_languages {
        steps.push(
            "Give implementations in different languages names of their own if they are meant to differ."
                .into(),
        );
    }
    steps.push("Wait for the end of the roll-out if there is one going on.".into());
    steps.push("Roll the same build out to all instances.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::tenants::service;
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = LibraryMismatch;

    fn system(libraries: &[(&str, &str, u64)]) -> System {
        let service = service("n1", libraries);
        System::of(2).config_account("APP").with(|snapshot| {
            snapshot.services.insert(("APP".into(), "echo".into()), service);
        })
    }

    fn echo() -> Entity {
        Entity::service("APP", None, &"echo".into())
    }

    #[test]
    fn two_versions_fire_with_both_and_one_does_not() {
        assert!(judge::<Check>(&system(&[("go", "1.30.0", 9)]).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(&[("go", "1.30.0", 2), ("go", "1.31.0", 1)]).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(*entity, echo());
        assert_eq!(
            firing.summary,
            "service echo of account APP runs on 2 client libraries: go 1.30.0 (2 instances), go 1.31.0 (1 instance)"
        );
        assert_eq!(json!(firing.observed), json!({"value": 2, "threshold": 1, "unit": "libraries"}));
        assert_eq!(
            firing.evidence["libraries"],
            json!([{"language": "go", "version": "1.30.0", "instances": 2},
                   {"language": "go", "version": "1.31.0", "instances": 1}])
        );
        assert_eq!(firing.evidence["several_languages"], json!(false));
        assert_eq!(firing.remediation[0], "Begin with go-1.30.0 at 10.0.0.1 on server n1.");
    }

    #[test]
    fn languages_differ_as_well_and_a_client_that_says_nothing_is_one_of_them() {
        let judgement = judge::<Check>(&system(&[("go", "1.0", 1), ("", "", 1)]).done());
        assert_eq!(only(&judgement).1.evidence["several_languages"], json!(true));
        assert!(only(&judgement).1.summary.ends_with("unnamed (1 instance)"), "{judgement:?}");
        let many: Vec<String> = (0..9).map(|i| i.to_string()).collect();
        let many: Vec<(&str, &str, u64)> = many.iter().map(|version| ("go", &**version, u64::MAX)).collect();
        let judgement = judge::<Check>(&system(&many).done());
        let (_, firing) = only(&judgement);
        assert_eq!(
            (&firing.evidence["distinct"], &firing.evidence["instances"]),
            (&json!(9), &json!(u64::MAX))
        );
        assert_eq!(firing.evidence["libraries"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn more_libraries_may_be_allowed_and_a_silent_server_is_unknown() {
        let two = system(&[("go", "1.0", 1), ("rust", "1.0", 1)]).silent("n2", Endpoint::Services).done();
        // What is there already cannot become less by another answer.
        assert_eq!(judge::<Check>(&two).firing.len(), 1);
        let base = [("max_libraries".to_owned(), json!(2))].into_iter().collect();
        let judgement = judge_set::<Check>(&two, None, &[], &Settings { base, ..Settings::default() });
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&echo()), Standing::Unknown(_)));
    }
}
