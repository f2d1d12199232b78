//! Files, good and bad.

use super::*;
use crate::check::{Entity, Severity};
use crate::checks::catalogue;
use crate::snapshot::Endpoint;
use std::path::Path;

pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
    Config::assemble(file::parse(Path::new("a.toml"), text)?, Overrides::default())
}

#[track_caller]
pub(super) fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn the_example_is_the_default() {
    let config = load(&example()).unwrap();
    let default = Config { agent_name: config.agent_name.clone(), ..Config::default() };
    assert_eq!(show(&config).unwrap(), show(&default).unwrap());
    assert_eq!(config.checks.checks.len(), catalogue().count());
    for entry in catalogue() {
        for key in entry.defaults().keys() {
            assert!(!example::description(entry, key).is_empty(), "{} {key} says nothing", entry.meta.id);
        }
    }
}

#[test]
fn what_is_commented_out_in_the_example_can_be_used() {
    let uncommented = |line: &str| {
        let bare = line.strip_prefix("# ")?;
        let is_line = bare.starts_with('[') || bare.split(' ').nth(1) == Some("=");
        is_line.then(|| bare.to_owned())
    };
    let text: Vec<String> =
        example().lines().map(|line| uncommented(line).unwrap_or_else(|| line.into())).collect();
    let config = load(&text.join("\n")).unwrap();
    assert_eq!(config.system.as_deref(), Some("production"));
    assert!(config.listen.is_some() && config.alertmanager.is_some());
    assert_eq!(config.accounts["PRODUCTION"].max_leafnodes, Some(10));
    assert_eq!(config.connection.context.as_deref(), Some("production-system"));
    let sink = config.sink.unwrap();
    assert_eq!(sink.connection.user.as_deref(), Some("insights-sink"));
    let default = SinkConfig::default();
    assert_eq!(SinkConfig { connection: default.connection.clone(), ..sink }, default);
}

#[test]
fn the_sink_knows_nothing_of_the_main_connection_and_its_password_may_come_from_the_environment() {
    let text =
        "[connection]\nservers = ['nats://main:1']\npassword = 'p'\n[sink]\nuser = 'u'\npassword = 'q'";
    let file = || file::parse(Path::new("a.toml"), text).unwrap();
    let flags = ConnectionOptions { servers: vec!["nats://flag:1".into()], ..ConnectionOptions::default() };
    let sink = |over| Config::assemble(file(), over).unwrap().sink.unwrap().connection;
    let of_file = sink(Overrides { flags, ..Overrides::default() });
    assert_eq!((of_file.servers.len(), of_file.password), (0, Some("q".into())));
    let of_environment = sink(Overrides { sink_password: Some("r".into()), ..Overrides::default() });
    assert_eq!(of_environment.password, Some("r".into()));
}

#[test]
fn what_is_shown_is_read_again_alike() {
    let text = r#"
        epoch = "30s"
        subject_prefix = "team.checks"
        system = "prod \"east\""
        [connection]
        servers = ["nats://a:4222,nats://b:4222"]
        creds = "a.creds"
        [accounts."a b.c"]
        max_connections = 500
        [checks.accounts_001]
        warn_percent = 85
        severity = "critical"
        for = 3
        [[checks.accounts_001.override]]
        match = { account = "BATCH*", stream = "S" }
        warn_percent = 50.5
        enabled = false
        keep = 7
        [maintenance]
        grace = "90s"
        [[silence]]
        match = { check = "user_002", severity = "info", account = "A", cluster = "c*", entity = "*" }
        reason = "known"
        until = 2026-12-01T09:00:00+01:00
    "#;
    let config = load(text).unwrap();
    let shown = show(&config).unwrap();
    assert_eq!(shown, show(&load(&shown).unwrap()).unwrap());
    assert_eq!(config.epoch, Duration::from_secs(30));
    assert_eq!(config.override_count(), 1);
    assert_eq!((config.grace, config.silences.0.len()), (Duration::from_secs(90), 1));
    let check = config.checks.checks.iter().find(|check| check.entry.meta.id == "ACCOUNTS_001").unwrap();
    let policy = check.policies.of(&Entity::account("A", None));
    assert_eq!((policy.severity, policy.for_epochs, policy.keep), (Some(Severity::Critical), 3, 1));
    assert_eq!(check.judge.thresholds()["warn_percent"], 85.0);
}

