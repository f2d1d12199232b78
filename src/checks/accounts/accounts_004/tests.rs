use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::tenants::{claims, details, export, stream};
use crate::checks::laws::{judge, judge_set, only};
use crate::snapshot::build::System;
use crate::snapshot::{AccountDetails, Import, ImportState};
use serde_json::json;

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
        json!({"orphaned": 1, "of_exports": 2, "importers": 1, "operator_mode": false,
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
