//! One sweep over the system: the roll call, then what each server tells, at last what the evidence needs.
//!
//! A server has at most one heavy request at a time: its handlers run on one goroutine, which also carries the messages
//! that enforce the limits of accounts. What all servers may send at once is bounded as well ([`lanes`], [`waves`]).

mod account_counts;
mod accounts;
mod ask_one;
mod bystander;
mod closed;
mod connections;
mod denials;
mod events;
mod every;
mod farewells;
mod follow_up;
mod gateway_accounts;
mod heard;
mod interest;
mod lanes;
mod learnt;
mod once;
mod owners;
mod page;
mod parts;
mod resolver;
mod roll_call;
mod roster;
mod round;
mod scatter;
mod services;
mod tally;
mod waves;

#[cfg(test)]
mod disturbed;
#[cfg(test)]
mod members;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod world;

use super::connect::Connection;
use super::inbox::{Inbox, InboxError};
use crate::election::AGENTS_SUBJECT;
use crate::snapshot::{
    AccountLimits, Answer, ConnectionFold, Endpoint, Events, FoldRules, FollowUp, Requests, Snapshot,
};
use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::envelope::ServerInfo;
use account_counts::Sizes;
use accounts::AccountCache;
pub use bystander::Bystander;
use closed::Ended;
use denials::Denials;
use events::{EventReader, Told};
use farewells::Farewells;
use gateway_accounts::GatewayAccounts;
use heard::HeardBoots;
use interest::InterestCache;
use lanes::Lanes;
use learnt::{Faded, Learnt};
use once::Once;
use owners::Owners;
use page::Folding;
use resolver::Resolver;
use roll_call::RollCall;
pub use roster::Expected;
use roster::Roster;
use services::ServiceCache;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// How long after an answer another one may come: servers behind routes and gateways answer later.
const QUIET: Duration = Duration::from_millis(400);

/// The most connections of one page, unless a plan says otherwise.
pub const PAGE: u64 = 32_768;

/// Why something was not asked or not waited for any longer.
const CUT: &str = "the epoch's time was over";

/// Remembered connections of agents, over reconnects: twice as many as there are agents that hear each other.
const OWN_CONNECTIONS: usize = 512;

/// Which connections are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Those of every server.
    Whole,
    /// Those of accounts that are near a limit.
    Flagged,
    /// None: the configuration says so.
    Off,
    /// None: no enabled check needs them.
    NotNeeded,
}

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
    /// Which connections are listed.
    pub connections: Sweep,
    /// Whether an enabled check needs what servers count per account.
    pub accounts: bool,
    /// Everything that an enabled check needs.
    pub requests: Requests,
    /// The most connections of one page; fewer are asked for where they are large.
    pub page: u64,
    /// The time over which the first requests for connections are spread, where there are more than a handful of servers.
    pub spread: Duration,
    /// When the next gather begins, from the beginning of this one; zero if none does.
    pub period: Duration,
}

/// What the gather keeps between epochs.
#[derive(Debug)]
pub struct Gatherer {
    inbox: Inbox,
    events: EventReader,
    roster: Roster,
    farewells: Farewells,
    heard: HeardBoots,
    denials: Denials,
    accounts: AccountCache,
    services: ServiceCache,
    interest: InterestCache,
    gateway_accounts: GatewayAccounts,
    resolver: Resolver,
    declared: BTreeMap<Name, AccountLimits>,
    lanes: Lanes,
    learnt: Mutex<Learnt>,
    owners: Mutex<Owners>,
    /// Bytes of answers on the network, by what was asked.
    sizes: HashMap<Endpoint, Faded>,
    statz_sizes: Sizes,
    system_account: Option<Name>,
    own: Vec<(Name, u64)>,
    /// Those of them beside the one that it looks over that stood when the epoch began.
    beside: Vec<(Name, u64)>,
    last_page_at: BTreeMap<Name, OffsetDateTime>,
    /// The same of the epoch before: what happened since then is new.
    since: BTreeMap<Name, OffsetDateTime>,
    ended: Ended,
    /// What the last sweep was told once.
    once: Option<Once>,
    /// The same of one that was in vain, for the next.
    again: Option<Once>,
    strangers_before: u64,
    drops_before: u64,
}

