//! CLUSTER_006: the number of a server's connections jumped.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least,
};
use crate::checks::evidence::closed::{Ended, closed_gaps};
use crate::checks::evidence::since::opened;
use crate::checks::evidence::{OnServer, TOP, sweep_gaps_at};
use crate::snapshot::{Endpoint, Server, difference};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ConnectionCountChange;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the number of client connections changed by more than this since the epoch before.
    connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 500 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("connections", self.connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Connections in the epoch before.
    before: u64,
    /// Connections now.
    now: u64,
    /// By how many it grew; negative where it sank.
    change: i64,
    /// Connections opened in between, those refused included; none where the server's count is of no use.
    opened: Option<u64>,
    /// Seconds between the two.
    seconds: Option<f64>,
    /// How the other servers of its cluster changed, the largest changes first, at most 5: clients that leave one often go to
    /// another.
    others: Vec<Row>,
    /// By how many all servers of the cluster together changed that answered both times; none for a server without a cluster.
    cluster_change: Option<i64>,
    /// Who has most connections on this server now.
    top: OnServer,
    /// What the sweep over this server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
    /// Where it lost connections: those that ended on this server since the epoch before, leafnodes among them. A server
    /// remembers only the last ones, 10,000 unless configured otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    /// What was not told of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ended_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Its connections now.
    now: u64,
    /// By how many they grew; negative where they sank.
    change: i64,
}

