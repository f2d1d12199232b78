//! What a sweep learns of links, on old and new servers.

use crate::lens::{Lens, named};
use crate::support::{Account, Cluster, eventually, server_of_version};
use insights_agent::snapshot::{Endpoint, Snapshot};

const ENDPOINTS: [Endpoint; 4] =
    [Endpoint::Routez, Endpoint::Gatewayz, Endpoint::GatewayAccounts, Endpoint::Leafz];

async fn links_are_told(version: &str) {
    let cluster = Cluster::config(2)
        .second_cluster(1)
        .account(Account::new("EDGE").user("hub").user("leaf"))
        .leaf("EDGE/leaf")
        .binary(&server_of_version(version))
        .start()
        .await;
    let mut lens = Lens::of(&cluster).await;
    let snapshot = eventually("round trips are measured", 30, async || {
        let snapshot = lens.sweep().await;
        match is_measured(&snapshot) {
            true => Ok(snapshot),
            false => Err(format!("{:?}", snapshot.servers)),
        }
    })
    .await;
    for endpoint in ENDPOINTS {
        assert_eq!(snapshot.coverage.gaps(endpoint), [], "{version}: {endpoint:?}");
    }
    assert_eq!(snapshot.coverage.notes, [""; 0]);
    let id = |name: &str| named(&snapshot, name).id.clone();
    for (server, peer) in [("n1", "n2"), ("n2", "n1")] {
        let routes = named(&snapshot, server).routes.as_ref().unwrap();
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert_eq!((&routes[0].peer, routes[0].peer_name.as_deref()), (&id(peer), Some(peer)));
        // A pool of three, and that of the system account.
        assert!(routes[0].connections == 4 && routes[0].pending < 4096, "{routes:?}");
    }
    assert_eq!(named(&snapshot, "n3").routes.as_deref(), Some(&[][..]));

    for (server, own, remote) in [("n1", "east", "west"), ("n2", "east", "west"), ("n3", "west", "east")] {
        let server = named(&snapshot, server);
        let gateways = server.gateways.as_ref().unwrap();
        assert_eq!(gateways.name.as_deref(), Some(own));
        let outbound: Vec<&str> = gateways.outbound.keys().map(|name| &**name).collect();
        assert_eq!(outbound, [remote]);
        let gateway = &gateways.outbound[remote];
        assert!(gateway.configured && snapshot.servers.contains_key(&gateway.peer), "{gateway:?}");
        assert_eq!(snapshot.servers[&gateway.peer].cluster.as_deref(), Some(remote));
        assert!(gateway.pending < 4096 && gateway.optimistic.is_empty(), "{gateway:?}");
        let configured = server.vars.as_ref().unwrap().gateways.as_ref().unwrap();
        assert_eq!(configured.iter().map(|name| &**name).collect::<Vec<_>>(), [remote]);
    }
    // Each of the two in the east has its own; both come in at the one in the west.
    let inbound = &named(&snapshot, "n3").gateways.as_ref().unwrap().inbound;
    assert_eq!(inbound.iter().map(|(from, n)| (&**from, *n)).collect::<Vec<_>>(), [("east", 2)]);

    let leafs = named(&snapshot, "n1").leafs.as_ref().unwrap();
    assert_eq!(leafs.len(), 1, "{leafs:?}");
    let leaf = &leafs[0];
    assert_eq!((leaf.name.as_deref(), leaf.is_spoke, &*leaf.account), (Some("n4"), Some(false), "EDGE"));
    assert_eq!((&*leaf.ip, leaf.compression.as_deref()), ("127.0.0.1", Some("s2_uncompressed")));
    assert_eq!(named(&snapshot, "n2").leafs.as_deref(), Some(&[][..]));
    // Kept, and not asked for again.
    let again = lens.sweep().await;
    assert_eq!(again.coverage.gaps(Endpoint::GatewayAccounts), []);
}

fn is_measured(snapshot: &Snapshot) -> bool {
    let mut servers = snapshot.servers.values();
    snapshot.servers.len() == 3
        && servers.all(|server| {
            server.routes.iter().flatten().all(|route| route.rtt.is_some())
                && server
                    .gateways
                    .iter()
                    .all(|own| own.outbound.values().all(|gateway| gateway.rtt.is_some()))
                && server.leafs.iter().flatten().all(|leaf| leaf.rtt.is_some())
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_told_by_a_new_server() {
    links_are_told("2.15.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_told_by_an_old_server() {
    links_are_told("2.10.26").await;
}
