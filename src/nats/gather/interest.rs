//! Whether anybody listens to the streams that accounts import.
//!
//! A server is asked for one connection of the account with a subscription that overlaps the local subject. JetStream
//! subscribes without a connection: where an account may use it, its subscriptions are looked at as well.

use super::every::ask_server;
use super::lanes::Lanes;
use super::tally::Tally;
use super::{Gatherer, Plan};
use crate::nats::inbox::Inbox;
use crate::snapshot::{
    Account, AccountDetails, Answer, Endpoint, ImportState, Interest, ShareKind, Snapshot, Version, overlaps,
};
use crate::text::Name;
use crate::wire::subsz::SubscriptionList;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Requests of one epoch.
const REQUESTS: u64 = 256;

/// Bytes of an answer with one connection.
const ONE_BYTES: u64 = 1024;

/// Subscriptions of an account on one server that are looked at. Where it has more, nothing is concluded.
const SUBSCRIPTIONS: u64 = 4096;

/// Bytes of them.
const LIST_BYTES: u64 = 512 * 1024;

/// The first version that lists leafnodes among connections.
const LISTS_LEAFNODES: Version = Version(2, 11, 5);

/// What was found out in earlier epochs.
#[derive(Debug, Default)]
pub(super) struct InterestCache {
    known: HashMap<(Name, Name), Interest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    num_connections: u64,
}

/// One imported stream and where its account has connections.
struct Stream {
    account: Name,
    local: Name,
    servers: Vec<Name>,
    jetstream: bool,
}

impl Gatherer {
    /// Asks for as many imports as an epoch allows: those never asked for, those nobody listened to, then the others.
    pub(super) async fn ask_interest(&mut self, plan: &Plan, snapshot: &mut Snapshot) {
        if !plan.requests.contains(Endpoint::Interest) {
            return;
        }
        let mut streams = streams(snapshot);
        let cache = &mut self.interest.known;
        let wanted: BTreeSet<(Name, Name)> =
            streams.iter().map(|stream| (stream.account.clone(), stream.local.clone())).collect();
        cache.retain(|key, _| wanted.contains(key));
        streams.sort_by_cached_key(|stream| {
            cache.get(&(stream.account.clone(), stream.local.clone())).map(|known| (known.heard, known.epoch))
        });
        let mut asking = Asking {
            inbox: &self.inbox,
            plan,
            lanes: &self.lanes,
            left: REQUESTS,
            subscriptions: BTreeMap::new(),
            silent: BTreeMap::new(),
            tally: Tally::default(),
        };
        for stream in streams {
            match asking.ask(snapshot, &stream).await {
                Ok(interest) => drop(cache.insert((stream.account, stream.local), interest)),
                Err(Missing::Budget) => break,
                Err(Missing::Server(server, answer)) => {
                    snapshot.coverage.note(Endpoint::Interest, &server, answer);
                }
            }
        }
        asking.tally.add_to(snapshot);
        let unasked = wanted.iter().filter(|key| !cache.contains_key(*key)).count();
        if let (Some(server), true) = (snapshot.servers.keys().next().cloned(), unasked > 0) {
            let why = format!("{unasked} imported streams were not asked for yet");
            snapshot.coverage.note(Endpoint::Interest, &server, Answer::Partial(why));
        }
        snapshot.interest = cache.iter().map(|(key, interest)| (key.clone(), *interest)).collect();
        for server in snapshot.servers.keys() {
            snapshot.coverage.note(Endpoint::Interest, server, Answer::Complete);
        }
    }
}

/// Every stream that an ordinary account imports from another ordinary one, and that is in effect.
fn streams(snapshot: &Snapshot) -> Vec<Stream> {
    let system = &snapshot.system_account;
    let mut streams = Vec::new();
    for account in snapshot.accounts.values().filter(|account| account.id != *system) {
        let Some(details) = &account.details else { continue };
        let imports = details.imports.iter().filter(|import| {
            import.kind == ShareKind::Stream
                && import.state == ImportState::Active
                && import.account != *system
        });
        let locals: BTreeSet<&Name> = imports.map(|import| &import.local).collect();
        for local in locals {
            streams.push(Stream {
                account: account.id.clone(),
                local: local.clone(),
                servers: servers(account),
                jetstream: may_use_jetstream(snapshot, details),
            });
        }
    }
    streams
}

/// Whether JetStream may subscribe for an account. A server without JetStream describes every account as one that may not
/// use it.
fn may_use_jetstream(snapshot: &Snapshot, details: &AccountDetails) -> bool {
    let vars = snapshot.servers.get(&details.server).and_then(|server| server.vars.as_ref());
    details.jetstream || vars.is_none_or(|vars| vars.jetstream.is_none())
}

/// Where the account has clients, the most first.
fn servers(account: &Account) -> Vec<Name> {
    let mut servers: Vec<(u64, &Name)> =
        account.servers.iter().map(|(id, on)| (on.connections.saturating_add(on.leafnodes), id)).collect();
    servers.retain(|(clients, _)| *clients > 0);
    servers.sort_by(|a, b| b.cmp(a));
    servers.into_iter().map(|(_, id)| id.clone()).collect()
}

