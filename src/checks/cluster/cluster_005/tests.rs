//! Who is expected to have a route to whom.

use super::*;
use crate::check::Standing;
use crate::checks::laws::{judge, only};
use crate::snapshot::build::{System, at};
use crate::snapshot::{Answer, Missing};
use serde_json::json;

type Check = RouteMissing;

/// Without the routes between these, in both directions.
fn without(mut system: System, pairs: &[(&str, &str)]) -> System {
    for (a, b) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
        drop_route(&mut system, a, b);
    }
    system
}

fn drop_route(system: &mut System, from: &str, to: &str) {
    let routes = system.server_mut(from).routes.as_mut().unwrap();
    routes.retain(|route| *route.peer != *format!("ID-{to}"));
}

/// n2 tells nothing of its routes.
fn unanswered(system: System) -> System {
    let mut system = system.silent("n2", Endpoint::Routez);
    system.server_mut("n2").routes = None;
    system
}

fn entity(name: &str) -> Entity {
    Entity::server(&name.into(), Some(&"east".into()))
}

fn fired(snapshot: &Snapshot) -> Vec<String> {
    judge::<Check>(snapshot).firing.into_iter().map(|(entity, _)| entity.id.to_string()).collect()
}

#[test]
fn a_full_mesh_is_fine_whatever_the_size_of_its_pools() {
    for n in [0, 1, 2, 3, 9] {
        let judgement = judge::<Check>(&System::of(n).done());
        assert!(judgement.firing.is_empty(), "{n}");
    }
    assert_eq!(judge::<Check>(&System::of(3).done()).standing(&entity("n1")), Standing::Clear);
}

#[test]
fn both_ends_of_a_missing_route_are_named() {
    let judgement = judge::<Check>(&without(System::of(3), &[("n2", "n3")]).done());
    assert_eq!(judgement.firing.len(), 2);
    let (found, firing) = &judgement.firing[0];
    assert_eq!(found, &entity("n2"));
    assert_eq!(firing.summary, "server n2 of cluster east has routes to 1 of 2 other servers");
    assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 2, "unit": "servers"}));
    assert_eq!(
        firing.evidence,
        json!({"no_route_to": [{"server": "n3", "missing_there_too": true, "one_sided": false, "reached_by": ["n1"]}], "missing": 1,
               "routes_to": ["n1"], "expected": 2, "such_servers": 2})
    );
    assert!(firing.remediation[0].contains("logs of n2 and n3"), "{firing:?}");
    assert_eq!(judgement.firing[1].0, entity("n3"));
}

#[test]
fn a_route_that_one_end_alone_tells_of_is_none_and_a_server_may_have_none() {
    let system = || {
        let mut system = System::of(3);
        drop_route(&mut system, "n2", "n3");
        system
    };
    let judgement = judge::<Check>(&system().done());
    let [(n2, one), (n3, other)] = &judgement.firing[..] else { panic!("{judgement:?}") };
    assert_eq!((n2, n3), (&entity("n2"), &entity("n3")));
    let rows = |one_sided: bool, server| json!([{"server": server, "missing_there_too": one_sided, "one_sided": one_sided, "reached_by": ["n1"]}]);
    assert_eq!(one.evidence["no_route_to"], rows(false, "n3"));
    assert_eq!(other.evidence["no_route_to"], rows(true, "n2"));
    for firing in [one, other] {
        assert!(firing.remediation[0].starts_with("One end tells of a route"), "{firing:?}");
    }
    // Who does not answer says nothing against it.
    assert!(fired(&unanswered(system()).done()).is_empty());
    let alone = without(System::of(3), &[("n1", "n2"), ("n1", "n3")]).done();
    let judgement = judge::<Check>(&alone);
    assert_eq!(judgement.firing.len(), 3);
    assert!(judgement.firing[0].1.remediation[0].starts_with("Server n1 has no route at all"));
}

