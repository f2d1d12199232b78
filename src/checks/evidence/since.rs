//! How far a counter of a server has gone since the epoch before.

use crate::check::Context;
use crate::snapshot::{ByKind, Server, ServerVars};
use schemars::JsonSchema;
use serde::Serialize;

/// The counters of the same boot in the epoch before, or why there are none.
pub(in crate::checks) fn vars_before<'a>(
    context: &Context<'a>,
    server: &Server,
) -> Result<&'a ServerVars, String> {
    let before = context.previous.and_then(|previous| previous.servers.get(&server.id));
    let name = &server.name;
    let Some(before) = before else {
        return Err(format!(
            "server {name} did not answer in the epoch before, or was started since: its counters are compared from the \
             next epoch on"
        ));
    };
    let vars = before.vars.as_ref();
    vars.ok_or_else(|| format!("server {name} did not answer VARZ in the epoch before"))
}

/// So many a minute, over the seconds since the epoch before, to one decimal.
pub(in crate::checks) fn per_minute(context: &Context<'_>, count: u64) -> Option<f64> {
    let seconds = context.seconds_since_previous()?;
    Some((count as f64 * 600.0 / seconds).round() / 10.0)
}

/// How far counters by kind of connection have gone since the epoch before.
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
