//! SERVER_012: a server closed connections that did not answer its pings.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::closed::{Ended, STALE, closed_gaps, count_of, own_count_of};
use crate::checks::evidence::since::{Before, ByKindSince, before, counted_from};
use crate::snapshot::{Endpoint, Server, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct StaleConnections;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the server closed at least so many stale connections since the previous epoch, or since it last told.
    min_connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_connections: 1 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("min_connections", self.min_connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Stale connections closed since the server last told, without this agent's own.
    connections: u64,
    /// Where the number comes from: `counter` of the server (2.12), or its list of `closed` connections, which has no routes
    /// and gateways.
    source: &'static str,
    /// Stale connections closed since the server started; none before 2.12.
    since_start: Option<u64>,
    /// Stale connections closed since the server last told, by kind; none before 2.12.
    by_kind: Option<ByKindSince>,
    /// Clients and leafnodes among those closed since the server last told.
    closed: Ended,
    /// What the server told only in part of connections that ended, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed_incomplete: Vec<String>,
}

/// The first version that counts stale connections.
const COUNTED: Version = Version(2, 12, 0);

impl Rule for StaleConnections {
    const META: Meta = Meta {
        id: "SERVER_012",
        name: "Stale Connections",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "Servers before 2.12.0 do not count stale connections, so that those in their lists of closed connections are \
             counted instead.",
        ),
        rule: "A server closed at least 1 connection since the previous epoch because it did not answer pings.",
        why: "A server pings every connection that is quiet (`ping_interval`, 2 minutes by default) and closes one that has left \
              `ping_max` (2) pings unanswered when the next is due. Until then whoever is behind it got nothing for minutes, although \
              it counted as connected and kept its share of a queue group.\n\n\
              One such connection is a machine that was switched off, or a laptop that was closed. Several at once are a \
              network that drops idle connections, such as a NAT or a load balancer with a short timeout, or clients that \
              hang: a blocked event loop answers no ping.\n\n\
              Routes, gateways and leafnodes are counted as well from 2.12 on. Servers before 2.12 have no counter: there \
              the closed connections tell it, and if they are not told it is unknown.",
        remedy: &[
            "See what the named connections have in common: one address is a host that went away or a proxy, one client \
             name is a program that hangs, many of both are the network.",
            "Let load balancers and NAT keep idle connections for longer than the server's `ping_interval`, or make that \
             shorter.",
            "Keep long work out of the thread that reads the connection in clients.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Closed, Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // What drops idle connections drops the next ones some minutes later: that is one finding.
    const KEEP: u64 = 3;
    const DISTURBED: Disturbed = Disturbed::Own;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref()?;
    let entity = Entity::of_server(server);
    let before = match before(context, server) {
        Ok(before) => before,
        Err(reason) => return Some(Verdict::unknown(entity, reason)),
    };
    let counter = counted_from(COUNTED, server, vars.stale_connections);
    if counter.is_none() && before.is_start() {
        // Of a server that is met for the first time no list of closed connections is asked for.
        let reason =
            format!("server {} was started since the previous epoch and does not count", server.name);
        return Some(Verdict::unknown(entity, reason));
    }
    let Before { counters, since, .. } = &before;
    let own = own_count_of(server, STALE);
    let min_connections = thresholds.of(&entity).min_connections;
    let gaps = closed_gaps(context.now, Some(&server.name));
    let connections = match counter {
        Some(count) => count.saturating_sub(counters.stale_connections.unwrap_or(0)).saturating_sub(own),
        None => server.closed.as_ref().map_or(0, |closed| count_of(closed, STALE)),
    };
    if connections < min_connections {
        // Without a counter nothing but the list could tell that there was none.
        let gap = gaps.first().filter(|_| counter.is_none())?;
        return Some(Verdict::unknown(entity, gap.clone()));
    }
    let evidence = Evidence {
        connections,
        source: if counter.is_some() { "counter" } else { "closed" },
        since_start: counter,
        by_kind: counter
            .and_then(|_| ByKindSince::of(vars.stale_by_kind, counters.stale_by_kind))
            .map(|kinds| kinds.without(own)),
        closed: Ended::on(context.now, server, STALE),
        closed_incomplete: gaps,
    };
    let kinds = evidence.by_kind.map_or_else(String::new, ByKindSince::in_words);
    let who = evidence
        .closed
        .newest
        .first()
        .map_or_else(String::new, |row| format!("; the last is {}", row.label_with_account()));
    let summary = format!(
        "server {} closed {} that did not answer pings {since}{kinds}{who}",
        server.name,
        count(connections, "connection")
    );
    let observed = Observed::count(connections, min_connections, "connections");
    let remediation = remediation(server, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    if evidence.by_kind.is_some_and(|kinds| kinds.routes > 0 || kinds.gateways > 0) {
        steps.push(format!(
            "Look at the network between server {name} and the other servers, and whether one of them hangs: connections \
             of servers are among them."
        ));
    }
    let closed = &evidence.closed;
    if let Some(row) = closed.newest.first() {
        if closed.addresses.distinct == 1 {
            steps.push(format!(
                "All come from {}: see whether that host was switched off or hangs, and what stands between it and server \
                 {name}.",
                row.address
            ));
        } else {
            steps.push(format!(
                "They come from {} addresses: look for what they have in common, such as a load balancer or a NAT that \
                 drops idle connections.",
                closed.addresses.distinct
            ));
        }
        if closed.client_names.distinct == 1
            && let Some(client) = closed.client_names.top.first()
        {
            steps.push(format!(
                "All call themselves `{}`: see whether the program blocks the thread that reads its connection.",
                client.name
            ));
        }
    }
    steps.push(
        "Make `ping_interval` shorter than the time after which the network drops idle connections.".into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge_last, only};
    use crate::snapshot::ByKind;
    use crate::snapshot::build::{System, at};
    use serde_json::json;

    type Check = StaleConnections;

    fn counted(system: System, stale: Option<u64>, kinds: Option<ByKind>) -> System {
        system.vars("n1", |vars| (vars.stale_connections, vars.stale_by_kind) = (stale, kinds))
    }

    fn old(system: System) -> System {
        let mut system = counted(system, None, None);
        system.server_mut("n1").version = Some(Version(2, 11, 17));
        system
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn the_counter_tells_how_many_and_the_list_who() {
        let kinds = Some(ByKind { clients: 2, gateways: 1, ..ByKind::default() });
        let now = counted(System::of(2).at(60), Some(5), kinds)
            .end("n1", ("APP", "u"), STALE, 2, |c, _| c.ip = "10.1.1.1".into())
            .end("n1", ("APP", "u"), "Read Error", 3, |_, _| {})
            .with(|snapshot| snapshot.accounts.clear());
        let judgement = judge_last::<Check>(&[counted(System::of(2), Some(2), None).done(), now.done()]);
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "server n1 closed 3 connections that did not answer pings since the previous epoch (2 of clients, 1 of \
             gateways); the last is `app` (user u, 10.1.1.1) of account APP"
        );
        let evidence = &firing.evidence;
        assert_eq!((&evidence["connections"], &evidence["source"]), (&json!(3), &json!("counter")));
        assert_eq!((&evidence["since_start"], &evidence["closed"]["connections"]), (&json!(5), &json!(2)));
        assert!(firing.remediation[1].starts_with("All come from 10.1.1.1"), "{firing:?}");
        assert!(firing.remediation[2].starts_with("All call themselves `app`"), "{firing:?}");
    }

    #[test]
    fn a_counter_that_did_not_grow_is_silent_whatever_the_list_says() {
        for (before, now) in [(None, None), (Some(3), Some(3)), (Some(3), None), (Some(u64::MAX), Some(0))] {
            let now = counted(System::of(1).at(60), now, None).end("n1", ("APP", "u"), STALE, 1, |_, _| {});
            let before = counted(System::of(1), before, None).done();
            assert!(judge_last::<Check>(&[before, now.done()]).firing.is_empty());
        }
        // It is left out while it is zero.
        let now = counted(System::of(1).at(60), Some(1), None).done();
        assert_eq!(
            only(&judge_last::<Check>(&[counted(System::of(1), None, None).done(), now])).1.observed.value,
            1.into()
        );
    }

    #[test]
    fn an_old_server_is_judged_by_its_list_and_unknown_without_it() {
        let before = || old(System::of(1)).done();
        let now = old(System::of(1).at(60)).end("n1", ("", "u"), STALE, 1, |_, _| {});
        let judgement = judge_last::<Check>(&[before(), now.done()]);
        let (_, firing) = only(&judgement);
        assert_eq!(
            firing.summary,
            "server n1 closed 1 connection that did not answer pings since the previous epoch; the last is `app` (user u, \
             10.0.0.1) of account $G"
        );
        assert_eq!(
            (&firing.evidence["source"], &firing.evidence["since_start"]),
            (&json!("closed"), &json!(null))
        );
        let judgement = judge_last::<Check>(&[before(), old(System::of(1).at(60)).done()]);
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
        let silent = old(System::of(1).at(60)).silent("n1", Endpoint::Closed).done();
        let judgement = judge_last::<Check>(&[before(), silent]);
        assert_eq!(
            judgement.standing(&server("n1")),
            Standing::Unknown("server n1 did not answer CONNZ of closed connections".into())
        );
        // What a newer one counts does not depend on the list.
        let newer = System::of(1).at(60).silent("n1", Endpoint::Closed).done();
        assert_eq!(
            judge_last::<Check>(&[System::of(1).done(), newer]).standing(&server("n1")),
            Standing::Clear
        );
    }

    #[test]
    fn the_agents_own_is_taken_off_and_silence_loses_nothing() {
        let kinds = Some(ByKind { clients: 3, ..ByKind::default() });
        let earlier =
            || counted(System::of(2), Some(2), Some(ByKind { clients: 2, ..ByKind::default() })).done();
        let now = |own| counted(System::of(2).at(120), Some(3), kinds).end_own("n1", STALE, own).done();
        assert!(judge_last::<Check>(&[earlier(), now(1)]).firing.is_empty());
        let judgement = judge_last::<Check>(&[earlier(), System::of(2).at(60).gone("n1").done(), now(0)]);
        assert_eq!(
            only(&judgement).1.summary,
            "server n1 closed 1 connection that did not answer pings in the last 2m (1 of clients)"
        );
    }

    #[test]
    fn an_old_server_that_was_just_started_has_no_list_yet() {
        let mut young = old(System::of(1).at(60));
        (young.server_mut("n1").start, young.server_mut("n1").now) = (Some(at(30)), Some(at(60)));
        let judgement = judge_last::<Check>(&[System::of(1).gone("n1").done(), young.done()]);
        assert_eq!(
            judgement.standing(&server("n1")),
            Standing::Unknown("server n1 was started since the previous epoch and does not count".into())
        );
    }

    #[test]
    fn a_restarted_server_is_unknown() {
        let now = counted(System::of(2).at(60), Some(9), None).done();
        let judgement = judge_last::<Check>(&[System::of(2).gone("n1").done(), now]);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
    }
}
