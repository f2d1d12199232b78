//! SERVER_002: a server of another version than its cluster.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, percent_of, seconds,
};
use crate::checks::as_text;
use crate::checks::evidence::{first_names, in_words};
use crate::snapshot::{Endpoint, Server, Version};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct VersionMismatch;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// While a server of the cluster that changed its version has been running for less than this, e.g. `1h`, a rolling upgrade
    /// is assumed to be on its way; at least `1s`.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    rolling_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rolling_for: Duration::from_secs(3600) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("rolling_for", self.rolling_for)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The version of this server.
    version: String,
    /// The version of most servers of the cluster; of several the highest.
    cluster_version: String,
    /// Whether a server of the cluster was started a short time ago with another version than before, or one that was not known
    /// before, so that a rolling upgrade may be on its way.
    rolling: bool,
    /// Every version of the cluster, the most frequent first.
    versions: Vec<Row>,
    /// The server of the cluster that was started last, and seconds since then; none where no server tells.
    last_started: Option<Started>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The version.
    version: String,
    /// How many servers have it.
    servers: u64,
    /// Their names, at most 5.
    #[schemars(with = "Vec<String>")]
    names: Vec<Name>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Started {
    /// Its name.
    #[schemars(with = "String")]
    server: Name,
    /// Its version.
    version: Option<String>,
    /// How long it has been running, in seconds.
    seconds: u64,
}

impl Rule for VersionMismatch {
    const META: Meta = Meta {
        id: "SERVER_002",
        name: "Version Mismatch",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A cluster of which a server was started within the last hour, with another version than before as far as that is \
             known, is taken to be in the middle of a rolling upgrade, which is information and no warning, and versions are compared as numbers, since 2.9.25 is older than 2.10.0.",
        ),
        rule: "A server runs another version than most servers of its cluster.",
        why: "Servers of different versions work together, which is what makes a rolling upgrade possible, but they are not \
              meant to stay that way: what the older ones do not know is used by none or by a part, limits and defaults \
              differ with the server that a client happens to reach, and a fault that has been fixed stays on some \
              of them.\n\n\
              The version of most servers is that of the cluster; where two are equally frequent, the higher one. What follows \
              the three numbers, such as `-RC.1`, is not looked at.\n\n\
              While any server of the cluster has been running for less than an hour, an upgrade is assumed to be on its way \
              and the finding is information, unless that server is known to have had the same version before: then it was \
              only restarted. When nothing has been upgraded for that long and versions still differ, somebody has \
              stopped halfway: then it is a warning.",
        remedy: &[
            "Finish the upgrade, one server after another: lame-duck mode, then restart with the version of the others.",
            "If the upgrade was stopped because of a problem, bring the upgraded servers back to the old version.",
            "Pin the version in the deployment (image digest or package version), so that a restart does not change it.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One cause may be behind all of them.
    const MOST: usize = 100;
    // An upgrade is announced by each server that leaves for it.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let clusters = context.now.clusters();
        clusters
            .iter()
            .flat_map(|(name, servers)| judge_cluster(context, thresholds, name, servers))
            .collect()
    }
}

/// How long it has been running; none where that would be less than nothing.
fn running_for(server: &Server) -> Option<Duration> {
    Duration::try_from(server.now? - server.start?).ok()
}

/// Whether it is known to have had the same version before it was started.
fn kept_its_version(context: &Context<'_>, server: &Server) -> bool {
    let before = context.history.boot_before(&server.key(), &server.id).and_then(|boot| boot.version);
    before.is_some() && before == server.version
}

