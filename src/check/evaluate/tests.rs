//! What is not named holds, and is told once.

use super::super::{Observed, PolicySetting, Scripted, Settings};
use super::*;
use crate::checks::find;
use crate::snapshot::History;
use crate::snapshot::build::System;
use std::collections::BTreeMap;

fn user(name: &str) -> Entity {
    Entity::user("APP", None, name, None)
}

fn fires(name: &str, value: u64) -> Verdict {
    let observed = Observed::count(value, 1, "connections");
    Verdict::firing(user(name), format!("{name} fires"), observed, &(), Vec::new())
}

fn judged(most: usize, says: Vec<Verdict>, policy: &PolicySetting) -> Judgement {
    let entry = Entry { most, ..*find("USER_002").unwrap() };
    let (now, history, declared) = (System::of(1).done(), History::default(), BTreeMap::new());
    let context = Context { now: &now, previous: None, history: &history, declared: &declared };
    let settings = Settings { policy: policy.clone(), ..Settings::default() };
    evaluate(&entry, &Scripted(says), &Arc::new(entry.policies(&settings)), &context)
}

fn plain(most: usize, says: Vec<Verdict>) -> Judgement {
    judged(most, says, &PolicySetting::default())
}

fn named(judgement: &Judgement) -> Vec<&str> {
    judgement.firing.iter().map(|(entity, _)| &*entity.id).collect()
}

#[test]
fn the_first_by_identity_are_named_whatever_their_values() {
    let judgement = plain(2, vec![fires("d", 900), fires("b", 2), fires("c", 3), fires("a", 1)]);
    assert_eq!(named(&judgement), ["a", "b"]);
    let rows = judgement.unknown_rows();
    assert_eq!((rows.len(), &*rows[0].entity, &*rows[0].reason), (1, "*", "2 more fire and are not named"));
    let one_more = plain(2, vec![fires("c", 3), fires("b", 2), fires("a", 1)]);
    assert_eq!(one_more.unknown_rows()[0].reason, "1 more fires and is not named");
    let just_so = plain(2, vec![fires("b", 2), fires("a", 1)]);
    assert!(named(&just_so).len() == 2 && just_so.unknown_rows().is_empty());
}

#[test]
fn what_is_not_named_is_unknown_and_what_comes_before_is_clear() {
    let judgement = plain(2, vec![fires("d", 9), fires("b", 2), fires("c", 3)]);
    let held = |name| judgement.standing(&user(name));
    assert_eq!(held("d"), Standing::Unknown("1 more fires and is not named".into()));
    // It may be that which is not named.
    assert!(matches!(held("e"), Standing::Unknown(_)));
    assert_eq!(held("a"), Standing::Clear);
    assert_eq!(plain(3, vec![fires("d", 9)]).standing(&user("e")), Standing::Clear);
}

#[test]
fn what_a_rule_leaves_unnamed_itself_adds_to_it() {
    let judgement = plain(1, vec![fires("a", 1), fires("c", 1), Verdict::unnamed(user("x"), 40)]);
    assert_eq!(named(&judgement), ["a"]);
    assert_eq!(judgement.unknown_rows()[0].reason, "41 more fire and are not named");
    assert_eq!(judgement.standing(&user("b")), Standing::Clear);
    assert!(matches!(judgement.standing(&user("d")), Standing::Unknown(_)));
}

#[test]
fn what_is_not_judged_takes_nobodys_place() {
    let off = PolicySetting { enabled: Some(false), ..PolicySetting::default() };
    let judgement = judged(1, vec![fires("a", 1), fires("b", 1)], &off);
    assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
}

#[test]
fn what_a_rule_cannot_see_is_unknown_beside_what_it_names() {
    let unseen = Verdict::others_unknown(user("*"), "it was not listed");
    let judgement = plain(9, vec![fires("a", 2), Verdict::clear(user("b")), unseen]);
    assert_eq!(named(&judgement), ["a"]);
    assert_eq!(judgement.standing(&user("b")), Standing::Clear);
    assert_eq!(judgement.standing(&user("c")), Standing::Unknown("it was not listed".into()));
    let rows = judgement.unknown_rows();
    assert_eq!((rows.len(), &*rows[0].entity, &*rows[0].reason), (1, "*", "it was not listed"));
}

#[test]
fn what_cannot_be_said_yet_holds_and_is_told_nobody() {
    let judgement = plain(9, vec![Verdict::not_yet(user("a"), "watched for a minute")]);
    assert!(judgement.unknown_rows().is_empty() && judgement.evaluated());
    assert_eq!(judgement.standing(&user("a")), Standing::Unknown("watched for a minute".into()));
    assert_eq!(judgement.standing(&user("b")), Standing::Clear);
}
