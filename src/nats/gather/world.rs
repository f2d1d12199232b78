//! A scripted system that answers requests as servers would, in virtual time, and can be disturbed.

use super::events::EventReader;
use super::members::{Keeps, Member, START};
use super::{Gatherer, PAGE, Plan, Sweep};
use crate::nats::carrier::{Carrier, Incoming};
use crate::nats::encoding::Encoding;
use crate::nats::events::ClientEvents;
use crate::nats::inbox::Inbox;
use crate::nats::permissions::covers;
use crate::snapshot::{Endpoint, FoldRules, FoldThresholds};
use async_nats::{Event, ServerError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// What happens to an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Trouble {
    Nothing,
    Lost,
    Late(u64),
    /// It comes again after so many milliseconds.
    Twice(u64),
    /// Only this share of its bytes comes.
    Cut(f64),
    /// A byte at this share is another one.
    Garbled(f64),
}

impl Trouble {
    /// Whether a good answer still comes within this time.
    fn spoils(self, patience: Duration) -> bool {
        match self {
            Self::Nothing | Self::Twice(_) => false,
            Self::Late(milliseconds) => Duration::from_millis(milliseconds) >= patience,
            Self::Lost | Self::Cut(_) | Self::Garbled(_) => true,
        }
    }
}

/// A request as the servers saw it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) subject: String,
    pub(super) body: Value,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    /// Limits by account: connections, subscriptions, leafnodes.
    accounts: BTreeMap<String, (i64, i64, i64)>,
    troubles: Vec<Trouble>,
    turn: usize,
    asked: Vec<Asked>,
    /// Endpoint and server of answers that did not come as they should.
    spoilt: Vec<(&'static str, String)>,
    /// Heavy requests of each server that are not answered, and the most of one server and of all that ever were.
    heavy: BTreeMap<String, usize>,
    most: (usize, usize),
    broken_after: Option<usize>,
    /// JWTs of accounts, loaded or not.
    claims: BTreeMap<String, String>,
    /// Subjects that the agent's user may not publish to.
    denied: Vec<String>,
}

/// The system.
#[derive(Debug, Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    events: ClientEvents,
    sender: UnboundedSender<Incoming>,
}

/// How long an answer may take in these tests.
/// What the checks of these tests need.
const WANTED: [Endpoint; 6] = [
    Endpoint::Statsz,
    Endpoint::Varz,
    Endpoint::Connz,
    Endpoint::AccountStatz,
    Endpoint::Accountz,
    Endpoint::Events,
];

pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// An account's public key.
pub(super) fn key(number: u8) -> String {
    nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Account, [number; 32]).unwrap().public_key()
}

