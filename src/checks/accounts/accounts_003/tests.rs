use super::*;
use crate::check::{Settings, Standing};
use crate::checks::laws::tenants::{claims, details, export, stream};
use crate::checks::laws::{judge, judge_set, only};
use crate::snapshot::build::System;
use crate::snapshot::{AccountDetails, Claims, Export, TokenClaims};
use serde_json::json;

type Check = InactiveImport;

const REFUSED: ImportState = ImportState::Refused;

/// Account I imports this from account E, which exports that and has a signing key.
fn system(imports: Vec<Import>, exports: Vec<Export>) -> System {
    let mut system = System::of(2).account("I", -1, -1, -1).account("E", -1, -1, -1);
    system.entry("I").details =
        Some(AccountDetails { claims: Some(claims()), ..details(imports, vec![]) }.into());
    let keys = Claims { signing_keys: vec!["SIGNER".into()], ..claims() };
    system.entry("E").details =
        Some(AccountDetails { claims: Some(keys), ..details(vec![], exports) }.into());
    system.with(|now| {
        for (id, name) in [("I", "IMPORTER"), ("E", "EXPORTER")] {
            now.accounts.get_mut(id).unwrap().name = Some(name.into());
        }
    })
}

fn token(issuer: &str, signs_for: Option<&str>) -> TokenClaims {
    TokenClaims {
        issuer: issuer.into(),
        issuer_account: signs_for.map(Into::into),
        importer: "I".into(),
        expires: None,
        subject: "a.>".into(),
        kind: Some(ShareKind::Stream),
    }
}

fn with_token(subject: &str, token: TokenClaims) -> Import {
    Import { token: Some(Box::new(Token::Read(token))), ..stream("E", subject, REFUSED) }
}

fn private(subject: &str) -> Export {
    Export { token_required: true, ..export(subject) }
}

fn reason_of(import: Import, exports: Vec<Export>) -> (String, String) {
    let judgement = judge::<Check>(&system(vec![import], exports).done());
    let row = &only(&judgement).1.evidence["examples"][0];
    (row["reason"].as_str().unwrap().to_owned(), row["details"].as_str().unwrap().to_owned())
}

#[test]
fn an_import_that_is_not_in_effect_fires_and_one_that_is_does_not() {
    let active = stream("E", "a.c", ImportState::Active);
    assert!(judge::<Check>(&system(vec![active.clone()], vec![]).done()).firing.is_empty());
    let broken = Import { local: "in.b".into(), ..stream("E", "a.b", REFUSED) };
    let judgement = judge::<Check>(&system(vec![active, broken], vec![private("a.*"), export("z")]).done());
    let (entity, firing) = only(&judgement);
    assert_eq!((&*entity.id, entity.label()), ("stream/E/a.b/in.b", "stream in.b of EXPORTER"));
    assert_eq!(
        firing.summary,
        "account IMPORTER cannot use its import of the stream a.b from account EXPORTER on server n1: the export needs an \
         activation token and the import has none"
    );
    assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "imports"}));
    assert_eq!(
        firing.evidence,
        json!({"exporter": "EXPORTER", "exporter_id": "E", "exporter_loaded": true, "imports": 1, "importers": 1,
               "reasons": [{"name": "token_missing", "count": 1}],
               "examples": [{"importer": "IMPORTER", "kind": "stream", "subject": "a.b", "local_subject": "in.b",
                   "reason": "token_missing", "details": "the export needs an activation token and the import has none",
                   "was_active": false, "token": null, "exports": ["a.*"], "described_by": "n1",
                   "described_at": "1970-01-01T00:00:00Z"}]})
    );
    assert!(
        firing.remediation[0]
            .contains("nsc generate activation --account 'EXPORTER' --subject 'a.b' --target-account I")
    );
}

#[test]
fn reasons_come_in_their_order() {
    let plain = |subject| stream("E", subject, REFUSED);
    let of = |import, exports| reason_of(import, exports).0;
    assert_eq!(of(stream("GHOST", "a.b", REFUSED), vec![]), "exporter_unknown");
    assert_eq!(of(plain("a.b"), vec![]), "no_export");
    assert_eq!(of(plain("a.b"), vec![Export { kind: ShareKind::Service, ..export("a.b") }]), "no_export");
    // Wider than the export: it overlaps, and is not allowed.
    assert_eq!(of(plain("a.*"), vec![export("a.b")]), "no_export");
    assert_eq!(of(plain("a.b"), vec![private("a.*")]), "token_missing");
    // The very subject comes first.
    assert_eq!(of(plain("a.b"), vec![private("a.*"), export("a.b")]), "other");
    let private = || vec![private("a.*")];
    // 2023-11-14T22:13:20Z is now.
    let expiring = |expires| TokenClaims { expires: Some(expires), ..token("STRANGER", None) };
    assert_eq!(of(with_token("a.b", expiring(1_700_000_000)), private()), "token_expired");
    assert_eq!(of(with_token("a.b", expiring(1_700_000_001)), private()), "token_signer");
    assert_eq!(of(with_token("a.b", expiring(i64::MIN)), private()), "token_expired");
    assert_eq!(of(with_token("a.b", token("STRANGER", Some("E"))), private()), "token_signer");
    // A signing key has to say for whom it signs.
    assert_eq!(of(with_token("a.b", token("SIGNER", None)), private()), "token_signer");
    for (token, why) in [
        (token("E", None), "the server does not show why"),
        (token("SIGNER", Some("E")), "the server does not show why"),
        (
            TokenClaims { importer: "X".into(), ..token("E", None) },
            "its activation token is for another account",
        ),
        (
            TokenClaims { subject: "b".into(), ..token("E", None) },
            "its activation token is for another subject",
        ),
        (
            TokenClaims { kind: Some(ShareKind::Service), ..token("E", None) },
            "its activation token is for the other kind of export",
        ),
    ] {
        assert_eq!(reason_of(with_token("a.b", token), private()), ("other".into(), why.into()));
    }
    let named = Export { account_position: Some(2), ..export("a.*") };
    assert!(reason_of(plain("a.b"), vec![named.clone()]).1.contains("name the importing account"));
    assert_eq!(reason_of(plain("a.I"), vec![named]).1, "the server does not show why");
    let unreadable = Import { token: Some(Box::new(Token::Unreadable)), ..plain("a.b") };
    assert_eq!(reason_of(unreadable, private()).1, "its activation token cannot be read");
}

