//! One sweep over the system: the roll call, then what each server tells, at last what the evidence needs.
//!
//! Requests go to a server one after another: its handlers run on one goroutine, which also carries the messages that
//! enforce the limits of accounts.

mod accounts;
mod ask_one;
mod connections;
mod denials;
mod events;
mod follow_up;
mod roster;
mod scatter;

use super::connect::Connection;
use super::inbox::{Inbox, InboxError};
use crate::snapshot::{
    Answer, ConnectionFold, Endpoint, FoldRules, FollowUp, Server, ServerVars, Snapshot, Version,
};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::account_statz::AccountStatz;
use crate::wire::envelope::ServerInfo;
use crate::wire::statsz;
use crate::wire::time::timestamp;
use crate::wire::varz::Varz;
use accounts::AccountCache;
use denials::Denials;
use events::EventReader;
use roster::{Neighbours, Peers, Roster};
use scatter::{Expect, Scatter, ping, scatter};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// How long after an answer another one may come: servers behind routes and gateways answer later.
const QUIET: Duration = Duration::from_millis(400);

/// Connections of one page. The server sorts all its connections for every page, so large pages cost it less
/// (measured: 5,000 connections in pages of 256 take 225 ms, in one page 25 ms); a page of this size is about 5 MB.
pub const PAGE: u64 = 8192;

/// Remembered connections of this agent, over reconnects.
const OWN_CONNECTIONS: usize = 16;

/// When and how an epoch gathers.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The epoch's id.
    pub epoch: u64,
    /// The agent's clock at the start.
    pub taken_at: OffsetDateTime,
    /// When the gather ends, whatever is missing then.
    pub deadline: Instant,
    /// How long a server may take for one answer.
    pub patience: Duration,
    /// Whether an enabled check needs the sweep over connections.
    pub connections: bool,
    /// Whether an enabled check needs what servers count per account.
    pub accounts: bool,
    /// Connections of one page.
    pub page: u64,
}

/// What the gather keeps between epochs.
#[derive(Debug)]
pub struct Gatherer {
    inbox: Inbox,
    events: EventReader,
    roster: Roster,
    denials: Denials,
    accounts: AccountCache,
    system_account: Option<Name>,
    own: Vec<(Name, u64)>,
    last_page_at: BTreeMap<Name, OffsetDateTime>,
    /// The same of the epoch before: what happened since then is new.
    since: BTreeMap<Name, OffsetDateTime>,
    strangers_before: u64,
    drops_before: u64,
}

impl Gatherer {
    /// Opens the inbox and the subscriptions to events. `system_account` is what the self-test found.
    pub async fn start(connection: &Connection, system_account: Option<&str>) -> Result<Self, InboxError> {
        Ok(Self {
            inbox: Inbox::open(connection).await?,
            events: EventReader::start(connection).await?,
            roster: Roster::default(),
            denials: Denials::default(),
            accounts: AccountCache::default(),
            system_account: system_account.map(|name| bounded(name, NAME_BYTES)),
            own: Vec::new(),
            last_page_at: BTreeMap::new(),
            since: BTreeMap::new(),
            strangers_before: 0,
            drops_before: 0,
        })
    }

    /// Takes over what the self-test found to be denied, of what is asked and listened to here.
    pub fn note_denied(&mut self, publish: &[String], subscribe: &[String]) {
        let connects = self.inbox.connection().events().connects();
        self.denials.note(publish, subscribe, connects);
    }