impl Gatherer {
    /// Opens the inbox and the subscriptions to events. `system_account` is what the self-test found.
    pub async fn start(connection: &Connection, system_account: Option<&str>) -> Result<Self, InboxError> {
        let inbox = Inbox::open(connection).await?;
        Ok(Self::over(inbox, EventReader::start(connection).await?, system_account))
    }

    fn over(inbox: Inbox, events: EventReader, system_account: Option<&str>) -> Self {
        Self {
            inbox,
            events,
            roster: Roster::default(),
            farewells: Farewells::default(),
            heard: HeardBoots::default(),
            denials: Denials::default(),
            accounts: AccountCache::default(),
            services: ServiceCache::default(),
            interest: InterestCache::default(),
            gateway_accounts: GatewayAccounts::default(),
            resolver: Resolver::default(),
            declared: BTreeMap::new(),
            lanes: Lanes::default(),
            learnt: Mutex::new(Learnt::default()),
            owners: Mutex::new(Owners::default()),
            sizes: HashMap::new(),
            statz_sizes: Sizes::default(),
            system_account: system_account.map(|name| bounded(name, NAME_BYTES)),
            own: Vec::new(),
            beside: Vec::new(),
            last_page_at: BTreeMap::new(),
            since: BTreeMap::new(),
            ended: Ended::default(),
            once: None,
            again: None,
            strangers_before: 0,
            drops_before: 0,
        }
    }

    /// Limits that no server shows, by name or public key of the account (-1 for none): a sweep of flagged accounts goes
    /// by them as well.
    pub fn declare(&mut self, limits: BTreeMap<Name, AccountLimits>) {
        self.declared = limits;
    }

    /// Takes a connection of this agent that is not the one it looks over, such as that of its sink, or one of another agent:
    /// it is in no finding.
    pub fn note_own(&mut self, server: &str, connection: u64) {
        let own = (bounded(server, NAME_BYTES), connection);
        // One that is noted again is not the first to be forgotten.
        if let Some(known) = self.own.iter().position(|known| *known == own) {
            self.own.remove(known);
        } else if self.own.len() >= OWN_CONNECTIONS {
            self.own.remove(0);
        }
        self.own.push(own);
    }

    /// The same of one that stands now.
    pub fn note_beside(&mut self, server: &str, connection: u64) {
        self.note_own(server, connection);
        self.beside.push((bounded(server, NAME_BYTES), connection));
    }

    /// Notes that the agent hears itself on the subject of agents: it is not denied.
    pub fn agents_heard(&mut self) {
        self.denials.allowed(AGENTS_SUBJECT);
    }

    /// Takes in servers that findings of an agent that ran before are about. One that is silent by now is missed until it
    /// answers, or for a day.
    pub fn look_out_for(&mut self, servers: impl Iterator<Item = Expected>) {
        self.roster.look_out_for(servers);
    }

    /// Takes over what the self-test found to be denied, of what is asked and listened to here.
    pub fn note_denied(&mut self, publish: &[String], subscribe: &[String]) {
        let connects = self.inbox.carrier().events().connects();
        self.denials.note(publish, subscribe, connects);
    }