/// n2's agent: n3 has a route to n1 only, and requests do not go further than that.
fn from_a_spoke(edit: impl FnOnce(&mut Missing)) -> Snapshot {
    let mut snapshot = without(System::of(3), &[("n2", "n3")]).gone("n3").done();
    let missing = &mut snapshot.coverage.missing[0];
    missing.named_by = vec!["n1".into()];
    edit(missing);
    snapshot
}

#[test]
fn a_server_that_only_routes_tell_of_is_expected() {
    let never = from_a_spoke(|missing| (missing.last_epoch, missing.last_at) = (None, None));
    let judgement = judge::<Check>(&never);
    let (found, firing) = only(&judgement);
    assert_eq!(found, &entity("n2"));
    assert_eq!(
        firing.evidence["no_route_to"],
        json!([{"server": "n3", "missing_there_too": null, "one_sided": false, "reached_by": ["n1"]}])
    );
    // What is hidden behind n1 may be more.
    assert!(matches!(judgement.standing(&entity("n1")), Standing::Unknown(_)));
    // By the name alone, where the id was never heard.
    let by_name =
        from_a_spoke(|missing| (missing.id, missing.last_epoch, missing.last_at) = (None, None, None));
    assert_eq!(fired(&by_name), ["n2"]);
}

#[test]
fn a_server_that_fell_silent_is_none_that_lost_a_route() {
    // Crashed a minute ago; n1 has not noticed yet.
    assert!(fired(&from_a_spoke(|_| {})).is_empty());
    // It keeps its route for so long that it is there.
    assert_eq!(fired(&from_a_spoke(|missing| missing.last_at = Some(at(-301)))), ["n2"]);
    assert!(fired(&from_a_spoke(|missing| missing.last_at = Some(at(-300)))).is_empty());
    assert!(fired(&from_a_spoke(|missing| (missing.last_at, missing.lame_duck) = (None, true))).is_empty());
    // It left in order, and n1's route lingers.
    let mut left = from_a_spoke(|_| {});
    left.coverage.missing.clear();
    assert!(fired(&left).is_empty());
    // Nobody has a route to it.
    assert!(fired(&without(System::of(3), &[("n1", "n3"), ("n2", "n3")]).gone("n3").done()).is_empty());
}

#[test]
fn an_answer_that_is_missing_is_no_missing_route_and_ends_nothing() {
    let judgement = judge::<Check>(&unanswered(without(System::of(3), &[("n2", "n3")])).done());
    // The other end tells.
    let (found, firing) = only(&judgement);
    assert_eq!(found, &entity("n3"));
    assert_eq!(firing.evidence["no_route_to"][0]["missing_there_too"], json!(null));
    let expected = Standing::Unknown("server n2 did not answer ROUTEZ".into());
    assert_eq!(judgement.standing(&entity("n2")), expected);
    assert_eq!(judgement.standing(&entity("n1")), expected);
}

#[test]
fn clusters_are_apart_and_a_leaf_is_of_none() {
    let mut system = System::of(2);
    system.add_server("w1", Some("west"));
    system.add_server("edge", None);
    let mut snapshot = system.done();
    assert!(fired(&snapshot).is_empty());
    // A peer that answers and says that it is of another cluster, or of none.
    for route in snapshot.servers.get_mut("ID-n1").unwrap().routes.as_mut().unwrap() {
        route.peer = "ID-edge".into();
    }
    assert_eq!(fired(&snapshot), ["n1", "n2"]);
    snapshot.coverage.note(Endpoint::Routez, &"ID-w1".into(), Answer::Silent);
    assert_eq!(judge::<Check>(&snapshot).standing(&entity("n2")), Standing::Clear);
}

#[test]
fn a_large_cluster_without_routes_stays_small_in_print() {
    let mut system = System::of(60);
    for n in 1..=60 {
        system.server_mut(&format!("n{n}")).routes = Some(Vec::new());
    }
    let judgement = judge::<Check>(&system.done());
    let evidence = &judgement.firing[0].1.evidence;
    assert_eq!((&evidence["missing"], &evidence["such_servers"]), (&json!(59), &json!(60)));
    assert_eq!(evidence["no_route_to"].as_array().unwrap().len(), 20);
}
