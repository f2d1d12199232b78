//! Transcripts of the command line. `TRYCMD=overwrite cargo test --test cli` writes them anew.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

fn insights_agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insights-agent"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

#[test]
fn transcripts() {
    let cases = trycmd::TestCases::new();
    cases.case("tests/cmd/*.trycmd").env("HOSTNAME", "host");
    // What the developer's shell says about NATS must not be seen; an empty variable counts as none.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("NATS_") || name.starts_with("INSIGHTS_"))
    {
        cases.env(name, "");
    }
}

#[test]
fn nothing_prints_a_secret_of_the_environment() {
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["config", "show"],
        &["config", "show", "--config", "tests/cmd/config.in/sink.toml"],
        &["permissions"],
        &["permissions", "--sink", "--config", "tests/cmd/config.in/sink.toml"],
        &["check", "--timeout", "0s"],
        &["check", "--log-level", "trace", "--timeout", "200ms"],
    ] {
        let mut command = insights_agent(arguments);
        // Nothing listens there.
        command.env("NATS_URL", "nats://admin:hunter2@127.0.0.1:1").env("NATS_USER", "hunter2-token");
        command.env("INSIGHTS_SINK_PASSWORD", "hunter2-sink").current_dir(env!("CARGO_MANIFEST_DIR"));
        for password in [None, Some("hunter2")] {
            if let Some(password) = password {
                command.env("NATS_USER", "admin").env("NATS_PASSWORD", password);
            }
            let output = command.output().unwrap();
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(!told.is_empty() && !told.contains("hunter2"), "{arguments:?}: {told}");
        }
    }
}

#[test]
fn an_empty_variable_counts_as_none_and_credentials_of_a_flag_replace_those_of_the_environment() {
    let empty =
        insights_agent(&["config", "show"]).env("INSIGHTS_EPOCH", "").env("NATS_USER", "").output().unwrap();
    let shown = String::from_utf8(empty.stdout).unwrap();
    assert!(shown.contains("epoch = \"1m\"") && !shown.contains("user ="), "{shown}");

    let flag = insights_agent(&["config", "show", "--creds", "a.creds"])
        .env("NATS_USER", "admin")
        .env("NATS_PASSWORD", "hunter2")
        .env("INSIGHTS_EPOCH", "7s")
        .output()
        .unwrap();
    let shown = String::from_utf8(flag.stdout).unwrap();
    assert!(shown.contains("creds = \"a.creds\"") && shown.contains("epoch = \"7s\""), "{shown}");
    assert!(!shown.contains("user =") && !shown.contains("password"), "{shown}");
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    for arguments in [&["config", "example"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = insights_agent(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}
