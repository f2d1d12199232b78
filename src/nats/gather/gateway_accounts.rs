//! What gateways know of accounts (GATEWAYZ with accounts).
//!
//! An answer lists every account of every gateway, ten thousand of them as ten thousand entries, and changes rarely: it is
//! asked for rarely, and what came last is kept.

use super::every::{What, ask_each};
use super::{Gatherer, Plan};
use crate::snapshot::{Answer, Endpoint, Gateways, INTEREST_ONLY, Snapshot, gateways};
use crate::text::Name;
use crate::wire::gatewayz::Gatewayz;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// One account is about 90 bytes, a tenth of that compressed (measured, 2.15.1); what comes is learnt.
const ACCOUNTS: What = What {
    endpoint: Endpoint::GatewayAccounts,
    request: "GATEWAYZ",
    body: r#"{"accounts":true}"#,
    bytes: 16_384.0,
};

/// Accounts times gateways from which on a server is not asked. An answer is as many entries, about 2 MB of them: ten thousand
/// accounts and a hundred clusters would be a hundred megabytes from each server.
const MOST: usize = 20_000;

/// An answer is used for so long, and in so many epochs, whichever is longer.
const KEPT: (Duration, u64) = (Duration::from_secs(30 * 60), 30);

/// A server that did not answer is left alone for so long.
const AGAIN: (Duration, u64) = (Duration::from_secs(5 * 60), 5);

/// What a server was asked last.
#[derive(Debug)]
struct Asked {
    at: Instant,
    epoch: u64,
    /// The remote clusters that it had a gateway to.
    remotes: BTreeSet<Name>,
    answer: Answer,
    /// The last answer that came.
    told: Gateways,
}

/// What servers told of the accounts of their gateways, by server id.
#[derive(Debug, Default)]
pub(super) struct GatewayAccounts {
    epoch: u64,
    asked: BTreeMap<Name, Asked>,
}

impl GatewayAccounts {
    /// Another epoch.
    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Forgets servers that are gone.
    pub(super) fn retain(&mut self, known: &BTreeSet<Name>) {
        self.asked.retain(|id, _| known.contains(id));
    }

    fn is_due(&self, id: &Name, gateways: &Gateways) -> bool {
        if gateways.outbound.is_empty() {
            return false;
        }
        let Some(asked) = self.asked.get(id) else {
            return true;
        };
        let (time, epochs) = if asked.answer == Answer::Complete { KEPT } else { AGAIN };
        let is_old = asked.at.elapsed() >= time && self.epoch.saturating_sub(asked.epoch) >= epochs;
        is_old || gateways.outbound.keys().any(|remote| !asked.remotes.contains(remote))
    }

    fn note(&mut self, id: &Name, remotes: BTreeSet<Name>, answer: Answer, told: Option<Gateways>) {
        let before = self.asked.remove(id).map(|asked| asked.told);
        let told = told.or(before).unwrap_or_default();
        let asked = Asked { at: Instant::now(), epoch: self.epoch, remotes, answer, told };
        self.asked.insert(id.clone(), asked);
    }

    /// Completes what a server told of its gateways; gives how it answered when it was asked last.
    fn complete(&self, id: &Name, gateways: &mut Gateways) -> Answer {
        let asked = self.asked.get(id);
        for (remote, gateway) in &mut gateways.outbound {
            let known = asked.and_then(|asked| asked.told.outbound.get(remote));
            if let Some(known) = known {
                gateway.optimistic.clone_from(&known.optimistic);
                gateway.optimistic_in_all = known.optimistic_in_all;
            }
        }
        // Of a server without a gateway nothing is wanted.
        asked.map_or(Answer::Complete, |asked| asked.answer.clone())
    }
}

