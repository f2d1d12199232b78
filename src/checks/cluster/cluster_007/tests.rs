//! Which gateways are missed, for how long, and how badly.

use super::*;
use crate::check::Standing;
use crate::checks::laws::{judge, judge_last, only};
use crate::snapshot::build::{System, at};
use crate::snapshot::{Answer, Departure, Gateway, Leaving};
use serde_json::json;

type Check = GatewayDisconnected;

/// n1 and n2 in the east, w1 in the west; `linked` have a gateway, and all configure it if so.
fn system(second: i64, linked: &[&str], configured: bool) -> System {
    let mut system = System::of(2).at(second);
    system.add_server("w1", Some("west"));
    for name in ["n1", "n2"] {
        let server = system.server_mut(name);
        server.vars.as_mut().unwrap().gateways =
            Some(configured.then(|| "west".into()).into_iter().collect());
        let gateways = server.gateways.as_mut().unwrap();
        gateways.name = Some("east".into());
        if linked.contains(&name) {
            let gateway = Gateway { peer: "ID-w1".into(), configured, ..Gateway::default() };
            gateways.outbound.insert("west".into(), gateway);
        }
    }
    system
}

fn entity(server: &str) -> Entity {
    Entity::gateway(&server.into(), Some(&"east".into()), &"west".into())
}

fn left(server: &str, back_at: Option<i64>) -> Departure {
    let (cluster, how) = (Some("west".into()), Leaving::Shutdown);
    Departure { server: server.into(), cluster, how, at: at(-10), back_at: back_at.map(at) }
}

#[test]
fn a_configured_gateway_is_missed_whether_or_not_it_ever_was() {
    assert!(judge::<Check>(&system(0, &["n1", "n2"], true).done()).firing.is_empty());
    let judgement = judge::<Check>(&system(0, &["n2"], true).done());
    let (found, firing) = only(&judgement);
    assert_eq!((found, &*found.id, firing.severity), (&entity("n1"), "n1/west", None));
    assert_eq!(Check::META.severity, Severity::Critical);
    assert_eq!(firing.summary, "server n1 has no gateway to cluster west");
    assert_eq!(json!(firing.observed), json!({"value": 0, "threshold": 1, "unit": "connections"}));
    assert_eq!(
        firing.evidence,
        json!({"remote": "west", "configured": true, "last_seen": null, "inbound": 0, "connected": ["n2"],
               "connected_servers": 1, "disconnected_servers": 1, "remote_answered": 1, "remote_silent": 0,
               "remote_left": [], "planned": false})
    );
    assert!(firing.remediation[0].starts_with("Servers of west run and answer"), "{firing:?}");
    let last = firing.remediation.last().unwrap();
    assert!(
        last.ends_with(
            "remove it from the `gateways` list of n1 and restart it: no reload changes that list."
        )
    );
    assert_eq!(judgement.standing(&entity("n2")), Standing::Clear);
}

#[test]
fn a_gateway_that_was_learnt_of_is_missed_for_an_hour_also_over_a_restart() {
    let before = || system(0, &["n1", "n2"], false).done();
    for (second, fires) in [(60, true), (3599, true), (3600, false)] {
        let judgement = judge_last::<Check>(&[before(), system(second, &["n2"], false).done()]);
        assert_eq!(judgement.firing.len(), usize::from(fires), "{second}");
    }
    let epochs = [before(), system(60, &["n2"], false).done(), system(120, &["n2"], false).done()];
    let judgement = judge_last::<Check>(&epochs);
    let firing = only(&judgement).1;
    assert_eq!(firing.evidence["configured"], false);
    assert_eq!(firing.evidence["last_seen"], "2023-11-14T22:13:20Z");
    // Another boot of the same server.
    let mut restarted = system(60, &["n2"], false).done();
    let server = restarted.servers.remove("ID-n1").unwrap();
    restarted.coverage.present.insert("NEW".into(), (server.name.clone(), server.cluster.clone()));
    for endpoint in [Endpoint::Gatewayz, Endpoint::Varz] {
        restarted.coverage.note(endpoint, &"NEW".into(), Answer::Complete);
    }
    restarted.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
    restarted.coverage.present.remove("ID-n1");
    assert_eq!(only(&judge_last::<Check>(&[before(), restarted])).0, &entity("n1"));
    // A server whose name begins with that of another.
    let mut longer = system(0, &["n1", "n2"], false);
    longer.server_mut("n2").name = "n1/x".into();
    let mut now = system(60, &["n1"], false);
    now.server_mut("n2").name = "n1/x".into();
    let judgement = judge_last::<Check>(&[longer.done(), now.done()]);
    assert_eq!(&*only(&judgement).0.id, "n1/x/west");
}