    /// One sweep. It never fails: what did not come stands in the coverage.
    pub async fn sweep(&mut self, plan: &Plan, mut rules: FoldRules) -> Snapshot {
        let mut snapshot = Snapshot::empty(plan.epoch, plan.taken_at);
        self.note_own_connections();
        self.gateway_accounts.next_epoch();
        self.inbox.carrier().events().forget_denied_publishes();
        rules.own.clone_from(&self.own);
        let Told { events, mut boots, lost } = self.events.take_server_events();
        let ended = self.ended.clone();
        let again = self.again.take();
        boots.extend(again.iter().flat_map(|again| again.boots.clone()));
        self.farewells.hear(&events, plan.taken_at);
        self.roster.apply(events, plan.taken_at);
        if lost > 0 {
            snapshot.coverage.notes.push(format!("{lost} heartbeats of servers could not be used"));
        }
        self.since = std::mem::take(&mut self.last_page_at);
        self.note_what_is_not_asked(plan, &mut snapshot);

        let folding = Folding::new(ConnectionFold::new(rules));
        let mut roll_call = RollCall::open(&self.inbox, plan, self.roster.ids()).await;
        let present = roll_call.first(&self.inbox, &mut snapshot).await;
        self.round(plan, &mut snapshot, &present, &folding, false).await;
        // Newcomers, and known servers that took their time.
        let late = roll_call.late(&self.inbox, &mut snapshot).await;
        if !late.is_empty() {
            self.round(plan, &mut snapshot, &late, &folding, true).await;
        }
        roll_call.close(&self.inbox, &mut self.roster, &mut snapshot);
        self.take_connections(plan, &mut snapshot, folding.end());
        self.place_own(&mut snapshot);
        if accounts::reads(plan) {
            accounts::note_unread(&mut snapshot);
        }
        if accounts::wants_details(plan) {
            accounts::note_undescribed(&mut snapshot);
        }
        if let Some(account) = &self.system_account {
            snapshot.system_account = account.clone();
        }
        self.ask_interest(plan, &mut snapshot).await;
        self.ask_resolver(plan, &mut snapshot).await;
        self.take_services(plan, &mut snapshot);
        let (disconnects, seen) = self.take_events(&mut snapshot, again);
        snapshot.ends.heard = self.heard.take(boots, &snapshot);
        self.once = Some(Once { disconnects, seen, boots: snapshot.ends.heard.clone(), ended });
        self.roster.learn(&snapshot);
        let learnt = self.learnt.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The roster knows servers by their names, and two may have the same.
        let known: BTreeSet<Name> =
            self.roster.ids().into_iter().chain(snapshot.servers.keys().cloned()).collect();
        learnt.retain(&known);
        self.gateway_accounts.retain(&known);
        if self.asks_accounts(plan) {
            self.accounts.retain(&snapshot, &known);
        }
        let owners = self.owners.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        owners.retain(|id| known.contains(id));
        self.ended.retain(&known);
        self.services.retain(&known);
        self.resolver.retain(&known);
        self.count_strangers(&mut snapshot);
        let Snapshot { servers, coverage, .. } = &mut snapshot;
        coverage.settle(|id| servers.get(id).and_then(|server| server.version), Endpoint::since);
        self.denials.take(self.inbox.carrier().events(), coverage);
        self.note_cut(plan, &mut snapshot);
        snapshot
    }

    /// Targeted requests for evidence.
    pub async fn follow_up(&mut self, plan: &Plan, snapshot: &mut Snapshot, wanted: &[FollowUp]) {
        if plan.connections == Sweep::Off {
            return;
        }
        let owners = self.owners.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (since, until) = (&self.since, &self.last_page_at);
        let known = follow_up::Known { since, until, own: &self.own, owners };
        follow_up::run(&self.inbox, plan, snapshot, wanted, known).await;
        self.count_strangers(snapshot);
        self.denials.take(self.inbox.carrier().events(), &mut snapshot.coverage);
        if !snapshot.cut {
            self.note_cut(plan, snapshot);
        }
    }

    /// Whether servers are asked for their accounts: near which limit they are decides what is swept.
    fn asks_accounts(&self, plan: &Plan) -> bool {
        plan.accounts || plan.connections == Sweep::Flagged || accounts::wants_details(plan)
    }