    /// One sweep. It never fails: what did not come stands in the coverage.
    pub async fn sweep(&mut self, plan: &Plan, mut rules: FoldRules) -> Snapshot {
        let mut snapshot = Snapshot::empty(plan.epoch, plan.taken_at);
        self.note_own_connection();
        self.inbox.connection().events().forget_denied_publishes();
        rules.own.clone_from(&self.own);
        let (events, lost) = self.events.take_server_events();
        self.roster.apply(events, plan.taken_at);
        if lost > 0 {
            snapshot.coverage.notes.push(format!("{lost} heartbeats of servers could not be used"));
        }

        self.roll_call(plan, &mut snapshot).await;
        self.varz(plan, &mut snapshot).await;
        if let Some(account) = &self.system_account {
            snapshot.system_account = account.clone();
        }
        if plan.accounts {
            self.account_statz(plan, &mut snapshot).await;
            accounts::describe(&self.inbox, &mut self.accounts, plan, &mut snapshot).await;
        } else {
            let why = "no enabled check needs it".to_owned();
            snapshot.coverage.not_asked.insert(Endpoint::AccountStatz, why.clone());
            snapshot.coverage.not_asked.insert(Endpoint::Accountz, why);
        }
        self.since = std::mem::take(&mut self.last_page_at);
        if plan.connections {
            let fold = ConnectionFold::new(rules);
            let fold = connections::sweep(&self.inbox, plan, &mut snapshot, fold, &self.since).await;
            let known = self.roster.ids();
            self.last_page_at = self.since.clone();
            self.last_page_at.retain(|id, _| known.contains(id));
            let swept = fold.servers.iter().filter_map(|(id, server)| Some((id.clone(), server.now?)));
            self.last_page_at.extend(swept);
            snapshot.take_fold(fold);
        } else {
            let why = "no enabled check needs it".to_owned();
            snapshot.coverage.not_asked.insert(Endpoint::Connz, why);
        }
        self.take_events(&mut snapshot);
        self.roster.learn(&snapshot);
        self.count_strangers(&mut snapshot);
        let Snapshot { servers, coverage, .. } = &mut snapshot;
        coverage.settle(|id| servers.get(id).and_then(|server| server.version), Endpoint::since);
        self.denials.take(self.inbox.connection().events(), coverage);
        snapshot.cut |= Instant::now() >= plan.deadline;
        snapshot
    }

    /// Targeted requests for evidence.
    pub async fn follow_up(&mut self, plan: &Plan, snapshot: &mut Snapshot, wanted: &[FollowUp]) {
        follow_up::run(&self.inbox, plan, snapshot, wanted, &self.since).await;
        self.count_strangers(snapshot);
        self.denials.take(self.inbox.connection().events(), &mut snapshot.coverage);
        snapshot.cut |= Instant::now() >= plan.deadline;
    }

    fn note_own_connection(&mut self) {
        let info = self.inbox.connection().client().server_info();
        let own = (bounded(&info.server_id, NAME_BYTES), info.client_id);
        if !self.own.contains(&own) {
            if self.own.len() >= OWN_CONNECTIONS {
                self.own.remove(0);
            }
            self.own.push(own);
        }
    }

    async fn roll_call(&mut self, plan: &Plan, snapshot: &mut Snapshot) {
        let expect = Expect { ids: self.roster.ids(), discover: true };
        let subject = "$SYS.REQ.SERVER.PING.STATSZ";
        // STATSZ is never compressed.
        let client = self.inbox.connection().events();
        let lost_before = client.disconnects();
        let stood = client.connected();
        let called = scatter(&self.inbox, plan, subject, "", false, &expect, statsz::parse, snapshot).await;
        let mut peers = Peers::new();
        for (id, (info, answer)) in called.answers {
            if let Ok(statsz) = &answer {
                peers.insert(name_of(&info), Neighbours::of(&statsz.routes, &statsz.gateways));
            }
            let server = Server {
                id: id.clone(),
                name: name_of(&info),
                cluster: cluster_of(&info),
                version: Version::parse(&info.ver),
                start: answer.as_ref().ok().and_then(|statsz| timestamp(&statsz.start)),
                now: timestamp(&info.time),
                vars: None,
                fold: None,
            };
            snapshot.coverage.present.insert(id.clone(), (server.name.clone(), server.cluster.clone()));
            let answer = answer.map_or_else(|error| Answer::Failed(error.to_string()), |_| Answer::Complete);
            snapshot.coverage.note(Endpoint::Statsz, &id, answer);
            snapshot.servers.insert(id, server);
        }
        let client = self.inbox.connection().events();
        let mut asked = stood && client.disconnects() == lost_before;
        if let Some(subject) = called.denied {
            let why = format!("this agent's user may not publish to {subject}");
            snapshot.coverage.not_asked.insert(Endpoint::Statsz, why.clone());
            snapshot.coverage.notes.push(why);
            asked = false;
        }
        snapshot.coverage.missing = self.roster.call(snapshot, &peers, asked);
        if self.roster.full() {
            let note = "servers or heartbeats tell of more servers than are remembered without an answer";
            snapshot.coverage.notes.push(note.into());
        }
    }

