//! Which servers were started anew within the last hour, and whether they had announced it.

use super::evidence::rfc3339;
use crate::check::Context;
use crate::snapshot::{Event, Series, Server, Version};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// How the boot before a restart ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It said that it would (SHUTDOWN or LAMEDUCK).
    Announced,
    /// It said nothing, and would have been heard.
    Silently,
    /// It may have said so while nobody listened, and why.
    Unheard(String),
}

/// One boot that followed another of the same server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restart {
    /// The id of the new boot.
    pub(super) id: Name,
    /// When the new process started, by its own clock.
    pub(super) started: OffsetDateTime,
    /// The same of the one before.
    pub(super) before: OffsetDateTime,
    /// When the one before was last seen, by the agent's clock.
    pub(super) last_seen: OffsetDateTime,
    /// When the new one was first seen.
    pub(super) first_seen: OffsetDateTime,
    /// How the one before ended.
    pub(super) ended: Ended,
    /// The versions of both, as far as they are known.
    pub(super) versions: (Option<Version>, Option<Version>),
}

impl Restart {
    /// Whether it was an upgrade, or a downgrade.
    pub(super) fn changes_version(&self) -> bool {
        matches!(self.versions, (Some(before), Some(after)) if before != after)
    }
}

/// What [`restarts`] is told from.
pub(super) const SERIES: &[Series] = &[Series::ServerStarts, Series::HeardStarts];

/// The events that tell whether the end of a boot was announced.
pub(super) const ANNOUNCED_ON: &[Event] = &Event::FAREWELLS;

/// The events by which a boot is known that answers nothing.
pub(super) const HEARD_ON: &[Event] = &[Event::Heartbeat];

struct Boot {
    id: Name,
    /// Whether it was heard once and never answered.
    heard: bool,
    started: OffsetDateTime,
    first: OffsetDateTime,
    last: OffsetDateTime,
}

/// The restarts of the last hour of every server, by its key, the oldest first.
pub(super) fn restarts(context: &Context<'_>) -> BTreeMap<Name, Vec<Restart>> {
    let mut boots: BTreeMap<Name, Vec<Boot>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let tracks = |series| context.tracks(series).into_iter().map(move |track| (track, series));
    // Those that answered come first.
    for (track, series) in SERIES.iter().flat_map(|series| tracks(*series)) {
        let heard = series == Series::HeardStarts;
        if heard && known.contains(&track.boot) {
            continue;
        }
        known.insert(track.boot.clone());
        let (Some(first), Some(last)) = (track.points.first(), track.points.last()) else { continue };
        let started =
            i64::try_from(last.value).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let Some(started) = started else { continue };
        boots.entry(track.key).or_default().push(Boot {
            id: track.boot,
            heard,
            started,
            first: first.at,
            last: last.at,
        });
    }
    let of_key = |(key, mut boots): (Name, Vec<Boot>)| {
        // Of what came to an end between two epochs only its own clock tells the order.
        boots.sort_by(|a, b| {
            (a.first, !a.heard, a.started, &a.id).cmp(&(b.first, !b.heard, b.started, &b.id))
        });
        // Two servers may have one name where JetStream is not used: those that are seen side by side are no restart.
        let follows = |pair: &&[Boot]| {
            let (old, new) = (&pair[0], &pair[1]);
            old.last < new.first || (old.heard && old.last == new.first && old.started < new.started)
        };
        let restarts: Vec<Restart> =
            boots.windows(2).filter(follows).map(|pair| restart(context, &pair[0], &pair[1])).collect();
        (key, restarts)
    };
    boots.into_iter().map(of_key).filter(|(_, restarts)| !restarts.is_empty()).collect()
}

fn restart(context: &Context<'_>, old: &Boot, new: &Boot) -> Restart {
    let ends = &context.now.ends;
    let ended = if ends.announced.contains(&old.id) {
        Ended::Announced
    } else if let Some(why) = ends.missed(&old.id, old.last, new.first) {
        Ended::Unheard(why.to_owned())
    } else {
        Ended::Silently
    };
    let version = |id: &Name| match context.now.servers.get(id) {
        Some(server) => server.version,
        None => context.history.boot(id).and_then(|boot| boot.version),
    };
    Restart {
        id: new.id.clone(),
        started: new.started,
        before: old.started,
        last_seen: old.last,
        first_seen: new.first,
        ended,
        versions: (version(&old.id), version(&new.id)),
    }
}

/// Seconds that a server has been running, by its own clock; by that of the agent where it does not tell.
pub(super) fn age(context: &Context<'_>, server: &Server, first_seen: OffsetDateTime) -> u64 {
    let seconds = match (server.start, server.now) {
        (Some(start), Some(now)) => (now - start).whole_seconds(),
        _ => (context.now.taken_at - first_seen).whole_seconds(),
    };
    u64::try_from(seconds).unwrap_or(0)
}

/// One restart, for the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct RestartRow {
    /// When the new process started.
    pub(super) started: Option<String>,
    /// When the process before it had started.
    pub(super) previous_start: Option<String>,
    /// When that was last seen, by the agent's clock.
    pub(super) last_seen: Option<String>,
    /// When the new one was first seen.
    pub(super) first_seen: Option<String>,
    /// Whether the end of the one before was announced; none where that may have been missed.
    pub(super) announced: Option<bool>,
    /// The version of the one before.
    pub(super) version_before: Option<String>,
    /// The version since.
    pub(super) version: Option<String>,
}

impl RestartRow {
    pub(super) fn of(restart: &Restart) -> Self {
        let text = |version: Option<Version>| version.map(|version| version.to_string());
        Self {
            started: rfc3339(restart.started),
            previous_start: rfc3339(restart.before),
            last_seen: rfc3339(restart.last_seen),
            first_seen: rfc3339(restart.first_seen),
            announced: match restart.ended {
                Ended::Announced => Some(true),
                Ended::Silently => Some(false),
                Ended::Unheard(_) => None,
            },
            version_before: text(restart.versions.0),
            version: text(restart.versions.1),
        }
    }
}
