use super::*;

struct Home(tempfile::TempDir);

impl Home {
    fn new(contexts: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/nats/context");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, json) in contexts {
            std::fs::write(directory.join(format!("{name}.json")), json).unwrap();
        }
        Self(home)
    }

    fn apply(&self, options: &ConnectionOptions) -> Result<ConnectionOptions, ContextError> {
        let home = self.0.path().as_os_str().to_owned();
        let variable = |name: &str| match name {
            "HOME" => Some(home.clone()),
            "KEYS" => Some("/keys".into()),
            _ => None,
        };
        apply(options, &Environment { variable: &variable })
    }

    fn load(&self, name: &str) -> Result<ConnectionOptions, ContextError> {
        self.apply(&ConnectionOptions { context: Some(name.to_owned()), ..Default::default() })
    }
}

#[test]
fn every_key_of_a_context_is_used_and_unknown_ones_are_left() {
    let home = Home::new(&[(
        "full",
        r#"{"description":"d","url":"nats://a,nats://b","creds":"~/my.creds","cert":"${KEYS}/c.pem",
            "key":"$KEYS/k.pem","ca":"relative/ca.pem","tls_first":true,"inbox_prefix":"_INBOX_X",
            "color_scheme":"x","future":{"a":1},"user":"","token":"","nsc":"","socks_proxy":""}"#,
    )]);
    let options = home.load("full").unwrap();
    assert_eq!(options.server_urls(), ["nats://a", "nats://b"]);
    assert_eq!(options.creds, Some(home.0.path().join("my.creds")));
    assert_eq!(options.tls_cert, Some("/keys/c.pem".into()));
    assert_eq!(options.tls_key, Some("/keys/k.pem".into()));
    assert_eq!(options.tls_ca, Some("relative/ca.pem".into()));
    assert!(options.tls_first);
    assert_eq!(options.inbox_prefix(), "_INBOX_X");
    assert_eq!((options.user, options.token, options.password), (None, None, None));
}

#[test]
fn explicit_options_win_over_the_context() {
    let home = Home::new(&[("c", r#"{"url":"nats://a","user":"u","password":"p","inbox_prefix":"_I"}"#)]);
    let explicit = ConnectionOptions {
        context: Some("c".into()),
        nkey: Some("n.nk".into()),
        servers: vec!["nats://b".into()],
        ..Default::default()
    };
    let options = home.apply(&explicit).unwrap();
    assert_eq!(options.server_urls(), ["nats://b"]);
    assert_eq!((options.user, options.password, options.nkey), (None, None, Some("n.nk".into())));
    assert_eq!(options.inbox_prefix.as_deref(), Some("_I"));
}

#[test]
fn a_user_of_a_context_without_password_is_a_user() {
    let home = Home::new(&[("c", r#"{"user":"u"}"#)]);
    assert_eq!(home.load("c").unwrap().password, Some(Secret::from("")));
}

#[test]
fn a_jwt_in_a_context_needs_its_seed() {
    let home = Home::new(&[("both", r#"{"user_jwt":"j","user_seed":"s"}"#), ("half", r#"{"user_jwt":"j"}"#)]);
    assert_eq!(home.load("both").unwrap().user_jwt, Some(UserJwt { jwt: "j".into(), seed: "s".into() }));
    assert!(home.load("half").unwrap_err().to_string().contains("user_jwt without user_seed"));
}

#[test]
fn a_missing_context_names_its_path_and_the_others() {
    let home = Home::new(&[("two", "{}"), ("one", "{}")]);
    let error = home.load("three").unwrap_err().to_string();
    assert!(error.contains(".config/nats/context/three.json") && error.ends_with("are one, two"), "{error}");
    let error = Home::new(&[]).load("three").unwrap_err().to_string();
    assert!(error.contains("nats context add"), "{error}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let home = Home::new(&[]);
    for name in ["", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b"] {
        assert!(matches!(home.load(name), Err(ContextError::BadName { .. })), "{name:?}");
    }
}

#[test]
fn what_is_not_supported_is_said() {
    for (json, feature) in [
        (r#"{"nsc":"nsc://o/a/u"}"#, "nsc"),
        (r#"{"socks_proxy":"socks5://h"}"#, "socks_proxy"),
        (r#"{"windows_cert_store":"user"}"#, "Windows"),
        (r#"{"windows_ca_certs_match":["x"]}"#, "Windows"),
        (r#"{"creds":"nsc://o/a/u"}"#, "nsc: reference"),
        (r#"{"user":"u","password":"op://vault/hush"}"#, "op: reference"),
    ] {
        let error = Home::new(&[("c", json)]).load("c").unwrap_err().to_string();
        assert!(error.contains(feature) && error.contains("not supported"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_malformed_context_names_its_line_and_no_value() {
    let home = Home::new(&[("c", "{\n\"url\":\"nats://a\",\n\"tls_first\":\"hush\"}")]);
    let error = home.load("c").unwrap_err().to_string();
    assert!(error.contains("line 3") && !error.contains("hush"), "{error}");
    let error = Home::new(&[("c", "")]).load("c").unwrap_err();
    assert!(matches!(error, ContextError::Malformed { .. }));
}
