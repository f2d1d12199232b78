//! SERVER_003: a server's processors are nearly all in use.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, percent, rounded,
};
use crate::checks::busiest::{self, BusyRow, busiest};
use crate::checks::evidence::since::{opened, per_minute};
use crate::checks::evidence::{OnServer, sweep_gaps_at};
use crate::snapshot::{Endpoint, FollowUp, Order, Server, ServerVars, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct HighCpu;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the process uses this share of the processors that it may use, in percent.
    warn_percent: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 90.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Percent of one processor, over the server's last second.
    cpu: f64,
    /// Processors that the process may use.
    cores: u64,
    /// The servers of the cluster side by side, the busiest first; none for a server without a cluster.
    cluster: Option<Vec<Row>>,
    /// The connections to which most bytes were sent since they connected, at most 5; none where the server did not tell.
    most_sent_to: Option<Vec<BusyRow>>,
    /// The connections from which most bytes came since they connected, at most 5; none where the server did not tell.
    most_received_from: Option<Vec<BusyRow>>,
    /// Who has most connections on this server.
    top: OnServer,
    /// Open client connections.
    connections: u64,
    /// Clients that connected since the previous epoch, for each minute; logins cost more than messages do.
    opened_per_minute: Option<f64>,
    /// What the sweep over this server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// In percent of its processors; none where it does not tell how many it has.
    percent: Option<f64>,
    /// Its client connections.
    connections: u64,
}

/// No machine tells more, in percent of all its processors.
const NONSENSE: f64 = 1e6;

/// In percent of all processors, to one decimal; none without any.
fn used(vars: &ServerVars) -> Option<f64> {
    (vars.cores > 0).then(|| ((vars.cpu / vars.cores as f64).min(NONSENSE) * 10.0).round() / 10.0)
}

fn fires(vars: &ServerVars, limits: &Limits) -> bool {
    vars.cores > 0 && vars.cpu >= limits.warn_percent * vars.cores as f64
}