impl Gatherer {
    /// Asks those of these servers whose answer is old, or that have a gateway for the first time, one by one.
    pub(super) async fn ask_gateway_accounts(
        &mut self,
        plan: &Plan,
        snapshot: &mut Snapshot,
        servers: &BTreeSet<Name>,
    ) {
        if !plan.requests.contains(ACCOUNTS.endpoint) {
            return;
        }
        let mut due: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for id in servers {
            let gateways = snapshot.servers.get(id).and_then(|server| server.gateways.as_ref());
            let fits = gateways.filter(|gateways| !is_too_much(snapshot, gateways));
            if let Some(gateways) = fits.filter(|gateways| self.gateway_accounts.is_due(id, gateways)) {
                due.insert(id.clone(), gateways.outbound.keys().cloned().collect());
            }
        }
        if !due.is_empty() {
            let asked = (ACCOUNTS, self.size_of(ACCOUNTS));
            let ids = due.keys().cloned().collect();
            let round = ask_each::<Gatewayz>(&self.inbox, plan, &self.lanes, asked, &ids).await;
            let mut told = self.settle(snapshot, round);
            for (id, remotes) in due {
                let answer = snapshot.coverage.answer(ACCOUNTS.endpoint, &id).cloned();
                let told = told.remove(&id).map(|(_, told)| gateways(&told));
                self.gateway_accounts.note(&id, remotes, answer.unwrap_or(Answer::Silent), told);
            }
        }
        for id in servers {
            let gateways = snapshot.servers.get(id).and_then(|server| server.gateways.as_ref());
            let unasked = gateways.filter(|gateways| is_too_much(snapshot, gateways));
            let unasked = unasked.map(|gateways| without_asking(snapshot, gateways));
            let server = snapshot.servers.get_mut(id);
            if let Some(gateways) = server.and_then(|server| server.gateways.as_mut()) {
                let answer = unasked.unwrap_or_else(|| self.gateway_accounts.complete(id, gateways));
                snapshot.coverage.note(ACCOUNTS.endpoint, id, answer);
            }
        }
    }
}

/// Where no server tells how many accounts there are, there may be any number.
fn is_too_much(snapshot: &Snapshot, gateways: &Gateways) -> bool {
    if !gateways.outbound.is_empty() && !snapshot.coverage.heard(Endpoint::AccountStatz) {
        return true;
    }
    snapshot.accounts.len().saturating_mul(gateways.outbound.len()) > MOST
}