    fn note_what_is_not_asked(&self, plan: &Plan, snapshot: &mut Snapshot) {
        let not_asked = &mut snapshot.coverage.not_asked;
        let unneeded = "no enabled check needs it";
        for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| !plan.requests.contains(*endpoint)) {
            not_asked.insert(endpoint, unneeded.into());
        }
        if !self.asks_accounts(plan) {
            not_asked.insert(Endpoint::AccountStatz, unneeded.into());
            not_asked.insert(Endpoint::Accountz, unneeded.into());
        }
        let why = match plan.connections {
            Sweep::Whole => return,
            Sweep::NotNeeded => unneeded,
            Sweep::Off => {
                let off = "the configuration turns it off ([gather] connections)";
                not_asked.insert(Endpoint::Closed, off.into());
                off
            }
            Sweep::Flagged => {
                "the sweep is restricted to flagged accounts by the configuration ([gather] connections)"
            }
        };
        not_asked.insert(Endpoint::Connz, why.into());
    }

    fn take_connections(&mut self, plan: &Plan, snapshot: &mut Snapshot, fold: ConnectionFold) {
        match plan.connections {
            Sweep::Whole => {
                let known = self.roster.ids();
                self.last_page_at = self.since.clone();
                self.last_page_at.retain(|id, _| known.contains(id) || snapshot.servers.contains_key(id));
                let swept = fold.servers().filter_map(|(id, server)| Some((id.clone(), server.now?)));
                self.last_page_at.extend(swept);
            }
            Sweep::Flagged => {
                let now =
                    snapshot.servers.values().filter_map(|server| Some((server.id.clone(), server.now?)));
                self.last_page_at = now.collect();
            }
            Sweep::Off | Sweep::NotNeeded => return,
        }
        snapshot.take_fold(fold);
        if plan.connections == Sweep::Flagged {
            // A part of a server's connections must not be taken for all of them.
            snapshot.servers.values_mut().for_each(|server| server.fold = None);
        }
    }

    fn note_cut(&self, plan: &Plan, snapshot: &mut Snapshot) {
        let narrowest = self.lanes.take_narrowest();
        if Instant::now() < plan.deadline {
            return;
        }
        snapshot.cut = true;
        let slow = narrowest.map_or_else(String::new, |most| {
            format!(": servers answered slower than before, so that at times only {most} were asked at once")
        });
        snapshot.coverage.notes.push(format!("the gather was cut at its deadline{slow}"));
    }

    fn note_own_connections(&mut self) {
        for (server, connection) in self.inbox.carrier().owned() {
            self.note_own(&server, connection);
        }
    }

    /// Tells on which servers the agent's connections stand. A sweep of all connections finds them by itself.
    fn place_own(&mut self, snapshot: &mut Snapshot) {
        let (server, connection) = self.inbox.carrier().own();
        let looks_over = (bounded(&server, NAME_BYTES), connection);
        let beside = std::mem::take(&mut self.beside).into_iter().filter(|beside| *beside != looks_over);
        for (server, _) in beside.chain([looks_over.clone()]) {
            if let Some(server) = snapshot.servers.get_mut(&server) {
                server.own += 1;
            }
        }
    }

    fn take_events(&mut self, snapshot: &mut Snapshot, again: Option<Once>) -> (Events, Answer) {
        let (mut events, mut seen) = self.events.take_disconnects();
        if let Some(Once { disconnects, seen: before, .. }) = again {
            events.merge(disconnects);
            seen = if seen == Answer::Complete { before } else { seen };
        }
        let missed = self.events.missed_announcements();
        let own = bounded(&self.inbox.carrier().own().0, NAME_BYTES);
        self.farewells.end(snapshot.taken_at, own, missed);
        snapshot.ends = self.farewells.tell();
        // A server may be back in the same epoch in which it left.
        snapshot.ends.announced.extend(self.events.announced());
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
        (events, seen)
    }

    fn count_strangers(&mut self, snapshot: &mut Snapshot) {
        let strangers = self.inbox.strangers();
        snapshot.cost.strangers += strangers - self.strangers_before;
        self.strangers_before = strangers;
        let drops = self.inbox.carrier().events().drops();
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
