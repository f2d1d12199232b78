use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::tenants::{claims, details, export, stream};
use crate::checks::laws::{judge, judge_set, only};
use crate::snapshot::build::System;
use crate::snapshot::{AccountDetails, Import, ImportState, UnloadedImport, UnloadedImports};
use serde_json::json;
use std::sync::Arc;

type Check = OrphanedExport;

fn system(exports: Vec<Export>, imports: Vec<Import>) -> System {
    let mut system = System::of(2).config_account("E").config_account("I").config_account("SYS");
    system.entry("E").details = Some(details(vec![], exports.clone()).into());
    system.entry("I").details = Some(details(imports, vec![]).into());
    system.entry("SYS").details = Some(details(vec![], exports).into());
    system.with(|now| now.system_account = "SYS".into())
}

fn imports(subject: &str, state: ImportState) -> Vec<Import> {
    vec![stream("E", subject, state)]
}

#[test]
fn an_export_without_an_import_fires() {
    let judgement =
        judge::<Check>(&system(vec![export("a.>"), export("b")], imports("b", ImportState::Active)).done());
    let (entity, firing) = only(&judgement);
    assert_eq!((&*entity.id, &*entity.account.clone().unwrap()), ("stream/a.>", "E"));
    assert_eq!(firing.summary, "no account imports the stream a.> that account E exports");
    assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "exports"}));
    assert_eq!(
        firing.evidence,
        json!({"orphaned": 1, "of_exports": 2, "importers": 1, "operator_mode": false, "unloaded_read": null,
               "exports": [{"kind": "stream", "subject": "a.>", "token_required": false, "approved_accounts": null}]})
    );
    assert!(firing.remediation[0].contains("typing error"), "{:?}", firing.remediation);
}

#[test]
fn what_overlaps_uses_it_even_if_it_is_broken_and_what_differs_does_not() {
    let fires =
        |import: Import| !judge::<Check>(&system(vec![export("a.*")], vec![import]).done()).firing.is_empty();
    for subject in ["a.*", "a.b", "*.b", "a.>", ">"] {
        assert!(!fires(stream("E", subject, ImportState::Active)), "{subject}");
        assert!(!fires(stream("E", subject, ImportState::Refused)), "{subject}");
    }
    assert!(fires(stream("E", "a", ImportState::Active)) && fires(stream("X", "a.b", ImportState::Active)));
    assert!(fires(Import { kind: ShareKind::Service, ..stream("E", "a.b", ImportState::Active) }));
}

#[test]
fn the_first_of_many_are_named_and_operator_mode_is_said() {
    let exports: Vec<Export> = (10..22).rev().map(|i| export(&format!("a.{i}"))).collect();
    let mut system = system(exports.clone(), vec![]);
    system.entry("E").details =
        Some(AccountDetails { claims: Some(claims()), ..details(vec![], exports) }.into());
    let snapshot = system.done();
    let judgement = judge::<Check>(&snapshot);
    let ids: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
    assert_eq!((ids.len(), ids[0], ids[9], ids[10]), (11, "stream/a.10", "stream/a.19", "*"));
    let (_, firing) = judgement.firing.last().unwrap();
    assert_eq!(firing.summary, "no account that is loaded imports 2 more of the 12 exports of account E");
    let entity = Entity::export("E", None, &"stream/a.21".into());
    assert!(matches!(judgement.standing(&entity), Standing::Unknown(_)));
    assert!(
        firing.remediation[0].contains("no server has loaded (3 accounts are)"),
        "{:?}",
        firing.remediation
    );
    let base = [("most".to_owned(), json!(12))].into_iter().collect();
    let settings = Settings { base, ..Settings::default() };
    assert_eq!(judge_set::<Check>(&snapshot, None, &[], &settings).firing.len(), 12);
}

#[test]
fn a_server_that_is_silent_may_know_who_imports() {
    for endpoint in [Endpoint::AccountStatz, Endpoint::AccountDetails] {
        let judgement = judge::<Check>(&system(vec![export("a")], vec![]).silent("n2", endpoint).done());
        assert!(judgement.firing.is_empty());
        let entity = Entity::export("E", None, &"stream/a".into());
        assert!(matches!(judgement.standing(&entity), Standing::Unknown(_)));
    }
}

/// Two streams of an account of operator mode, of which no account that is loaded imports any.
fn of_jwts(unloaded: Option<Unloaded>) -> Snapshot {
    let exports = vec![export("a.>"), export("b")];
    let mut system = system(exports.clone(), vec![]);
    system.entry("E").details =
        Some(AccountDetails { claims: Some(claims()), ..details(vec![], exports) }.into());
    system.with(|now| now.unloaded = unloaded).done()
}