fn judge_cluster(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    cluster: &Name,
    servers: &[&Server],
) -> Vec<Verdict> {
    let mut versions: BTreeMap<Version, Vec<Name>> = BTreeMap::new();
    for server in servers {
        if let Some(version) = server.version {
            versions.entry(version).or_default().push(server.name.clone());
        }
    }
    // The last of the most frequent ones is the highest.
    let Some((common, of_common)) = versions.iter().max_by_key(|(version, names)| (names.len(), **version))
    else {
        return Vec::new();
    };
    let (common, of_common) = (*common, of_common.len());
    let last =
        servers.iter().filter_map(|server| Some((running_for(server)?, *server))).min_by_key(|(age, _)| *age);
    let upgrades = servers.iter().filter(|server| !kept_its_version(context, server));
    let upgraded = upgrades.filter_map(|server| running_for(server)).min();
    let differing = servers.iter().filter(|server| server.version.is_some_and(|version| version != common));
    differing
        .map(|server| {
            let entity = Entity::of_server(server);
            let rolling_for = thresholds.of(&entity).rolling_for;
            let rolling = upgraded.is_some_and(|age| age < rolling_for);
            let restarted = last.is_some_and(|(age, _)| age < rolling_for);
            let version = server.version.unwrap_or_default();
            let mut rows: Vec<Row> = versions.iter().map(|(version, names)| row(*version, names)).collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.servers));
            let evidence = Evidence {
                version: version.to_string(),
                cluster_version: common.to_string(),
                rolling,
                versions: rows,
                last_started: last.map(|(age, server)| Started {
                    server: server.name.clone(),
                    version: server.version.map(|version| version.to_string()),
                    seconds: age.as_secs(),
                }),
            };
            let state = match (rolling, restarted) {
                (true, _) => "a rolling upgrade seems to be in progress",
                (false, true) => "and what was restarted kept its version: a standing mismatch",
                (false, false) => "and nothing has been restarted for a while: a standing mismatch",
            };
            let summary = format!(
                "server {} runs {version} while {of_common} of {} of cluster {cluster} run {common}; {state}",
                server.name,
                count(servers.len() as u64, "server"),
            );
            let same = versions.get(&version).map_or(0, Vec::len) as u64;
            let observed = Observed {
                percent: percent_of(same, servers.len() as u64),
                scope: Some(if rolling { "rolling" } else { "standing" }.into()),
                ..Observed::count(same, servers.len() as u64, "servers of this version")
            };
            let severity = if rolling { Severity::Info } else { Severity::Warning };
            let remediation = remediation(server, &evidence, (version, common), rolling_for);
            Verdict::firing(entity, summary, observed, &evidence, remediation).with_severity(severity)
        })
        .collect()
}

fn row(version: Version, names: &[Name]) -> Row {
    let (names, servers) = first_names(names.iter().cloned());
    Row { version: version.to_string(), servers, names }
}

