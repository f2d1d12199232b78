//! AGENT_003: the agent does not get done with an epoch in its time.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::snapshot::{Pace, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct EpochOverrun;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire from this number of epochs in a row that overran: a single one may be a pause of the host.
    warn_epochs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_epochs: 2 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("warn_epochs", self.warn_epochs, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Epochs in a row that were cut, or after which some were left out.
    overruns: u64,
    /// Whether this epoch's gather was cut at its deadline.
    cut: bool,
    /// Epochs left out before this one.
    skipped: u64,
    /// From the start of one epoch to that of the next, in milliseconds.
    interval_ms: u64,
    /// From the start of this epoch to its judging, in milliseconds.
    took_ms: u64,
    /// From the start of the previous epoch to its end, in milliseconds; none in the first.
    previous_took_ms: Option<u64>,
    /// What was asked and did not come whole, at most 20 clauses.
    missing: Vec<String>,
    /// How many more are missing.
    missing_omitted: u64,
    /// The servers that took longest for one answer, at most 5.
    slowest: Vec<Slow>,
    /// Requests of this epoch.
    requests: u64,
    /// Bytes of this epoch's answers as they came over the network.
    bytes: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Slow {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Its slowest answer, in milliseconds.
    milliseconds: u64,
}

/// Missing answers that are told.
const MISSING: usize = 20;

/// Servers that are told.
const SLOWEST: usize = 5;

impl Rule for EpochOverrun {
    const META: Meta = Meta {
        id: "AGENT_003",
        name: "Epoch Overrun",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Agent,
        since: "2.9",
        rule: "For 2 epochs in a row the gather was cut at its deadline, or epochs were left out because one took too \
               long.",
        why: "An epoch never overlaps the next: its gather ends at four fifths of the interval, whatever is missing then, \
              and an epoch that takes longer all the same makes those be left out that should have begun meanwhile. \
              What was cut off is unknown, and what happens between two epochs is seen later.\n\n\
              Servers that do not answer cost time too, as each is waited for: AGENT_001 tells of those.",
        remedy: &[
            "Make epochs longer: `--epoch`, or `epoch` in the configuration.",
            "Ask for less: disable checks that need every connection.",
            "Give the agent more CPU, or a server that is closer to it.",
        ],
        needs: &[],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // Nobody waits for a server that said that it leaves, so an epoch takes no longer for that.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let pace = &context.now.pace;
        let entity = Entity::agent(&pace.agent);
        let warn_epochs = thresholds.of(&entity).warn_epochs;
        if pace.overruns < warn_epochs {
            return Vec::new();
        }
        let observed = Observed::count(pace.overruns, warn_epochs, "epochs");
        let evidence = evidence(context.now);
        let remediation = remediation(context.now, &evidence);
        vec![Verdict::firing(entity, summary(context.now), observed, &evidence, remediation)]
    }
}

fn words(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn summary(now: &Snapshot) -> String {
    let Pace { interval, took, skipped, overruns, .. } = &now.pace;
    let (rows, interval) = (count(*overruns, "epoch"), words(*interval));
    if now.cut {
        return format!(
            "the gather was cut at its deadline, after {} of {interval}; {rows} in a row overran",
            words(*took)
        );
    }
    let left = count(*skipped, "epoch");
    let were = if *skipped == 1 { "was" } else { "were" };
    format!("{left} of {interval} {were} left out because one took too long; {rows} in a row overran")
}

fn evidence(now: &Snapshot) -> Evidence {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut missing: Vec<String> = now.coverage.shortfalls().into_iter().map(|row| row.reason).collect();
    missing.dedup();
    let missing_omitted = missing.len().saturating_sub(MISSING) as u64;
    missing.truncate(MISSING);
    let slow =
        |(id, milliseconds): (&Name, &u64)| Slow { server: now.server_name(id), milliseconds: *milliseconds };
    let mut slowest: Vec<Slow> = now.cost.slowest.iter().map(slow).collect();
    slowest.sort_by(|a, b| b.milliseconds.cmp(&a.milliseconds).then_with(|| a.server.cmp(&b.server)));
    slowest.truncate(SLOWEST);
    let pace = &now.pace;
    Evidence {
        overruns: pace.overruns,
        cut: now.cut,
        skipped: pace.skipped,
        interval_ms: milliseconds(pace.interval),
        took_ms: milliseconds(pace.took),
        previous_took_ms: pace.previous_took.map(milliseconds),
        missing,
        missing_omitted,
        slowest,
        requests: now.cost.requests,
        bytes: now.cost.bytes,
    }
}

fn remediation(now: &Snapshot, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let interval = now.pace.interval;
    let silent = now.coverage.missing.len() as u64;
    if silent > 0 {
        steps.push(format!(
            "{} did not answer and {} waited for in each epoch: see AGENT_001.",
            count(silent, "server"),
            if silent == 1 { "is" } else { "are" },
        ));
    }
    // An answer that takes a tenth of the interval is slow by any measure: requests go to a server one after another.
    let slow =
        evidence.slowest.first().filter(|slow| u128::from(slow.milliseconds) * 10 >= interval.as_millis());
    if let Some(Slow { server, milliseconds }) = slow {
        steps.push(format!(
            "Server {server} took {milliseconds} ms for one answer: see whether it is overloaded."
        ));
    }
    let longer = now.pace.took.max(interval).as_secs().saturating_mul(2).max(2);
    steps.push(format!("Make epochs longer, such as `--epoch {longer}s`."));
    steps.push(
        "Ask for less: disable the checks that need every connection, or restrict the sweep over connections.".into(),
    );
    steps.push("Give the agent more CPU, and connect it to a server close to it.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Endpoint;
    use crate::snapshot::build::System;
    use serde_json::json;

    fn pace(overruns: u64, skipped: u64) -> Pace {
        Pace {
            agent: "host".into(),
            interval: Duration::from_secs(10),
            took: Duration::from_millis(8_010),
            previous_took: Some(Duration::from_secs(12)),
            skipped,
            overruns,
        }
    }

    fn overran(cut: bool, overruns: u64, skipped: u64) -> Snapshot {
        let system = System::of(3).silent("n2", Endpoint::Connz).with(|snapshot| {
            (snapshot.cut, snapshot.pace) = (cut, pace(overruns, skipped));
            (snapshot.cost.requests, snapshot.cost.bytes) = (7, 1000);
            snapshot.cost.slowest = [("ID-n1".into(), 40), ("ID-n3".into(), 2_000)].into();
        });
        system.done()
    }

    #[test]
    fn two_epochs_in_a_row_fire_and_one_does_not() {
        assert!(judge::<EpochOverrun>(&overran(true, 1, 0)).firing.is_empty());
        let judgement = judge::<EpochOverrun>(&overran(true, 2, 0));
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &Entity::agent(&"host".into()));
        assert_eq!(
            firing.summary,
            "the gather was cut at its deadline, after 8.0 s of 10.0 s; 2 epochs in a row overran"
        );
        assert_eq!(
            firing.evidence,
            json!({"overruns": 2, "cut": true, "skipped": 0, "interval_ms": 10_000, "took_ms": 8_010,
                   "previous_took_ms": 12_000, "missing": ["server n2 did not answer CONNZ"], "missing_omitted": 0,
                   "slowest": [{"server": "n3", "milliseconds": 2000}, {"server": "n1", "milliseconds": 40}],
                   "requests": 7, "bytes": 1000})
        );
        assert!(firing.remediation[0].starts_with("Server n3 took 2000 ms"), "{:?}", firing.remediation);
        assert!(firing.remediation[1].contains("--epoch 20s"), "{:?}", firing.remediation);
    }

    #[test]
    fn epochs_that_were_left_out_are_told() {
        let judgement = judge::<EpochOverrun>(&overran(false, 3, 1));
        assert_eq!(
            only(&judgement).1.summary,
            "1 epoch of 10.0 s was left out because one took too long; 3 epochs in a row overran"
        );
    }
}