impl World {
    /// The system and a gather over it.
    pub(super) fn of(members: Vec<Member>, accounts: &[(String, i64, i64)]) -> (Self, Gatherer) {
        let (sender, mut receiver) = unbounded_channel();
        let limits = accounts.iter().map(|(id, conns, subs)| (id.clone(), (*conns, *subs, -1)));
        let state = State {
            members,
            accounts: limits.collect(),
            troubles: Vec::new(),
            turn: 0,
            asked: Vec::new(),
            spoilt: Vec::new(),
            heavy: BTreeMap::new(),
            most: (0, 0),
            broken_after: None,
            claims: BTreeMap::new(),
            denied: Vec::new(),
        };
        let world = Self { state: Arc::new(Mutex::new(state)), events: ClientEvents::new(), sender };
        let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
        let inbox = Inbox::over(Arc::new(world.clone()), "_INBOX.x".into(), messages);
        let gatherer = Gatherer::over(inbox, EventReader::of_nothing(world.events.clone()), Some("SYS"));
        (world, gatherer)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes a server.
    pub(super) fn change(&self, number: usize, change: impl FnOnce(&mut Member)) {
        change(&mut self.lock().members[number]);
    }

    /// More servers.
    pub(super) fn add(&self, members: Vec<Member>) {
        self.lock().members.extend(members);
    }

    /// The agent's connection was lost for a moment.
    pub(super) fn cut_off(&self) {
        self.events.record(&async_nats::Event::Disconnected);
        self.events.record(&async_nats::Event::Connected);
    }

    /// Other accounts.
    pub(super) fn accounts(&self, accounts: &[(String, i64, i64)]) {
        let limits = accounts.iter().map(|(id, conns, subs)| (id.clone(), (*conns, *subs, -1)));
        self.lock().accounts = limits.collect();
    }

    /// The JWTs that servers keep which keep any.
    pub(super) fn claims(&self, claims: &[(String, String)]) {
        self.lock().claims = claims.iter().cloned().collect();
    }

    /// The subjects that the agent's user may not publish to.
    pub(super) fn deny(&self, subjects: &[&str]) {
        self.lock().denied = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    }

    /// The agent's connection is lost and made again.
    pub(super) fn reconnect(&self) {
        self.events.record(&Event::Disconnected);
        self.events.record(&Event::Connected);
    }

    /// Before the next page of connections one comes that is no JSON after this connection.
    pub(super) fn break_pages(&self, after: usize) {
        self.lock().broken_after = Some(after);
    }

    /// From now on these happen to answers, in the order in which they are written; none when they are used up.
    pub(super) fn disturb(&self, troubles: &[Trouble]) {
        let mut state = self.lock();
        (state.troubles, state.turn) = (troubles.to_vec(), 0);
        state.spoilt.clear();
    }

    /// What was asked since the last call.
    pub(super) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Endpoint and server of answers that were spoilt.
    pub(super) fn spoilt(&self) -> Vec<(&'static str, String)> {
        self.lock().spoilt.clone()
    }

    /// Counts heavy requests anew.
    pub(super) fn forget_most(&self) {
        self.lock().most = (0, 0);
    }

    /// Most heavy requests that one server had at once, and all together.
    pub(super) fn most_heavy(&self) -> (usize, usize) {
        self.lock().most
    }
}

impl Carrier for World {
    fn send(
        &self,
        subject: String,
        reply: String,
        compressed: bool,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), String>> {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = reply.rsplit('.').next().and_then(|token| token.parse().ok());
        let mut state = self.lock();
        state.asked.push(Asked { at: Instant::now(), subject: subject.clone(), body: body.clone() });
        if state.denied.iter().any(|denied| covers(denied, &subject)) {
            let text = format!("Permissions Violation for Publish to \"{subject}\"");
            self.events.record(&Event::ServerError(ServerError::Other(text)));
            return Box::pin(async { Ok(()) });
        }
        if subject.contains(".CLAIMS.") && !state.somebody_listens(&subject) {
            let (payload, encoding) = (Bytes::new(), Encoding::Plain);
            self.sender.send(Incoming { token, payload, encoding, no_responders: true }).ok();
            return Box::pin(async { Ok(()) });
        }
        let answers: Vec<(Member, &'static str, String)> = state.answers(&subject, &body);
        let heavy = subject.starts_with("$SYS.REQ.SERVER.N") && !subject.ends_with("VARZ");
        for (member, endpoint, text) in answers {
            if let Some(after) = state.broken_after.take_if(|_| endpoint == "CONNZ") {
                let at = text.match_indices("{\"account\"").nth(after).unwrap().0;
                let broken = format!("{}?{}", &text[..at], &text[at..]);
                let message = (token, broken, compressed);
                tokio::spawn(self.clone().deliver(message, Duration::ZERO, Trouble::Nothing, None));
            }
            let turn = state.turn;
            state.turn += 1;
            let trouble = state.troubles.get(turn).copied().unwrap_or(Trouble::Nothing);
            let for_coverage = body["sort"].is_null() && body["cid"].is_null();
            let which = (endpoint, member.name.clone());
            if trouble.spoils(PATIENCE) && for_coverage {
                state.spoilt.push(which);
            } else if endpoint != "CONNZ" {
                // A good answer to a later request makes up for it; a page does not for another.
                state.spoilt.retain(|other| *other != which);
            }
            if heavy {
                *state.heavy.entry(member.id.clone()).or_default() += 1;
                let (own, all) = (state.heavy[&member.id], state.heavy.values().sum());
                state.most = (state.most.0.max(own), state.most.1.max(all));
            }
            let lookups = match body["state"] == 1 && body["auth"] == true {
                true if body["cid"].is_u64() => 1,
                true => u32::try_from(member.ended.len()).unwrap(),
                false => 0,
            };
            let latency = member.latency
                + member.lookup * lookups
                + if endpoint == "STATSZ" { member.statsz_later } else { Duration::ZERO };
            let compressed = compressed && !matches!(endpoint, "STATSZ" | "CLAIMS LIST" | "CLAIMS LOOKUP");
            let message = (token, text, compressed);
            tokio::spawn(self.clone().deliver(message, latency, trouble, heavy.then_some(member.id)));
        }
        Box::pin(async { Ok(()) })
    }

    fn events(&self) -> &ClientEvents {
        &self.events
    }

    fn own(&self) -> (String, u64) {
        (self.lock().members[0].id.clone(), 1)
    }
}

impl World {
    async fn deliver(
        self,
        (token, text, compressed): (Option<u64>, String, bool),
        latency: Duration,
        trouble: Trouble,
        heavy: Option<String>,
    ) {
        let (mut payload, encoding) = match compressed {
            true => (snappy(text.as_bytes()), Encoding::Snappy),
            false => (text.into_bytes(), Encoding::Plain),
        };
        let at = |share: f64, payload: &[u8]| (payload.len() as f64 * share) as usize;
        let mut again = None;
        let mut latency = latency;
        match trouble {
            Trouble::Nothing => {}
            Trouble::Lost => payload.clear(),
            Trouble::Late(milliseconds) => latency += Duration::from_millis(milliseconds),
            Trouble::Twice(milliseconds) => again = Some(Duration::from_millis(milliseconds)),
            Trouble::Cut(share) => payload.truncate(at(share, &payload)),
            Trouble::Garbled(share) => {
                let place = at(share, &payload).min(payload.len() - 1);
                // Nowhere in JSON, and where it stands in the compressed bytes already another one.
                payload[place] = if payload[place] == 0xff { 0xfe } else { 0xff };
            }
        }
        tokio::time::sleep(latency).await;
        if let Some(id) = heavy {
            *self.lock().heavy.get_mut(&id).unwrap() -= 1;
        }
        let message = |payload: &[u8]| Incoming {
            token,
            payload: Bytes::copy_from_slice(payload),
            encoding: encoding.clone(),
            no_responders: false,
        };
        if trouble != Trouble::Lost {
            self.sender.send(message(&payload)).ok();
        }
        if let Some(later) = again {
            tokio::time::sleep(later).await;
            self.sender.send(message(&payload)).ok();
        }
    }
}

fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.into_inner().unwrap()
}

impl State {
    fn answers(&self, subject: &str, body: &Value) -> Vec<(Member, &'static str, String)> {
        let tokens: Vec<&str> = subject.split('.').collect();
        let (kind, to, endpoint) = (tokens[2], tokens[3], *tokens.last().unwrap());
        let matches = |member: &&Member| {
            let part = |key: &str, name: &str| body[key].as_str().is_none_or(|part| name.contains(part));
            let asked = to == "PING" || matches!(kind, "ACCOUNT" | "CLAIMS") || to == member.id;
            asked && part("server_name", &member.name) && part("cluster", &member.cluster)
        };
        let members = self.members.iter().filter(matches);
        let answer = |member: &Member| {
            let (endpoint, text) = match (kind, endpoint) {
                ("SERVER", "STATSZ") => ("STATSZ", member.told("statsz", &json!({"start": START}))),
                ("SERVER", "VARZ") => ("VARZ", member.told("data", &member.varz())),
                ("SERVER", "GATEWAYZ") => ("GATEWAYZ", member.told("data", &member.gatewayz(body)?)),
                ("SERVER", "CONNZ") => ("CONNZ", member.connz(body, body["acc"].as_str())),
                ("ACCOUNT", "CONNZ") => ("ACCOUNT CONNZ", member.connz(body, Some(to))),
                ("ACCOUNT", "STATZ") => ("ACCOUNT STATZ", member.told("data", &self.statz(member, body)?)),
                ("CLAIMS", _) | (_, "LOOKUP") if !member.tells(endpoint) => return None,
                ("CLAIMS", _) => {
                    ("CLAIMS LIST", member.told("data", &json!(self.claims.keys().collect::<Vec<_>>())))
                }
                (_, "LOOKUP") => ("CLAIMS LOOKUP", self.claims.get(to).cloned().unwrap_or_default()),
                _ if member.hides_details => return None,
                _ => ("ACCOUNTZ", member.told("data", &self.detail(body["account"].as_str().unwrap()))),
            };
            Some((member.clone(), endpoint, text))
        };
        members.filter_map(answer).collect()
    }