fn remediation(
    server: &Server,
    evidence: &Evidence,
    (version, common): (Version, Version),
    rolling_for: Duration,
) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.rolling {
        steps.push(format!(
            "Let the upgrade finish; if versions still differ {} after the last start, this becomes a warning.",
            in_words(rolling_for.as_secs())
        ));
    }
    steps.push(match version < common {
        true => format!("Upgrade server {} to {common}: lame-duck mode first, then restart.", server.name),
        false => format!(
            "Server {} is ahead: upgrade the others to {version} if that is where the cluster is going, else bring it back \
             to {common}.",
            server.name
        ),
    });
    steps.push("Pin the version in the deployment, so that a restart does not change it.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Settings;
    use crate::check::Standing;
    use crate::checks::laws::{judge, judge_last, judge_set, only};
    use crate::snapshot::build::{System, at};
    use serde_json::json;

    type Check = VersionMismatch;

    fn system(versions: &[Option<Version>], started: i64) -> System {
        let mut system = System::of(versions.len());
        for (index, version) in versions.iter().enumerate() {
            let server = system.server_mut(&format!("n{}", index + 1));
            (server.version, server.start) = (*version, Some(at(-started)));
        }
        system
    }

    const OLD: Option<Version> = Some(Version(2, 9, 25));
    const NEW: Option<Version> = Some(Version(2, 10, 0));

    #[test]
    fn the_most_frequent_version_is_that_of_the_cluster_and_of_two_the_higher() {
        let judgement = judge::<Check>(&system(&[OLD, OLD, NEW], 4000).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(&*entity.id, "n3");
        assert_eq!(firing.severity, Some(Severity::Warning));
        assert_eq!(
            firing.summary,
            "server n3 runs 2.10.0 while 2 of 3 servers of cluster east run 2.9.25; and nothing has been restarted for a \
             while: a standing mismatch"
        );
        assert_eq!(
            firing.evidence["versions"],
            json!([{"version": "2.9.25", "servers": 2, "names": ["n1", "n2"]},
                   {"version": "2.10.0", "servers": 1, "names": ["n3"]}])
        );
        assert!(firing.remediation[0].contains("is ahead"), "{:?}", firing.remediation);
        // As texts 2.9.25 would be the higher one.
        let judgement = judge::<Check>(&system(&[OLD, NEW], 4000).done());
        assert_eq!(&*only(&judgement).0.id, "n1");
        assert!(only(&judgement).1.remediation[0].starts_with("Upgrade server n1 to 2.10.0"));
        assert!(judge::<Check>(&system(&[NEW, NEW, NEW], 4000).done()).firing.is_empty());
        assert!(judge::<Check>(&system(&[OLD], 4000).done()).firing.is_empty());
    }

    #[test]
    fn an_upgrade_on_its_way_is_told_from_one_that_was_left() {
        let at_age = |seconds: i64| {
            let mut system = system(&[OLD, OLD, NEW], 90_000);
            system.server_mut("n3").start = Some(at(-seconds));
            judge::<Check>(&system.done())
        };
        let judgement = at_age(3599);
        let firing = only(&judgement).1;
        assert_eq!(
            (firing.severity, firing.evidence["rolling"].clone()),
            (Some(Severity::Info), json!(true))
        );
        assert!(
            firing.summary.ends_with("; a rolling upgrade seems to be in progress"),
            "{}",
            firing.summary
        );
        assert_eq!(
            firing.evidence["last_started"],
            json!({"server": "n3", "version": "2.10.0", "seconds": 3599})
        );
        assert_eq!(only(&at_age(3600)).1.severity, Some(Severity::Warning));
        // A start in the future of the server's own clock tells nothing.
        assert_eq!(only(&at_age(-5)).1.severity, Some(Severity::Warning));
        let base = json!({"rolling_for": "2h"}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let judgement = judge_set::<Check>(&system(&[OLD, OLD, NEW], 4000).done(), None, &[], &settings);
        assert_eq!(only(&judgement).1.severity, Some(Severity::Info));
    }

    #[test]
    fn a_restart_with_the_same_version_is_no_upgrade() {
        let second = |before: Option<Version>| {
            let earlier = system(&[OLD, OLD, before], 90_000).done();
            let mut now = system(&[OLD, OLD, NEW], 90_000).at(60).done();
            let n3 = now.servers.remove("ID-n3").unwrap();
            let named = now.coverage.present.remove("ID-n3").unwrap();
            now.coverage.present.insert("NEXT".into(), named);
            now.coverage.note(Endpoint::Varz, &"NEXT".into(), crate::snapshot::Answer::Complete);
            now.servers.insert("NEXT".into(), Server { id: "NEXT".into(), start: Some(at(-30)), ..n3 });
            let judgement = judge_last::<Check>(&[earlier, now]);
            let (_, firing) = only(&judgement);
            (firing.severity, firing.summary.clone())
        };
        let (severity, summary) = second(NEW);
        assert_eq!(severity, Some(Severity::Warning));
        assert!(
            summary.ends_with("; and what was restarted kept its version: a standing mismatch"),
            "{summary}"
        );
        // Upgraded, and one whose version before is not known.
        for before in [OLD, None] {
            assert_eq!(second(before).0, Some(Severity::Info), "{before:?}");
        }
    }

    #[test]
    fn clusters_are_judged_apart_and_what_is_not_known_is_not_counted() {
        let mut system = system(&[OLD, OLD, None], 4000);
        system.add_server("w1", Some("west"));
        system.server_mut("w1").version = NEW;
        system.add_server("alone", None);
        system.server_mut("alone").version = Some(Version(2, 15, 1));
        assert!(judge::<Check>(&system.done()).firing.is_empty());
    }

    #[test]
    fn a_silent_member_makes_it_unknown() {
        let judgement = judge::<Check>(&system(&[OLD, OLD, NEW], 4000).gone("n1").done());
        assert!(judgement.firing.is_empty());
        let n3 = Entity::server(&"n3".into(), Some(&"east".into()));
        assert_eq!(judgement.standing(&n3), Standing::Unknown("server n1 did not answer VARZ".into()));
    }
}