#[test]
fn an_exporter_that_was_not_read_leaves_the_reason_open() {
    let unread = system(vec![stream("E", "a", REFUSED)], vec![]).with(|now| {
        now.accounts.get_mut("E").unwrap().details = None;
    });
    let judgement = judge::<Check>(&unread.done());
    assert_eq!(only(&judgement).1.evidence["reasons"], json!([{"name": "undetermined", "count": 1}]));
}

#[test]
fn the_first_of_many_are_named_by_import_and_by_account() {
    let many: Vec<Import> = (10..22).rev().map(|i| stream("E", &format!("a.{i}"), REFUSED)).collect();
    let judgement = judge::<Check>(&system(many.clone(), vec![export("a.21")]).done());
    let ids: Vec<&str> = judgement.firing.iter().map(|(entity, _)| &*entity.id).collect();
    assert_eq!((ids.len(), ids[0], ids[9], ids[10]), (11, "stream/E/a.10", "stream/E/a.19", "*/E"));
    let (entity, firing) = judgement.firing.last().unwrap();
    assert_eq!(&*entity.account.clone().unwrap(), "I");
    assert_eq!(
        firing.summary,
        "account IMPORTER cannot use 2 more of its imports from account EXPORTER on server n1"
    );
    assert_eq!(
        firing.evidence["reasons"],
        json!([{"name": "no_export", "count": 1}, {"name": "other", "count": 1}])
    );
    assert_eq!(firing.evidence["examples"].as_array().unwrap().len(), 2);
    let of = |account: &str, id: &str| judgement.standing(&Entity::import(account, None, &id.into()));
    assert!(matches!(of("I", "stream/E/a.21"), Standing::Unknown(_)));
    // One exporter may break many importers.
    let mut system = system(many[..1].to_vec(), vec![]);
    for i in 10..21 {
        let account = system.entry(&format!("I{i}"));
        account.details = Some(details(many[..1].to_vec(), vec![]).into());
    }
    let snapshot = system.done();
    let judgement = judge::<Check>(&snapshot);
    assert_eq!(judgement.firing.len(), 11);
    let (entity, firing) = judgement.firing.last().unwrap();
    assert_eq!((&*entity.id, &*entity.account.clone().unwrap()), ("*", "E"));
    assert_eq!(firing.summary, "2 imports of 2 more accounts from account EXPORTER are not in effect");
    let of = |account: &str, id: &str| judgement.standing(&Entity::import(account, None, &id.into()));
    for id in ["stream/E/a.21", "*/E"] {
        assert!(matches!(of("I20", id), Standing::Unknown(_)), "{id}");
        assert_eq!(of("I21", id), Standing::Clear);
    }
    let base = [("most".to_owned(), json!(12))].into_iter().collect();
    let judgement = judge_set::<Check>(&snapshot, None, &[], &Settings { base, ..Settings::default() });
    assert_eq!(judgement.firing.len(), 12);
}

#[test]
fn where_accounts_without_clients_are_not_listed_the_exporter_may_be_one_of_them() {
    let used = system(vec![stream("GHOST", "a", REFUSED)], vec![]).with(|now| now.only_used_accounts = true);
    let judgement = judge::<Check>(&used.done());
    assert_eq!(only(&judgement).1.evidence["reasons"], json!([{"name": "undetermined", "count": 1}]));
}

#[test]
fn what_is_broken_stays_broken_and_nothing_else_is_clear_while_a_server_is_silent() {
    let snapshot =
        system(vec![stream("E", "a", REFUSED)], vec![]).silent("n2", Endpoint::AccountDetails).done();
    let judgement = judge::<Check>(&snapshot);
    assert_eq!(judgement.firing.len(), 1);
    let other = Entity::import("I", None, &"stream/E/b".into());
    assert!(matches!(judgement.standing(&other), Standing::Unknown(_)));
}
