//! AGENT_001: a server that is known does not answer.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::snapshot::{Event, Missing, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct ServerNotAnswering;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire as a warning from this number of epochs in a row without an answer.
    warn_epochs: u64,
    /// Fire as critical from this number of epochs in a row without an answer.
    critical_epochs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_epochs: 2, critical_epochs: 5 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("warn_epochs", self.warn_epochs, 1)?;
        if self.critical_epochs >= self.warn_epochs {
            return Ok(());
        }
        let value = self.critical_epochs.to_string();
        Err(OutOfRange { key: "critical_epochs", value, expected: "at least warn_epochs" })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Epochs in a row without an answer. Those in which no server answered, or in which the agent's own connection was
    /// lost, are not counted.
    silent_epochs: u64,
    /// When it last answered this agent; none if it never did.
    last_answer: Option<LastAnswer>,
    /// How it is known: `answers` of earlier epochs, `heartbeats`, `routes` or `gateways` of other servers, `findings` of an
    /// agent that ran before.
    known_by: &'static str,
    /// Servers that answered and have a route (or a gateway) to it now, at most 20 of them.
    #[schemars(with = "Vec<String>")]
    named_by: Vec<Name>,
    /// Whether it publishes heartbeats while it does not answer.
    heartbeats: bool,
    /// Its version when it last answered.
    version: Option<String>,
    /// The servers of its cluster, itself included; none where its cluster is not known.
    cluster: Option<ClusterView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LastAnswer {
    /// The epoch's id.
    epoch: u64,
    /// When the gather of that epoch began.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: OffsetDateTime,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClusterView {
    /// Its name.
    #[schemars(with = "String")]
    name: Name,
    /// How many of its servers answered in this epoch.
    answered: u64,
    /// How many did not.
    silent: u64,
}

/// Servers that are named as those with a route.
const NAMED: usize = 20;

impl Rule for ServerNotAnswering {
    const META: Meta = Meta {
        id: "AGENT_001",
        name: "Server Not Answering",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "A known server has not answered this agent for 2 epochs in a row; critical from 5 epochs on.",
        why: "While a server is silent, its clients, its limits and its part of every sum are unseen: what depends on it \
              is unknown, and a fault there would not be found.\n\n\
              A server is known if it ever answered this agent, if it publishes heartbeats (every 10 s), if another \
              server has a route or a gateway to it, or if a finding is about it that an agent before this one left. \
              Requests travel one route and one gateway far: in a cluster in \
              which not every server has a route to every other one, servers stay hidden behind the agent's own, and \
              only the routes of their neighbours tell that they exist. A cluster that only gateways name is reported \
              as `*/<cluster>`.\n\n\
              A server that shuts down in order says so, and is not missed. In lame-duck mode a server falls silent at \
              once and says that too: it is explained, and no finding. A server that was removed without a word cannot \
              be told from one that crashed; it is missed for 24 hours if nobody has a route to it, then forgotten. A \
              server without a configured name is forgotten after 10 epochs: its id is new after each restart.\n\n\
              Epochs in which no server answered at all do not count, and neither do those in which the agent's own \
              connection was lost.",
        remedy: &[
            "See whether the process runs and its host is reachable: if others have a route to it, it runs, and hangs or \
             cannot be reached from the agent's server only.",
            "Give every server of a cluster a route to every other one, or connect the agent to the server that all \
             others are connected to.",
            "If the server was removed for good, silence it for the 24 hours after which it is forgotten; stop servers with \
             a signal (`TERM`, or lame-duck mode) so that they say goodbye.",
        ],
        needs: &[],
        evidence_from_events: &[Event::Shutdown, Event::LameDuck, Event::Heartbeat],
        scope: Scope::Server,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A route to a server that has left may be named for a while; any other server that is silent is silent by itself.
    const DISTURBED: Disturbed = Disturbed::Own;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let missing = context.now.coverage.missing.iter().filter(|missing| !missing.lame_duck);
        missing.filter_map(|missing| judge_server(context.now, missing, thresholds)).collect()
    }
}

fn judge_server(now: &Snapshot, missing: &Missing, thresholds: &Thresholds<Limits>) -> Option<Verdict> {
    let entity = Entity::server(&missing.name, missing.cluster.as_ref());
    let Limits { warn_epochs, critical_epochs } = *thresholds.of(&entity);
    let epochs = missing.silent_epochs;
    if epochs < warn_epochs {
        return None;
    }
    let evidence = evidence(now, missing);
    let threshold = if epochs >= critical_epochs { critical_epochs } else { warn_epochs };
    let observed = Observed::count(epochs, threshold, "epochs");
    let summary = summary(missing, epochs);
    let remediation = remediation(missing, &evidence);
    let verdict = Verdict::firing(entity, summary, observed, &evidence, remediation);
    Some(if epochs >= critical_epochs { verdict.with_severity(Severity::Critical) } else { verdict })
}

