//! What a rule may look at.

use super::{AccountLimit, LimitView};
use crate::snapshot::{Account, Endpoint, History, Limits, Series, Server, Snapshot, Track};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits that the operator declares for an account of a server's configuration file, which no answer shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredLimits {
    /// Client connections over the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// Subscriptions of one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<u64>,
    /// Leafnode connections over the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_leafnodes: Option<u64>,
}

/// Whether no event since the previous epoch was missed.
#[derive(Debug, Clone, Copy)]
pub struct EventsSeen(bool);

impl EventsSeen {
    /// Whether every disconnect of the account was seen. The events of an account with a dot in its name have one token
    /// more than the subject that is subscribed to.
    pub fn of(self, account: &Account) -> bool {
        self.0 && !account.id.contains('.')
    }
}

/// Everything a rule judges from.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This epoch.
    pub now: &'a Snapshot,
    /// The epoch before, for changes.
    pub previous: Option<&'a Snapshot>,
    /// The last epochs, for trends.
    pub history: &'a History,
    /// Declared limits, by name or public key of the account.
    pub declared: &'a BTreeMap<String, DeclaredLimits>,
}

impl Context<'_> {
    /// Epochs that are known, the present one included.
    pub fn epochs(&self) -> u64 {
        self.history.epochs().saturating_add(1)
    }

    /// Every track of a series that the rule declares, its value in the present epoch included.
    pub fn tracks(&self, series: Series) -> Vec<Track> {
        self.history.tracks(series, self.now)
    }

    /// The same boot of a server in the epoch before; none if it did not answer then, or was started since. The counters of
    /// the two can be compared.
    pub fn same_boot(&self, server: &Server) -> Option<&Server> {
        self.previous?.servers.get(&server.id)
    }

    /// Seconds since the previous epoch's gather.
    pub fn seconds_since_previous(&self) -> Option<f64> {
        let seconds = (self.now.taken_at - self.previous?.taken_at).as_seconds_f64();
        (seconds > 0.0).then_some(seconds)
    }

    /// Whether the events since the previous epoch were seen. It looks at every server: ask once for all accounts.
    pub fn events_seen(&self) -> EventsSeen {
        EventsSeen(self.now.coverage.gaps(Endpoint::Events).is_empty())
    }

    /// What is known of a limit of an account. What the account's JWT says wins over a declaration.
    pub fn limit(&self, account: &Account, which: AccountLimit) -> LimitView {
        let visible = match &account.limits {
            Limits::Jwt(limits) => return LimitView::from_claim(which.of_claims(limits)),
            Limits::None => return LimitView::Unlimited,
            other => other,
        };
        let by_name = account.name.as_ref().and_then(|name| self.declared.get(&**name));
        let declared = self.declared.get(&*account.id).or(by_name);
        match (declared.and_then(|limits| which.of_declared(limits)), visible) {
            (Some(limit), _) => LimitView::Limited { limit, source: "declared" },
            (None, Limits::Unread(why)) => {
                LimitView::Unknown(format!("limits of account {} not read: {why}", account.label()))
            }
            (None, _) => LimitView::NotVisible(format!(
                "the {} of account {} is set in a server's configuration file, which the monitoring API does not \
                 show; declare {} under [accounts] in this agent's configuration",
                which.words(),
                account.label(),
                which.declared_key(),
            )),
        }
    }
}
