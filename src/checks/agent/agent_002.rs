//! AGENT_002: the agent's user may not use a subject that the checks need.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count,
};
use crate::snapshot::{Denied, Endpoint, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the subjects begin on which agents speak to each other; no check needs them.
const AGENTS: &str = "insights.agents.";

/// See [`Rule::META`].
pub(super) struct DeniedSubject;

/// It has no thresholds.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// `publish` or `subscribe`.
    verb: &'static str,
    /// Checks that can judge nothing without it; those that the configuration disables are among them.
    blind: Vec<&'static str>,
    /// Checks that judge without it, with less evidence.
    evidence_missing: Vec<&'static str>,
}

impl Rule for DeniedSubject {
    const META: Meta = Meta {
        id: "AGENT_002",
        name: "Denied Subject",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Subject,
        since: "2.9",
        rule: "The agent's user may not publish or subscribe to a subject that an enabled check needs.",
        why: "A server answers a request that is not allowed with silence, and tells only the client library on the \
              side. The checks that need the answers are unknown, so that what they would find stays hidden.\n\n\
              The subject is named as it has to be allowed, with `*` for `PING`, for ids and for accounts. The finding \
              ends when a server answers, or when the agent has connected again and is no longer refused.\n\n\
              While the agent does not hear that servers leave in order (SHUTDOWN, LAMEDUCK) it knows of no maintenance either: \
              findings begin in it.",
        remedy: &[
            "Give the agent's user what `insights-agent permissions` prints, and push the user or reload the servers.",
            "If the subject is to stay denied, disable the checks that need it.",
        ],
        needs: &[],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // No restart takes a permission away: servers with another configuration do.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        let denied = &context.now.coverage.denied;
        // A subject may be denied both ways; it is one entity, and the other way shows when the first is allowed.
        let once = |row: &&Denied| {
            let publish = Denied { subscribe: false, ..(*row).clone() };
            !row.subscribe || !denied.contains(&publish)
        };
        denied.iter().filter(once).map(verdict).collect()
    }
}

fn verdict(denied: &Denied) -> Verdict {
    let Denied { subject, subscribe } = denied;
    let asked = Endpoint::ALL.into_iter().filter(|endpoint| endpoint.subject() == Some(&**subject));
    let event = Event::ALL.into_iter().find(|event| *subscribe && event.subject() == &**subject);
    // Several requests differ in their options alone. What disconnects tell stands among the answers of servers.
    let events = (event == Some(Event::Disconnect)).then_some(Endpoint::Events);
    let endpoints: Vec<Endpoint> = asked.chain(events).collect();
    let with = |needs: fn(&Meta) -> (&'static [Endpoint], &'static [Event])| {
        let is_one = |meta: &&Meta| {
            let (answers, events) = needs(meta);
            endpoints.iter().any(|endpoint| answers.contains(endpoint))
                || event.is_some_and(|event| events.contains(&event))
        };
        let of = crate::checks::catalogue().map(|entry| entry.meta);
        of.filter(is_one).map(|meta| meta.id).collect::<Vec<_>>()
    };
    let everything = endpoints.iter().any(|one| matches!(one, Endpoint::Statsz | Endpoint::Varz));
    let mut evidence = Evidence {
        verb: if *subscribe { "subscribe" } else { "publish" },
        blind: if everything { with_needs() } else { with(|meta| (meta.needs, meta.needs_events)) },
        evidence_missing: match everything {
            true => Vec::new(),
            false => with(|meta| (meta.evidence_from, meta.evidence_from_events)),
        },
    };
    // Who can judge nothing needs no evidence.
    evidence.evidence_missing.retain(|id| !evidence.blind.contains(id));
    let agents = subject.starts_with(AGENTS);
    let blind = evidence.blind.len() as u64;
    let effect = match blind {
        0 if agents => "agents beside the same system do not know of each other, and all publish".to_owned(),
        0 => "evidence is missing without it".to_owned(),
        1 => format!("{} can judge nothing without it", evidence.blind[0]),
        _ => format!("{} can judge nothing without it", count(blind, "check")),
    };
    let summary = format!("the agent's user may not {} to {subject}: {effect}", evidence.verb);
    let remediation = vec![
        format!(
            "Allow the agent's user to {} to `{subject}`: `insights-agent permissions` prints the whole user, for \
             nats-server's configuration or for nsc.",
            evidence.verb
        ),
        if agents {
            "If this agent is to take no notice of others, set `enabled = false` in `[election]`.".into()
        } else {
            "If it is to stay denied, disable the checks that need it, so that they are no longer unknown."
                .into()
        },
    ];
    let observed = Observed::count(blind, 0, "checks");
    Verdict::firing(Entity::subject(subject), summary, observed, &evidence, remediation)
}

