//! What is wrong with the demo's system: accounts, their limits, and the clients that come too near to them.
//!
//! Every client is a real connection. The numbers are chosen so that each check of [`PROVOKES`] fires with its
//! default thresholds; only the idle time is lowered.

use super::identity::AccountLimits;
use std::time::Duration;

/// The names of the three servers; clients crowd on the first.
pub(super) const SERVERS: [&str; 3] = ["n1", "n2", "n3"];

/// The most clients that the first server takes.
pub(super) const MAX_CONNECTIONS: i64 = 200;

/// The time after which a connection counts as idle here; nobody would watch a demo for the five minutes that it
/// normally takes.
pub(super) const IDLE: Duration = Duration::from_secs(2);

/// The check whose threshold [`IDLE`] is.
pub(super) const IDLE_CHECK: &str = "OPT_IDLE_007";

/// A check that the demo provokes.
#[derive(Debug)]
pub(super) struct Provoked {
    /// Its id.
    pub(super) check: &'static str,
    /// The parts of its evidence that say most about this system, as paths.
    pub(super) evidence: &'static [&'static str],
}

/// Every check that the demo provokes.
pub(super) const PROVOKES: &[Provoked] = &[
    Provoked { check: "ACCOUNTS_001", evidence: &["by_server", "idle_without_messages", "users"] },
    Provoked {
        check: "ACCOUNTS_006",
        evidence: &["top_connections", "subjects/first_tokens", "per_connection"],
    },
    Provoked { check: "SERVER_011", evidence: &["cluster/servers", "top/accounts", "top/client_names"] },
    Provoked { check: "USER_002", evidence: &["by_server", "client_names", "pattern"] },
    Provoked { check: "OPT_BALANCE_002", evidence: &["servers", "top/accounts", "top/client_names"] },
    Provoked { check: "OPT_BALANCE_006", evidence: &["servers", "client_names"] },
    Provoked { check: "OPT_IDLE_007", evidence: &["longest_idle"] },
];

/// A tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: &'static str,
    pub(super) limits: AccountLimits,
    pub(super) crowds: &'static [Crowd],
}

/// Clients of one user.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) user: &'static str,
    pub(super) client: &'static str,
    /// How many on each server.
    pub(super) on: [usize; 3],
    pub(super) does: Does,
}

/// What a client does all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Nothing, ever.
    Nothing,
    /// Publishes now and then.
    Publish(&'static str),
    /// Publishes now and then, and holds this many subscriptions: an inbox for each request it ever made, and the
    /// events of the sessions it serves.
    Subscribe(&'static str, usize),
}

const UNLIMITED: AccountLimits =
    AccountLimits { conn: -1, subs: -1, leaf: -1, payload: -1, jetstream: false };

/// The tenants.
pub(super) const TENANTS: &[Tenant] = &[
    // 38 of 40 connections, 12 of them forgotten by the code that opened them: ACCOUNTS_001 and OPT_IDLE_007.
    Tenant {
        name: "PRODUCTION",
        limits: AccountLimits { conn: 40, ..UNLIMITED },
        crowds: &[
            Crowd { user: "reports", client: "nightly-report", on: [4, 4, 4], does: Does::Nothing },
            Crowd {
                user: "orders",
                client: "orders-api",
                on: [7, 6, 6],
                does: Does::Publish("orders.created"),
            },
            Crowd {
                user: "billing",
                client: "billing-worker",
                on: [3, 2, 2],
                does: Does::Publish("billing.done"),
            },
        ],
    },
    // One user with 162 connections, nearly all of them on n1: USER_002, OPT_BALANCE_006, and with them the
    // server's own SERVER_011 and OPT_BALANCE_002.
    Tenant {
        name: "TELEMETRY",
        limits: UNLIMITED,
        crowds: &[
            Crowd {
                user: "collector",
                client: "gateway-north",
                on: [90, 3, 3],
                does: Does::Publish("telemetry.north"),
            },
            Crowd {
                user: "collector",
                client: "gateway-south",
                on: [60, 3, 3],
                does: Does::Publish("telemetry.south"),
            },
        ],
    },
    // A connection with 190 of 200 subscriptions: ACCOUNTS_006.
    Tenant {
        name: "SHOP",
        limits: AccountLimits { subs: 200, ..UNLIMITED },
        crowds: &[
            Crowd {
                user: "checkout",
                client: "checkout-web",
                on: [0, 1, 0],
                does: Does::Subscribe("cart.changed", 190),
            },
            Crowd {
                user: "catalog",
                client: "catalog-web",
                on: [1, 1, 2],
                does: Does::Subscribe("catalog.viewed", 3),
            },
        ],
    },
];

/// The subscriptions of a client that holds `count` of them.
pub(super) fn subscriptions(count: usize) -> Vec<String> {
    let subject = |number: usize| match number % 6 {
        0 => format!("session.{number}.events"),
        // As client libraries name the inbox of a request.
        _ => format!("_INBOX.{}", crate::text::digest_hex(&number.to_le_bytes(), 11)),
    };
    (0..count).map(subject).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::find;

    fn on(server: usize, tenants: &[Tenant]) -> usize {
        let crowds = tenants.iter().flat_map(|tenant| tenant.crowds);
        crowds.map(|crowd| crowd.on[server]).sum()
    }

    #[test]
    fn the_numbers_cross_the_thresholds() {
        let of = |name: &str| TENANTS.iter().find(|tenant| tenant.name == name).unwrap();
        let all =
            |tenant: &Tenant| (0..3).map(|server| on(server, std::slice::from_ref(tenant))).sum::<usize>();
        assert_eq!(all(of("PRODUCTION")), 38);
        assert!(all(of("TELEMETRY")) > 100);
        let hot = on(0, TENANTS);
        // The agent and the demo itself connect too, to whichever server; neither may tip a threshold.
        assert!(hot * 100 >= 80 * MAX_CONNECTIONS as usize && hot + 10 < MAX_CONNECTIONS as usize, "{hot}");
        assert!(hot * 3 > 2 * (on(0, TENANTS) + on(1, TENANTS) + on(2, TENANTS) + 10), "{hot}");
    }

    #[test]
    fn only_the_forgotten_connections_are_idle() {
        let idle =
            TENANTS.iter().flat_map(|tenant| tenant.crowds).filter(|crowd| crowd.does == Does::Nothing);
        assert_eq!(idle.count(), 1);
    }

    #[test]
    fn every_check_that_is_provoked_exists() {
        assert!(PROVOKES.iter().all(|provoked| find(provoked.check).is_some()));
    }

    #[test]
    fn every_subscription_is_another() {
        let subjects: std::collections::BTreeSet<_> = subscriptions(190).into_iter().collect();
        assert_eq!(subjects.len(), 190);
    }

    #[test]
    fn the_idle_check_has_the_threshold_that_is_lowered() {
        assert!(find(IDLE_CHECK).unwrap().defaults().contains_key("idle"));
    }
}
