use super::*;
use serde_json::{Value, json};

fn details(detail: Value) -> AccountDetails {
    let detail: AccountDetail = serde_json::from_value(detail).unwrap();
    AccountDetails::of(&detail, "SYS", SHARES)
}

fn import(subject: &str, local: &str) -> Value {
    json!({"subject": subject, "account": "E", "type": "stream", "local_subject": local})
}

fn states(details: &AccountDetails) -> Vec<(&str, ImportState)> {
    details.imports.iter().map(|import| (&*import.local, import.state)).collect()
}

fn recorded(version: &str, file: &str) -> AccountDetails {
    let path = format!("{}/tests/fixtures/{version}/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let data = &recorded["replies"][0]["data"];
    let detail: AccountDetail = serde_json::from_value(data["account_detail"].clone()).unwrap();
    AccountDetails::of(&detail, data["system_account"].as_str().unwrap(), SHARES)
}

#[test]
fn every_version_is_read_alike() {
    use ImportState::{Active, Expired, Refused};
    for version in ["2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.14.6", "2.15.1"] {
        let details = recorded(version, "jwt/accountz_IMPORTER");
        let mut states: Vec<(&str, &str, ImportState)> =
            details.imports.iter().map(|import| (&*import.subject, &*import.local, import.state)).collect();
        states.sort_by_key(|(subject, ..)| *subject);
        let rows = |state| states.iter().filter(|row| row.2 == state).count();
        assert_eq!((rows(Active), rows(Expired)), (5, 0), "{version}: {states:?}");
        assert!(states.contains(&("svc.open", "mysvc", Active)), "{version}: {states:?}");
        assert!(states.contains(&("pub.>", "in.pub.>", Active)), "{version}: {states:?}");
        assert!(states.contains(&("priv.stream.a", "priv.stream.a", Refused)), "{version}: {states:?}");
        assert!(!details.complete && details.claims.as_ref().unwrap().bytes > 1000, "{version}");
        let later = recorded(version, "jwt/accountz_IMPORTER_after_token_expiry");
        assert_eq!(later.imports.iter().filter(|import| import.state == Expired).count(), 1, "{version}");
        // An account of a configuration file: what every account has is left out.
        let file = recorded(version, "accountz_IMP");
        let rows: Vec<(&str, &str)> =
            file.imports.iter().map(|import| (&*import.subject, &*import.local)).collect();
        assert!(rows.contains(&("app.svc.echo", "echo")), "{version}: {rows:?}");
        assert_eq!(rows.len(), 2, "{version}: {rows:?}");
        assert!(file.claims.is_none() && file.complete, "{version}");
        let exporter = recorded(version, "jwt/accountz_EXPORTER");
        assert!(exporter.exports.iter().any(|export| export.token_required), "{version}");
    }
}

#[test]
fn a_subject_that_is_imported_twice_is_matched_by_its_local_one() {
    let detail = |effective: Value| {
        details(json!({
            "imports": effective,
            "decoded_jwt": {"nats": {"imports": [import("a.*", "x.$1"), import("a.*", "y.{{wildcard(1)}}")]}},
        }))
    };
    use ImportState::{Active, Refused};
    let both = detail(json!([import("a.*", "y.*"), import("a.*", "x.*")]));
    assert_eq!(states(&both), [("x.$1", Active), ("y.{{wildcard(1)}}", Active)]);
    let one = detail(json!([import("a.*", "x.*")]));
    assert_eq!(states(&one), [("y.{{wildcard(1)}}", Refused), ("x.$1", Active)]);
    // A prefix of a stream is its older form.
    let old = details(json!({
        "imports": [import("a", "p.a")],
        "decoded_jwt": {"nats": {"imports": [{"subject": "a", "account": "E", "type": "stream", "to": "p"}]}},
    }));
    assert_eq!(states(&old), [("p.a", Active)]);
}

#[test]
fn what_is_kept_is_bounded_and_the_broken_come_first() {
    let many: Vec<Value> = (0..1500).map(|i| import(&format!("a.{i}"), "")).collect();
    let mut effective = many.clone();
    effective.remove(1400);
    let exports: Vec<Value> =
        (0..1001).map(|i| json!({"subject": format!("e.{i}"), "type": "service"})).collect();
    let kept = details(
        json!({"imports": effective, "exports": exports, "decoded_jwt": {"nats": {"imports": many}}}),
    );
    assert_eq!((kept.imports.len(), kept.omitted_imports, kept.omitted_exports), (1000, 500, 1));
    assert_eq!((&*kept.imports[0].subject, kept.imports[0].state), ("a.1400", ImportState::Refused));
    assert!(kept.is_broken());
}

#[test]
fn tokens_are_read_and_dropped() {
    let read =
        details(json!({"decoded_jwt": {"nats": {"signing_keys": ["AS", {"key": "AT", "kind": "user_scope"}],
        "imports": [{"subject": "a", "account": "E", "type": "stream", "token": "secret"},
                    {"subject": "b", "account": "E", "type": "stream", "token": ""}],
        "revocations": {"U1": 1}}}, "jwt": "0123456789"}));
    assert_eq!(read.imports[0].token.as_deref(), Some(&Token::Unreadable));
    assert_eq!(read.imports[1].token, None);
    let claims = read.claims.as_ref().unwrap();
    assert_eq!((claims.bytes, claims.token_bytes, claims.revocations), (10, 6, 1));
    assert_eq!(claims.signing_keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["AS", "AT"]);
    assert!(!format!("{read:?}").contains("secret"));
    // Nulls, and kinds that no version has.
    let odd = details(json!({"imports": null, "exports": [{"subject": "a", "type": "x"}], "jwt": null}));
    assert!(odd.imports.is_empty() && odd.exports.is_empty() && odd.claims.is_none());
}
