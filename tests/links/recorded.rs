//! What servers of six versions answered, recorded: the shapes of links read it. Their topology stands beside the files.

use crate::recording::{Reply, VERSIONS, file};
use insights_agent::snapshot::{Gateways, Leaf, Route, gateways, leafs, routes};
use insights_agent::wire::envelope;
use insights_agent::wire::gatewayz::Gatewayz;
use insights_agent::wire::leafz::Leafz;
use insights_agent::wire::routez::Routez;
use std::collections::BTreeMap;

fn by_server<T: serde::de::DeserializeOwned>(version: &str, name: &str) -> BTreeMap<String, T> {
    let data = |reply: &Reply| {
        let (_, data) = envelope::parse::<T>(&reply.body()).unwrap();
        data.unwrap_or_else(|error| panic!("{}: {error}", reply.place()))
    };
    file(version, name).iter().map(|reply| (reply.server().to_owned(), data(reply))).collect()
}

fn ids(version: &str) -> BTreeMap<String, String> {
    let replies = file(version, "routez");
    let id = |reply: &Reply| reply.value["server"]["id"].as_str().unwrap().to_owned();
    replies.iter().map(|reply| (reply.server().to_owned(), id(reply))).collect()
}

#[test]
fn routes_of_the_full_mesh_are_one_for_each_peer() {
    for version in VERSIONS {
        let ids = ids(version);
        let told: BTreeMap<String, Vec<Route>> = by_server::<Routez>(version, "routez")
            .into_iter()
            .map(|(name, told)| (name, routes(&told)))
            .collect();
        for (name, routes) in &told {
            let mut peers: Vec<&str> = routes.iter().map(|route| &*route.peer).collect();
            let mut expected: Vec<&str> = ["s1", "s2", "s3"]
                .iter()
                .filter(|peer| *peer != name)
                .map(|peer| ids[*peer].as_str())
                .collect();
            if !name.starts_with('s') {
                expected.clear();
            }
            peers.sort_unstable();
            expected.sort_unstable();
            assert_eq!(peers, expected, "{version} {name}");
            for route in routes {
                // The pool came with 2.10, and names before that.
                let old = version == "2.9.10";
                assert_eq!(route.connections, if old { 1 } else { 4 }, "{version} {name}");
                assert_eq!(route.peer_name.is_some(), !old, "{version} {name}");
                assert!(route.rtt.is_some() && route.pending < 4096, "{version} {name}: {route:?}");
            }
        }
    }
}

#[test]
fn gateways_lead_to_the_other_cluster_and_no_account_is_optimistic() {
    for version in VERSIONS {
        let told: BTreeMap<String, Gateways> = by_server::<Gatewayz>(version, "gatewayz_accounts")
            .into_iter()
            .map(|(name, told)| (name, gateways(&told)))
            .collect();
        let outbound = |name: &str| -> Vec<(String, bool, usize)> {
            let links = told[name].outbound.iter();
            links.map(|(to, link)| (to.to_string(), link.configured, link.optimistic.len())).collect()
        };
        for name in ["s1", "s2", "s3"] {
            assert_eq!(told[name].name.as_deref(), Some("C1"), "{version}");
            assert_eq!(outbound(name), [("C2".to_owned(), true, 0)], "{version} {name}");
        }
        assert_eq!(outbound("g1"), [("C1".to_owned(), true, 0)], "{version}");
        assert_eq!(told["g1"].inbound.iter().map(|(from, n)| (&**from, *n)).collect::<Vec<_>>(), [("C1", 3)]);
        assert_eq!(told["leaf1"], Gateways::default(), "{version}");
        let ids = ids(version);
        for name in ["s1", "s2", "s3"] {
            let link = &told[name].outbound["C2"];
            assert_eq!(&*link.peer, ids["g1"], "{version}");
            assert!(link.rtt.is_some() && link.pending < 4096, "{version} {name}");
        }
    }
}

#[test]
fn both_ends_list_a_leafnode_and_old_ones_neither_name_nor_side() {
    for version in VERSIONS {
        let told: BTreeMap<String, Vec<Leaf>> = by_server::<Leafz>(version, "leafz")
            .into_iter()
            .map(|(name, told)| (name, leafs(&told)))
            .collect();
        let rows = |name: &str| -> Vec<(String, Option<String>, Option<bool>)> {
            let leafs = told[name].iter();
            let mut rows: Vec<_> = leafs
                .map(|leaf| {
                    (leaf.account.to_string(), leaf.name.as_ref().map(ToString::to_string), leaf.is_spoke)
                })
                .collect();
            rows.sort();
            rows
        };
        let old = version == "2.9.10";
        let row = |account: &str, name: &str, is_spoke: bool| {
            (account.to_owned(), (!old).then(|| name.to_owned()), (!old).then_some(is_spoke))
        };
        assert_eq!(rows("s1"), [row("APP", "leaf1", false), row("SYS", "leaf1", false)], "{version}");
        let spokes: Vec<_> = rows("leaf1").into_iter().map(|(_, name, is_spoke)| (name, is_spoke)).collect();
        assert_eq!(
            spokes,
            [
                ((!old).then(|| "s1".to_owned()), (!old).then_some(true)),
                ((!old).then(|| "s1".to_owned()), (!old).then_some(true))
            ]
        );
        assert!(told["s2"].is_empty() && told["g1"].is_empty(), "{version}");
        for leaf in &told["s1"] {
            assert!(leaf.rtt.is_some() && leaf.port > 0, "{version}: {leaf:?}");
            assert_eq!(leaf.compression.as_deref(), (!old).then_some("s2_uncompressed"), "{version}");
        }
    }
}
