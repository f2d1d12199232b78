use super::*;
use crate::check::Standing;
use crate::checks::laws::tenants::{details, stream};
use crate::checks::laws::{judge, only};
use crate::snapshot::Interest;
use crate::snapshot::build::System;
use serde_json::json;

type Check = NoInterest;

fn system(imports: Vec<Import>, heard: &[(&str, Option<bool>)]) -> System {
    let mut system = System::of(2).config_account("E").connect("n1", "I", "u", 3, |_, _| {});
    system.entry("I").details = Some(details(imports, vec![]).into());
    system.with(|now| {
        now.system_account = "SYS".into();
        for (local, heard) in heard {
            let interest = Interest { heard: *heard, servers: 1, epoch: 1 };
            now.interest.insert(("I".into(), (*local).into()), interest);
        }
    })
}

fn active(subject: &str) -> Import {
    stream("E", subject, ImportState::Active)
}

fn entity(subject: &str) -> Entity {
    Entity::import("I", None, &format!("stream/E/{subject}").into())
}

#[test]
fn a_stream_that_nobody_subscribes_to_fires() {
    let imports = vec![Import { local: "in.a".into(), ..active("a") }, active("b")];
    let judgement = judge::<Check>(&system(imports, &[("in.a", Some(false)), ("b", Some(true))]).done());
    let (found, firing) = only(&judgement);
    assert_eq!(&*found.id, "stream/E/a/in.a");
    assert_eq!(
        firing.summary,
        "none of the 3 connections of account I subscribes to in.a, which it imports from account E"
    );
    assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "imports"}));
    assert_eq!(
        firing.evidence,
        json!({"unheard": 1, "imports": [{"exporter": "E", "subject": "a", "local_subject": "in.a"}],
               "connections": 3, "leafnodes": 0, "servers_asked": 1})
    );
    assert!(
        firing.remediation[1].starts_with("Subscribe to in.a, the local subject"),
        "{:?}",
        firing.remediation
    );
    assert_eq!(judgement.standing(&entity("b")), Standing::Clear);
}

#[test]
fn services_broken_imports_and_the_system_account_are_left_out() {
    let imports = vec![
        Import { kind: ShareKind::Service, ..active("a") },
        stream("E", "b", ImportState::Refused),
        stream("SYS", "c", ImportState::Active),
    ];
    let unheard = [("a", Some(false)), ("b", Some(false)), ("c", Some(false))];
    assert!(judge::<Check>(&system(imports, &unheard).done()).firing.is_empty());
}

#[test]
fn what_cannot_be_told_or_was_not_asked_is_no_finding() {
    let judgement = judge::<Check>(&system(vec![active("a"), active("b")], &[("a", None)]).done());
    assert!(judgement.firing.is_empty());
    assert!(matches!(judgement.standing(&entity("a")), Standing::Unknown(_)));
    for endpoint in [Endpoint::Interest, Endpoint::AccountDetails, Endpoint::AccountStatz] {
        let silent = system(vec![active("a")], &[("a", Some(false))]).silent("n2", endpoint).done();
        let judgement = judge::<Check>(&silent);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&entity("a")), Standing::Unknown(_)));
    }
}

#[test]
fn the_first_of_many_are_named() {
    let names: Vec<String> = (10..22).rev().map(|i| format!("a.{i}")).collect();
    let all = |heard| names.iter().map(|name| (&**name, heard)).collect::<Vec<_>>();
    let imports: Vec<Import> = names.iter().map(|name| active(name)).collect();
    let judgement = judge::<Check>(&system(imports.clone(), &all(Some(false))).done());
    let ids: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
    assert_eq!((ids.len(), ids[0], ids[9], ids[10]), (11, "stream/E/a.10", "stream/E/a.19", "*"));
    assert_eq!(judgement.firing[10].1.evidence["unheard"], json!(2));
    assert!(matches!(judgement.standing(&entity("a.21")), Standing::Unknown(_)));
    let judgement = judge::<Check>(&system(imports, &all(None)).done());
    assert_eq!(judgement.unknown_rows().len(), 11);
    for subject in ["a.10", "a.21"] {
        assert!(matches!(judgement.standing(&entity(subject)), Standing::Unknown(_)));
    }
}
