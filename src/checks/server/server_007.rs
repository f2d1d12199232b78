//! SERVER_007: a server that lets everybody in.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count,
};
use crate::checks::evidence::{OnServer, first_names, sweep_gaps_at};
use crate::snapshot::{Endpoint, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct AuthenticationNotRequired;

/// It has nothing to set.
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
    /// Where it listens for clients; what it advertises, where it advertises another address.
    #[schemars(with = "String")]
    host: Name,
    /// Whether it asks clients for a certificate.
    tls_verify: bool,
    /// Whether it says of all its listeners for clients and leafnodes that they are on a loopback address or ask for a
    /// certificate, which makes it a warning.
    sheltered: bool,
    /// Open client connections of this server.
    connections: u64,
    /// Servers of its cluster that ask for a login, at most 5: what they keep out comes in here.
    #[schemars(with = "Vec<String>")]
    closed_servers: Vec<Name>,
    /// How many they are.
    closed: u64,
    /// Who has most connections on this server.
    top: OnServer,
    /// What the sweep over this server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

impl Rule for AuthenticationNotRequired {
    const META: Meta = Meta {
        id: "SERVER_007",
        name: "Authentication Not Required",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "It is a warning where clients must show a certificate, and leafnodes too unless they come from the server's own host: \
             not everybody gets in.",
        ),
        rule: "A server does not require its clients to log in; a warning where they must show a certificate.",
        why: "Whoever reaches the port of such a server may publish and subscribe in its global account, and through the routes \
              of the cluster in that account on all its servers, whatever those ask for. One server that was started \
              with an older configuration file opens the whole cluster.\n\n\
              A server that listens on a loopback address is open to whatever runs on its host, and to whatever a proxy there \
              lets in; one with `tls_verify` to every holder of a certificate of its authority. A server with \
              `client_advertise` shows that address instead of the one that it listens on.\n\n\
              The reverse does not hold: a server with `no_auth_user` lets everybody in as that user and yet says that it \
              requires a login (measured, 2.15.1), and no answer shows the setting. Look for it in the \
              configuration files.",
        remedy: &[
            "Give the server the accounts and users, or the operator, of the others and restart it: no reload changes its system \
             account (measured, 2.15.1).",
            "Until then, keep strangers from its client port by a firewall.",
            "Look for `no_auth_user` in all configuration files: it opens a server without showing here.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz, Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // No server opens its doors because another one leaves.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref().filter(|vars| !vars.auth_required)?;
    let entity = Entity::of_server(server);
    let is_closed = |other: &&Server| other.vars.as_ref().is_some_and(|vars| vars.auth_required);
    let closed = context.now.beside(server).filter(is_closed).map(|other| other.name.clone());
    let (closed, others) = first_names(closed);
    let mut summary = format!("server {} does not require clients to log in", server.name);
    if others > 0 {
        summary.push_str(&format!(
            ", while {} of its cluster {}",
            count(others, "server"),
            if others == 1 { "does" } else { "do" }
        ));
    }
    if vars.sheltered {
        let how = if vars.tls_verify { "who must show a certificate" } else { "who come from its own host" };
        summary.push_str(&format!("; it lets in only those {how}"));
    }
    let evidence = Evidence {
        host: vars.host.clone(),
        tls_verify: vars.tls_verify,
        sheltered: vars.sheltered,
        connections: vars.connections,
        closed_servers: closed,
        closed: others,
        top: OnServer::of(context.now, server),
        sweep_incomplete: sweep_gaps_at(context.now, &server.name),
    };
    let mut steps = vec![match others {
        0 => {
            format!("Configure accounts and users, or an operator, on server {} and restart it.", server.name)
        }
        _ => format!(
            "Give server {} the accounts and users of the other servers of its cluster and restart it.",
            server.name
        ),
    }];
    if !vars.sheltered {
        steps.push("Until then, keep strangers from its client port by a firewall.".into());
    }
    steps.push("Look who is connected meanwhile, by the addresses in the evidence.".into());
    let observed = Observed::count(vars.connections, 0u64, "connections of an open server");
    let verdict = Verdict::firing(entity, summary, observed, &evidence, steps);
    // Whatever runs on the host of a server on a loopback address still gets into the whole cluster.
    let is_milder = vars.sheltered && vars.tls_verify;
    Some(if is_milder { verdict.with_severity(Severity::Warning) } else { verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = AuthenticationNotRequired;

    #[test]
    fn one_open_server_is_told_with_those_that_are_closed() {
        assert!(judge::<Check>(&System::of(3).done()).firing.is_empty());
        let open = || System::of(3).vars("n2", |vars| vars.auth_required = false);
        let judgement = judge::<Check>(&open().done());
        let (entity, firing) = only(&judgement);
        assert_eq!((&*entity.id, firing.severity), ("n2", None));
        assert_eq!(
            firing.summary,
            "server n2 does not require clients to log in, while 2 servers of its cluster do"
        );
        assert_eq!(firing.evidence["closed_servers"], json!(["n1", "n3"]));
        let all = open()
            .vars("n1", |vars| vars.auth_required = false)
            .vars("n3", |vars| vars.auth_required = false);
        let judgement = judge::<Check>(&all.done());
        assert_eq!(judgement.firing.len(), 3);
        assert_eq!(judgement.firing[0].1.summary, "server n1 does not require clients to log in");
    }

    #[test]
    fn one_that_asks_for_certificates_is_a_warning() {
        for (host, tls_verify, severity, end) in [
            ("127.0.0.1", false, None, "; it lets in only those who come from its own host"),
            ("0.0.0.0", true, Some(Severity::Warning), "; it lets in only those who must show a certificate"),
        ] {
            let system = System::of(1).vars("n1", |vars| {
                (vars.auth_required, vars.sheltered) = (false, true);
                (vars.host, vars.tls_verify) = (host.into(), tls_verify);
            });
            let judgement = judge::<Check>(&system.done());
            let firing = only(&judgement).1;
            assert_eq!(firing.severity, severity);
            assert!(firing.summary.ends_with(end), "{}", firing.summary);
            assert_eq!(
                (&firing.evidence["host"], &firing.evidence["sheltered"]),
                (&json!(host), &json!(true))
            );
            assert!(!firing.remediation.iter().any(|step| step.contains("firewall")));
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_unknown() {
        let system = System::of(2).vars("n2", |vars| vars.auth_required = false).silent("n2", Endpoint::Varz);
        let judgement = judge::<Check>(&system.done());
        assert!(judgement.firing.is_empty());
        let n2 = Entity::server(&"n2".into(), Some(&"east".into()));
        assert_eq!(judgement.standing(&n2), Standing::Unknown("server n2 did not answer VARZ".into()));
    }
}
