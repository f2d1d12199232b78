use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::tenants::service;
use crate::checks::laws::{judge, judge_last, judge_last_set, only};
use crate::snapshot::Snapshot;
use crate::snapshot::build::System;
use serde_json::json;

type Check = ServiceDown;

/// Services of account APP on server n1, each with so many instances.
fn system(second: i64, services: &[(&str, u64)]) -> System {
    System::of(2).at(second).config_account("APP").with(|snapshot| {
        for (name, instances) in services {
            let service = service("n1", &[("go", "1.0", *instances)]);
            snapshot.services.insert(("APP".into(), (*name).into()), service);
        }
    })
}

fn epoch(second: i64, services: &[(&str, u64)]) -> Snapshot {
    system(second, services).done()
}

fn echo() -> Entity {
    Entity::service("APP", None, &"echo".into())
}

#[test]
fn a_service_that_is_gone_fires_for_a_quarter_of_an_hour() {
    let before = epoch(0, &[("echo", 3), ("other", 1)]);
    let present = judge_last::<Check>(&[before.clone(), epoch(60, &[("echo", 1), ("other", 1)])]);
    assert!(present.firing.is_empty(), "{present:?}");
    let judgement = judge_last::<Check>(&[before.clone(), epoch(60, &[("other", 1)])]);
    let (entity, firing) = only(&judgement);
    assert_eq!(*entity, echo());
    assert_eq!(firing.summary, "service echo of account APP has no instance: 3 instances were seen 1m ago");
    assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "services"}));
    assert_eq!(
        firing.evidence,
        json!({"down": 1, "up": 1, "connections": 0, "servers_gone": [], "services": [
            {"name": "echo", "last_seen": "2023-11-14T22:13:20Z", "seconds_ago": 60, "instances": 3, "servers": ["n1"]}]})
    );
    // It stays, from epoch to epoch, and ends when nobody has seen it for long, or when it is back.
    let last = |second| judge_last::<Check>(&[before.clone(), epoch(60, &[]), epoch(second, &[])]);
    assert_eq!(last(900).firing.len(), 2);
    assert!(last(901).firing.is_empty());
    let back =
        judge_last::<Check>(&[before.clone(), epoch(60, &[]), epoch(120, &[("echo", 1), ("other", 1)])]);
    assert!(back.firing.is_empty());
    assert_eq!(back.standing(&echo()), Standing::Clear);
}

#[test]
fn what_was_seen_last_counts_and_a_server_of_another_boot_is_gone() {
    let mut moved = epoch(60, &[]);
    moved.services.insert(("APP".into(), "echo".into()), service("n2", &[("go", "1.0", 1)]));
    let mut after = epoch(120, &[]);
    let server = after.servers.remove("ID-n2").unwrap();
    let reborn = crate::snapshot::Server { id: "NEW".into(), ..server };
    after.coverage.present.remove("ID-n2");
    after.coverage.present.insert("NEW".into(), ("n2".into(), Some("east".into())));
    for endpoint in [Endpoint::Subsz, Endpoint::Services] {
        after.coverage.note(endpoint, &"NEW".into(), crate::snapshot::Answer::Complete);
    }
    after.servers.insert("NEW".into(), reborn);
    let judgement = judge_last::<Check>(&[epoch(0, &[("echo", 5)]), moved, after]);
    let (_, firing) = only(&judgement);
    assert_eq!(
        (&firing.evidence["services"][0]["servers"], &firing.evidence["services"][0]["instances"]),
        (&json!(["n2"]), &json!(1))
    );
    assert_eq!(firing.evidence["servers_gone"], json!(["n2"]));
}

#[test]
fn any_silent_server_may_have_the_instance() {
    let before = epoch(0, &[("echo", 1)]);
    for after in [
        system(60, &[]).silent("n2", Endpoint::Services).done(),
        system(60, &[]).silent("n1", Endpoint::Subsz).done(),
        system(60, &[]).gone("n1").done(),
    ] {
        let judgement = judge_last::<Check>(&[before.clone(), after]);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&echo()), Standing::Unknown(_)));
    }
    let first = judge::<Check>(&epoch(0, &[]));
    assert!(matches!(first.standing(&echo()), Standing::Unknown(_)));
}