#[test]
fn the_list_of_connections_can_be_restricted() {
    let chosen = |text: &str| load(text).unwrap().list_connections;
    assert_eq!((chosen(""), chosen("[gather]")), (ListConnections::All, ListConnections::All));
    assert_eq!(chosen("[gather]\nconnections = 'flagged'"), ListConnections::Flagged);
    assert_eq!(chosen("gather.connections = 'off'"), ListConnections::Off);
    assert_eq!(
        error("[gather]\n\nconnections = 'some'"),
        "a.toml:3: `connections`: \"some\" is no choice; it is \"all\", \"flagged\" or \"off\""
    );
    assert!(error("[gather]\nconnections = false").starts_with("a.toml:2: "));
    assert_eq!(
        error("[gather]\nconnection = 'all'"),
        "a.toml:2: unknown key `connection` in [gather]; did you mean `connections`? (known: connections)"
    );
    let shown = show(&load("gather.connections = 'flagged'").unwrap()).unwrap();
    assert_eq!(chosen(&shown), ListConnections::Flagged);
}

#[test]
fn what_is_not_listed_is_not_asked() {
    let requests = |choice: &str| load(&format!("gather.connections = '{choice}'")).unwrap().requests();
    let all = requests("all");
    assert_eq!(requests("flagged"), all);
    let off = requests("off");
    let less: Vec<_> = all.difference(&off).copied().collect();
    assert_eq!(less, [Endpoint::Connz, Endpoint::AccountConnz, Endpoint::Closed]);
    // Which account is near a limit is not known without asking for both.
    let mut config = load("gather.connections = 'flagged'").unwrap();
    config.checks.checks.retain(|check| check.entry.meta.needs == [Endpoint::Connz]);
    assert!(config.requests().is_superset(&[Endpoint::AccountStatz, Endpoint::Accountz].into()));
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    let start =
        "a.toml:3: unknown key `epoc` at the top of the file; did you mean `epoch`? (known: epoch, subject";
    assert!(error("epoch = '1s'\n\nepoc = '2s'").starts_with(start));
    assert!(
        error("[connection]\nserver = ['a']").starts_with("a.toml:2: unknown key `server` in [connection]")
    );
    assert!(
        error("[accounts.A]\n\nmax_conns = 1")
            .starts_with("a.toml:3: unknown key `max_conns` of account `A`")
    );
    assert_eq!(
        error("[checks.ACCOUNTS_001]\nwarn_percnt = 1"),
        "a.toml:2: unknown key `warn_percnt` of check ACCOUNTS_001; did you mean `warn_percent`? (known: \
         warn_percent, enabled, severity, for, keep, override)"
    );
    assert_eq!(
        error("[[checks.ACCOUNTS_001.override]]\nmatch = {\n  acount = 'A' }"),
        "a.toml:3: unknown key `acount` of `match`; did you mean `account`? (known: account, cluster, server, user, stream)"
    );
    let error_of_id = error("\n[checks.ACCOUNT_001]");
    let start = "a.toml:2: there is no check \"ACCOUNT_001\"; did you mean ACCOUNTS_001";
    assert!(error_of_id.starts_with(start), "{error_of_id}");
    assert!(error("[checks.zzz]").contains("catalog list"));
}

#[test]
fn values_out_of_range_are_named_with_their_line() {
    for (value, line) in
        [("0", 2), ("-5", 2), ("101", 2), ("'90'", 2), ("true", 2), ("nan", 2), ("1979-05-27", 2)]
    {
        let error = error(&format!("[checks.ACCOUNTS_001]\nwarn_percent = {value}"));
        assert!(error.starts_with(&format!("a.toml:{line}: ")) && error.contains("warn_percent"), "{error}");
    }
    let text = "[checks.ACCOUNTS_001]\n[[checks.ACCOUNTS_001.override]]\nmatch = { account = 'A' }\n\
                [[checks.ACCOUNTS_001.override]]\nmatch = { account = 'B' }\nwarn_percent = 0";
    assert!(error(text).starts_with("a.toml:6: check ACCOUNTS_001: warn_percent = 0"), "{}", error(text));
    assert!(error("[checks.ACCOUNTS_001]\nenabled = false\nwarn_percent = 0").starts_with("a.toml:3: "));
    assert!(error("epoch = '500ms'").starts_with("a.toml:1: `epoch`: \"500ms\" is out of range"));
    assert!(error("\nepoch = 30").starts_with("a.toml:2: `epoch` must be a text in quotes"));
    assert!(error("subject_prefix = 'a.>'").contains("wildcard"));
    assert!(
        error("[accounts.A]\nmax_connections = -1")
            .starts_with("a.toml:2: `max_connections` must be a whole")
    );
    assert!(
        error("[checks.ACCOUNTS_001]\nseverity = 'bad'").starts_with("a.toml:2: `severity` must be \"info\"")
    );
    assert!(error("[[checks.ACCOUNTS_001.override]]\nwarn_percent = 1").contains("needs a `match`"));
    for (key, value) in [("for", "0"), ("for", "1001"), ("keep", "-1"), ("keep", "'3'"), ("for", "1.5")] {
        let problem = format!("`{key}` must be a number of epochs from 1 to 1000");
        for text in [
            format!("[checks.ACCOUNTS_001]\n{key} = {value}"),
            format!("[[checks.ACCOUNTS_001.override]]\n{key} = {value}\nmatch = {{ account = 'A' }}"),
        ] {
            assert!(
                error(&text).starts_with("a.toml:2: ") && error(&text).contains(&problem),
                "{}",
                error(&text)
            );
        }
    }
    assert!(
        error("[[checks.ACCOUNTS_001.override]]\nmatch = { account = 'A' }\nwarn_percnt = 1")
            .ends_with("(known: warn_percent, match, enabled, severity, for, keep)")
    );
    assert!(error("[checks.ACCOUNTS_001]\noverride = 1").contains("[[checks.ACCOUNTS_001.override]]"));
    assert!(error("[checks.ACCOUNTS_001]\n[checks.accounts_001]").contains("configured twice"));
    assert!(error("[connection]\ntimeout = '0s'").starts_with("a.toml:2: `timeout`"));
    assert!(error("[connection]\ninbox_prefix = '_INBOX.>'").contains("wildcard"));
}

