use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::{judge_last, judge_last_set, only};
use crate::snapshot::build::{System, at};
use crate::snapshot::{Deaf, Server, Snapshot, Version};
use serde_json::json;

type Check = UnexpectedRestart;

/// Two servers; n1 under this id, started then.
fn epoch(second: i64, id: &str, started: i64) -> Snapshot {
    let mut system = System::of(2).at(second);
    for name in ["n1", "n2"] {
        system.server_mut(name).now = Some(at(second));
    }
    let mut snapshot = system.done();
    let server = snapshot.servers.remove("ID-n1").unwrap();
    let start = Some(at(started));
    snapshot.servers.insert(id.into(), Server { id: id.into(), start, ..server });
    let named = snapshot.coverage.present.remove("ID-n1").unwrap();
    snapshot.coverage.present.insert(id.into(), named);
    for endpoint in [Endpoint::Varz, Endpoint::Events] {
        snapshot.coverage.note(endpoint, &id.into(), crate::snapshot::Answer::Complete);
    }
    snapshot
}

fn silent(second: i64) -> Snapshot {
    System::of(2).at(second).gone("n1").done()
}

fn announced(mut snapshot: Snapshot, id: &str) -> Snapshot {
    snapshot.ends.announced.insert(id.into());
    snapshot
}

fn n1() -> Entity {
    Entity::server(&"n1".into(), Some(&"east".into()))
}

#[test]
fn another_process_without_a_word_fires_until_it_has_been_running_for_a_while() {
    let mut epochs = vec![epoch(0, "A", -9000), epoch(60, "B", 30)];
    let judgement = judge_last::<Check>(&epochs);
    let (entity, firing) = only(&judgement);
    assert_eq!(entity, &n1());
    assert_eq!(firing.summary, "server n1 was started anew 30s ago without having announced its end");
    assert_eq!(
        firing.evidence,
        json!({"restart": {"started": "2023-11-14T22:13:50Z", "previous_start": "2023-11-14T19:43:20Z",
                "last_seen": "2023-11-14T22:13:20Z", "first_seen": "2023-11-14T22:14:20Z", "announced": false,
                "version_before": "2.15.1", "version": "2.15.1"},
               "running_seconds": 30, "gone_seconds": 30, "within_the_hour": 1, "others": [], "connections": 0})
    );
    epochs.push(epoch(959, "B", 30));
    assert_eq!(judge_last::<Check>(&epochs).firing.len(), 1);
    epochs.push(epoch(960, "B", 30));
    let judgement = judge_last::<Check>(&epochs);
    assert!(judgement.firing.is_empty() && judgement.standing(&n1()) == Standing::Clear);
    let base = json!({"show_for": "1s"}).as_object().cloned().unwrap();
    assert!(judge_last_set::<Check>(&epochs, &Settings { base, ..Settings::default() }).firing.is_empty());
}

#[test]
fn a_server_that_recovered_for_hours_before_it_answered_is_told_as_well() {
    let epochs = [epoch(0, "A", -90_000), silent(60), silent(1700), epoch(1760, "B", 30)];
    let judgement = judge_last::<Check>(&epochs);
    let firing = only(&judgement).1;
    assert_eq!(firing.evidence["running_seconds"], 1730);
    assert_eq!(
        json!(firing.observed),
        json!({"value": 0, "threshold": 900, "unit": "seconds since it was first seen"})
    );
}

#[test]
fn an_announced_end_an_upgrade_and_the_same_process_are_none() {
    let first = || epoch(0, "A", -9000);
    assert!(judge_last::<Check>(&[first(), announced(epoch(60, "B", 30), "A")]).firing.is_empty());
    // What another one announced is of no use.
    assert_eq!(judge_last::<Check>(&[first(), announced(epoch(60, "B", 30), "C")]).firing.len(), 1);
    assert!(judge_last::<Check>(&[first(), epoch(60, "A", -9000)]).firing.is_empty());
    let mut upgraded = epoch(60, "B", 30);
    upgraded.servers.get_mut("B").unwrap().version = Some(Version(2, 15, 2));
    assert!(judge_last::<Check>(&[first(), upgraded.clone()]).firing.is_empty());
    upgraded.servers.get_mut("B").unwrap().version = None;
    assert_eq!(judge_last::<Check>(&[first(), upgraded]).firing.len(), 1);
    // The boot before was announced, that after it was not.
    let third = announced(epoch(120, "C", 110), "A");
    assert_eq!(judge_last::<Check>(&[first(), epoch(60, "B", 30), third]).firing.len(), 1);
    assert!(judge_last::<Check>(&[first()]).nothing.is_some());
}