#[test]
fn the_first_of_many_are_named_and_thresholds_can_be_set() {
    let names: Vec<String> = (10..23).map(|i| format!("s{i}")).collect();
    let services: Vec<(&str, u64)> = names.iter().map(|name| (&**name, u64::MAX)).collect();
    let judgement = judge_last::<Check>(&[epoch(0, &services), epoch(10, &[])]);
    let ids: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
    assert_eq!(ids, ["s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "*"]);
    let (entity, firing) = judgement.firing.last().unwrap();
    assert_eq!(&*entity.account.clone().unwrap(), "APP");
    assert_eq!(firing.summary, "3 more services of account APP have no instance any longer");
    assert_eq!(firing.evidence["services"].as_array().unwrap().len(), 3);
    // What is among the rest may have been told one by one before: that is not over.
    let told = |id: &str| judgement.standing(&Entity::service("APP", None, &id.into()));
    assert!(matches!(told("s20"), Standing::Unknown(_)));
    assert_eq!(told("s23"), Standing::Clear);
    let set = |key: &str, value| {
        let base = [(key.to_owned(), value)].into_iter().collect();
        let settings = Settings { base, ..Settings::default() };
        judge_last_set::<Check>(&[epoch(0, &services), epoch(10, &[])], &settings).firing.len()
    };
    assert_eq!((set("most", json!(13)), set("show_for", json!("5s"))), (13, 0));
    let too_long = Limits { show_for: Duration::from_secs(3601), most: 1 };
    assert_eq!(too_long.validate().unwrap_err().key, "show_for");
}

#[test]
fn those_that_are_gone_for_longest_stay_named() {
    let all = |services: &[&str]| -> Vec<(String, u64)> {
        services.iter().map(|name| ((*name).to_owned(), 1)).collect()
    };
    let of = |second, services: &[&str]| {
        let all = all(services);
        let all: Vec<(&str, u64)> = all.iter().map(|(name, count)| (&**name, *count)).collect();
        epoch(second, &all)
    };
    let base = [("most".to_owned(), json!(2))].into_iter().collect();
    let settings = Settings { base, ..Settings::default() };
    let epochs = [of(0, &["a", "b", "x", "y"]), of(60, &["a", "b"]), of(120, &[])];
    let judgement = judge_last_set::<Check>(&epochs, &settings);
    let ids: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
    assert_eq!(ids, ["x", "y", "*"]);
}

#[test]
fn nothing_is_said_until_every_server_has_told_its_services_since() {
    let before = epoch(0, &[("echo", 1)]);
    let after = |listed: i64| {
        let mut after = epoch(120, &[]);
        let at = crate::snapshot::build::at(listed);
        after.service_lists.accounts = Some(crate::snapshot::OldestList { server: "ID-n2".into(), at });
        judge_last::<Check>(&[before.clone(), epoch(60, &[("echo", 1)]), after])
    };
    for listed in [-540, 0, 60] {
        let judgement = after(listed);
        assert!(judgement.firing.is_empty(), "{judgement:?}");
        let expected = "server n2 has not told its services since an instance was last seen";
        assert_eq!(judgement.standing(&echo()), Standing::Unknown(expected.into()));
    }
    assert_eq!(only(&after(120)).0, &echo());
}

#[test]
fn the_time_in_which_nothing_could_be_said_does_not_count() {
    let mut epochs = vec![epoch(0, &[("echo", 1)])];
    epochs.extend((1..=30).map(|n| system(n * 60, &[]).silent("n2", Endpoint::Services).done()));
    let last = |second| {
        let mut epochs = epochs.clone();
        epochs.push(epoch(second, &[]));
        judge_last::<Check>(&epochs).firing.len()
    };
    assert_eq!([last(1860), last(1800 + 900), last(1800 + 901)], [1, 1, 0]);
}

#[test]
fn odd_names_are_told_apart() {
    let mut before = epoch(0, &[]);
    for (account, name) in [("a b", "s"), ("$G", "*"), ("x/y", "ü")] {
        before.services.insert((account.into(), name.into()), service("n1", &[("", "", 1)]));
    }
    let judgement = judge_last::<Check>(&[before, epoch(60, &[])]);
    let mut found: Vec<(String, String)> = judgement
        .firing
        .iter()
        .map(|(entity, _)| (entity.account.clone().unwrap().to_string(), entity.id.to_string()))
        .collect();
    found.sort();
    assert_eq!(found, [("$G", "*"), ("a b", "s"), ("x/y", "ü")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}
