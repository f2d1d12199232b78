//! SERVER_008: a server that is another process than before, without having said that it would end.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count, seconds,
};
use crate::checks::as_text;
use crate::checks::evidence::{TOP, in_words};
use crate::checks::restarts::{ANNOUNCED_ON, Ended, HEARD_ON, Restart, RestartRow, SERIES, age, restarts};
use crate::snapshot::{Endpoint, Series, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// See [`Rule::META`].
pub(super) struct UnexpectedRestart;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Keep the finding until the new process has been seen for this long, e.g. `15m`; at least `1s`, and of use up to an
    /// hour, for which boots are remembered.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    show_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { show_for: Duration::from_secs(900) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("show_for", self.show_for)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The restart.
    restart: RestartRow,
    /// Seconds for which the new process has been running. It may have recovered streams for long before it was seen.
    running_seconds: u64,
    /// Seconds from when the old process was last seen to the start of the new one, at most.
    gone_seconds: u64,
    /// Unannounced restarts of this server within the last hour, this one included.
    within_the_hour: u64,
    /// Other servers that restarted without announcing it within the same hour, at most 5: one cause may be behind all.
    #[schemars(with = "Vec<String>")]
    others: Vec<Name>,
    /// Client connections of the new process.
    connections: u64,
}

impl Rule for UnexpectedRestart {
    const META: Meta = Meta {
        id: "SERVER_008",
        name: "Unexpected Restart",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A restart that the server announced is none: a process that is stopped in order says so in an event (SHUTDOWN, \
             LAMEDUCK) which one that crashes or is killed cannot send; and a server that did not answer for some epochs in \
             between is paired with its earlier process all the same.",
        ),
        rule: "A server of the same version runs as another process than before, and the one before ended without announcing \
               it; shown until the new process has been seen for 15 minutes.",
        why: "A server that is stopped in order, by a signal or by lame-duck mode, tells the system account before it ends. One \
              that crashes, that is killed because it uses too much memory, or whose machine goes down, does not: \
              its clients are cut off at once, and what was not yet written may be lost.\n\n\
              The new process has another id and another start. A server that did not answer for some epochs in \
              between is still recognized, for an hour, by its cluster and name; one without a `server_name` cannot be, because it \
              is called by its id, which is new each time. Where the version changed, somebody upgraded it, in whatever \
              manner, and nothing is said.\n\n\
              An announcement can be missed while this agent's connection is lost, or if its user may not subscribe to those \
              events; then it cannot be said, except of the server that the agent was connected to itself, whose last \
              words come before the end of the connection.",
        remedy: &[
            "Read the end of the server's log from before the restart, and the journal of the machine or of the container.",
            "Look whether the kernel killed it for its memory (`dmesg`, exit status 137), and compare with its limit.",
            "Look for a liveness probe that restarts a server that is only busy.",
            "Let whatever stops servers send SIGTERM or use lame-duck mode, and give them time.",
        ],
        needs: &[Endpoint::Varz],
        needs_events: ANNOUNCED_ON,
        evidence_from_events: HEARD_ON,
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Whether it was announced is what the rule looks at: within the time that maintenance is given, a crash is a crash.
    const DISTURBED: Disturbed = Disturbed::Never;
    const EPOCHS: u64 = 2;
    const SERIES: &'static [Series] = SERIES;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let restarts = restarts(context);
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context, thresholds, &restarts, server)).collect()
    }
}

fn judge_server(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    restarts: &BTreeMap<Name, Vec<Restart>>,
    server: &Server,
) -> Option<Verdict> {
    let all = restarts.get(&server.key())?;
    let restart = all.last().filter(|restart| restart.id == server.id && !restart.changes_version())?;
    let entity = Entity::of_server(server);
    // Not for how long it has been running: a server restores its streams before it answers anybody, for hours where there
    // are many, and after a crash all the more.
    let seen = u64::try_from((context.now.taken_at - restart.first_seen).whole_seconds()).unwrap_or(0);
    let show_for = thresholds.of(&entity).show_for.as_secs();
    if seen >= show_for {
        return None;
    }
    let running = age(context, server, restart.first_seen);
    match &restart.ended {
        Ended::Announced => return None,
        Ended::Unheard(why) => {
            let reason = format!(
                "server {} was started anew, and whether that was announced cannot be said: {why}",
                server.name
            );
            return Some(Verdict::unknown(entity, reason));
        }
        Ended::Silently => {}
    }
    let silent =
        |restarts: &[Restart]| restarts.iter().filter(|one| one.ended == Ended::Silently).count() as u64;
    let others = restarts.iter().filter(|(key, of)| **key != server.key() && silent(of) > 0);
    let evidence = Evidence {
        restart: RestartRow::of(restart),
        running_seconds: running,
        gone_seconds: u64::try_from((restart.started - restart.last_seen).whole_seconds()).unwrap_or(0),
        within_the_hour: silent(all),
        others: others.map(|(key, _)| key.clone()).take(TOP).collect(),
        connections: server.vars.as_ref().map_or(0, |vars| vars.connections),
    };
    let summary = format!(
        "server {} was started anew {} ago without having announced its end",
        server.name,
        in_words(running)
    );
    let observed = Observed::count(seen, show_for, "seconds since it was first seen");
    let remediation = remediation(server, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if !evidence.others.is_empty() {
        let also = count(evidence.others.len() as u64, "other server");
        steps.push(format!(
            "Look for a cause that they share: {also} did the same within the hour (a machine, a rack, a deployment, a message)."
        ));
    }
    let name = &server.name;
    steps.push(format!(
        "Read the end of the log of server {name} from before the restart, and the journal of its machine."
    ));
    steps.push(
        "Look whether the kernel or the container runtime killed it for its memory (exit status 137).".into(),
    );
    if evidence.within_the_hour > 1 {
        steps.push(
            "It was not the first time within the hour: keep clients away from it until the cause is found."
                .into(),
        );
    }
    steps.push(
        "If somebody restarted it on purpose: use SIGTERM or lame-duck mode, and give it time to end.".into(),
    );
    steps
}

#[cfg(test)]
mod tests;
