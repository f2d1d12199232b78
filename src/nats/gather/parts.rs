//! What servers tell of their links, their interest and their health: one small answer each.

use super::every::{Answers, Round, Told, What, ask_all, ask_each};
use super::{Gatherer, Plan};
use crate::snapshot::{Endpoint, Health, Server, Snapshot, gateways, leafs, routes};
use crate::text::Name;
use crate::wire::gatewayz::Gatewayz;
use crate::wire::healthz::Healthz;
use crate::wire::leafz::Leafz;
use crate::wire::routez::Routez;
use crate::wire::subsz::Subsz;
use std::collections::BTreeSet;

/// Bytes of answers are those of a server with a few links (measured, 2.15.1); what comes is learnt.
const ROUTEZ: What = What { endpoint: Endpoint::Routez, request: "ROUTEZ", body: "", bytes: 1024.0 };
const GATEWAYZ: What = What { endpoint: Endpoint::Gatewayz, request: "GATEWAYZ", body: "", bytes: 1024.0 };
const LEAFZ: What = What { endpoint: Endpoint::Leafz, request: "LEAFZ", body: "", bytes: 512.0 };
const SUBSZ: What = What { endpoint: Endpoint::Subsz, request: "SUBSZ", body: "", bytes: 512.0 };
const HEALTHZ: What =
    What { endpoint: Endpoint::Healthz, request: "HEALTHZ", body: r#"{"details":true}"#, bytes: 512.0 };

/// What servers told of it, none of what no check needs.
pub(super) struct Parts {
    routez: Option<Round<Routez>>,
    gatewayz: Option<Round<Gatewayz>>,
    leafz: Option<Round<Leafz>>,
    subsz: Option<Round<Subsz>>,
    healthz: Option<Round<Healthz>>,
}

impl Gatherer {
    /// Asks for what an enabled check needs, all of it at once: a server answers one request after another, and one that
    /// is silent is waited for once.
    pub(super) async fn ask_parts(&self, plan: &Plan, servers: &BTreeSet<Name>, late: bool) -> Parts {
        let (routez, gatewayz, leafz, subsz, healthz) = tokio::join!(
            self.ask_part::<Routez>(plan, ROUTEZ, servers, late),
            self.ask_part::<Gatewayz>(plan, GATEWAYZ, servers, late),
            self.ask_part::<Leafz>(plan, LEAFZ, servers, late),
            self.ask_part::<Subsz>(plan, SUBSZ, servers, late),
            self.ask_part::<Healthz>(plan, HEALTHZ, servers, late),
        );
        Parts { routez, gatewayz, leafz, subsz, healthz }
    }

    /// Takes in what they told.
    pub(super) fn take_parts(&mut self, snapshot: &mut Snapshot, parts: Parts) {
        let Parts { routez, gatewayz, leafz, subsz, healthz } = parts;
        self.take_part(snapshot, routez, |server, told| server.routes = Some(routes(&told)));
        self.take_part(snapshot, gatewayz, |server, told| server.gateways = Some(gateways(&told)));
        self.take_part(snapshot, leafz, |server, told| server.leafs = Some(leafs(&told)));
        self.take_part(snapshot, subsz, |server, told| server.interest = Some(told));
        self.take_part(snapshot, healthz, |server, told| server.health = Some(Health::of(&told)));
    }

    async fn ask_part<T: Told>(
        &self,
        plan: &Plan,
        what: What,
        servers: &BTreeSet<Name>,
        late: bool,
    ) -> Option<Round<T>> {
        if servers.is_empty() || !plan.requests.contains(what.endpoint) {
            return None;
        }
        let asked = (what, self.size_of(what));
        Some(match late {
            true => ask_each(&self.inbox, plan, &self.lanes, asked, servers).await,
            false => ask_all(&self.inbox, plan, &self.lanes, asked, servers).await,
        })
    }

    fn take_part<T: Told>(
        &mut self,
        snapshot: &mut Snapshot,
        round: Option<Round<T>>,
        take: impl Fn(&mut Server, T),
    ) {
        let Some(round) = round else { return };
        let answers: Answers<T> = self.settle(snapshot, round);
        for (id, (_, told)) in answers {
            if let Some(server) = snapshot.servers.get_mut(&id) {
                take(server, told);
            }
        }
    }
}
