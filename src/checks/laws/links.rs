//! Whatever servers may say of routes, gateways and leafnodes, and of what went through them.

use super::{Loss, SERVERS};
use crate::snapshot::{Endpoint, Gateway, Leaf, Route, Snapshot, Traffic};
use crate::text::Name;
use proptest::prelude::*;
use std::time::Duration;

const PEERS: [&str; 7] = ["ID-n1", "ID-n2", "ID-n3", "ID-n4", "ID-n5", "GHOST", ""];
const CLUSTERS: [&str; 5] = ["east", "west", "ü/ö", "", "n\n1"];
const BYTES: [u64; 5] = [0, 9, 2 << 20, 1 << 62, u64::MAX];

/// The links of one server.
#[derive(Debug, Clone)]
struct AnyServer {
    /// None where it is in the full mesh.
    routes: Option<Vec<Route>>,
    gateways: Vec<(&'static str, Gateway)>,
    configured: Option<Vec<&'static str>>,
    leafs: Vec<Leaf>,
    traffic: (u64, u64),
}

/// Links of all servers.
#[derive(Debug, Clone)]
pub(super) struct Links {
    servers: Vec<AnyServer>,
    told_by: u64,
}

fn any_rtt() -> impl Strategy<Value = Option<Duration>> {
    let some =
        [Duration::from_micros(1), Duration::from_millis(51), Duration::from_millis(163), Duration::MAX];
    prop_oneof![Just(None), prop::sample::select(some.to_vec()).prop_map(Some)]
}

prop_compose! {
    fn any_route()(
        peer in prop::sample::select(PEERS.to_vec()),
        named in prop::option::of(prop::sample::select(SERVERS.to_vec())),
        connections in prop::sample::select(vec![0, 1, 4, u64::MAX]),
        rtt in any_rtt(),
        (pending, most) in (prop::sample::select(BYTES.to_vec()), prop::sample::select(BYTES.to_vec())),
        account in prop::option::of(prop::sample::select(vec!["APP", "SYS", ""])),
    ) -> Route {
        let most_pending = (most, account.map(Name::from));
        Route { peer: peer.into(), peer_name: named.map(Name::from), connections, rtt, pending, most_pending }
    }
}

prop_compose! {
    fn any_gateway()(
        peer in prop::sample::select(PEERS.to_vec()),
        configured in any::<bool>(),
        rtt in any_rtt(),
        pending in prop::sample::select(BYTES.to_vec()),
        optimistic in prop::collection::vec(prop::sample::select(vec!["APP", "u", "%", "B"]), 0..3),
        optimistic_in_all in prop::sample::select(BYTES.to_vec()),
    ) -> Gateway {
        let optimistic = optimistic.into_iter().map(Name::from).collect();
        Gateway { peer: peer.into(), configured, rtt, pending, optimistic, optimistic_in_all }
    }
}

prop_compose! {
    fn any_leaf()(
        name in prop::option::of(prop::sample::select(vec!["edge", "n1", "a b", "", "\t", "ü/ö"])),
        is_spoke in prop::sample::select(vec![Some(false), Some(false), Some(false), Some(true), None]),
        account in prop::sample::select(vec!["APP", "$G", "", "a.b c*>"]),
        rtt in any_rtt(),
        subscriptions in prop::sample::select(vec![0, 20_001, 50_001, u64::MAX]),
        compression in prop::option::of(prop::sample::select(vec!["off", "s2_fast", "s2_uncompressed", "not supported", ""])),
    ) -> Leaf {
        let ip = "10.0.0.9".into();
        let (name, compression) = (name.map(Name::from), compression.map(Name::from));
        Leaf { name, is_spoke, account: account.into(), ip, port: 7422, rtt, subscriptions, compression }
    }
}

prop_compose! {
    fn any_server()(
        routes in prop::option::of(prop::collection::vec(any_route(), 0..4)),
        gateways in prop::collection::vec((prop::sample::select(CLUSTERS.to_vec()), any_gateway()), 0..3),
        configured in prop::option::of(prop::collection::vec(prop::sample::select(CLUSTERS.to_vec()), 0..3)),
        leafs in prop_oneof![
            4 => prop::collection::vec(any_leaf(), 0..4),
            1 => prop::collection::vec(any_leaf(), 30..40),
        ],
        traffic in (prop::sample::select(BYTES.to_vec()), prop::sample::select(BYTES.to_vec())),
    ) -> AnyServer {
        AnyServer { routes, gateways, configured, leafs, traffic }
    }
}

prop_compose! {
    pub(super) fn any_links()(
        servers in prop::collection::vec(any_server(), SERVERS.len()),
        told_by in 0u64..2,
    ) -> Links {
        Links { servers, told_by }
    }
}

impl Links {
    /// Changes a snapshot accordingly, without the answers that were lost.
    pub(super) fn link(&self, snapshot: &mut Snapshot, lost: &[Loss]) {
        for ((number, slot), any) in SERVERS.iter().enumerate().zip(&self.servers) {
            let id = Name::from(format!("ID-{slot}"));
            let is_lost = |endpoint| lost.contains(&(number, endpoint));
            let Some(server) = snapshot.servers.get_mut(&id) else { continue };
            if let Some(routes) = &any.routes {
                server.routes = Some(routes.clone());
            }
            if let Some(vars) = &mut server.vars {
                let named = any.configured.as_ref();
                vars.gateways = named.map(|named| named.iter().map(|name| Name::from(*name)).collect());
            }
            let gateways = server.gateways.get_or_insert_default();
            gateways.name = any.configured.is_some().then(|| "east".into());
            gateways.outbound =
                any.gateways.iter().map(|(to, link)| (Name::from(*to), link.clone())).collect();
            gateways.inbound = any.gateways.iter().map(|(from, _)| (Name::from(*from), u64::MAX)).collect();
            server.leafs = Some(any.leafs.clone());
            if is_lost(Endpoint::GatewayAccounts) {
                gateways.outbound.values_mut().for_each(|link| link.optimistic.clear());
            }
            if is_lost(Endpoint::Gatewayz) {
                server.gateways = None;
            }
            if is_lost(Endpoint::Routez) {
                server.routes = None;
            }
            if is_lost(Endpoint::Leafz) {
                server.leafs = None;
            }
            if is_lost(Endpoint::AccountStatz) {
                continue;
            }
            let (bytes, gateway_bytes) = any.traffic;
            for account in snapshot.accounts.values_mut() {
                account.told_by = self.told_by;
                account.bytes = account.bytes.saturating_add(bytes);
                account.traffic.insert(id.clone(), Traffic { bytes, gateway_bytes });
            }
        }
    }
}