fn summary(missing: &Missing, epochs: u64) -> String {
    let since = count(epochs, "epoch");
    if missing.is_cluster() {
        let cluster = missing.cluster.as_ref().unwrap_or(&missing.name);
        return format!("no server of cluster {cluster} has answered this agent, for {since}");
    }
    match missing.last_epoch {
        Some(_) => format!("server {} has not answered for {since}", missing.name),
        None => format!("server {} has never answered this agent, for {since}", missing.name),
    }
}

fn evidence(now: &Snapshot, missing: &Missing) -> Evidence {
    let last_answer = missing.last_epoch.zip(missing.last_at).map(|(epoch, at)| LastAnswer { epoch, at });
    let known_by = match (&last_answer, missing.id.is_some()) {
        (Some(_), _) => "answers",
        (None, true) => "heartbeats",
        (None, false) if missing.is_cluster() => "gateways",
        (None, false) if missing.expected && missing.named_by.is_empty() => "findings",
        (None, false) => "routes",
    };
    let cluster = missing.cluster.as_ref().map(|cluster| {
        let in_it = |other: &Option<Name>| other.as_ref() == Some(cluster);
        let answered = now.servers.values().filter(|server| in_it(&server.cluster)).count() as u64;
        let silent = now.coverage.missing.iter().filter(|other| in_it(&other.cluster)).count() as u64;
        ClusterView { name: cluster.clone(), answered, silent }
    });
    Evidence {
        silent_epochs: missing.silent_epochs,
        last_answer,
        known_by,
        named_by: missing.named_by.iter().take(NAMED).cloned().collect(),
        heartbeats: missing.heartbeats,
        version: missing.version.map(|version| version.to_string()),
        cluster,
    }
}

