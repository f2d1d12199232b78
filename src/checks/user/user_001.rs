//! USER_001: users that log in with a token alone.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, count,
};
use crate::checks::evidence::{ServerShare, TopList, by_server, rfc3339, sweep_gaps};
use crate::checks::roll_up::{MOST, Of, by_user, user as entity_of};
use crate::snapshot::{Endpoint, UserDetails};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct BearerUser;

/// When it fires.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), crate::check::OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Open connections with a bearer token.
    bearer: u64,
    /// All open connections of this user.
    connections: u64,
    /// The user's connections by server.
    by_server: Vec<ServerShare>,
    /// Addresses with most connections of this user: a token that was copied shows itself by addresses that do not belong.
    addresses: TopList,
    /// Client names with most connections of this user.
    client_names: TopList,
    /// When the oldest open connection was opened.
    oldest: Option<String>,
    /// When the newest was.
    newest: Option<String>,
    /// How many of the connections servers, addresses, names and times above were drawn from; left out where it is all of
    /// them. In a very large system they are kept only for users that have turned out to have many.
    #[serde(skip_serializing_if = "Option::is_none")]
    details_of: Option<u64>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

impl Rule for BearerUser {
    const META: Meta = Meta {
        id: "USER_001",
        name: "User With a Bearer Token",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::User,
        since: "2.9",
        differs: Some(
            "From 2.11.17, 2.12.8 and 2.14.0 on servers leave bearer tokens out of their answers, so that there the absence \
             of the JWT, which everybody else of operator mode shows, stands for it.",
        ),
        rule: "A user whose JWT is a bearer token has at least one open connection.",
        why: "With an ordinary user JWT a client proves by a signature that it has the user's private key; the JWT itself is \
              no secret. A bearer token is accepted without that proof: whoever has read it, in a log, a URL, a browser's \
              storage or an answer of a server's monitoring, is that user until the token expires or is revoked. Servers \
              before 2.11.17, 2.12.8 and 2.14.0 show it in full to everybody who may ask for CONNZ, also over their \
              monitoring port.\n\n\
              Bearer tokens are meant for clients that cannot sign, such as browsers over WebSocket and MQTT devices. \
              There they should be short-lived, and bound to those kinds of connection and to few subjects.\n\n\
              On newer servers a user of an account of operator mode that shows no JWT is taken for one. What cannot be \
              seen there: MQTT clients that log in with a user name of their own, which stands in the place of the key. A \
              user of an auth callout that logs in with an nkey, and to whom the callout gives no name, would be taken for one. \
              The agent decides when it reads who a connection is, and keeps no token.\n\n\
              There is one finding per account and user; at most 1,000 users are named.",
        remedy: &[
            "Issue a JWT that is no bearer token (`nsc edit user NAME --bearer=false`) and give the client its creds file.",
            "Where the client cannot sign, let the token expire soon, and renew it.",
            "Bind it to the kind of connection that needs it (`nsc edit user NAME --conn-type WEBSOCKET`), to source \
             networks, and to few subjects.",
            "If the token may have been read by others, revoke it: `nsc revocations add-user`, and push the account.",
            "Bring servers to a version that leaves bearer tokens out of monitoring: 2.11.17, 2.12.8, 2.14.0 or later.",
        ],
        needs: &[Endpoint::Connz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A token is one wherever its connections are.
    const DISTURBED: Disturbed = Disturbed::Never;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let shows = context
            .now
            .servers
            .values()
            .any(|server| server.version.is_some_and(|version| !version.hides_bearer_tokens()));
        let fires = |(_, user): &Of<'_>| user.bearer() > 0;
        by_user(context, thresholds, fires, entity_of, |of, entity| report(context, of, entity, shows))
    }
}

fn report(context: &Context<'_>, (account, user): Of<'_>, entity: Entity, shows: bool) -> Verdict {
    let (bearer, connections) = (user.bearer(), user.connections());
    let summary = format!(
        "user {} of account {} has {} open with a bearer token",
        entity.label(),
        account.label(),
        count(bearer, "connection"),
    );
    let observed = Observed::count(bearer, 0, "connections").part_of(connections);
    let nothing = UserDetails::default();
    let details = user.details().unwrap_or(&nothing);
    let covered = user.details().map_or(0, |details| connections.saturating_sub(details.before));
    let on_servers = context.now.servers.values().filter_map(|server| {
        let fold = server.fold.as_ref()?;
        Some((server.id.clone(), details.on(fold)))
    });
    let evidence = Evidence {
        bearer,
        connections,
        by_server: by_server(context.now, on_servers.filter(|(_, count)| *count > 0)),
        addresses: TopList::of(&details.addresses),
        client_names: TopList::of(&details.names),
        oldest: details.oldest.and_then(rfc3339),
        newest: details.newest.and_then(rfc3339),
        details_of: (covered < connections).then_some(covered),
        sweep_incomplete: sweep_gaps(context.now),
    };
    let remediation = remediation(&evidence, &entity, shows);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

/// `shows` says whether any server of the system shows such tokens.
fn remediation(evidence: &Evidence, entity: &Entity, shows: bool) -> Vec<String> {
    // Where the token is left out, so is the user's name.
    let named = entity.account_name.as_ref().zip(entity.user_name.as_ref());
    let of = named.map_or_else(String::new, |(account, user)| format!(" --account {account} --name {user}"));
    let mut steps = Vec::new();
    if evidence.addresses.distinct > 1 {
        steps.push(format!(
            "It is used from {} addresses: look whether all of them should have the token, and revoke it if not \
             (`nsc revocations add-user{of}`, and push).",
            evidence.addresses.distinct
        ));
    }
    steps.push(format!(
        "If the client can sign, issue a JWT that is no bearer token (`nsc edit user{of} --bearer=false`) and give it \
         the creds file."
    ));
    if shows {
        steps.push(
            "Servers of this system show bearer tokens in full to whoever may ask them for CONNZ: bring them to 2.11.17, \
             2.12.8, 2.14.0 or later, and then issue new tokens."
                .into(),
        );
    }
    steps.push(
        "If it cannot, let the token expire soon and bind it to the kind of connection that needs it, to source networks \
         and to few subjects."
            .into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{bearer_jwt, judge, jwt, only};
    use crate::snapshot::Version;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = BearerUser;

    fn old(mut system: System) -> System {
        for server in system.snapshot.servers.values_mut() {
            server.version = Some(Version(2, 10, 26));
        }
        system
    }

    #[test]
    fn a_jwt_that_is_a_bearer_token_fires_and_is_nowhere_to_be_read() {
        let system = old(System::of(2))
            .connect("n1", "APP", "web", 2, |c, i| {
                (c.jwt, c.ip) = (bearer_jwt("web").into(), format!("10.0.1.{i}").into());
            })
            .connect("n2", "APP", "web", 1, |c, _| c.jwt = jwt("web", 5).into())
            .connect("n2", "APP", "worker", 1, |c, _| c.jwt = jwt("worker", 5).into())
            .connect("n2", "APP", "plain", 1, |_, _| {});
        let snapshot = system.done();
        let judgement = judge::<Check>(&snapshot);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &Entity::user("APP", None, "web", None));
        assert_eq!(firing.summary, "user web of account APP has 2 connections open with a bearer token");
        assert_eq!(
            json!(firing.observed),
            json!({"value": 2, "percent": 66.7, "threshold": 0, "unit": "connections"})
        );
        assert_eq!(
            firing.evidence["by_server"],
            json!([{"server": "n1", "connections": 2, "percent": 66.7},
                   {"server": "n2", "connections": 1, "percent": 33.3}])
        );
        assert_eq!(firing.evidence["addresses"]["distinct"], 3);
        assert!(firing.remediation[0].starts_with("It is used from 3 addresses"));
        assert!(firing.remediation[2].contains("in full"), "{:?}", firing.remediation);
        let token = bearer_jwt("web");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!format!("{snapshot:?} {judgement:?}").contains(signature));
        assert_eq!(judgement.standing(&Entity::user("APP", None, "worker", None)), Standing::Clear);
    }

    #[test]
    fn where_servers_leave_them_out_the_absence_of_a_jwt_stands_for_one() {
        let (account, user) =
            (nkeys::KeyPair::new_account().public_key(), nkeys::KeyPair::new_user().public_key());
        let system = || {
            System::of(1)
                .connect("n1", &account, &user, 1, |_, _| {})
                .connect("n1", "FILE", &user, 1, |_, _| {})
                .connect("n1", &account, "meter", 1, |_, _| {})
        };
        let judgement = judge::<Check>(&system().done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &Entity::user(&account, None, &user, None));
        assert!(!firing.remediation.iter().any(|step| step.contains("in full")));
        assert!(judge::<Check>(&old(system()).done()).firing.is_empty());
    }

    #[test]
    fn a_missing_sweep_leaves_others_unknown_and_there_is_nothing_to_set() {
        let system = old(System::of(2)).connect("n1", "APP", "u", 1, |c, _| c.jwt = bearer_jwt("u").into());
        let judgement = judge::<Check>(&system.silent("n2", Endpoint::Connz).done());
        only(&judgement);
        assert!(matches!(judgement.standing(&Entity::user("APP", None, "v", None)), Standing::Unknown(_)));
        let base = json!({"most": 1}).as_object().cloned().unwrap();
        assert!(Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).is_err());
    }
}
