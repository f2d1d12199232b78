//! Targeted requests that the evidence of flagged entities needs.

mod busiest;

use super::Plan;
use super::ask_one::{Unusable, ask_for};
use super::lanes::WIDEST;
use super::owners::Owners;
use super::scatter::{Request, Scatter, Wait};
use super::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{
    Answer, ConnectionSubscriptions, Endpoint, FollowUp, Snapshot, SubscriptionShape, TopConnection,
    TopCounter,
};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::WireError;
use crate::wire::connz::{Connection, ConnzOptions, PageHead, parse};
use crate::wire::envelope::ServerInfo;
use crate::wire::time::timestamp;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use tokio::time::Instant;

/// Connections whose subjects are looked at, of each server and in all.
const TOP: usize = 5;

/// First tokens that are told.
const TOKENS: usize = 5;

/// Closed connections that are looked at.
const CLOSED: u64 = 2048;

/// Targeted requests of one epoch; each flagged account needs one.
const MOST: usize = 100;

/// What the gather knows of earlier epochs.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The clock of each server when its connections were last listed.
    pub(super) since: &'a BTreeMap<Name, OffsetDateTime>,
    /// The same of this epoch: the next one begins there.
    pub(super) until: &'a BTreeMap<Name, OffsetDateTime>,
    /// The agent's own connections, by the server's id.
    pub(super) own: &'a [(Name, u64)],
    /// Whose connections are, of servers where that is remembered.
    pub(super) owners: &'a Owners,
}

/// Sends what the rules want, one after another.
pub(super) async fn run(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    wanted: &[FollowUp],
    known: Known<'_>,
) {
    if wanted.len() > MOST {
        let left = wanted.len() - MOST;
        snapshot.coverage.notes.push(format!("{left} targeted requests for evidence were left out"));
    }
    let mut met = busiest::Met::new();
    for follow_up in wanted.iter().take(MOST) {
        if Instant::now() >= plan.deadline {
            return;
        }
        match follow_up {
            FollowUp::TopSubscriptions { account } => top_subscriptions(inbox, plan, snapshot, account).await,
            FollowUp::ClosedConnections { server } => {
                // Without an earlier epoch there is no "since".
                if let (Some(since), Some(until)) = (known.since.get(server), known.until.get(server)) {
                    closed_connections(inbox, plan, snapshot, server, (*since, *until)).await;
                }
            }
            FollowUp::BusiestConnections { server, by } => {
                busiest::ask(inbox, plan, snapshot, (server, *by), known, &mut met).await;
            }
        }
    }
}

/// Whether a name can stand in a subject as one token; others are asked for through the body.
fn is_token(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '.' || c == '*' || c == '>' || c.is_whitespace())
}

/// The sweep has found which connections have most subscriptions, so that those alone are asked for. Where it has not, all
/// servers are asked for theirs.
async fn top_subscriptions(inbox: &Inbox, plan: &Plan, snapshot: &mut Snapshot, account: &Name) {
    let top = snapshot.accounts.get(account).map(|account| account.fold.top_subscriptions.clone());
    let (mut shapes, mut tally, mut missing) = (Vec::new(), Tally::default(), 0);
    for TopConnection { server, cid, .. } in top.iter().flatten().take(TOP) {
        match shape_of(inbox, plan, server, *cid, &mut tally).await {
            // It may have ended meanwhile.
            Ok(found) => shapes.extend(found.into_iter().map(|(cid, shape)| ConnectionSubscriptions {
                server: server.clone(),
                cid,
                shape,
            })),
            Err(()) => missing += 1,
        }
    }
    tally.add_to(snapshot);
    if top.is_none_or(|top| top.is_empty()) {
        return top_of_all_servers(inbox, plan, snapshot, account).await;
    }
    keep(snapshot, account, shapes, missing);
}

/// What one connection is subscribed to; nothing if it has ended, an error if the server did not tell.
async fn shape_of(
    inbox: &Inbox,
    plan: &Plan,
    server: &Name,
    cid: u64,
    tally: &mut Tally,
) -> Result<Shapes, ()> {
    let options = ConnzOptions { cid: Some(cid), subscriptions: true, limit: 1, ..ConnzOptions::open() };
    let subject = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    let read = |body: &[u8]| match shapes_in(body) {
        Ok((info, Ok(shapes))) if *info.id == **server => Ok(shapes),
        Ok(_) => Err(Unusable::Stranger),
        Err(error) => Err(Unusable::Broken(error.to_string())),
    };
    let (shapes, _) = ask_for((inbox, plan), (&subject, &options), tally, read).await.map_err(drop)?;
    Ok(shapes.into_iter().filter(|(other, _)| *other == cid).collect())
}