fn importing(subject: &str, omitted: u64) -> Arc<UnloadedImports> {
    let import = UnloadedImport { kind: ShareKind::Stream, account: "E".into(), subject: subject.into() };
    UnloadedImports { imports: vec![import], omitted }.into()
}

/// Five accounts, of which three are loaded and one imports this subject.
fn unloaded(read: &[(&str, Arc<UnloadedImports>)], told: bool) -> Option<Unloaded> {
    let read = read.iter().map(|(id, imports)| (Name::from(*id), Arc::clone(imports))).collect();
    Some(Unloaded { listed: 5, loaded: 3, read, told })
}

fn fires(snapshot: &Snapshot) -> Vec<(String, serde_json::Value)> {
    let judgement = judge::<Check>(snapshot);
    let each = judgement.firing.iter();
    each.map(|(entity, firing)| (entity.id.to_string(), firing.evidence["unloaded_read"].clone())).collect()
}

#[test]
fn an_account_that_no_server_has_loaded_uses_what_it_imports() {
    let whole = of_jwts(unloaded(&[("I1", importing("a.x", 0)), ("I2", importing("c", 0))], true));
    assert_eq!(fires(&whole), [("stream/b".to_owned(), json!(2))]);
    let judgement = judge::<Check>(&whole);
    let (_, firing) = only(&judgement);
    assert_eq!(firing.summary, "no account imports the stream b that account E exports");
    assert_eq!(firing.evidence["importers"], 2);
    assert!(firing.remediation.iter().all(|step| !step.contains("has loaded")), "{:?}", firing.remediation);
    // All that there are may be loaded.
    let none = of_jwts(Some(Unloaded { listed: 3, loaded: 3, told: true, ..Unloaded::default() }));
    assert_eq!(fires(&none), ["stream/a.>", "stream/b"].map(|id| (id.to_owned(), json!(0))));
}

#[test]
fn nothing_is_said_of_what_an_account_may_import_that_is_not_read_yet() {
    let unread = of_jwts(unloaded(&[("I1", importing("a.x", 0))], true));
    let cut = of_jwts(unloaded(&[("I1", importing("a.x", 7)), ("I2", importing("c", 0))], true));
    for (snapshot, why) in
        [(unread, "1 account that no server has loaded may import it"), (cut, "not all imports")]
    {
        let judgement = judge::<Check>(&snapshot);
        assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty(), "{judgement:?}");
        let standing = |id: &str| judgement.standing(&Entity::export("E", None, &id.into()));
        assert!(matches!(standing("stream/b"), Standing::Unknown(reason) if reason.contains(why)));
        // What is seen to be used is.
        assert_eq!(standing("stream/a.>"), Standing::Clear);
    }
    // Of accounts in a configuration file none is unseen.
    let file = system(vec![export("a")], vec![]).with(|now| now.unloaded = unloaded(&[], true));
    assert_eq!(fires(&file.done()), [("stream/a".to_owned(), json!(null))]);
}

#[test]
fn where_nobody_tells_of_the_others_it_fires_and_says_so() {
    for (snapshot, ids) in [
        (of_jwts(None), vec!["stream/a.>", "stream/b"]),
        (of_jwts(unloaded(&[], false)), vec!["stream/a.>", "stream/b"]),
        // What is known of them counts all the same.
        (of_jwts(unloaded(&[("I1", importing("a.x", 0))], false)), vec!["stream/b"]),
    ] {
        let fires: Vec<_> = fires(&snapshot);
        assert_eq!(fires, ids.iter().map(|id| ((*id).to_owned(), json!(null))).collect::<Vec<_>>());
        let judgement = judge::<Check>(&snapshot);
        let (_, firing) = judgement.firing.last().unwrap();
        assert!(firing.summary.starts_with("no account that is loaded imports"), "{}", firing.summary);
        assert!(firing.remediation[0].contains("no server has loaded (3 accounts are)"));
    }
}

#[test]
fn the_rest_of_many_waits_as_well() {
    let exports: Vec<Export> = (10..22).map(|i| export(&format!("a.{i}"))).collect();
    let mut system = system(exports.clone(), vec![]);
    system.entry("E").details =
        Some(AccountDetails { claims: Some(claims()), ..details(vec![], exports) }.into());
    let judgement = judge::<Check>(&system.with(|now| now.unloaded = unloaded(&[], true)).done());
    assert!(judgement.firing.is_empty());
    for id in ["stream/a.10", "stream/a.21", "*"] {
        let standing = judgement.standing(&Entity::export("E", None, &id.into()));
        assert!(matches!(standing, Standing::Unknown(_)), "{id}");
    }
}
