//! OPT_BALANCE_006: most of an account's connections in a cluster are on one server.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, percent, percent_of, rounded,
};
use crate::checks::evidence::{DOMINANT, ServerShare, TopList, by_server, sweep_gaps_at};
use crate::checks::own::Own;
use crate::snapshot::{Account, Endpoint, Server, ShareDetails};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// See [`Rule::META`].
pub(super) struct AccountConcentration;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when one server has more than this share of the account's connections in the cluster, in percent.
    max_percent: f64,
    /// Leave out clusters with fewer servers than this.
    min_servers: u64,
    /// Leave out accounts with fewer connections in the cluster than this.
    min_connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_percent: 70.0, min_servers: 3, min_connections: 10 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("max_percent", self.max_percent)?;
        // Of one server, everything is on one server.
        at_least("min_servers", self.min_servers, 2)?;
        at_least("min_connections", self.min_connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The server that most connections are on.
    #[schemars(with = "String")]
    hot_server: Name,
    /// The account's connections on every server of the cluster, those without any included, the fullest first.
    servers: Vec<ServerShare>,
    /// Client names on the hot server.
    client_names: TopList,
    /// Client libraries with their versions on the hot server.
    libraries: TopList,
    /// Addresses on the hot server: one is a single host or a proxy, many point to a single URL or DNS answer.
    addresses: TopList,
    /// How many of the connections on the hot server names, libraries and addresses were drawn from; left out where it is
    /// all of them. In a very large system they are kept only where an account has many on one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    details_of: Option<u64>,
    /// How the connections of all accounts are spread.
    cluster: Lean,
    /// What the sweep over the hot server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Lean {
    /// The hot server's share of the connections of all accounts in the cluster, in percent.
    hot_server_percent: f64,
    /// The same without this account; none where no other account has a connection.
    other_accounts_percent: Option<f64>,
    /// Whether the cluster as a whole leans the same way: the hot server has more than twice the average.
    leans: bool,
}

impl Rule for AccountConcentration {
    const META: Meta = Meta {
        id: "OPT_BALANCE_006",
        name: "Account Connection Concentration",
        severity: Severity::Info,
        category: Category::Saturation,
        kind: Kind::Optimization,
        entity: EntityType::Account,
        group: Some("balance"),
        since: "2.9",
        rule: "More than 70 % of an account's client connections in a cluster of at least 3 servers are on one server, \
               and the account has at least 10 connections there.",
        why: "When that server goes down or is restarted, nearly all clients of the account lose their connection at \
              once and come back at once, and until then the other servers carry nothing for it.\n\n\
              All servers of the cluster count, also those on which the account has no connection: everything on one \
              server of three is the worst case. Each cluster of a super-cluster is judged on its own. Leafnode \
              connections are not clients and do not count.\n\n\
              The system account is left out: its connections are those of monitoring tools, this agent among them.",
        remedy: &[
            "Put every server of the cluster into the clients' list of URLs; libraries pick one at random.",
            "Let DNS answer with all addresses and a short TTL.",
            "Do not put a sticky load balancer in front of the cluster.",
            "Once the clients are fixed, put the hot server into lame-duck mode: its clients move to the others.",
            "Where many clients sit at one site, let them connect to a leafnode there.",
        ],
        needs: &[Endpoint::AccountStatz],
        evidence_from: &[Endpoint::Connz],
        scope: Scope::Cluster,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // The clients of a server that leaves come to the others, and one that comes back is empty at first.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let mut all: BTreeMap<&Name, u64> = BTreeMap::new();
        let own = Own::of(context.now);
        for account in context.now.accounts.values() {
            for (id, connections) in own.others(account) {
                let sum = all.entry(id).or_default();
                *sum = sum.saturating_add(connections);
            }
        }
        let clusters = context.now.clusters().into_iter();
        let clusters: Vec<Cluster<'_>> =
            clusters.map(|(name, servers)| Cluster { name, servers, all: &all }).collect();
        let mut home: HashMap<&Name, usize> = HashMap::new();
        for (number, cluster) in clusters.iter().enumerate() {
            home.extend(cluster.servers.iter().map(|server| (&server.id, number)));
        }
        let tenants =
            context.now.accounts.values().filter(|account| account.id != context.now.system_account);
        let mut verdicts = Vec::new();
        // A large system has thousands of accounts and hundreds of clusters: each account is added up once, and looked at
        // closer only where it may fire. By cluster: all of the account's connections, and those on its fullest server.
        let mut sums = vec![(0u64, 0u64); clusters.len()];
        for account in tenants {
            for (id, connections) in own.others(account).filter(|(_, connections)| *connections > 0) {
                if let Some((whole, most)) = home.get(id).and_then(|number| sums.get_mut(*number)) {
                    *whole = whole.saturating_add(connections);
                    *most = connections.max(*most);
                }
            }
            for (cluster, sums) in clusters.iter().zip(&mut sums) {
                let (whole, most) = std::mem::take(sums);
                if whole > 0 && thresholds.all().any(|limits| limits.are_met(cluster, most, whole)) {
                    verdicts.extend(judge_account(context, thresholds, (account, &own), cluster));
                }
            }
        }
        verdicts
    }
}