    /// Whether a server listens for what is asked of the resolver.
    fn somebody_listens(&self, subject: &str) -> bool {
        self.members.iter().any(|member| match member.keeps {
            Keeps::Nothing => false,
            Keeps::Some => subject.ends_with(".LIST"),
            Keeps::All | Keeps::Listed | Keeps::Mute => true,
        })
    }

    /// None where the server is silent.
    fn statz(&self, member: &Member, body: &Value) -> Option<Value> {
        let of = |account: &str| member.clients.iter().filter(|client| client.account == account).count();
        let leafnodes = |account: &str| {
            member.leafnodes.as_ref().filter(|(id, _)| id == account).map_or(0, |(_, leafnodes)| *leafnodes)
        };
        let row = |id: &String| json!({"acc": id, "conns": of(id), "leafnodes": leafnodes(id), "num_subscriptions": of(id) * 3});
        let unused = body["include_unused"] == true;
        let rows: Vec<Value> = self.accounts.keys().filter(|id| unused || of(id) > 0).map(row).collect();
        (unused || !rows.is_empty()).then(|| json!({"account_statz": rows}))
    }

    fn detail(&self, account: &str) -> Value {
        let (conn, subs, leaf) = self.accounts[account];
        json!({"account_detail": {"account_name": account, "update_time": START,
            "decoded_jwt": {"nats": {"limits": {"conn": conn, "subs": subs, "leaf": leaf}}}}})
    }
}

/// A plan for an epoch that begins now.
pub(super) fn plan(epoch: u64) -> Plan {
    Plan {
        epoch,
        taken_at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
            + Duration::from_secs(epoch * 60),
        deadline: Instant::now() + Duration::from_secs(48),
        patience: PATIENCE,
        connections: Sweep::Whole,
        accounts: true,
        requests: WANTED.into_iter().collect(),
        page: PAGE,
        spread: Duration::ZERO,
        period: Duration::ZERO,
    }
}

/// Rules under which connections are silent after five minutes.
pub(super) fn rules() -> FoldRules {
    FoldRules::uniform(FoldThresholds::silent_after(Duration::from_secs(300)))
}
