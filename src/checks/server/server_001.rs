//! SERVER_001: a server says that it is not ready for connections.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict,
};
use crate::snapshot::{Endpoint, Health, Problem, ProblemKind, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct NotReady;

/// Nothing can be set: a server is ready or it is not.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Its words, at most 5 of them; empty where it only says that it is not well.
    #[schemars(with = "Vec<String>")]
    problems: Vec<Name>,
    /// Listeners that are not open, as far as it names them: `server` (clients), `route`, `gateway`, `leafnode`,
    /// `websocket`, `mqtt`.
    listeners: Vec<Listener>,
    /// Clients that are connected to it nevertheless; none if it did not answer VARZ.
    connections: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Listener {
    /// What it is for.
    name: String,
    /// Why it is not open, where the server knows.
    error: Option<String>,
}

/// Problems and listeners that are named.
const NAMED: usize = 5;

impl Rule for NotReady {
    const META: Meta = Meta {
        id: "SERVER_001",
        name: "Server Not Ready for Connections",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A server that cannot be reached answers nothing over NATS, not even that, so that silence is told by \
             AGENT_001; and one look that finds a busy server not ready is not enough, since a server gives itself one \
             millisecond to look at its listeners.",
        ),
        rule: "A server says for 2 epochs in a row that one of its listeners is not open, or that it is not well without \
               saying why.",
        why: "A server whose listener for clients is closed goes on serving those who are connected, and nobody who loses \
              the connection comes back. A closed listener for routes, gateways or leafnodes cuts it off from servers \
              that start later.\n\n\
              The answer comes over NATS, from a server that still reaches the agent. One that is down, hangs or is in \
              lame-duck mode says nothing at all: that is AGENT_001. Problems of JetStream are SERVER_014, those of \
              streams, consumers and accounts SERVER_015 and SERVER_016.\n\n\
              Servers before 2.10 tell one problem as text, later ones all of them with their types. A problem of a type \
              that this agent does not know counts here, so that none is lost.",
        remedy: &[
            "Look for the listener's error in the log of the server: an address that is taken or not there, a certificate \
             that cannot be read, or no file descriptors left.",
            "Correct the configuration and restart the server; a listener that failed is not opened again by a reload.",
        ],
        needs: &[Endpoint::Healthz],
        evidence_from: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // A server looks at its listeners for a millisecond; if it is not scheduled meanwhile it calls none of them ready.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Own;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(judge_server).collect()
    }
}

/// Problems that no other check tells; none where the server is well, or others tell why it is not.
fn untold(health: &Health) -> Option<Vec<&Problem>> {
    if health.ok {
        return None;
    }
    let of_ours = |problem: &&Problem| matches!(problem.kind, ProblemKind::Connection | ProblemKind::Other);
    let untold: Vec<&Problem> = health.problems.iter().filter(of_ours).collect();
    (health.problems.is_empty() || !untold.is_empty()).then_some(untold)
}

fn judge_server(server: &Server) -> Option<Verdict> {
    let problems = untold(server.health.as_ref()?)?;
    let listeners: Vec<Listener> =
        problems.iter().flat_map(|problem| closed_listeners(&problem.text)).take(NAMED).collect();
    let name = &server.name;
    let summary = match (listeners.as_slice(), problems.first()) {
        ([], None) => format!("server {name} says that it is not ready, and not why"),
        ([], Some(problem)) => format!("server {name} says that it is not ready: {}", problem.text),
        (closed, _) => {
            let closed: Vec<&str> = closed.iter().map(|listener| listener.name.as_str()).collect();
            format!("server {name} is not ready for connections: {} not open", closed.join(", "))
        }
    };
    let evidence = Evidence {
        problems: problems.iter().take(NAMED).map(|problem| problem.text.clone()).collect(),
        listeners,
        connections: server.vars.as_ref().map(|vars| vars.connections),
    };
    let entity = Entity::of_server(server);
    let observed = Observed::count(problems.len().max(1) as u64, 1, "problems");
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation(server, &evidence)))
}