impl Rule for ConnectionCountChange {
    const META: Meta = Meta {
        id: "CLUSTER_006",
        name: "Connection Count Jumped",
        severity: Severity::Warning,
        category: Category::Change,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "Only epochs of one and the same process are compared, because a server that was restarted begins without any \
             connection.",
        ),
        rule: "The client connections of a server changed by more than 500 since the epoch before.",
        why: "Many clients that come or go at once are a deployment, a network that broke, a load balancer that changed its mind, \
              or a crowd that reconnects; the servers to which they go need room for them.\n\n\
              Compared are the numbers that the server itself tells (VARZ): NATS, WebSocket and MQTT clients, this agent's \
              own connection among them. Leafnodes, routes and gateways do not count. Over a restart nothing is compared. The \
              finding lasts one epoch, and how many 500 are depends on the size of the system and the length of an epoch: set \
              `connections` accordingly.",
        remedy: &[
            "Compare the servers of the cluster: what one lost and others gained has moved.",
            "If they are gone for good, look at the network and at what was deployed.",
            "If they came, look whether the servers have room, and whether the clients stay.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz, Endpoint::AccountStatz, Endpoint::Closed],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const EPOCHS: u64 = 2;
    // The clients of a server that leaves go to the others.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

/// Connections before and now, of the same process.
fn both(context: &Context<'_>, server: &Server) -> Option<(u64, u64)> {
    let before = context.same_boot(server)?.vars.as_ref()?.connections;
    Some((before, server.vars.as_ref()?.connections))
}

/// Why there is nothing to compare with, where the same process ran in the epoch before.
fn was_silent(context: &Context<'_>, server: &Server) -> Option<String> {
    server.vars.as_ref()?;
    let missing = &context.previous?.coverage.missing;
    // One that was known by its name alone may have been the same process.
    let is = |id: &Option<Name>| id.as_ref().is_none_or(|id| *id == server.id);
    let called = || missing.iter().any(|missing| missing.name == server.name && is(&missing.id));
    (context.same_boot(server).is_some() || called())
        .then(|| format!("server {} did not answer VARZ in the epoch before", server.name))
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let entity = Entity::of_server(server);
    let Some((before, now)) = both(context, server) else {
        return was_silent(context, server).map(|reason| Verdict::not_yet(entity, reason));
    };
    let most = thresholds.of(&entity).connections;
    if now.abs_diff(before) <= most {
        return None;
    }
    let mut others: Vec<Row> = context
        .now
        .beside(server)
        .filter_map(|other| {
            let (before, now) = both(context, other)?;
            Some(Row { server: other.name.clone(), now, change: difference(now, before) })
        })
        .collect();
    let change = difference(now, before);
    let whole = others.iter().fold(change, |sum, row| sum.saturating_add(row.change));
    others.sort_by(|a, b| {
        b.change.unsigned_abs().cmp(&a.change.unsigned_abs()).then_with(|| a.server.cmp(&b.server))
    });
    others.truncate(TOP);
    let evidence = Evidence {
        before,
        now,
        change,
        opened: opened(context, server),
        seconds: context.seconds_since_previous(),
        others,
        cluster_change: server.cluster.as_ref().map(|_| whole),
        top: OnServer::of(context.now, server),
        sweep_incomplete: sweep_gaps_at(context.now, &server.name),
        ended: (now < before).then(|| Ended::of(context.now, std::iter::once(server), |_| true)),
        ended_incomplete: match now < before {
            true => closed_gaps(context.now, Some(&server.name)),
            false => Vec::new(),
        },
    };
    let verb = if now > before { "gained" } else { "lost" };
    let summary = format!(
        "server {} {verb} {} client connections since the epoch before: {before} became {now}",
        server.name,
        now.abs_diff(before)
    );
    let observed = Observed::count(now.abs_diff(before), most, "connections");
    let steps = remediation(server, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, steps))
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let gained = evidence.change > 0;
    // Most of it is balanced by the other servers.
    let moved = evidence
        .cluster_change
        .is_some_and(|whole| whole.unsigned_abs() < evidence.change.unsigned_abs() / 2);
    if moved {
        let (from, to) =
            if gained { ("other servers of the cluster", "this one") } else { ("this one", "other servers") };
        steps.push(format!(
            "Clients moved from {from} to {to}: look at the network and at the load balancer between."
        ));
    }
    steps.push(match gained {
        true => format!(
            "Look who came, by the accounts and addresses in the evidence, and whether server {} has room.",
            server.name
        ),
        false => {
            "Look what was deployed or cut off: clients that are meant to be there reconnect by themselves."
                .into()
        }
    });
    steps.extend(evidence.ended.as_ref().and_then(who_left));
    if evidence.opened.is_some_and(|opened| opened / 2 > evidence.change.unsigned_abs()) {
        steps.push(
            "Far more connections were opened than stayed: look for clients that connect again and again."
                .into(),
        );
    }
    steps.push("If such changes are usual here, raise `connections` for this server or for all.".into());
    steps
}

/// What most of those that ended have in common.
fn who_left(ended: &Ended) -> Option<String> {
    let reason = ended.reasons.first()?;
    let most = |count: u64| count > ended.connections / 2;
    let mut step = format!("{} of {} ended for \"{}\"", reason.count, ended.connections, reason.name);
    let common = [(&ended.accounts, "are of account"), (&ended.addresses, "came from")];
    for (list, what) in common {
        if let Some(first) = list.top.first().filter(|first| most(first.count)) {
            step.push_str(&format!(", {} {what} {}", first.count, first.name));
        }
    }
    step.push_str(": begin with what they share.");
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = ConnectionCountChange;

    fn epoch(second: i64, counts: [u64; 3], total: u64) -> System {
        let mut system = System::of(3).at(second);
        for (name, count) in ["n1", "n2", "n3"].into_iter().zip(counts) {
            system = system.vars(name, |vars| (vars.connections, vars.total_connections) = (count, total));
        }
        system
    }

    fn judged(before: [u64; 3], now: [u64; 3]) -> crate::check::Judgement {
        let (before, now) = (epoch(0, before, 1000).done(), epoch(60, now, 1700).done());
        judge_with::<Check>(&now, Some(&before), &[])
    }

    #[test]
    fn fires_above_the_threshold_in_both_directions() {
        assert!(judged([1000, 0, 0], [500, 500, 0]).firing.is_empty());
        let judgement = judged([1000, 10, 0], [499, 509, 0]);
        let (entity, firing) = only(&judgement);
        assert_eq!(&*entity.id, "n1");
        assert_eq!(
            firing.summary,
            "server n1 lost 501 client connections since the epoch before: 1000 became 499"
        );
        let evidence = &firing.evidence;
        assert_eq!((&evidence["change"], &evidence["cluster_change"]), (&json!(-501), &json!(-2)));
        assert_eq!((&evidence["opened"], &evidence["seconds"]), (&json!(700), &json!(60.0)));
        assert_eq!(evidence["others"][0], json!({"server": "n2", "now": 509, "change": 499}));
        assert!(firing.remediation[0].starts_with("Clients moved from this one to other servers"));
        let judgement = judged([0, 0, 0], [501, 0, 0]);
        assert!(only(&judgement).1.summary.starts_with("server n1 gained 501 client connections"));
        assert_eq!(judged([0, 0, 0], [u64::MAX, u64::MAX, u64::MAX]).firing.len(), 3);
    }

    #[test]
    fn a_restart_and_an_epoch_alone_tell_nothing() {
        let restarted = epoch(60, [0, 0, 0], 0).with(|snapshot| {
            let server = snapshot.servers.remove("ID-n1").unwrap();
            snapshot.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        });
        let before = epoch(0, [9000, 0, 0], 9000).done();
        assert!(judge::<Check>(&before).nothing.is_some());
        let n1 = Entity::server(&"n1".into(), Some(&"east".into()));
        let restarted = judge_with::<Check>(&restarted.done(), Some(&before), &[]);
        assert!(restarted.firing.is_empty());
        assert_eq!(restarted.standing(&n1), Standing::Clear);
        let silent = epoch(60, [0, 0, 0], 0).silent("n1", Endpoint::Varz).done();
        assert!(judge_with::<Check>(&silent, Some(&before), &[]).firing.is_empty());
        // The same process, which did not tell before.
        let mut mute = epoch(0, [9000, 0, 0], 9000).silent("n1", Endpoint::Varz);
        mute.server_mut("n1").vars = None;
        for before in [mute.done(), epoch(0, [9000, 0, 0], 9000).gone("n1").done()] {
            let judgement = judge_with::<Check>(&epoch(60, [0, 0, 0], 0).done(), Some(&before), &[]);
            assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
            let why = "server n1 did not answer VARZ in the epoch before";
            assert_eq!(judgement.standing(&n1), Standing::Unknown(why.into()));
        }
        // A server that counts backwards: only its own count is of no use.
        let judgement = judge_with::<Check>(&epoch(60, [0, 0, 0], 5).done(), Some(&before), &[]);
        assert_eq!(only(&judgement).1.evidence["opened"], json!(null));
    }

    #[test]
    fn on_a_loss_the_evidence_tells_who_left() {
        let before = epoch(0, [1000, 0, 0], 1000).done();
        let now = epoch(60, [400, 0, 0], 1000)
            .end("n1", ("APP", "u"), "Client Closed", 4, |_, _| {})
            .end("n1", ("APP", "u"), "Read Error", 1, |c, _| c.ip = "10.0.0.2".into())
            .end("n2", ("OTHER", "v"), "Client Closed", 9, |_, _| {});
        let judgement = judge_with::<Check>(&now.done(), Some(&before), &[]);
        let firing = only(&judgement).1;
        let ended = &firing.evidence["ended"];
        assert_eq!((&ended["connections"], &ended["accounts"]["top"][0]["name"]), (&json!(5), &json!("APP")));
        assert_eq!(ended["reasons"][0], json!({"name": "Client Closed", "count": 4}));
        assert_eq!(firing.evidence.get("ended_incomplete"), None);
        let step = "4 of 5 ended for \"Client Closed\", 5 are of account APP, 4 came from 10.0.0.1: begin with what they \
                    share.";
        assert!(firing.remediation.iter().any(|one| one == step), "{:?}", firing.remediation);
        // Who did not tell leaves a gap, and a gain has nobody who left.
        let silent = epoch(60, [400, 0, 0], 1000).silent("n1", Endpoint::Closed).done();
        let judgement = judge_with::<Check>(&silent, Some(&before), &[]);
        assert_eq!(only(&judgement).1.evidence["ended_incomplete"].as_array().map(Vec::len), Some(1));
        let gained = epoch(60, [1600, 0, 0], 1600).done();
        let judgement = judge_with::<Check>(&gained, Some(&before), &[]);
        assert_eq!(only(&judgement).1.evidence.get("ended"), None);
    }
}
