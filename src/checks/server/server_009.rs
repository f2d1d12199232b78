//! SERVER_009: a server that crashes again and again.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::restarts::{ANNOUNCED_ON, Ended, HEARD_ON, Restart, RestartRow, SERIES, restarts};
use crate::snapshot::{Endpoint, Series, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct CrashLoop;

/// Restarts that are listed.
const ROWS: usize = 10;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire at this many restarts of one server within an hour that were not announced.
    restarts: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { restarts: 2 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("restarts", self.restarts, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Restarts within the last hour that were not announced.
    unannounced: u64,
    /// Restarts within the last hour that were announced, which do not count.
    announced: u64,
    /// Restarts within the last hour of which it cannot be said, because announcements may have been missed.
    unheard: u64,
    /// The last restarts, the newest first, at most 10.
    restarts: Vec<RestartRow>,
    /// The longest time between two starts, in seconds; none where there was only one.
    longest_run_seconds: Option<u64>,
}

impl Rule for CrashLoop {
    const META: Meta = Meta {
        id: "SERVER_009",
        name: "Crash Loop",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "Only restarts that the server did not announce count, because one that is stopped in order says so in an event: a \
             rolling restart that is followed by an upgrade within the hour is no crash loop.",
        ),
        rule: "A server was started anew 2 times or more within an hour without having announced it.",
        why: "A server that crashes, is started by its supervisor and crashes again takes its clients with it each time, \
              and its JetStream groups choose a new leader and then catch up again. Often the supervisor waits longer after every \
              crash, so that the server is missing for most of the time.\n\n\
              What is counted are processes that answered this agent, or published a heartbeat, which a server does within its \
              first second and then every 10 s: one that ends before it has routes is not seen. Restarts that were announced do not count. A server without a `server_name` is called by its id, which is new \
              each time, so that its boots cannot be told from other servers. While the server is silent it cannot be judged, \
              and an earlier finding stays.",
        remedy: &[
            "Read the last lines of the log before each start: a crash loop nearly always has one cause.",
            "Look whether the process is killed for its memory while it recovers streams: give it more, or raise GOMEMLIMIT.",
            "Look whether a liveness probe ends it before it has recovered: give it a startup probe.",
            "Take the server out of the clients' URLs until it stays up.",
        ],
        needs: &[Endpoint::Varz],
        needs_events: ANNOUNCED_ON,
        evidence_from_events: HEARD_ON,
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Whether it was announced is what the rule looks at.
    const DISTURBED: Disturbed = Disturbed::Never;
    const EPOCHS: u64 = 2;
    const SERIES: &'static [Series] = SERIES;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let restarts = restarts(context);
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(thresholds, restarts.get(&server.key())?, server)).collect()
    }
}

fn judge_server(thresholds: &Thresholds<Limits>, all: &[Restart], server: &Server) -> Option<Verdict> {
    let entity = Entity::of_server(server);
    let most = thresholds.of(&entity).restarts;
    let number = |wanted: fn(&Ended) -> bool| all.iter().filter(|one| wanted(&one.ended)).count() as u64;
    let unannounced = number(|ended| *ended == Ended::Silently);
    let unheard = number(|ended| matches!(ended, Ended::Unheard(_)));
    if unannounced < most {
        if unannounced.saturating_add(unheard) < most {
            return None;
        }
        let why = all.iter().find_map(|one| match &one.ended {
            Ended::Unheard(why) => Some(why.as_str()),
            _ => None,
        });
        let reason = format!(
            "server {} was started anew {} times within an hour, and whether that was announced cannot be said of all: {}",
            server.name,
            all.len(),
            why.unwrap_or_default()
        );
        return Some(Verdict::unknown(entity, reason));
    }
    let runs = all.windows(2).map(|pair| (pair[1].started - pair[0].started).whole_seconds());
    let evidence = Evidence {
        unannounced,
        announced: number(|ended| *ended == Ended::Announced),
        unheard,
        restarts: all.iter().rev().take(ROWS).map(RestartRow::of).collect(),
        longest_run_seconds: runs.max().and_then(|seconds| u64::try_from(seconds).ok()),
    };
    let summary = format!(
        "server {} was started anew {} within an hour without having announced it",
        server.name,
        if unannounced == 1 { "once".into() } else { format!("{unannounced} times") },
    );
    let observed = Observed::count(unannounced, most, "unannounced restarts within an hour");
    let mut steps = vec![format!(
        "Read the last lines of the log of server {} before each of the starts in the evidence.",
        server.name
    )];
    if evidence.longest_run_seconds.is_some_and(|seconds| seconds < 120) {
        steps.push(
            "It never ran for two minutes: look for a configuration that it cannot use, a full disk, and a liveness probe \
             that does not wait for it to recover."
                .into(),
        );
    }
    steps.push(
        "Look whether the kernel or the container runtime kills it for its memory (exit status 137).".into(),
    );
    steps.push("Take the server out of the clients' URLs until it stays up.".into());
    Some(Verdict::firing(entity, summary, observed, &evidence, steps))
}

#[cfg(test)]
mod tests;
