use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge_last, judge_last_set, only};
use crate::snapshot::build::{System, at};
use crate::snapshot::{Deaf, HeardBoot, Snapshot, Version};
use serde_json::json;

type Check = CrashLoop;

fn epoch(second: i64, id: &str, started: i64) -> Snapshot {
    let mut snapshot = System::of(1).at(second).done();
    let server = snapshot.servers.pop_first().unwrap().1;
    let start = Some(at(started));
    snapshot.servers.insert(id.into(), Server { id: id.into(), start, now: Some(at(second)), ..server });
    snapshot.ends.announced = Default::default();
    snapshot
}

fn announced(mut snapshot: Snapshot, ids: &[&str]) -> Snapshot {
    snapshot.ends.announced = ids.iter().map(|id| (*id).into()).collect();
    snapshot
}

fn n1() -> Entity {
    Entity::server(&"n1".into(), Some(&"east".into()))
}

fn three_boots() -> Vec<Snapshot> {
    vec![epoch(0, "A", -9000), epoch(60, "B", 30), epoch(120, "C", 90)]
}

#[test]
fn the_third_boot_of_the_hour_fires_and_the_second_does_not() {
    let mut epochs = three_boots();
    assert!(judge_last::<Check>(&epochs[..2]).firing.is_empty());
    let judgement = judge_last::<Check>(&epochs);
    let firing = only(&judgement).1;
    assert_eq!(
        firing.summary,
        "server n1 was started anew 2 times within an hour without having announced it"
    );
    assert_eq!(json!(firing.observed.value), json!(2));
    let evidence = &firing.evidence;
    assert_eq!((&evidence["unannounced"], &evidence["announced"]), (&json!(2), &json!(0)));
    assert_eq!(evidence["longest_run_seconds"], 60);
    let starts: Vec<_> = evidence["restarts"].as_array().unwrap().iter().map(|row| &row["started"]).collect();
    assert_eq!(starts, ["2023-11-14T22:14:50Z", "2023-11-14T22:13:50Z"]);
    // It goes on until the first of them is an hour old.
    epochs.push(epoch(3590, "C", 90));
    assert_eq!(judge_last::<Check>(&epochs).firing.len(), 1);
    epochs.push(epoch(3700, "C", 90));
    epochs.push(epoch(3760, "C", 90));
    assert!(judge_last::<Check>(&epochs).firing.is_empty());
}

#[test]
fn boots_that_only_their_heartbeats_tell_of_count_as_well() {
    let heard = |mut snapshot: Snapshot, boots: &[(&str, i64)]| {
        let boot = |(id, start): &(&str, i64)| HeardBoot {
            id: (*id).into(),
            key: "east/n1".into(),
            start: at(*start),
        };
        snapshot.ends.heard = boots.iter().map(boot).collect();
        snapshot
    };
    let first = epoch(0, "A", -9000);
    // Between two epochs it came up three times, and only the last of them answers.
    let judgement = judge_last::<Check>(&[first.clone(), heard(epoch(60, "D", 50), &[("Z", 10), ("C", 30)])]);
    let firing = only(&judgement).1;
    assert_eq!(firing.observed.value, 3.into());
    let starts: Vec<_> =
        firing.evidence["restarts"].as_array().unwrap().iter().map(|row| &row["started"]).collect();
    assert_eq!(starts, ["2023-11-14T22:14:10Z", "2023-11-14T22:13:50Z", "2023-11-14T22:13:30Z"]);
    // One that is heard before it answers is one boot.
    let late = [first.clone(), heard(epoch(60, "A", -9000), &[("B", 50)]), epoch(120, "B", 50)];
    assert!(judge_last::<Check>(&late).firing.is_empty());
    // It was announced by all but the first.
    let mut now = heard(epoch(60, "D", 50), &[("Z", 10), ("C", 30)]);
    now.ends.announced = ["Z", "C"].into_iter().map(Into::into).collect();
    assert!(judge_last::<Check>(&[first, now]).firing.is_empty());
}

#[test]
fn announced_restarts_do_not_count_whatever_the_version() {
    for ids in [&["A"][..], &["B"], &["A", "B"]] {
        let mut epochs = three_boots();
        epochs[2] = announced(epochs[2].clone(), ids);
        assert!(judge_last::<Check>(&epochs).firing.is_empty(), "{ids:?}");
    }
    // A crash that comes with another version is a crash.
    let mut epochs = three_boots();
    epochs[2].servers.get_mut("C").unwrap().version = Some(Version(2, 16, 0));
    assert_eq!(judge_last::<Check>(&epochs).firing.len(), 1);
}

#[test]
fn what_nobody_heard_may_be_one_restart_too_few() {
    let mut epochs = three_boots();
    epochs[2].ends.deaf.push(Deaf { from: at(60), to: at(120), except: None, why: "nobody listened".into() });
    let judgement = judge_last::<Check>(&epochs);
    assert!(judgement.firing.is_empty());
    assert!(
        matches!(judgement.standing(&n1()), Standing::Unknown(reason) if reason.ends_with("of all: nobody listened"))
    );
    // A third one makes it certain.
    epochs.push(epoch(180, "D", 170));
    epochs.push(epoch(240, "E", 230));
    assert_eq!(only(&judge_last::<Check>(&epochs)).1.evidence["unannounced"], 4);
    let base = json!({"restarts": 5}).as_object().cloned().unwrap();
    assert!(judge_last_set::<Check>(&epochs, &Settings { base, ..Settings::default() }).firing.is_empty());
}