/// What is known where asking would be too much: gateways between servers of today are never optimistic.
fn without_asking(snapshot: &Snapshot, gateways: &Gateways) -> Answer {
    let version = |peer: &Name| snapshot.servers.get(peer).and_then(|server| server.version);
    let forced = gateways.outbound.values().all(|gateway| version(&gateway.peer) >= Some(INTEREST_ONLY));
    match forced {
        true => Answer::Complete,
        false => Answer::Partial("its gateways know too many accounts to ask for them".into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::nats::gather::members::Member;
    use crate::nats::gather::world::{Asked, World, key, plan, rules};
    use crate::nats::gather::{Gatherer, Plan};
    use crate::snapshot::{Answer, Endpoint, Snapshot};
    use serde_json::json;
    use std::time::Duration;

    fn system() -> (World, Gatherer) {
        let mut members = [Member::new(1), Member::new(2)];
        members[0].gateways = vec![("west", vec!["A", "B"])];
        World::of(members.into(), &[(key(1), -1, -1)])
    }

    async fn sweep(gatherer: &mut Gatherer, epoch: u64) -> Snapshot {
        let usual = plan(epoch);
        let wanted = [Endpoint::Statsz, Endpoint::Varz, Endpoint::Gatewayz, Endpoint::GatewayAccounts];
        gatherer.sweep(&Plan { requests: wanted.into_iter().collect(), ..usual }, rules()).await
    }

    /// Who was asked for accounts.
    fn dear(asked: &[Asked]) -> Vec<&str> {
        let dear = asked.iter().filter(|asked| asked.body == json!({"accounts": true}));
        dear.map(|asked| asked.subject.as_str()).collect()
    }

    fn optimistic(snapshot: &Snapshot) -> Vec<String> {
        let gateways = snapshot.server_named("n1").unwrap().gateways.as_ref().unwrap();
        gateways.outbound.values().flat_map(|gateway| &gateway.optimistic).map(ToString::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_of_gateways_are_asked_rarely_and_kept_in_between() {
        let (world, mut gatherer) = system();
        let id = format!("N{:0>55}", 1);
        for epoch in 1..=40 {
            let snapshot = sweep(&mut gatherer, epoch).await;
            assert_eq!(snapshot.coverage.gaps(Endpoint::GatewayAccounts), [], "{epoch}");
            assert_eq!(optimistic(&snapshot), ["A", "B"], "{epoch}");
            let asked = world.take_asked();
            // Only the server with a gateway, by itself: 30 epochs of a minute are 30 minutes.
            let expected = vec![format!("$SYS.REQ.SERVER.{id}.GATEWAYZ")];
            assert_eq!(dear(&asked), if matches!(epoch, 1 | 31) { expected } else { Vec::new() }, "{epoch}");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        // Epochs of a second: time decides; of an hour: epochs do.
        for (seconds, epochs) in [(1, 1700), (3600, 29)] {
            let (world, mut gatherer) = system();
            for epoch in 1..=epochs {
                sweep(&mut gatherer, epoch).await;
                assert_eq!(dear(&world.take_asked()).len(), usize::from(epoch == 1), "{epoch}");
                tokio::time::advance(Duration::from_secs(seconds)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_gateway_is_asked_for_at_once_and_silence_is_told_until_it_ends() {
        let (world, mut gatherer) = system();
        sweep(&mut gatherer, 1).await;
        world.change(0, |member| member.gateways.push(("north", vec!["C"])));
        world.take_asked();
        assert_eq!(optimistic(&sweep(&mut gatherer, 2).await), ["C", "A", "B"]);
        assert_eq!(dear(&world.take_asked()).len(), 1);

        world.change(0, |member| {
            member.gateways.push(("south", vec!["D"]));
            member.hides_accounts = true;
        });
        for epoch in 3..=7 {
            let snapshot = sweep(&mut gatherer, epoch).await;
            let gaps = snapshot.coverage.gaps(Endpoint::GatewayAccounts);
            assert_eq!(gaps.len(), 1, "{epoch}: {gaps:?}");
            assert_eq!(gaps[0].reason, "server n1 did not answer GATEWAYZ with accounts");
            // What was told before is not forgotten.
            assert_eq!(optimistic(&snapshot), ["C", "A", "B"]);
            assert_eq!(dear(&world.take_asked()).len(), usize::from(epoch == 3), "{epoch}");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        world.change(0, |member| member.hides_accounts = false);
        let snapshot = sweep(&mut gatherer, 8).await;
        assert_eq!(optimistic(&snapshot), ["C", "D", "A", "B"]);
        let id = &snapshot.server_named("n1").unwrap().id;
        assert_eq!(snapshot.coverage.answer(Endpoint::GatewayAccounts, id), Some(&Answer::Complete));
    }

    #[test]
    fn too_many_accounts_are_not_asked_for_and_versions_tell() {
        use crate::snapshot::build::System;
        use crate::snapshot::{Gateway, Gateways, Version};
        let many = |accounts: usize, version| {
            let mut system = System::of(2);
            for account in 0..accounts {
                system = system.config_account(&format!("A{account}"));
            }
            system.server_mut("n2").version = version;
            system.done()
        };
        let gateway = Gateway { peer: "ID-n2".into(), ..Gateway::default() };
        let gateways = Gateways {
            outbound: [("west".into(), gateway.clone()), ("north".into(), gateway)].into_iter().collect(),
            ..Gateways::default()
        };
        let new = many(10_001, Some(Version(2, 10, 0)));
        assert!(super::is_too_much(&new, &gateways));
        assert!(!super::is_too_much(&many(10_000, None), &gateways));
        assert_eq!(super::without_asking(&new, &gateways), Answer::Complete);
        let mut untold = many(10, None);
        untold.coverage = crate::snapshot::Coverage::default();
        assert!(super::is_too_much(&untold, &gateways));
        assert!(!super::is_too_much(&untold, &Gateways::default()));
        for old in [None, Some(Version(2, 8, 4))] {
            assert_ne!(super::without_asking(&many(0, old), &gateways), Answer::Complete);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_gone_is_forgotten() {
        let (world, mut gatherer) = system();
        sweep(&mut gatherer, 1).await;
        assert_eq!(gatherer.gateway_accounts.asked.len(), 1);
        // It was started anew.
        world.change(0, |member| member.id = format!("N{:0>55}", 9));
        sweep(&mut gatherer, 2).await;
        assert_eq!(gatherer.gateway_accounts.asked.len(), 1);
        assert_eq!(dear(&world.take_asked()).len(), 2);
    }
}
