//! OPT_PLACE_004: an account's messages go through a gateway whether or not anybody there wants them.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, NoThresholds, Observed, Partial, Rule,
    Scope, Severity, Thresholds, Verdict,
};
use crate::checks::evidence::TOP;
use crate::checks::links::{GatewayOf, gateways};
use crate::snapshot::{Endpoint, Gateway, INTEREST_ONLY, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// See [`Rule::META`].
pub(super) struct OptimisticGateway;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The remote cluster.
    #[schemars(with = "String")]
    remote: Name,
    /// Servers whose gateway to it sends the account's messages without knowing of interest, by name, at most 5.
    #[schemars(with = "Vec<String>")]
    servers: Vec<Name>,
    /// How many such servers there are.
    such_servers: u64,
    /// The most accounts that one of these gateways has in this mode; at most 20 accounts of a remote cluster are
    /// reported.
    such_accounts: u64,
    /// Versions of the servers of the remote cluster that answered.
    remote_versions: Vec<String>,
}

/// Accounts that are reported of one remote cluster: the cause is most often the cluster.
const NAMED: usize = 20;

impl Rule for OptimisticGateway {
    const META: Meta = Meta {
        id: "OPT_PLACE_004",
        name: "Gateway in Optimistic Mode",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Account,
        group: Some("placement"),
        since: "2.9",
        differs: Some(
            "Of each remote cluster the first 20 accounts by name are reported; how many there are is in the evidence. Gateways to \
             servers since 2.9 are left out, whatever they call the mode.",
        ),
        rule: "A server's gateway to a remote cluster is in optimistic mode for an account.",
        why: "In optimistic mode a server sends an account's messages to the remote cluster until it is told, subject by \
              subject, that nobody there wants them. In interest-only mode it knows what is wanted, and sends nothing \
              else.\n\n\
              A server since 2.9 has others send only what it asks for, for every account, as soon as they are connected. What \
              stays optimistic is seen with remote clusters of older servers, and of servers that do not answer this agent. \
              Servers call an account optimistic also if the remote cluster does not have it, and nothing is sent: an entry \
              without any subject or subscription is taken for such a one.\n\n\
              Asking for the accounts of gateways is dear, as the answer lists all of them: servers are asked once when a \
              gateway is new, and then every 30 minutes or 30 epochs, whichever is longer. The finding may be that old, \
              and lasts as long.",
        remedy: &[
            "Upgrade the servers of the remote cluster to 2.9 or later.",
            "Reconnect the gateway, for instance by a rolling restart of one side, once both sides are.",
        ],
        needs: &[Endpoint::Gatewayz, Endpoint::GatewayAccounts],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A gateway that is just made changes its mode within a moment.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = NoThresholds;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<NoThresholds>) -> Vec<Verdict> {
        let mut remotes: BTreeMap<&Name, Vec<(&Server, &Gateway)>> = BTreeMap::new();
        for GatewayOf { server, remote, gateway, .. } in gateways(context.now) {
            if !gateway.optimistic.is_empty() && !wants_interest_only(context, gateway) {
                remotes.entry(remote).or_default().push((server, gateway));
            }
        }
        let verdicts =
            remotes.into_iter().flat_map(|(remote, links)| judge_remote(context.now, remote, &links));
        verdicts.collect()
    }
}

/// Whether the server at the other end is known to have told this one, as it was connected, to send only what it asks for. What
/// the server knows of the account's subjects does not matter then, whatever it calls the mode.
fn wants_interest_only(context: &Context<'_>, gateway: &Gateway) -> bool {
    let now = context.now.servers.get(&gateway.peer).and_then(|peer| peer.version);
    let version = now.or_else(|| context.history.boot(&gateway.peer)?.version);
    version.is_some_and(|version| version >= INTEREST_ONLY)
}