#[test]
fn no_error_repeats_a_secret() {
    for text in [
        "[connection]\npassword = hunter2",
        "[connection]\npassword = 'hunter2",
        "[connection]\npassword = 'hunter2' x",
        "[connection]\npassword = ['hunter2']",
        "[connection]\ntoken = { hunter2 = 'hunter2' }",
        "[connection]\nuser = ['hunter2']",
        "[connection]\nservers = 'nats://u:hunter2@h'",
        "[connection]\nservers = [ { a = 'hunter2' } ]",
        "[connection]\nnkey = ['hunter2']",
        "[connection]\npassword = 'hunter2'\npassword = 'hunter2'",
        "connection = 'hunter2'",
        "password = 'hunter2'",
        "[connection]\ntls_first = 'hunter2'",
    ] {
        let error = load(text).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.starts_with("a.toml:"), "{told}");
    }
}

#[test]
fn keys_of_the_connection_are_those_of_its_options() {
    use serde::Deserialize;
    let error = toml::from_str::<ConnectionOptions>("nothing = 1").unwrap_err();
    for key in connection::KEYS {
        assert!(error.message().contains(&format!("`{key}`")), "{key}");
    }
    assert_eq!(error.message().matches('`').count(), 2 * (connection::KEYS.len() + 1));
    assert!(ConnectionOptions::deserialize(toml::Table::new()).is_ok());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "epoch = '30s'\nsubject_prefix = 'file'\n[connection]\nuser = 'file'\npassword = 'p'\nservers = ['file']";
    let over = Overrides {
        epoch: Some(Duration::from_secs(5)),
        environment: ConnectionOptions { user: Some("token".into()), ..ConnectionOptions::default() },
        flags: ConnectionOptions { creds: Some("flag.creds".into()), ..ConnectionOptions::default() },
        ..Overrides::default()
    };
    let config = Config::assemble(file::parse(Path::new("a.toml"), file).unwrap(), over).unwrap();
    assert_eq!((config.epoch, config.subject_prefix.as_str()), (Duration::from_secs(5), "file"));
    assert_eq!(config.connection.creds.as_deref(), Some(Path::new("flag.creds")));
    assert_eq!((config.connection.user, config.connection.password), (None, None));
    assert_eq!(config.connection.servers, ["file"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.toml");
    let error = Config::load(Some(&missing), Overrides::default()).unwrap_err();
    assert!(error.to_string().ends_with("missing.toml does not exist"), "{error}");
    let error = Config::load(Some(dir.path()), Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    let latin = dir.path().join("latin.toml");
    std::fs::write(&latin, b"epoch = '1s'\n# \xe4\n").unwrap();
    let error = Config::load(Some(&latin), Overrides::default()).unwrap_err();
    assert!(error.to_string().ends_with("latin.toml:2: the configuration file is not UTF-8 text"), "{error}");
}

#[test]
fn accounts_are_counted_where_gateways_are_asked_for_theirs() {
    let others = catalogue().filter(|entry| !entry.meta.needs.contains(&Endpoint::GatewayAccounts));
    let off: String = others.map(|entry| format!("[checks.{}]\nenabled = false\n", entry.meta.id)).collect();
    let requests = load(&off).unwrap().requests();
    assert!(requests.contains(&Endpoint::GatewayAccounts) && requests.contains(&Endpoint::AccountStatz));
}
