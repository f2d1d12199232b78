//! How far a counter of a server has gone since it was last told.

use super::in_words;
use crate::check::Context;
use crate::snapshot::{ByKind, Counters, Server, Version};
use schemars::JsonSchema;
use serde::Serialize;

/// What a server counted before, and since when that is compared.
#[derive(Debug)]
pub(in crate::checks) struct Before {
    pub(in crate::checks) counters: Counters,
    /// Seconds since then. Of a server that was started since the previous epoch those since that one: the rate of the first
    /// seconds of a process says little.
    seconds: f64,
    /// One clause: `since the previous epoch`.
    pub(in crate::checks) since: String,
}

impl Before {
    /// Whether they are those of the server's start, which nobody saw.
    pub(in crate::checks) const fn is_start(&self) -> bool {
        self.counters.at.is_none()
    }

    /// So many a minute; none where no time has passed.
    pub(in crate::checks) fn rate(&self, count: u64) -> Option<f64> {
        (self.seconds > 0.0).then(|| count as f64 * 60.0 / self.seconds)
    }

    /// The same to one decimal.
    pub(in crate::checks) fn per_minute(&self, count: u64) -> Option<f64> {
        self.rate(count).map(|rate| (rate * 10.0).round() / 10.0)
    }
}

/// The counters that the same boot told last, however many epochs ago, so that what happened while it was silent is not lost;
/// zeros if it was started since the previous epoch. Else why there are none.
pub(in crate::checks) fn before(context: &Context<'_>, server: &Server) -> Result<Before, String> {
    let name = &server.name;
    let now = context.now.taken_at;
    let previous = context.previous.map(|previous| previous.taken_at);
    let told = context.history.boot(&server.id).and_then(|boot| boot.counters);
    if let Some((counters, at)) = told.and_then(|counters| Some((counters, counters.at?))) {
        let seconds = (now - at).as_seconds_f64();
        let since = match Some(at) == previous {
            true => "since the previous epoch".into(),
            false => format!("in the last {}", in_words((now - at).whole_seconds().unsigned_abs())),
        };
        return Ok(Before { counters, seconds, since });
    }
    let age = server.now.zip(server.start).map(|(now, start)| now - start).filter(|age| !age.is_negative());
    let elapsed = previous.map(|previous| now - previous);
    match age.zip(elapsed) {
        Some((age, elapsed)) if age < elapsed => Ok(Before {
            counters: Counters::default(),
            seconds: elapsed.as_seconds_f64(),
            since: "since it was started".into(),
        }),
        _ => Err(format!(
            "server {name} has not told its counters before: they are compared from the next epoch on"
        )),
    }
}

/// So many a minute, over the seconds since the epoch before, to one decimal.
pub(in crate::checks) fn per_minute(context: &Context<'_>, count: u64) -> Option<f64> {
    let seconds = context.seconds_since_previous()?;
    Some((count as f64 * 600.0 / seconds).round() / 10.0)
}

/// Clients that connected to a server since the epoch before; none where it did not tell then, or was started since.
pub(in crate::checks) fn opened(context: &Context<'_>, server: &Server) -> Option<u64> {
    let before = context.same_boot(server)?.vars.as_ref()?;
    server.vars.as_ref()?.total_connections.checked_sub(before.total_connections)
}

/// A counter that servers have from a version on, and leave out while it is zero; none where the server does not count.
pub(in crate::checks) fn counted_from(version: Version, server: &Server, told: Option<u64>) -> Option<u64> {
    let counts = server.version.is_some_and(|own| own >= version);
    told.or(counts.then_some(0))
}

/// How far counters by kind of connection have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::checks) struct ByKindSince {
    /// Clients.
    pub(in crate::checks) clients: u64,
    /// Routes.
    pub(in crate::checks) routes: u64,
    /// Gateways.
    pub(in crate::checks) gateways: u64,
    /// Leafnodes.
    pub(in crate::checks) leafs: u64,
}

impl ByKindSince {
    /// None where the server does not tell kinds; it leaves them out while all are zero.
    pub(in crate::checks) fn of(now: Option<ByKind>, before: Option<ByKind>) -> Option<Self> {
        let (now, before) = (now?, before.unwrap_or_default());
        Some(Self {
            clients: now.clients.saturating_sub(before.clients),
            routes: now.routes.saturating_sub(before.routes),
            gateways: now.gateways.saturating_sub(before.gateways),
            leafs: now.leafs.saturating_sub(before.leafs),
        })
    }

    /// Without so many clients.
    pub(in crate::checks) const fn without(self, clients: u64) -> Self {
        Self { clients: self.clients.saturating_sub(clients), ..self }
    }

    /// All kinds together.
    pub(in crate::checks) const fn sum(self) -> u64 {
        let Self { clients, routes, gateways, leafs } = self;
        clients.saturating_add(routes).saturating_add(gateways).saturating_add(leafs)
    }

    /// ` (3 of clients, 1 of routes)`; nothing where there is none.
    pub(in crate::checks) fn in_words(self) -> String {
        let Self { clients, routes, gateways, leafs } = self;
        let parts: Vec<String> =
            [(clients, "clients"), (routes, "routes"), (gateways, "gateways"), (leafs, "leafnodes")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} of {what}"))
                .collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}