fn judge_remote(now: &Snapshot, remote: &Name, links: &[(&Server, &Gateway)]) -> Vec<Verdict> {
    let mut accounts: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
    for (server, gateway) in links {
        for account in &gateway.optimistic {
            accounts.entry(account).or_default().insert(&server.name);
        }
    }
    let such_accounts = links.iter().map(|(_, gateway)| gateway.optimistic_in_all).max().unwrap_or(0);
    let versions: BTreeSet<_> = now.members(remote).filter_map(|server| server.version).collect();
    let remote_versions: Vec<String> = versions.iter().take(TOP).map(ToString::to_string).collect();
    let verdict = |(account, servers): (&Name, BTreeSet<&Name>)| {
        let name = now.account_name(account);
        let label = name.unwrap_or(account);
        let such_servers = servers.len() as u64;
        let evidence = Evidence {
            remote: remote.clone(),
            servers: servers.into_iter().take(TOP).cloned().collect(),
            such_servers,
            such_accounts,
            remote_versions: remote_versions.clone(),
        };
        let summary = format!(
            "messages of account {label} are sent to cluster {remote} whether or not anybody there wants them"
        );
        let mut steps = Vec::new();
        if remote_versions.is_empty() {
            steps.push(format!("No server of {remote} answers this agent: look up their version there."));
        }
        steps.push(format!("Upgrade the servers of {remote} to 2.9 or later."));
        steps.push(
            "Reconnect the gateway, for instance by a rolling restart of one side, once both sides are."
                .into(),
        );
        let entity = Entity::account_in_cluster(account, name, remote);
        Verdict::firing(entity, summary, Observed::count(such_servers, 0, "servers"), &evidence, steps)
    };
    let not_named = |account: &Name| {
        let reason = format!("{such_accounts} accounts of cluster {remote} fire, of which {NAMED} are named");
        Verdict::not_yet(Entity::account_in_cluster(account, now.account_name(account), remote), reason)
    };
    let mut accounts = accounts.into_iter();
    let mut verdicts: Vec<Verdict> = accounts.by_ref().take(NAMED).map(verdict).collect();
    verdicts.extend(accounts.map(|(account, _)| not_named(account)));
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, judge_last, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{Version, gateways};
    use crate::wire::envelope;
    use crate::wire::gatewayz::Gatewayz;
    use serde_json::{Value, json};

    type Check = OptimisticGateway;

    /// An answer as servers write it, with these accounts and modes. No server since 2.9 was brought to say `Optimistic`.
    fn told(accounts: &Value) -> crate::snapshot::Gateways {
        let connection = json!({"cid": 8, "kind": "Gateway", "ip": "127.0.0.1", "port": 15_521, "rtt": "131µs",
            "uptime": "18s", "idle": "0s", "pending_bytes": 0, "subscriptions": 278, "name": "ID-w1"});
        let answer = json!({"server": {"name": "n1", "host": "h", "id": "ID-n1", "cluster": "east", "ver": "2.8.4",
            "time": "2023-11-14T22:13:20Z"}, "data": {"server_id": "ID-n1", "name": "east", "inbound_gateways": {},
            "outbound_gateways": {"west": {"configured": true, "connection": connection, "accounts": accounts}}}});
        gateways(&envelope::parse::<Gatewayz>(answer.to_string().as_bytes()).unwrap().1.unwrap())
    }

    fn account(name: &str, mode: &str) -> Value {
        json!({"name": name, "interest_mode": mode, "interest_only_threshold": 1000, "no_interest_count": 3})
    }

    fn with(accounts: &[Value], servers: &[&str]) -> System {
        let mut system = System::of(3);
        system.add_server("w1", Some("west"));
        system.server_mut("w1").version = Some(Version(2, 8, 4));
        for server in servers {
            system.server_mut(server).gateways = Some(told(&json!(accounts)));
        }
        system
    }

    fn entity(account: &str) -> Entity {
        Entity::account_in_cluster(account, None, &"west".into())
    }

    #[test]
    fn one_finding_for_each_account_and_remote_cluster() {
        let fine = [account("APP", "Interest-Only"), account("B", "Transitioning"), account("C", "")];
        let judgement = judge::<Check>(&with(&fine, &["n1"]).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&entity("APP")), Standing::Clear);

        let mixed = [account("APP", "Optimistic"), account("B", "Interest-Only")];
        let judgement = judge::<Check>(&with(&mixed, &["n1", "n3"]).done());
        let (found, firing) = only(&judgement);
        assert_eq!((found, &*found.id), (&entity("APP"), "APP/west"));
        assert_eq!(
            firing.summary,
            "messages of account APP are sent to cluster west whether or not anybody there wants them"
        );
        assert_eq!(json!(firing.observed), json!({"value": 2, "threshold": 0, "unit": "servers"}));
        assert_eq!(
            firing.evidence,
            json!({"remote": "west", "servers": ["n1", "n3"], "such_servers": 2, "such_accounts": 1,
                   "remote_versions": ["2.8.4"]})
        );
    }

    #[test]
    fn a_peer_since_2_9_is_sent_only_what_it_asks_for() {
        let epoch = |version| {
            let mut system = with(&[account("APP", "Optimistic")], &["n1"]);
            system.server_mut("w1").version = Some(version);
            system.done()
        };
        assert!(judge::<Check>(&epoch(Version(2, 9, 0))).firing.is_empty());
        // Also while it does not answer.
        let silent = || {
            let mut snapshot = epoch(Version(2, 9, 0));
            snapshot.servers.remove("ID-w1");
            snapshot
        };
        assert!(judge_last::<Check>(&[epoch(Version(2, 9, 0)), silent()]).firing.is_empty());
        assert_eq!(judge_last::<Check>(&[silent(), silent()]).firing.len(), 1);
        assert_eq!(judge::<Check>(&epoch(Version(2, 8, 4))).firing.len(), 1);
    }

    #[test]
    fn very_many_accounts_are_bounded() {
        let many: Vec<Value> = (0..5000).map(|n| account(&format!("A{n:04}"), "Optimistic")).collect();
        let system = with(&many, &["n1"]);
        assert_eq!(told(&json!(many)).outbound["west"].optimistic.len(), 1000);
        let judgement = judge::<Check>(&system.done());
        assert_eq!(judgement.firing.len(), 20);
        assert_eq!(judgement.firing[0].0, entity("A0000"));
        assert_eq!(judgement.firing[0].1.evidence["such_accounts"], 5000);
        let why = "5000 accounts of cluster west fire, of which 20 are named";
        assert_eq!(judgement.standing(&entity("A0020")), Standing::Unknown(why.into()));
        assert_eq!(judgement.standing(&entity("B")), Standing::Clear);
        assert!(judgement.unknown_rows().is_empty());
    }

    #[test]
    fn an_answer_that_is_missing_is_unknown() {
        let optimistic = [account("APP", "Optimistic")];
        for endpoint in [Endpoint::Gatewayz, Endpoint::GatewayAccounts] {
            let judgement = judge::<Check>(&with(&optimistic, &["n1"]).silent("n2", endpoint).done());
            assert_eq!(judgement.firing.len(), 1);
            assert!(matches!(judgement.standing(&entity("B")), Standing::Unknown(_)));
        }
        let beyond = with(&optimistic, &["n1"]).with(|snapshot| {
            snapshot.servers.remove("ID-w1");
        });
        let judgement = judge::<Check>(&beyond.done());
        assert!(only(&judgement).1.remediation[0].starts_with("No server of west answers"));
    }
}