fn remediation(missing: &Missing, evidence: &Evidence) -> Vec<String> {
    let name = &missing.name;
    if missing.is_cluster() {
        return vec![
            "Give the cluster of the agent's server a gateway to it, or run an agent there: requests travel one \
             gateway far."
                .into(),
        ];
    }
    let mut steps = Vec::new();
    let never = missing.last_epoch.is_none();
    if let Some(by) = missing.named_by.first() {
        if never {
            steps.push(format!(
                "{by} has a route to it, and the agent's server has none: give every server of the cluster a route to \
                 every other one, or connect the agent to {by}."
            ));
        }
        steps.push(format!(
            "{by} has a route to it, so the process is there, and may hang or be stopped: look at its log, its CPU time \
             and its state (`T` in `ps` is stopped)."
        ));
    }
    if missing.heartbeats {
        steps.push(
            "It sends heartbeats, so it runs and reaches the agent's server: look for what keeps requests from it, such \
             as a gateway that stands in one direction only (CLUSTER_007), an overloaded system account, or exports that \
             were changed."
                .into(),
        );
    }
    let none_answers =
        evidence.cluster.as_ref().filter(|cluster| cluster.answered == 0 && cluster.silent > 1);
    if let Some(cluster) = none_answers {
        steps.push(format!(
            "No server of cluster {} answers: look at the network and the gateways between it and the others first.",
            cluster.name
        ));
    }
    if missing.named_by.is_empty() && !missing.heartbeats {
        steps.push(format!(
            "No server that answers has a route to it: see whether the process of {name} runs, and whether the network \
             to its host is cut."
        ));
        steps.push(
            "If it was removed for good, restart the agent to forget it now; it is forgotten after 24 hours."
                .into(),
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::{System, at};
    use serde_json::json;

    type Check = ServerNotAnswering;

    fn silent(epochs: u64, edit: impl FnOnce(&mut Missing)) -> Snapshot {
        let mut snapshot = System::of(3).gone("n3").done();
        let missing = &mut snapshot.coverage.missing[0];
        missing.silent_epochs = epochs;
        edit(missing);
        snapshot
    }

    fn n3() -> Entity {
        Entity::server(&"n3".into(), Some(&"east".into()))
    }

    #[test]
    fn fires_from_two_epochs_on_and_is_critical_from_five() {
        let judgement = judge::<Check>(&silent(1, |_| {}));
        assert!(judgement.firing.is_empty() && judgement.evaluated());
        for (epochs, severity, threshold) in [
            (2, None, 2),
            (4, None, 2),
            (5, Some(Severity::Critical), 5),
            (u64::MAX, Some(Severity::Critical), 5),
        ] {
            let judgement = judge::<Check>(&silent(epochs, |_| {}));
            let (entity, firing) = only(&judgement);
            assert_eq!((entity, firing.severity), (&n3(), severity));
            assert_eq!(
                json!(firing.observed),
                json!({"value": epochs, "threshold": threshold, "unit": "epochs"})
            );
        }
        assert_eq!(judge::<Check>(&System::of(3).done()).standing(&n3()), Standing::Clear);
    }

    #[test]
    fn the_evidence_tells_what_is_known_of_it() {
        let judgement = judge::<Check>(&silent(3, |_| {}));
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "server n3 has not answered for 3 epochs");
        assert_eq!(
            firing.evidence,
            json!({"silent_epochs": 3, "last_answer": {"epoch": 0, "at": "2023-11-14T22:12:20Z"},
                   "known_by": "answers", "named_by": [], "heartbeats": false, "version": "2.15.1",
                   "cluster": {"name": "east", "answered": 2, "silent": 1}})
        );
        assert_eq!(at(-60).unix_timestamp(), 1_699_999_940);
        assert!(firing.remediation[0].contains("has a route to it: see whether the process"), "{firing:?}");
    }

    #[test]
    fn who_names_it_decides_what_to_do_first() {
        let judgement = judge::<Check>(&silent(2, |missing| missing.named_by = vec!["n1".into()]));
        assert!(only(&judgement).1.remediation[0].contains("may hang or be stopped"));
        let hidden = silent(2, |missing| {
            *missing = Missing {
                name: "n3".into(),
                cluster: Some("east".into()),
                silent_epochs: 2,
                named_by: vec!["n1".into()],
                ..Missing::default()
            };
        });
        let judgement = judge::<Check>(&hidden);
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "server n3 has never answered this agent, for 2 epochs");
        assert_eq!(
            (&firing.evidence["known_by"], &firing.evidence["last_answer"]),
            (&json!("routes"), &json!(null))
        );
        assert!(firing.remediation[0].contains("connect the agent to n1"), "{:?}", firing.remediation);
        let heard = silent(2, |missing| {
            (missing.last_epoch, missing.last_at, missing.heartbeats) = (None, None, true);
        });
        let judgement = judge::<Check>(&heard);
        assert_eq!(only(&judgement).1.evidence["known_by"], "heartbeats");
        let adopted = silent(6, |missing| {
            (missing.id, missing.last_epoch, missing.last_at, missing.expected) = (None, None, None, true);
        });
        let judgement = judge::<Check>(&adopted);
        assert_eq!(only(&judgement).1.evidence["known_by"], "findings");
        assert_eq!(only(&judgement).1.severity, Some(Severity::Critical));
        let judgement = judge::<Check>(&heard);
        assert!(only(&judgement).1.remediation[0].contains("sends heartbeats"));
    }

    #[test]
    fn a_cluster_behind_a_gateway_is_named_as_a_whole() {
        let hidden = silent(2, |missing| {
            *missing = Missing {
                name: "*/west".into(),
                cluster: Some("west".into()),
                silent_epochs: 2,
                named_by: vec!["n1".into()],
                ..Missing::default()
            };
        });
        let judgement = judge::<Check>(&hidden);
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "no server of cluster west has answered this agent, for 2 epochs");
        assert_eq!(firing.evidence["known_by"], "gateways");
    }

    #[test]
    fn an_announced_lame_duck_is_explained() {
        let judgement = judge::<Check>(&silent(9, |missing| missing.lame_duck = true));
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&n3()), Standing::Clear);
    }

    #[test]
    fn it_is_judged_when_nobody_answers() {
        let mut snapshot = System::of(2).gone("n1").gone("n2").done();
        snapshot.coverage.missing.iter_mut().for_each(|missing| missing.silent_epochs = 2);
        let judgement = judge::<Check>(&snapshot);
        assert_eq!(judgement.firing.len(), 2);
        assert!(judgement.firing[0].1.remediation[0].starts_with("No server of cluster east answers"));
    }

    #[test]
    fn critical_is_never_before_the_warning() {
        let settings = |critical: u64| crate::check::Settings {
            base: [("warn_epochs".to_owned(), json!(3)), ("critical_epochs".to_owned(), json!(critical))]
                .into_iter()
                .collect(),
            ..Default::default()
        };
        let error = crate::check::Entry::of::<Check>().configure(&settings(2)).err().unwrap();
        assert_eq!(error.problem, "critical_epochs = 2 is out of range: at least warn_epochs");
        let judgement = judge_set::<Check>(&silent(3, |_| {}), None, &[], &settings(3));
        assert_eq!(only(&judgement).1.severity, Some(Severity::Critical));
    }
}