struct Cluster<'a> {
    name: &'a Name,
    servers: Vec<&'a Server>,
    /// Connections of all accounts by server id.
    all: &'a BTreeMap<&'a Name, u64>,
}

impl Limits {
    /// Whether `most` of an account's `whole` connections in the cluster are too many for one server.
    fn are_met(&self, cluster: &Cluster<'_>, most: u64, whole: u64) -> bool {
        cluster.servers.len() as u64 >= self.min_servers
            && whole >= self.min_connections
            && most as f64 * 100.0 > self.max_percent * whole as f64
    }
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    (account, own): (&Account, &Own<'_>),
    cluster: &Cluster<'_>,
) -> Option<Verdict> {
    let on = |server: &Server| own.others_on(account, &server.id);
    let whole = cluster.servers.iter().fold(0u64, |sum, server| sum.saturating_add(on(server)));
    if whole == 0 {
        return None;
    }
    // Of equal ones the first by id; the finding does not depend on which.
    let hot = cluster.servers.iter().copied().rev().max_by_key(|server| on(server))?;
    let value = on(hot);
    let entity = Entity::account_in_cluster(&account.id, account.name.as_ref(), cluster.name);
    let limits = thresholds.of(&entity);
    if !limits.are_met(cluster, value, whole) {
        return None;
    }
    let share = percent_of(value, whole).unwrap_or(0.0);
    let summary = format!(
        "account {} has {value} of its {whole} connections in cluster {} on server {} ({share:.1} %)",
        account.label(),
        cluster.name,
        hot.name,
    );
    let observed = Observed {
        percent: Some(share),
        ..Observed::count(value, rounded(limits.max_percent), "connections")
    };
    let (seen, kept) = hot.fold.as_ref().map_or((0, None), |fold| account.fold.on(fold));
    let covered = kept.map_or(0, |details| seen.saturating_sub(details.before));
    let nothing = ShareDetails::default();
    let details = kept.unwrap_or(&nothing);
    let evidence = Evidence {
        hot_server: hot.name.clone(),
        servers: by_server(context.now, cluster.servers.iter().map(|server| (server.id.clone(), on(server)))),
        client_names: TopList::of(&details.names),
        libraries: TopList::of(&details.libraries),
        addresses: TopList::of(&details.addresses),
        details_of: (covered < seen).then_some(covered),
        cluster: lean(cluster, hot, value, whole),
        sweep_incomplete: sweep_gaps_at(context.now, &hot.name),
    };
    let remediation = remediation(&evidence, covered);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn lean(cluster: &Cluster<'_>, hot: &Server, own_on_hot: u64, own: u64) -> Lean {
    let on = |server: &Server| cluster.all.get(&server.id).copied().unwrap_or(0);
    let all = cluster.servers.iter().fold(0u64, |sum, server| sum.saturating_add(on(server)));
    Lean {
        hot_server_percent: percent_of(on(hot), all).unwrap_or(0.0),
        other_accounts_percent: percent_of(on(hot).saturating_sub(own_on_hot), all.saturating_sub(own)),
        leans: on(hot) as f64 * cluster.servers.len() as f64 > 2.0 * all as f64,
    }
}

fn remediation(evidence: &Evidence, covered: u64) -> Vec<String> {
    let hot = &evidence.hot_server;
    let mut steps = Vec::new();
    if evidence.cluster.leans
        && evidence.cluster.other_accounts_percent.is_some_and(|share| share >= DOMINANT)
    {
        steps.push(format!(
            "Other accounts lean towards server {hot} as well: look for the cause in DNS or a load balancer, not in \
             this account's clients."
        ));
    }
    match evidence.addresses.leading(covered) {
        Some((address, share)) if share >= DOMINANT => steps.push(format!(
            "{share:.1} % of them come from the address {address}, which is one host or a proxy: see which server it is \
             told to connect to."
        )),
        Some(_) => steps.push(format!(
            "They come from {} addresses: look for a single URL in their configuration, or a DNS name that answers with \
             server {hot} only.",
            evidence.addresses.distinct
        )),
        None => {}
    }
    steps.push("Put every server of the cluster into the clients' list of URLs.".into());
    steps.push(
        "Let DNS answer with all addresses and a short TTL, and do not use a sticky load balancer.".into(),
    );
    steps.push(format!(
        "Once the clients are fixed, put server {hot} into lame-duck mode: its clients move to the others."
    ));
    steps.push("Where many clients sit at one site, let them connect to a leafnode there.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Budget;
    use crate::snapshot::build::System;
    use crate::wire::connz::Connection;
    use serde_json::json;

    type Check = AccountConcentration;

    fn plain(_: &mut Connection<'_>, _: u64) {}

    fn system(counts: [u64; 3]) -> System {
        let mut system = System::of(3).account("APP", -1, -1, -1);
        for (name, count) in ["n1", "n2", "n3"].into_iter().zip(counts) {
            system = system.connect(name, "APP", "u", count, plain);
        }
        system
    }

    fn entity() -> Entity {
        Entity::account_in_cluster("APP", None, &"east".into())
    }

    #[test]
    fn the_agents_own_connection_does_not_matter() {
        // Its sink is in an account of a tenant.
        let system = system([70, 20, 10]).own_next("n1").connect("n1", "APP", "sink", 1, plain);
        let snapshot = system.done();
        assert_eq!(snapshot.accounts["APP"].servers["ID-n1"].connections, 71);
        assert!(judge::<Check>(&snapshot).firing.is_empty());
        let system = super::tests::system([71, 20, 10]).own_next("n1").connect("n1", "APP", "sink", 1, plain);
        assert_eq!(only(&judge::<Check>(&system.done())).1.observed.value, 71.into());
    }

    #[test]
    fn fires_over_the_share_and_not_at_it() {
        let judgement = judge::<Check>(&system([70, 20, 10]).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&entity()), Standing::Clear);
        let judgement = judge::<Check>(&system([10, 71, 19]).connect("n3", "B", "v", 9, plain).done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity());
        assert_eq!(&*found.id, "APP/east");
        assert_eq!(
            firing.summary,
            "account APP has 71 of its 100 connections in cluster east on server n2 (71.0 %)"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 71, "percent": 71.0, "threshold": 70.0, "unit": "connections"})
        );
        assert_eq!(
            firing.evidence["servers"],
            json!([{"server": "n2", "connections": 71, "percent": 71.0},
                   {"server": "n3", "connections": 19, "percent": 19.0},
                   {"server": "n1", "connections": 10, "percent": 10.0}])
        );
        assert_eq!(
            firing.evidence["cluster"],
            json!({"hot_server_percent": 65.1, "other_accounts_percent": 0.0, "leans": false})
        );
        assert_eq!(firing.evidence["libraries"]["top"], json!([{"name": "go 1.30.0", "count": 71}]));
    }

    #[test]
    fn what_the_evidence_is_drawn_from_is_said_where_it_is_not_everything() {
        let evidence = |shares| {
            let snapshot = system([10, 90, 0]).within(Budget { shares, ..Budget::default() }).done();
            only(&judge::<Check>(&snapshot)).1.clone()
        };
        assert_eq!(evidence(2).evidence.get("details_of"), None);
        let late = evidence(1);
        assert_eq!(
            (&late.evidence["details_of"], &late.evidence["addresses"]["top"][0]["count"]),
            (&json!(80), &json!(80))
        );
        assert!(late.remediation[0].starts_with("100.0 % of them come from the address"));
        let never = evidence(0);
        assert_eq!(
            (&never.evidence["details_of"], &never.evidence["servers"][0]["connections"]),
            (&json!(0), &json!(90))
        );
        assert!(never.remediation[0].starts_with("Put every server"), "{:?}", never.remediation);
    }

    #[test]
    fn everything_on_one_server_of_three_is_the_worst_case() {
        let judgement = judge::<Check>(&system([10, 0, 0]).done());
        let firing = only(&judgement).1;
        assert_eq!(firing.observed.percent, Some(100.0));
        assert_eq!(firing.evidence["servers"][2], json!({"server": "n3", "connections": 0, "percent": 0.0}));
        assert_eq!(
            firing.evidence["cluster"],
            json!({"hot_server_percent": 100.0, "other_accounts_percent": null, "leans": true})
        );
        assert!(judge::<Check>(&system([9, 0, 0]).done()).firing.is_empty());
    }

    #[test]
    fn small_clusters_leafnodes_and_the_system_account_do_not_count() {
        let two = System::of(2).connect("n1", "APP", "u", 50, plain);
        assert!(judge::<Check>(&two.done()).firing.is_empty());
        let leafs = system([0, 0, 0]).connect("n1", "APP", "l", 50, |c, _| c.kind = "Leafnode".into());
        assert!(judge::<Check>(&leafs.done()).firing.is_empty());
        let agents = System::of(3)
            .connect("n1", "SYS", "agent", 50, plain)
            .with(|snapshot| snapshot.system_account = "SYS".into());
        assert!(judge::<Check>(&agents.done()).firing.is_empty());
    }

    #[test]
    fn clusters_of_a_super_cluster_are_judged_apart() {
        let wide = || {
            let mut wide = system([20, 20, 20]);
            for name in ["w1", "w2", "w3"] {
                wide.add_server(name, Some("west"));
            }
            wide.connect("w2", "APP", "u", 12, plain)
        };
        let judgement = judge::<Check>(&wide().done());
        assert_eq!(&*only(&judgement).0.id, "APP/west");
        // A server that is missing in the east does not keep the west from being judged.
        let judgement = judge::<Check>(&wide().gone("n1").done());
        assert_eq!(&*only(&judgement).0.id, "APP/west");
        assert!(matches!(judgement.standing(&entity()), Standing::Unknown(_)));
    }

    #[test]
    fn a_missing_server_of_the_cluster_makes_it_unknown() {
        for judgement in [
            judge::<Check>(&system([50, 0, 0]).silent("n3", Endpoint::AccountStatz).done()),
            judge::<Check>(&system([50, 0, 0]).gone("n3").done()),
        ] {
            assert!(judgement.firing.is_empty());
            let reason = "server n3 did not answer ACCOUNT STATZ".to_owned();
            assert_eq!(judgement.standing(&entity()), Standing::Unknown(reason));
        }
    }

    #[test]
    fn the_remedy_follows_the_addresses_and_the_lean_of_the_cluster() {
        let many = System::of(3)
            .connect("n1", "APP", "u", 20, |c, i| c.ip = format!("10.0.0.{i}").into())
            .connect("n1", "B", "v", 30, plain);
        let judgement = judge::<Check>(&many.done());
        let (_, firing) = judgement.firing.iter().find(|(entity, _)| &*entity.id == "APP/east").unwrap();
        assert!(firing.remediation[0].starts_with("Other accounts lean towards server n1"));
        assert!(firing.remediation[1].starts_with("They come from 20 addresses"), "{:?}", firing.remediation);
        let one = judge::<Check>(&system([0, 0, 20]).done());
        assert!(only(&one).1.remediation[0].starts_with("100.0 % of them come from the address 10.0.0.1"));
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        let bad = [("max_percent", 0), ("max_percent", 101), ("min_servers", 1), ("min_connections", 0)];
        for (key, value) in bad {
            let base = [(key.to_owned(), json!(value))].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
        }
    }
}
