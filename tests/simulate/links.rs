//! Routes, gateways, leafnodes, interest and health of a world agree with each other.

use crate::read::{ask, moment, plain, roll_call, world};
use insights_agent::simulate::{Moment, Plants, Shape};
use insights_agent::snapshot::{Gateways, Route, ServerVars, gateways, leafs, routes};
use insights_agent::wire::{envelope, gatewayz, healthz, leafz, routez, subsz, varz};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SIZES: [(u32, u32); 4] = [(1, 1), (3, 1), (6, 2), (11, 3)];

fn shape((servers, clusters): (u32, u32)) -> Shape {
    Shape { servers, clusters, accounts: 20, connections: 200, ..Shape::default() }
}

/// What each server tells, by its name.
fn told<T: DeserializeOwned>(
    world: &insights_agent::simulate::World,
    endpoint: &str,
    body: &Value,
) -> BTreeMap<String, (envelope::ServerInfo, T)> {
    let answers = ask(world, &format!("$SYS.REQ.SERVER.PING.{endpoint}"), body);
    let parsed = answers.iter().map(|body| envelope::parse::<T>(body).unwrap());
    parsed.map(|(info, told)| (info.name.clone(), (info, told.unwrap()))).collect()
}

#[test]
fn a_cluster_is_a_full_mesh_and_every_server_has_a_gateway_to_each_other_cluster() {
    for size in SIZES {
        let world = world(shape(size));
        let members: BTreeMap<String, String> =
            roll_call(&world).into_iter().map(|info| (info.id, info.cluster.unwrap())).collect();
        let clusters: BTreeSet<&String> = members.values().collect();
        let mut inbound = 0;
        let all_gateways = told::<gatewayz::Gatewayz>(&world, "GATEWAYZ", &Value::Null);
        for (name, (info, told)) in told::<routez::Routez>(&world, "ROUTEZ", &Value::Null) {
            let routes: Vec<Route> = routes(&told);
            let peers: BTreeSet<&str> = routes.iter().map(|route| &*route.peer).collect();
            let cluster = info.cluster.as_ref().unwrap();
            let expected: BTreeSet<&str> = members
                .iter()
                .filter(|(id, of)| *of == cluster && **id != info.id)
                .map(|(id, _)| id.as_str())
                .collect();
            assert_eq!(peers, expected, "{name} of {size:?}");
            assert!(routes.iter().all(|route| route.connections == 4 && route.pending == 0));
            assert!(routes.iter().all(|route| route.rtt.is_some_and(|rtt| rtt < Duration::from_millis(1))));

            let gateways: Gateways = gateways(&all_gateways[&name].1);
            assert_eq!(gateways.name.as_deref(), (clusters.len() > 1).then_some(cluster.as_str()));
            for (remote, gateway) in &gateways.outbound {
                assert_eq!(members[&*gateway.peer], **remote);
                assert!(gateway.configured && gateway.rtt.is_some() && gateway.optimistic.is_empty());
            }
            let others: BTreeSet<&str> =
                clusters.iter().map(|name| name.as_str()).filter(|name| name != cluster).collect();
            assert_eq!(gateways.outbound.keys().map(|name| &**name).collect::<BTreeSet<_>>(), others);
            inbound += gateways.inbound.values().sum::<u64>();
        }
        // Every outbound connection comes in somewhere.
        assert_eq!(inbound, (members.len() * (clusters.len() - 1)) as u64);
        for (name, (_, told)) in told::<varz::Varz>(&world, "VARZ", &Value::Null) {
            let vars = ServerVars::of(&told);
            assert!(vars.auth_required && vars.config_loaded.is_some() && vars.config_digest.is_some());
            let outbound = gateways(&all_gateways[&name].1).outbound;
            assert_eq!(
                vars.gateways.unwrap_or_default(),
                outbound.keys().cloned().collect::<Vec<_>>(),
                "{name}"
            );
        }
    }
}

#[test]
fn interest_agrees_and_everybody_is_healthy_without_leafnodes_and_closed_connections() {
    let world = world(shape((6, 2)));
    let varz = told::<varz::Varz>(&world, "VARZ", &Value::Null);
    for (name, (_, told)) in told::<subsz::Subsz>(&world, "SUBSZ", &Value::Null) {
        assert_eq!(told.num_subscriptions, varz[&name].1.subscriptions);
    }
    for (_, told) in told::<leafz::Leafz>(&world, "LEAFZ", &Value::Null).values() {
        assert!(leafs(told).is_empty());
    }
    for (_, told) in told::<healthz::Healthz>(&world, "HEALTHZ", &json!({"details": true})).values() {
        assert_eq!(told.status, "ok");
    }
    let closed = ask(&world, "$SYS.REQ.SERVER.PING.CONNZ", &json!({"state": 1, "sort": "stop"}));
    assert_eq!(closed.len(), 6);
    for body in closed {
        assert_eq!(crate::read::connz(&body).0.total, 0);
    }
    let accounts = json!({"accounts": true, "name": "sim2"});
    for (info, told) in told::<gatewayz::Gatewayz>(&world, "GATEWAYZ", &accounts).into_values() {
        let remotes = told.outbound_gateways.unwrap();
        assert_eq!(remotes.len(), usize::from(info.cluster.as_deref() == Some("sim1")));
        assert!(remotes.values().all(|remote| remote.accounts.as_ref().is_some_and(|all| all.len() > 5)));
    }
}

#[test]
fn links_to_a_server_that_is_gone_are_gone_as_well() {
    let faults = vec!["vanish=1@2".parse().unwrap()];
    let world = world(Shape { faults, plants: Plants::none(), ..shape((6, 2)) });
    let at = |roll_call| Moment { roll_call, since_start: Duration::from_secs(1), ..moment() };
    let gone = world.faulty().remove(0);
    let links = |roll_call, endpoint: &str| {
        let answers = world.answer(&at(roll_call), &format!("$SYS.REQ.SERVER.PING.{endpoint}"), b"", true);
        answers.iter().map(|reply| String::from_utf8(plain(reply)).unwrap()).collect::<Vec<_>>()
    };
    for endpoint in ["ROUTEZ", "GATEWAYZ"] {
        assert!(links(1, endpoint).iter().filter(|text| text.contains(&gone.id)).count() > 1);
        assert!(links(2, endpoint).iter().all(|text| !text.contains(&gone.id)), "{endpoint}");
    }
    // Its gateway's clients have another one of its cluster.
    for text in links(2, "GATEWAYZ") {
        let (_, told) = envelope::parse::<gatewayz::Gatewayz>(text.as_bytes()).unwrap();
        assert_eq!(told.unwrap().outbound_gateways.unwrap().len(), 1);
    }
}