    async fn varz(&mut self, plan: &Plan, snapshot: &mut Snapshot) {
        let asked: Scatter<Varz> =
            ping(&self.inbox, plan, snapshot, Endpoint::Varz, "$SYS.REQ.SERVER.PING.VARZ", "").await;
        let own_server = self.inbox.connection().server_id();
        for (id, (info, varz)) in asked.answers {
            let Ok(varz) = varz else { continue };
            let Some(server) = snapshot.servers.get_mut(&id) else {
                continue;
            };
            // A leaf server may have a system account of its own; the agent's is that of the server it is connected to.
            let told = varz.system_account.as_deref().filter(|name| !name.is_empty());
            if let Some(account) = told.filter(|_| *id == *own_server || self.system_account.is_none()) {
                self.system_account = Some(bounded(account, NAME_BYTES));
            }
            server.now = timestamp(&info.time).or(server.now);
            // A leaf server without a cluster block reports its own name as cluster.
            if varz.cluster.cluster_port == 0 && server.cluster.as_ref() == Some(&server.name) {
                server.cluster = None;
                snapshot.coverage.present.insert(id, (server.name.clone(), None));
            }
            server.vars = Some(ServerVars {
                connections: u64::try_from(varz.connections).unwrap_or(0),
                total_connections: varz.total_connections,
                max_connections: varz.max_connections,
                max_subscriptions: varz.max_subscriptions,
                leafnodes: u64::try_from(varz.leafnodes).unwrap_or(0),
            });
        }
    }

    async fn account_statz(&self, plan: &Plan, snapshot: &mut Snapshot) {
        let subject = "$SYS.REQ.ACCOUNT.PING.STATZ";
        // Without unused accounts a server lists only those with connections, and is silent if there are none.
        let body = r#"{"include_unused":true}"#;
        let asked: Scatter<AccountStatz> =
            ping(&self.inbox, plan, snapshot, Endpoint::AccountStatz, subject, body).await;
        for (id, (_, statz)) in asked.answers {
            let Ok(statz) = statz else { continue };
            for stat in statz.account_statz.unwrap_or_default() {
                accounts::take_stat(snapshot, &id, &stat);
            }
        }
    }

    fn take_events(&mut self, snapshot: &mut Snapshot) {
        let (events, seen) = self.events.take_disconnects();
        for (id, counts) in events.accounts() {
            if let Some(account) = snapshot.accounts.get_mut(id) {
                account.events = *counts;
            }
        }
        for (unread, what) in
            [(events.unreadable, "could not be read"), (events.beyond, "were of too many accounts")]
        {
            if unread > 0 {
                snapshot.coverage.notes.push(format!("{unread} disconnect events {what}"));
            }
        }
        for id in snapshot.servers.keys() {
            snapshot.coverage.note(Endpoint::Events, id, seen.clone());
        }
    }

    fn count_strangers(&mut self, snapshot: &mut Snapshot) {
        let strangers = self.inbox.strangers();
        snapshot.cost.strangers += strangers - self.strangers_before;
        self.strangers_before = strangers;
        let drops = self.inbox.connection().events().drops();
        if drops > self.drops_before {
            let note =
                "the client dropped messages because they were not read in time: answers may be missing";
            snapshot.coverage.notes.push(note.into());
            self.drops_before = drops;
        }
    }
}

fn cluster_of(info: &ServerInfo) -> Option<Name> {
    let cluster = info.cluster.as_deref().filter(|name| !name.is_empty());
    cluster.map(|name| bounded(name, NAME_BYTES))
}

fn name_of(info: &ServerInfo) -> Name {
    bounded(if info.name.is_empty() { &info.id } else { &info.name }, NAME_BYTES)
}