/// The listeners that a text names behind its last words that are the same in all versions (server source, 2.9 to 2.14):
/// `failed to be ready for connections after 1ms: mqtt, server(listen tcp: address already in use)`.
fn closed_listeners(text: &str) -> Vec<Listener> {
    let Some((_, rest)) = text.split_once("failed to be ready for connections after ") else {
        return Vec::new();
    };
    let Some((_, list)) = rest.split_once(": ") else {
        return Vec::new();
    };
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, character) in list.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    let listener = |part: &str| {
        let part = part.trim();
        let (name, error) = match part.split_once('(') {
            Some((name, error)) => (name, Some(error.strip_suffix(')').unwrap_or(error).to_owned())),
            None => (part, None),
        };
        // `name(ok, but …)` is open, and `startup did not complete` is no listener.
        if name.contains(' ') || error.as_ref().is_some_and(|error| error.starts_with("ok, but ")) {
            return None;
        }
        (!name.is_empty()).then(|| Listener { name: name.to_owned(), error })
    };
    parts.into_iter().filter_map(listener).collect()
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let mut steps = Vec::new();
    let known = evidence.listeners.iter().find_map(|one| Some((&one.name, one.error.as_ref()?)));
    match (known, evidence.listeners.first()) {
        (Some((listener, error)), _) => {
            steps.push(format!("Mend why server {name} cannot open its listener `{listener}`: {error}."));
        }
        (None, Some(listener)) => steps.push(format!(
            "Look in the log of server {name} for why its listener `{}` is not open: an address that is taken or not \
             there, or a certificate that cannot be read.",
            listener.name
        )),
        (None, None) => steps.push(format!(
            "Look into the log of server {name} and at its CPU: it names no listener, which is also what a server says \
             that was too busy to look at them."
        )),
    }
    if evidence.connections.is_some_and(|connections| connections > 0) {
        steps.push(
            "Its clients are served until they lose the connection: mend it, or move them with lame-duck mode, before \
             they do."
                .into(),
        );
    }
    steps.push(
        "Restart the server once it is mended: a listener that failed is not opened again by a reload."
            .into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use crate::wire::healthz::Healthz;
    use serde_json::json;

    type Check = NotReady;

    /// n1 answers so.
    fn answers(json: serde_json::Value) -> System {
        let mut system = System::of(2);
        let told: Healthz = serde_json::from_value(json).unwrap();
        system.server_mut("n1").health = Some(Health::of(&told));
        system
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn a_listener_that_is_not_open_is_named_with_its_error() {
        let text = "failed to be ready for connections after 1ms: mqtt, server(listen tcp 0.0.0.0:4222 (a, b): in use)";
        let told =
            json!({"status": "error", "status_code": 500, "errors": [{"type": "CONNECTION", "error": text}]});
        let judgement = judge::<Check>(&answers(told).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(firing.summary, "server n1 is not ready for connections: mqtt, server not open");
        assert_eq!(
            firing.evidence,
            json!({"problems": [text], "connections": 0, "listeners": [
                {"name": "mqtt", "error": null},
                {"name": "server", "error": "listen tcp 0.0.0.0:4222 (a, b): in use"}]})
        );
        assert!(firing.remediation[0].contains("`server`: listen tcp 0.0.0.0:4222"), "{firing:?}");
        assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
    }

    #[test]
    fn a_listener_that_is_open_is_not_named() {
        for (list, summary) in [
            (
                "route(ok, but listen tcp: too many open files), server",
                "server n1 is not ready for connections: server not open",
            ),
            (
                "startup did not complete",
                "server n1 says that it is not ready: failed to be ready for connections after 1ms: startup did not complete",
            ),
        ] {
            let text = format!("failed to be ready for connections after 1ms: {list}");
            let told = json!({"status": "error", "errors": [{"type": "CONNECTION", "error": text}]});
            assert_eq!(only(&judge::<Check>(&answers(told).done())).1.summary, summary);
        }
    }

    #[test]
    fn a_server_that_does_not_say_why_or_in_words_that_are_new_fires_as_well() {
        for (told, summary) in [
            (json!({"status": "error"}), "server n1 says that it is not ready, and not why"),
            (
                json!({"status": "unavailable", "errors": []}),
                "server n1 says that it is not ready, and not why",
            ),
            (json!({"status": ""}), "server n1 says that it is not ready, and not why"),
            (
                json!({"status": "error", "errors": [{"type": "DISK", "error": "on fire"}]}),
                "server n1 says that it is not ready: on fire",
            ),
            (
                json!({"status": "error", "error": "failed to be ready for connections after 1ms: "}),
                "server n1 says that it is not ready: failed to be ready for connections after 1ms: ",
            ),
        ] {
            let judgement = judge::<Check>(&answers(told).done());
            assert_eq!(only(&judgement).1.summary, summary);
        }
    }

    #[test]
    fn what_other_checks_tell_is_no_finding_here() {
        for kind in ["JETSTREAM", "ACCOUNT", "STREAM", "CONSUMER"] {
            let told = json!({"status": "error", "errors": [{"type": kind, "error": "x"}]});
            assert!(judge::<Check>(&answers(told).done()).firing.is_empty(), "{kind}");
        }
        let text = "JetStream is not current with the meta leader";
        assert!(
            judge::<Check>(&answers(json!({"status": "unavailable", "error": text})).done())
                .firing
                .is_empty()
        );
        assert!(judge::<Check>(&answers(json!({"status": "ok"})).done()).firing.is_empty());
    }

    #[test]
    fn a_silent_server_is_unknown() {
        let judgement =
            judge::<Check>(&answers(json!({"status": "error"})).silent("n1", Endpoint::Healthz).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(
            judgement.standing(&server("n1")),
            Standing::Unknown("server n1 did not answer HEALTHZ".into())
        );
        assert!(matches!(
            judge::<Check>(&System::of(2).gone("n1").done()).standing(&server("n1")),
            Standing::Unknown(_)
        ));
    }
}
