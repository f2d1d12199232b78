//! What servers may say of their health, of their counters, and of connections that ended.

use super::{MANY, SERVERS, any_name};
use crate::snapshot::build::System;
use crate::snapshot::{ByKind, Health, Problem, ProblemKind};
use proptest::prelude::*;

/// What one server says.
#[derive(Debug, Clone)]
pub(super) struct AnyHealth {
    ok: bool,
    problems: Vec<(ProblemKind, Option<String>, String)>,
    omitted: u64,
    slow: u64,
    stale: Option<u64>,
    stalled: Option<u64>,
    kinds: Option<ByKind>,
    ended: Vec<(usize, String, &'static str, u64)>,
    at_least: bool,
    slow_of_accounts: [u64; 3],
    stalls: i64,
}

fn any_count() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 0, 1, 2, 700, MANY, u64::MAX])
}

fn any_kinds() -> impl Strategy<Value = Option<ByKind>> {
    prop::option::of((any_count(), any_count()).prop_map(|(clients, routes)| ByKind {
        clients,
        routes,
        ..ByKind::default()
    }))
}

fn any_problem() -> impl Strategy<Value = (ProblemKind, Option<String>, String)> {
    let kinds = vec![
        ProblemKind::Connection,
        ProblemKind::JetStream,
        ProblemKind::Account,
        ProblemKind::Stream,
        ProblemKind::Consumer,
        ProblemKind::Other,
    ];
    let texts = vec![
        "failed to be ready for connections after 1ms: mqtt, server(a, b",
        "failed to be ready for connections after 1ms: ,,)(",
        "JetStream has not established contact with a meta leader",
        "JetStream stream 'A > S' is not current: stream catching up",
        "JetStream stream '' could not be recovered",
        "'",
        "",
    ];
    let text = prop_oneof![prop::sample::select(texts).prop_map(str::to_owned), any_name()];
    (prop::sample::select(kinds), prop::option::of(any_name()), text)
}

fn any_end() -> impl Strategy<Value = (usize, String, &'static str, u64)> {
    let reasons = vec![
        "Client Closed",
        "Read Error",
        "Authentication Failure",
        "Slow Consumer (Pending Bytes)",
        "Slow Consumer (Write Deadline)",
        "Stale Connection",
        "",
        "something new",
    ];
    (0usize..4, any_name(), prop::sample::select(reasons), prop::sample::select(vec![1u64, 2, 40]))
}

prop_compose! {
    fn any_health_of_one()(
        ok in prop::bool::weighted(0.3),
        problems in prop::collection::vec(any_problem(), 0..4),
        (omitted, slow) in (any_count(), any_count()),
        (stale, stalled) in (prop::option::of(any_count()), prop::option::of(any_count())),
        kinds in any_kinds(),
        ended in prop::collection::vec(any_end(), 0..4),
        at_least in any::<bool>(),
        slow_of_accounts in [any_count(), any_count(), any_count()],
        stalls in prop::sample::select(vec![0i64, -1, 5, i64::MAX]),
    ) -> AnyHealth {
        AnyHealth { ok, problems, omitted, slow, stale, stalled, kinds, ended, at_least, slow_of_accounts, stalls }
    }
}

/// What all servers say, and whether they were asked for accounts with clients only.
pub(super) fn any_health() -> impl Strategy<Value = (Vec<AnyHealth>, bool)> {
    (prop::collection::vec(any_health_of_one(), SERVERS.len()), prop::bool::weighted(0.2))
}

/// Lets the servers say it.
pub(super) fn tell(mut system: System, all: &(Vec<AnyHealth>, bool), accounts: &[String]) -> System {
    system.snapshot.coverage.used_accounts_only = all.1;
    for (slot, health) in SERVERS.iter().zip(&all.0) {
        let problem = |(kind, name, text): &(ProblemKind, Option<String>, String)| {
            let name = || name.as_deref().map(Into::into);
            Problem {
                kind: *kind,
                account: name(),
                stream: name(),
                consumer: name(),
                text: text.as_str().into(),
            }
        };
        let server = system.server_mut(slot);
        let problems = health.problems.iter().map(problem).collect();
        server.health = Some(Health { ok: health.ok, problems, omitted: health.omitted });
        if let Some(vars) = &mut server.vars {
            vars.slow_consumers = health.slow;
            (vars.stale_connections, vars.stalled_clients) = (health.stale, health.stalled);
            (vars.slow_by_kind, vars.stale_by_kind) = (health.kinds, health.kinds);
        }
        let id = server.id.clone();
        for (account, slow) in accounts.iter().zip(health.slow_of_accounts) {
            system.entry(account).slow_consumers.insert(id.clone(), slow);
        }
        for (account, user, reason, n) in &health.ended {
            let account = accounts.get(*account).map_or("", String::as_str);
            system = system.end(slot, (account, user), reason, *n, |c, i| {
                c.name = user.clone().into();
                c.kind = if i % 2 == 0 { "Client" } else { "Leafnode" }.into();
            });
        }
        if health.at_least {
            system = system.ended_more(slot);
        }
        if let Some(account) = accounts.first() {
            system = system.connect(slot, account, "slow", 1, |c, _| c.stalls = health.stalls);
        }
    }
    system
}