async fn top_of_all_servers(inbox: &Inbox, plan: &Plan, snapshot: &mut Snapshot, account: &Name) {
    let options = ConnzOptions {
        sort: "subs",
        subscriptions: true,
        limit: TOP as u64,
        acc: Some(account.to_string()),
        ..ConnzOptions::open()
    };
    let Ok(body) = serde_json::to_string(&options) else {
        return;
    };
    let subject = if is_token(account) {
        format!("$SYS.REQ.ACCOUNT.{account}.CONNZ")
    } else {
        "$SYS.REQ.SERVER.PING.CONNZ".to_owned()
    };
    let servers: BTreeSet<Name> = snapshot.servers.keys().cloned().collect();
    if servers.len() > WIDEST {
        let note =
            format!("the subscriptions of account {account} were not asked for: there are too many servers");
        return snapshot.coverage.notes.push(note);
    }
    let request = Request {
        subject: &subject,
        body: &body,
        compressed: true,
        parse: shapes_in,
        awaited: servers.clone(),
        others: Some(&servers),
    };
    let mut answers: BTreeMap<Name, Shapes> = BTreeMap::new();
    let mut asked = Scatter::ask(inbox, plan, request).await;
    let take = |id, _, shapes: Result<Vec<_>, _>| {
        answers.extend(shapes.ok().map(|shapes| (id, shapes)));
    };
    asked.collect(inbox, Wait::ForAll, take).await;
    asked.tally.add_to(snapshot);
    let missing = servers.len().saturating_sub(answers.len());
    for server in answers.keys() {
        snapshot.coverage.note(Endpoint::AccountConnz, server, Answer::Complete);
    }
    let row =
        |(server, (cid, shape)): (&Name, _)| ConnectionSubscriptions { server: server.clone(), cid, shape };
    let each =
        answers.iter().flat_map(|(server, shapes)| shapes.iter().map(move |shape| (server, shape.clone())));
    let shapes = each.map(row).collect();
    keep(snapshot, account, shapes, missing);
}

fn keep(snapshot: &mut Snapshot, account: &Name, mut shapes: Vec<ConnectionSubscriptions>, missing: usize) {
    if missing > 0 {
        let note = format!("{missing} servers did not tell the subscriptions of account {account}");
        snapshot.coverage.notes.push(note);
    }
    shapes.sort_by(|a, b| {
        b.shape.listed.cmp(&a.shape.listed).then_with(|| (&a.server, a.cid).cmp(&(&b.server, b.cid)))
    });
    shapes.dedup_by(|a, b| a.server == b.server && a.cid == b.cid);
    shapes.truncate(TOP);
    snapshot.follow_ups.subscriptions.insert(account.clone(), shapes);
}

/// The connections in an answer by their ids.
type Shapes = Vec<(u64, SubscriptionShape)>;

fn shapes_in(body: &[u8]) -> Result<(ServerInfo, Result<Shapes, WireError>), WireError> {
    let mut of_server = Vec::new();
    let page = parse(body, &mut |_: &PageHead, connection: &Connection<'_>| {
        of_server.push((connection.cid, shape(connection)));
    })?;
    Ok((page.server, Ok(of_server)))
}

fn shape(connection: &Connection<'_>) -> SubscriptionShape {
    let mut tokens = TopCounter::default();
    let (mut inbox, mut listed) = (0, 0);
    for subject in connection.subscriptions_list.iter().flatten() {
        let token = subject.split('.').next().unwrap_or_default();
        listed += 1;
        inbox += u64::from(token == "_INBOX");
        tokens.add(token, |token| bounded(token, TEXT_BYTES));
    }
    SubscriptionShape { inbox, listed, first_tokens: tokens.top(TOKENS) }
}

/// Counts clients that a full server refused. They were never clients of an account, so no event tells of them; the
/// server keeps them among its closed connections.
async fn closed_connections(
    inbox: &Inbox,
    plan: &Plan,
    snapshot: &mut Snapshot,
    server: &Name,
    (since, until): (OffsetDateTime, OffsetDateTime),
) {
    let options = ConnzOptions { auth: false, state: 1, sort: "stop", limit: CLOSED, ..ConnzOptions::open() };
    let subject = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    let mut tally = Tally::default();
    let read = |body: &[u8]| {
        let mut rejected = 0;
        let page = parse(body, &mut |_, connection| {
            let after = timestamp(&connection.stop).is_some_and(|stop| stop > since && stop <= until);
            rejected += u64::from(after && connection.reason == "Maximum Connections Exceeded");
        });
        match page {
            Ok(page) if *page.server.id == **server => Ok(rejected),
            Ok(_) => Err(Unusable::Stranger),
            Err(error) => Err(Unusable::Broken(error.to_string())),
        }
    };
    if let Ok((rejected, _)) = ask_for((inbox, plan), (&subject, &options), &mut tally, read).await {
        snapshot.follow_ups.rejected.insert(server.clone(), rejected);
    }
    tally.add_to(snapshot);
}