#[test]
fn a_server_that_was_silent_in_between_is_recognized_for_an_hour() {
    let epochs = |back: i64| [epoch(0, "A", -9000), silent(60), silent(120), epoch(back, "B", back - 20)];
    assert_eq!(only(&judge_last::<Check>(&epochs(180))).1.evidence["gone_seconds"], 160);
    // The version is remembered over the silence.
    let mut upgraded = epochs(180);
    upgraded[3].servers.get_mut("B").unwrap().version = Some(Version(2, 16, 0));
    assert!(judge_last::<Check>(&upgraded).firing.is_empty());
    assert_eq!(judge_last::<Check>(&epochs(3599)).firing.len(), 1);
    // While it is silent it is unknown.
    let judgement = judge_last::<Check>(&epochs(180)[..3]);
    assert_eq!(judgement.standing(&n1()), Standing::Unknown("server n1 did not answer VARZ".into()));
}

#[test]
fn what_nobody_could_hear_is_unknown_but_of_the_server_next_door() {
    let deaf = |from, to, except: Option<&str>| Deaf {
        from: at(from),
        to: at(to),
        except: except.map(Into::into),
        why: "the agent's connection was lost for a while".into(),
    };
    let judged = |deaf: Deaf| {
        let mut now = epoch(120, "B", 90);
        now.ends.deaf.push(deaf);
        judge_last::<Check>(&[epoch(0, "A", -9000), epoch(60, "A", -9000), now])
    };
    let judgement = judged(deaf(60, 120, Some("OTHER")));
    assert!(judgement.firing.is_empty());
    assert_eq!(
        judgement.standing(&n1()),
        Standing::Unknown(
            "server n1 was started anew, and whether that was announced cannot be said: the agent's connection was lost \
             for a while"
                .into()
        )
    );
    assert_eq!(judged(deaf(60, 120, Some("A"))).firing.len(), 1);
    assert_eq!(judged(deaf(-60, 0, None)).firing.len(), 1);
    // Disconnects, which are told as events, have nothing to do with it.
    let mut now = epoch(120, "B", 90);
    now.coverage.note(Endpoint::Events, &"B".into(), crate::snapshot::Answer::Denied("$SYS".into()));
    assert_eq!(judge_last::<Check>(&[epoch(60, "A", -9000), now]).firing.len(), 1);
}

#[test]
fn two_servers_of_one_name_are_no_restart() {
    let both = |second| {
        let mut snapshot = epoch(second, "A", -9000);
        let twin = snapshot.servers["A"].clone();
        snapshot.servers.insert("B".into(), Server { id: "B".into(), start: Some(at(-5)), ..twin });
        snapshot
    };
    assert!(judge_last::<Check>(&[both(0), both(60)]).firing.is_empty());
    assert!(judge_last::<Check>(&[both(0), epoch(60, "A", -9000), epoch(120, "B", -5)]).firing.is_empty());
}

#[test]
fn others_of_the_hour_are_named_and_clocks_may_be_odd() {
    let mut now = epoch(60, "B", 30);
    let n2 = now.servers.remove("ID-n2").unwrap();
    now.servers.insert("N2".into(), Server { id: "N2".into(), start: Some(at(20)), ..n2 });
    let judgement = judge_last::<Check>(&[epoch(0, "A", -9000), now]);
    let of_n1 = judgement.firing.iter().find(|(entity, _)| *entity == n1()).unwrap();
    assert_eq!(of_n1.1.evidence["others"], json!(["east/n2"]));
    assert!(of_n1.1.remediation[0].contains("1 other server did the same"), "{:?}", of_n1.1.remediation);
    // The server's clock is a day ahead of the agent's: only differences of one clock are taken.
    let mut ahead = epoch(60, "B", 86_400);
    ahead.servers.get_mut("B").unwrap().now = Some(at(86_430));
    assert_eq!(only(&judge_last::<Check>(&[epoch(0, "A", -9000), ahead])).1.evidence["running_seconds"], 30);
    let mut without = epoch(60, "B", 30);
    without.servers.get_mut("B").unwrap().now = None;
    assert_eq!(only(&judge_last::<Check>(&[epoch(0, "A", -9000), without])).1.evidence["running_seconds"], 0);
}