/// The checks that need any answer: without the roll call, or without what tells the clusters, none can judge.
fn with_needs() -> Vec<&'static str> {
    let metas = crate::checks::catalogue().map(|entry| entry.meta);
    metas.filter(|meta| !meta.needs.is_empty()).map(|meta| meta.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Firing, Judgement, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::{Value, json};

    fn denied(subject: &str, subscribe: bool) -> Judgement {
        let denied = Denied { subject: subject.into(), subscribe };
        judge::<DeniedSubject>(
            &System::of(1).with(|snapshot| snapshot.coverage.denied = [denied].into()).done(),
        )
    }

    fn names(firing: &Firing, key: &str) -> Vec<String> {
        let names = firing.evidence[key].as_array().unwrap().iter();
        names.map(|name| Value::as_str(name).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_denied_request_names_the_checks_that_are_blind() {
        let judgement = denied("$SYS.REQ.SERVER.*.CONNZ", false);
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &Entity::subject(&"$SYS.REQ.SERVER.*.CONNZ".into()));
        assert!(names(firing, "blind").contains(&"USER_002".to_owned()), "{firing:?}");
        assert!(names(firing, "evidence_missing").contains(&"SERVER_011".to_owned()), "{firing:?}");
        // Closed connections are asked for on the same subject.
        assert!(names(firing, "blind").contains(&"CONN_003".to_owned()), "{firing:?}");
        assert!(firing.summary.contains("may not publish to $SYS.REQ.SERVER.*.CONNZ"), "{}", firing.summary);
        let roll_call = denied("$SYS.REQ.SERVER.*.STATSZ", false);
        assert!(names(only(&roll_call).1, "blind").contains(&"ACCOUNTS_001".to_owned()));
    }

    #[test]
    fn a_denied_subscription_is_told_as_one() {
        for subject in ["$SYS.SERVER.*.LAMEDUCK", "$SYS.SERVER.*.SHUTDOWN"] {
            let judgement = denied(subject, true);
            let firing = only(&judgement).1;
            assert_eq!(
                firing.evidence,
                json!({"verb": "subscribe", "blind": ["SERVER_008", "SERVER_009"],
                    "evidence_missing": ["CLUSTER_005", "CLUSTER_007", "AGENT_001"]})
            );
            let told = format!("may not subscribe to {subject}: 2 checks can judge nothing without it");
            assert!(firing.summary.ends_with(&told), "{}", firing.summary);
        }
        let heartbeats = denied("$SYS.SERVER.*.STATSZ", true);
        let firing = only(&heartbeats).1;
        assert_eq!(names(firing, "evidence_missing"), ["SERVER_008", "SERVER_009", "AGENT_001"]);
        assert_eq!(
            firing.summary,
            "the agent's user may not subscribe to $SYS.SERVER.*.STATSZ: evidence is missing without it"
        );
        let disconnects = denied("$SYS.ACCOUNT.*.DISCONNECT", true);
        assert_eq!(names(only(&disconnects).1, "evidence_missing"), ["ACCOUNTS_001", "ACCOUNTS_006"]);
    }

    #[test]
    fn the_subject_of_agents_is_one_finding_however_it_is_denied() {
        let row = |subscribe| Denied { subject: "insights.agents.*".into(), subscribe };
        let both = System::of(1).with(|snapshot| snapshot.coverage.denied = [row(false), row(true)].into());
        let judgement = judge::<DeniedSubject>(&both.done());
        let firing = only(&judgement).1;
        assert_eq!(firing.evidence, json!({"verb": "publish", "blind": [], "evidence_missing": []}));
        assert!(firing.summary.ends_with("do not know of each other, and all publish"), "{}", firing.summary);
        assert!(firing.remediation[1].contains("[election]"), "{:?}", firing.remediation);
        assert!(only(&denied("insights.agents.*", true)).1.summary.contains("may not subscribe to"));
    }

    #[test]
    fn it_is_judged_when_nobody_answers_and_clear_when_nothing_is_denied() {
        let denied = Denied { subject: "$SYS.REQ.SERVER.*.STATSZ".into(), subscribe: false };
        let nobody = System::of(0).with(|snapshot| snapshot.coverage.denied = [denied].into()).done();
        assert_eq!(judge::<DeniedSubject>(&nobody).firing.len(), 1);
        let judgement = judge::<DeniedSubject>(&System::of(1).done());
        assert_eq!(judgement.standing(&Entity::subject(&"x".into())), Standing::Clear);
    }
}
