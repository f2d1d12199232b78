//! OPT_SYS_011: one subject that far more subscriptions match than the others.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, above, at_least, rounded,
};
use crate::checks::evidence::SubscribersOn;
use crate::snapshot::{Endpoint, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct FanOutAnomaly;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the largest fan-out is more than this many times the average.
    ratio: f64,
    /// Leave out servers whose average fan-out is not above this.
    min_average: f64,
    /// Leave out servers of which no subject matches this many subscriptions.
    min_fanout: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 10.0, min_average: 1.0, min_fanout: 100 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        above("ratio", self.ratio, 1)?;
        if !(self.min_average >= 0.0 && self.min_average.is_finite()) {
            let value = self.min_average.to_string();
            return Err(OutOfRange { key: "min_average", value, expected: "a number of 0 or more" });
        }
        at_least("min_fanout", self.min_fanout, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Most subscriptions that one subject matches.
    max_fanout: u64,
    /// Subscriptions that a subject matches on average.
    avg_fanout: f64,
    /// The largest as a multiple of the average.
    times_average: f64,
    /// Subjects from which both were told: those in the server's cache, of messages that it has seen of late.
    cached_subjects: u64,
    /// Subscriptions that the server holds, those of routes included.
    subscriptions: u64,
    /// Who has most subscriptions here. Which subject it is, no server tells.
    top: SubscribersOn,
}

impl Rule for FanOutAnomaly {
    const META: Meta = Meta {
        id: "OPT_SYS_011",
        name: "Fan-Out Far Above the Average",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Server,
        group: Some("system"),
        since: "2.9",
        differs: Some(
            "A subject that fewer than 100 subscriptions match is left out: wherever clients ask services, most subjects are \
             inboxes with one subscription each, so that a dozen subscribers of one subject are ten times the average \
             (measured, 2.10.26 to 2.15.1). It must be seen in two epochs in a row.",
        ),
        rule: "A subject of a server matches at least 100 subscriptions, and more than 10 times as many as its subjects do on \
               average, where the average is above 1.",
        why: "Each message of such a subject is written once for every subscription that it matches: a single publisher of a \
              subject with a thousand subscribers makes the server write a thousand messages for each of its own. Where that \
              is meant, as for a broadcast of configuration or prices, this is good to know for whoever plans capacity; \
              where it is not, clients subscribe to more than they need.\n\n\
              Both numbers come from the server's cache of subjects (SUBSZ): those of messages that it has routed of late, \
              at most some thousands, of all accounts together. A subject that was not published to is not in it, and what \
              another server fans out counts there. Members of a queue group count one by one, although one of them gets \
              the message. It must be seen in 2 epochs in a row.",
        remedy: &[
            "Find the subject: `nats server report connections --sort subs` shows who subscribes to much.",
            "Let clients subscribe to the part of the subjects that they need, rather than to a wildcard over all.",
            "Where one of several instances is enough, let them share a queue group.",
            "Spread subscribers of a meant broadcast over the servers, so that each writes its part.",
        ],
        needs: &[Endpoint::Subsz],
        evidence_from: &[Endpoint::Connz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The cache holds what was published last.
    const FOR: u64 = 2;
    // Subscribers of a server that leaves come to the others, and a cache that is new holds few subjects.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let interest = server.interest.as_ref()?;
    let (most, average) = (interest.max_fanout, interest.avg_fanout);
    let entity = Entity::of_server(server);
    let limits = thresholds.of(&entity);
    let fires = average.is_finite()
        && average > limits.min_average
        && average > 0.0
        && most >= limits.min_fanout
        && most as f64 > limits.ratio * average;
    if !fires {
        return None;
    }
    let times = most as f64 / average;
    let summary = format!(
        "a subject of server {} matches {most} subscriptions, {times:.1} times the average ({average:.1})",
        server.name
    );
    let threshold = (limits.ratio * average).max(limits.min_fanout as f64);
    let observed = Observed::count(most, rounded(threshold), "subscriptions");
    let evidence = Evidence {
        max_fanout: most,
        avg_fanout: (average * 100.0).round() / 100.0,
        times_average: (times * 10.0).round() / 10.0,
        cached_subjects: interest.num_cache,
        subscriptions: interest.num_subscriptions,
        top: SubscribersOn::of(context.now, server),
    };
    let mut remediation = Vec::new();
    if let Some(first) = evidence.top.accounts.first() {
        remediation.push(format!(
            "Look first at account {}, whose clients have most subscriptions on server {} ({}).",
            first.name, server.name, first.count
        ));
    }
    remediation.push(
        "If it is no broadcast on purpose, let clients subscribe to the part of the subjects that they need."
            .into(),
    );
    remediation.push("Where one of several instances is enough, let them share a queue group.".into());
    remediation.push(
        "If it is meant, spread the subscribers over the servers, so that each of them writes its part."
            .into(),
    );
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::System;
    use crate::wire::subsz::Subsz;
    use serde_json::json;

    type Check = FanOutAnomaly;

    fn system(max_fanout: u64, avg_fanout: f64) -> System {
        let mut system = System::of(2).connect("n1", "APP", "u", 1, |c, _| c.subscriptions = 60);
        let interest =
            Subsz { num_subscriptions: 80, num_cache: 200, max_fanout, avg_fanout, ..Subsz::default() };
        system.server_mut("n1").interest = Some(interest);
        system
    }

    fn entity() -> Entity {
        Entity::server(&"n1".into(), Some(&"east".into()))
    }

    #[test]
    fn fires_over_ten_times_the_average_and_not_at_it() {
        let judgement = judge::<Check>(&system(150, 15.0).done());
        assert!(judgement.firing.is_empty());
        // A dozen subscribers of one subject among inboxes, and one fewer than counts.
        assert!(judge::<Check>(&system(14, 1.1).done()).firing.is_empty());
        assert!(judge::<Check>(&system(99, 1.1).done()).firing.is_empty());
        assert_eq!(judgement.standing(&entity()), Standing::Clear);
        let judgement = judge::<Check>(&system(100, 1.493).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity());
        assert_eq!(
            firing.summary,
            "a subject of server n1 matches 100 subscriptions, 67.0 times the average (1.5)"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 100, "threshold": 100.0, "unit": "subscriptions"})
        );
        assert_eq!(firing.evidence["cached_subjects"], 200);
        assert_eq!(firing.evidence["top"]["accounts"], json!([{"name": "APP", "count": 60}]));
        assert!(firing.remediation[0].contains("account APP"));
    }

    #[test]
    fn an_average_of_one_and_nonsense_do_not_fire() {
        for (most, average) in
            [(100, 1.0), (u64::MAX, 0.0), (100, -5.0), (100, f64::NAN), (100, f64::INFINITY), (0, 0.0)]
        {
            assert!(judge::<Check>(&system(most, average).done()).firing.is_empty(), "{most} {average}");
        }
        assert_eq!(judge::<Check>(&system(u64::MAX, 1.01).done()).firing.len(), 1);
    }

    #[test]
    fn a_server_that_is_not_asked_is_unknown_and_the_sweep_only_fills_the_evidence() {
        let mut silent = system(100, 1.5).silent("n1", Endpoint::Subsz);
        silent.server_mut("n1").interest = None;
        let judgement = judge::<Check>(&silent.done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity()), Standing::Unknown(_)));
        let judgement = judge::<Check>(&system(100, 1.5).silent("n1", Endpoint::Connz).done());
        assert_eq!(only(&judgement).0, &entity());
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for (key, bad) in [
            ("ratio", json!(1)),
            ("ratio", json!(-1)),
            ("min_average", json!(-0.5)),
            ("min_fanout", json!(0)),
        ] {
            let base = [(key.to_owned(), bad)].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
        }
        let base = json!({"ratio": 100, "min_average": 0}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        assert!(judge_set::<Check>(&system(100, 1.5).done(), None, &[], &settings).firing.is_empty());
    }
}