impl Rule for HighCpu {
    const META: Meta = Meta {
        id: "SERVER_003",
        name: "High CPU",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A server tells its use over a single second, so that it must be high in two epochs in a row, and it is \
             compared with the processors that the process may use (GOMAXPROCS, told since 2.10.28 and 2.11.2) where that is \
             fewer than the machine has. From 2.12.5 on that is 2 or more even in a container with less, where an override \
             is needed.",
        ),
        rule: "A server process uses 90 % or more of the processors that it may use, in two epochs in a row.",
        why: "A server without spare processor time delivers late: round trips grow, clients are taken for slow consumers \
              because their messages wait, pings are missed, and JetStream groups lose their leaders because heartbeats \
              come too late.\n\n\
              What a server tells is a sample of its last second; one sample lies easily, therefore two in a row are \
              asked for. 100 % stands for one processor, so that a process on eight may tell up to 800. Before 2.10.28 \
              and 2.11.2 the processors of the machine are told even where the process is held to fewer of them, as in \
              a container: there, the share that is told here is too low.\n\n\
              A container may be held to a part of a processor. Before 2.12.5 a server rounds that down, but to no less than \
              one; since then it is rounded up, and to no less than two. So in a container of 1 processor a newer server shows \
              50 % at most, and with 2.5 of them 83 %: lower `warn_percent` for it in a `[[checks.SERVER_003.override]]`.\n\n\
              The busiest connections are found by what they carried since they connected. What is shown for each second is the \
              average over that time.",
        remedy: &[
            "Find the clients behind it: the connections that carry most, and who opens many connections.",
            "Spread clients over all servers of the cluster.",
            "Look for subjects with very many subscribers, and for subscriptions with wildcards that match everything.",
            "Let clients keep their connections: every login with TLS and a JWT costs more than thousands of messages.",
            "Give the server more processors, or add servers.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz, Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One second's sample.
    const FOR: u64 = 2;
    // Clients of a server that leaves log in to the others, all at once.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn follow_ups(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<FollowUp> {
        let busy = context.now.servers.values().filter(|server| {
            let limits = thresholds.of(&Entity::of_server(server));
            server.vars.as_ref().is_some_and(|vars| fires(vars, limits))
        });
        busy.flat_map(|server| busiest::ask(server, &[Order::BytesTo, Order::BytesFrom])).collect()
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref()?;
    let entity = Entity::of_server(server);
    if vars.cores == 0 {
        let reason = format!("server {} does not tell how many processors it has", server.name);
        return Some(Verdict::unknown(entity, reason));
    }
    let limits = thresholds.of(&entity);
    if !fires(vars, limits) {
        return None;
    }
    let share = used(vars)?;
    let evidence = Evidence {
        cpu: vars.cpu,
        cores: vars.cores,
        cluster: server.cluster.as_ref().map(|cluster| side_by_side(context.now, cluster)),
        most_sent_to: busiest(context.now, server, Order::BytesTo),
        most_received_from: busiest(context.now, server, Order::BytesFrom),
        top: OnServer::of(context.now, server),
        connections: vars.connections,
        opened_per_minute: opened(context, server).and_then(|opened| per_minute(context, opened)),
        sweep_incomplete: sweep_gaps_at(context.now, &server.name),
    };
    let cores =
        if vars.cores == 1 { "its processor".into() } else { format!("its {} processors", vars.cores) };
    let summary = format!("server {} uses {share:.1} % of {cores}", server.name);
    let observed = Observed {
        value: rounded(vars.cpu),
        limit: Some(rounded(vars.cores as f64 * 100.0)),
        percent: Some(share),
        ..Observed::count(0, rounded(limits.warn_percent), "percent of one processor")
    };
    let remediation = remediation(&evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn side_by_side(snapshot: &Snapshot, cluster: &Name) -> Vec<Row> {
    let row = |server: &Server| {
        let vars = server.vars.as_ref()?;
        Some(Row { server: server.name.clone(), percent: used(vars), connections: vars.connections })
    };
    let mut rows: Vec<Row> = snapshot.members(cluster).filter_map(row).collect();
    rows.sort_by(|a, b| {
        let share = |row: &Row| row.percent.unwrap_or(-1.0);
        share(b).total_cmp(&share(a)).then_with(|| a.server.cmp(&b.server))
    });
    rows
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.opened_per_minute.is_some_and(|opened| opened >= evidence.connections.max(60) as f64) {
        steps.push(
            "More clients log in each minute than are connected: find what connects again and again, and let it keep its \
             connection."
                .into(),
        );
    }
    let rate = |row: &BusyRow| {
        row.bytes_to_per_second.unwrap_or(0).saturating_add(row.bytes_from_per_second.unwrap_or(0))
    };
    let rows = evidence.most_sent_to.iter().chain(&evidence.most_received_from).flatten();
    if let Some(first) = rows.max_by_key(|row| rate(row)).filter(|row| rate(row) > 0) {
        steps.push(format!(
            "Look at {} first: of the busiest connections it carries most, {} bytes per second.",
            first.label(),
            rate(first)
        ));
    }
    let others = evidence.cluster.as_ref().filter(|rows| rows.len() > 1);
    let idle =
        others.is_some_and(|rows| rows.iter().any(|row| row.percent.is_some_and(|share| share < 45.0)));
    if idle {
        steps.push("Another server of the cluster has room: spread clients over all of them.".into());
    }
    steps.push(
        "Look for subjects with very many subscribers, and for clients that subscribe to everything.".into(),
    );
    steps.push("Give the server more processors, or add servers to the cluster.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::BusyConnection;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = HighCpu;

    fn system(cpu: f64, cores: u64) -> System {
        System::of(2).vars("n1", |vars| (vars.cpu, vars.cores) = (cpu, cores))
    }

    #[test]
    fn fires_at_the_threshold_of_all_processors() {
        assert!(judge::<Check>(&system(719.9, 8).done()).firing.is_empty());
        let judgement = judge::<Check>(&system(720.0, 8).done());
        let firing = only(&judgement).1;
        assert_eq!(firing.summary, "server n1 uses 90.0 % of its 8 processors");
        assert_eq!(
            json!(firing.observed),
            json!({"value": 720.0, "limit": 800.0, "percent": 90.0, "threshold": 90.0, "unit": "percent of one processor"})
        );
        assert_eq!(
            firing.evidence["cluster"],
            json!([{"server": "n1", "percent": 90.0, "connections": 0},
                   {"server": "n2", "percent": 0.0, "connections": 0}])
        );
        assert_eq!(
            only(&judge::<Check>(&system(100.0, 1).done())).1.summary,
            "server n1 uses 100.0 % of its processor"
        );
        assert_eq!(crate::checks::find("SERVER_003").unwrap().for_epochs, 2);
    }

    #[test]
    fn without_processors_or_an_answer_it_is_unknown() {
        let n1 = Entity::of_server(&system(0.0, 1).done().servers["ID-n1"]);
        let judgement = judge::<Check>(&system(500.0, 0).done());
        assert!(
            matches!(judgement.standing(&n1), Standing::Unknown(reason) if reason.contains("how many processors"))
        );
        let judgement = judge::<Check>(&system(800.0, 8).silent("n1", Endpoint::Varz).done());
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&n1), Standing::Unknown("server n1 did not answer VARZ".into()));
        assert!(judge::<Check>(&system(f64::INFINITY, u64::MAX).done()).firing.len() <= 1);
    }

    #[test]
    fn the_busiest_connections_and_churn_are_told() {
        let busy = BusyConnection {
            cid: 9,
            name: Some("flood".into()),
            account: "APP".into(),
            user: "u".into(),
            address: "10.0.0.9".into(),
            bytes_to: 500,
            bytes_from: 10_000,
            seconds: Some(10),
            ..BusyConnection::default()
        };
        let churning = |second: i64, total: u64| {
            let busy = busy.clone();
            system(790.0, 8).at(second).vars("n1", |vars| vars.total_connections = total).with(
                move |snapshot| {
                    let key = ("ID-n1".into(), Order::BytesFrom);
                    snapshot.follow_ups.busiest.insert(key, vec![busy]);
                },
            )
        };
        let (before, now) = (churning(0, 100).done(), churning(60, 190).done());
        let judgement = judge_with::<Check>(&now, Some(&before), &[]);
        let firing = only(&judgement).1;
        assert_eq!(firing.evidence["opened_per_minute"], 90.0);
        assert_eq!(firing.evidence["most_sent_to"], json!(null));
        assert_eq!(
            firing.evidence["most_received_from"],
            json!([{"cid": 9, "name": "flood", "account": "APP", "user": "u", "address": "10.0.0.9",
                    "bytes_to_per_second": 50, "bytes_from_per_second": 1000, "pending_bytes": 0, "subscriptions": 0}])
        );
        assert!(firing.remediation[0].starts_with("More clients log in each minute"));
        assert!(
            firing.remediation[1].starts_with("Look at flood (connection 9, user u of account APP) first"),
            "{:?}",
            firing.remediation
        );
        assert!(firing.remediation[2].starts_with("Another server of the cluster has room"));
        assert!(firing.remediation.len() == 5);
    }

    #[test]
    fn only_busy_servers_are_asked_for_their_connections() {
        let now = system(790.0, 8).done();
        let history = crate::snapshot::History::default();
        let context = Context { now: &now, previous: None, history: &history, declared: &Default::default() };
        let asked = Check::follow_ups(&context, &Thresholds::default());
        let of = |by| FollowUp::BusiestConnections { server: "ID-n1".into(), by };
        assert_eq!(asked, [of(Order::BytesTo), of(Order::BytesFrom)]);
    }
}