#[test]
fn a_silent_server_has_lost_nothing() {
    let before = system(0, &["n1", "n2"], true).done();
    for endpoint in [Endpoint::Gatewayz, Endpoint::Varz] {
        let mut silent = system(60, &["n2"], true).silent("n1", endpoint);
        let server = silent.server_mut("n1");
        match endpoint {
            Endpoint::Varz => server.vars = None,
            _ => server.gateways = None,
        }
        let judgement = judge_last::<Check>(&[before.clone(), silent.done()]);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity("n1")), Standing::Unknown(_)));
    }
    let judgement = judge_last::<Check>(&[before, system(60, &["n2"], true).gone("n1").done()]);
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&entity("n1")), Standing::Unknown(_)));
}

#[test]
fn where_the_whole_remote_cluster_said_goodbye_it_is_planned() {
    let severity = |snapshot: &Snapshot| {
        let judgement = judge::<Check>(snapshot);
        assert_eq!(judgement.firing.len(), 2);
        let (_, firing) = &judgement.firing[0];
        assert_eq!(firing.evidence["planned"], firing.severity.is_some());
        firing.severity
    };
    let lost = |departures: Vec<Departure>, present: bool| {
        let mut snapshot = system(60, &[], true).done();
        snapshot.departures = departures;
        if !present {
            snapshot.servers.remove("ID-w1");
            snapshot.coverage.present.remove("ID-w1");
        }
        snapshot
    };
    let planned = lost(vec![left("w1", None)], false);
    assert_eq!(severity(&planned), Some(Severity::Info));
    let firing = &judge::<Check>(&planned).firing[0].1;
    assert_eq!(
        firing.summary,
        "server n1 has no gateway to cluster west, whose servers have all left in order"
    );
    assert_eq!(firing.evidence["remote_left"], json!(["w1"]));
    assert!(firing.remediation[1].contains("restart them one by one"), "{firing:?}");
    // Back for less than a minute, and for longer.
    assert_eq!(severity(&lost(vec![left("w1", Some(1))], true)), Some(Severity::Info));
    assert_eq!(severity(&lost(vec![left("w1", Some(0))], true)), None);
    // Nobody said anything; one of two did; one of another cluster did.
    assert_eq!(severity(&lost(Vec::new(), false)), None);
    assert_eq!(severity(&lost(vec![left("w2", None)], true)), None);
    let other = Departure { cluster: Some("north".into()), ..left("x1", None) };
    assert_eq!(severity(&lost(vec![other], false)), None);
    // One left, the other crashed.
    let mut crashed = system(60, &[], true).gone("w1").done();
    crashed.departures = vec![left("w2", None)];
    assert_eq!(severity(&crashed), None);
    assert_eq!(judge::<Check>(&crashed).firing[0].1.evidence["remote_silent"], 1);
    // A lame duck has said so, and so has the rest of its cluster.
    let mut duck = system(60, &[], true).gone("w1").done();
    duck.coverage.missing[0].lame_duck = true;
    duck.departures = vec![Departure { how: Leaving::LameDuck, ..left("w1", None) }];
    assert_eq!(severity(&duck), Some(Severity::Info));
}