enum Missing {
    Budget,
    Server(Name, Answer),
}

struct Asking<'a> {
    inbox: &'a Inbox,
    plan: &'a Plan,
    lanes: &'a Lanes,
    left: u64,
    /// Subjects by account and server, none where there are too many to look at.
    subscriptions: BTreeMap<(Name, Name), Option<Vec<String>>>,
    /// Servers that did not answer. They are not waited for again.
    silent: BTreeMap<Name, Answer>,
    tally: Tally,
}

impl Asking<'_> {
    async fn ask(&mut self, snapshot: &Snapshot, stream: &Stream) -> Result<Interest, Missing> {
        let mut servers = 0;
        let heard = self.heard(snapshot, stream, &mut servers).await?;
        Ok(Interest { heard, servers, epoch: self.plan.epoch })
    }

    /// Whether anybody listens; none where it cannot be told.
    async fn heard(
        &mut self,
        snapshot: &Snapshot,
        stream: &Stream,
        servers: &mut u64,
    ) -> Result<Option<bool>, Missing> {
        let mut blind = false;
        for server in &stream.servers {
            let options = json!({ "acc": stream.account, "filter_subject": stream.local, "limit": 1 });
            let listed: Listed = self.request(server, "CONNZ", &options, ONE_BYTES).await?;
            *servers += 1;
            if listed.num_connections > 0 {
                return Ok(Some(true));
            }
            let leafnodes =
                snapshot.accounts.get(&stream.account).and_then(|account| account.servers.get(server));
            let version = snapshot.servers.get(server).and_then(|server| server.version);
            blind |= leafnodes.is_some_and(|on| on.leafnodes > 0)
                && version.is_none_or(|version| version < LISTS_LEAFNODES);
        }
        match (blind, stream.jetstream) {
            (true, _) => Ok(None),
            (false, true) => self.in_subscriptions(snapshot, stream).await,
            (false, false) => Ok(Some(false)),
        }
    }

    /// Whether a subscription of the account overlaps, be it of no connection; none where there are too many to look at.
    async fn in_subscriptions(
        &mut self,
        snapshot: &Snapshot,
        stream: &Stream,
    ) -> Result<Option<bool>, Missing> {
        let with_jetstream = snapshot
            .servers
            .values()
            .filter(|server| server.vars.as_ref().is_none_or(|vars| vars.jetstream.is_some()));
        let mut all = true;
        for server in with_jetstream {
            let key = (stream.account.clone(), server.id.clone());
            if !self.subscriptions.contains_key(&key) {
                let options =
                    json!({ "subscriptions": true, "account": stream.account, "limit": SUBSCRIPTIONS });
                let list: SubscriptionList = self.request(&server.id, "SUBSZ", &options, LIST_BYTES).await?;
                let subjects: Vec<String> = list
                    .subscriptions_list
                    .into_iter()
                    .flatten()
                    .map(|subscription| subscription.subject)
                    .collect();
                let whole = (subjects.len() as u64) < SUBSCRIPTIONS;
                self.subscriptions.insert(key.clone(), whole.then_some(subjects));
            }
            match self.subscriptions.get(&key) {
                Some(Some(subjects)) if subjects.iter().any(|subject| overlaps(subject, &stream.local)) => {
                    return Ok(Some(true));
                }
                Some(Some(_)) => {}
                _ => all = false,
            }
        }
        Ok(all.then_some(false))
    }

    async fn request<T: super::every::Told>(
        &mut self,
        server: &Name,
        request: &str,
        options: &serde_json::Value,
        bytes: u64,
    ) -> Result<T, Missing> {
        if self.left == 0 || tokio::time::Instant::now() >= self.plan.deadline {
            return Err(Missing::Budget);
        }
        if let Some(answer) = self.silent.get(server) {
            return Err(Missing::Server(server.clone(), answer.clone()));
        }
        self.left -= 1;
        let question = (request, options, bytes);
        let told = ask_server(self.inbox, self.plan, self.lanes, question, server, &mut self.tally).await;
        told.map(|(_, told)| told).map_err(|answer| {
            self.silent.insert(server.clone(), answer.clone());
            Missing::Server(server.clone(), answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::laws::tenants::details;
    use crate::snapshot::JetStreamVars;
    use crate::snapshot::build::System;

    #[test]
    fn a_server_without_jetstream_cannot_tell_that_an_account_may_not_use_it() {
        let told = |by: &str, jetstream: bool| {
            let snapshot = System::of(2)
                .vars("n1", |vars| vars.jetstream = Some(JetStreamVars::default()))
                .vars("n2", |vars| vars.jetstream = None)
                .done();
            let server = Name::from(format!("ID-{by}"));
            may_use_jetstream(&snapshot, &AccountDetails { server, jetstream, ..details(vec![], vec![]) })
        };
        assert!(told("n1", true) && !told("n1", false));
        assert!(told("n2", false) && told("gone", false));
    }
}
