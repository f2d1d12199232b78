//! What the agent's user may do at the least, and how that is written down for nats-server and for nsc.
//!
//! The requests are named one by one. A wider `$SYS.REQ.SERVER.*.*` would be shorter, but `RELOAD`, `KICK` and `LDM`
//! have the same shape, and with them a stolen user could take a system down; so do `UPDATE` and `DELETE` beside the claims
//! that are listed and looked up.

use crate::api;
use crate::config::{Config, SinkConfig};
use crate::election::AGENTS_SUBJECT;
use crate::snapshot::{Endpoint, Event};
use std::fmt::Write;

/// Subjects that a user is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// To publish on: requests, findings, and that the agent is there.
    pub publish: Vec<String>,
    /// To subscribe to: answers, events, other agents, and what they find.
    pub subscribe: Vec<String>,
    /// To subscribe to as well: what it is asked on. Without them it cannot be asked, and nothing else is lost. With any of
    /// them it must be allowed to answer.
    pub asked_on: Vec<String>,
}

impl Permissions {
    /// Those that the configuration needs.
    pub fn for_config(config: &Config) -> Self {
        let mut publish: Vec<String> = Vec::new();
        // Several requests have one subject.
        for subject in config.requests().into_iter().filter_map(Endpoint::subject) {
            if publish.iter().all(|known| known != subject) {
                publish.push(subject.to_owned());
            }
        }
        // Who am I, for the start-up self-test.
        publish.push("$SYS.REQ.USER.INFO".into());
        publish.push(format!("{}.>", config.subject_prefix));
        let mut subscribe = vec![format!("{}.>", config.connection.inbox_prefix())];
        subscribe.extend(Event::ALL.map(|event| event.subject().to_owned()));
        if config.election.enabled {
            publish.push(AGENTS_SUBJECT.into());
            subscribe.push(AGENTS_SUBJECT.into());
            // A standby hears what the leader finds.
            subscribe.push(format!("{}.>", config.subject_prefix));
        }
        let asked_on = if config.api.enabled { api::subjects() } else { Vec::new() };
        Self { publish, subscribe, asked_on }
    }

    /// Those of an agent without a configuration file.
    pub fn defaults() -> Self {
        Self::for_config(&Config::default())
    }

    /// Those of the sink's user. Where the stream and the buckets exist already, it needs neither `STREAM.CREATE`,
    /// `STREAM.NAMES` nor `INFO`.
    pub fn for_sink(config: &Config) -> Self {
        let default = SinkConfig::default();
        let sink = config.sink.as_ref().unwrap_or(&default);
        let SinkConfig { stream, bucket, connection, .. } = sink;
        let mut publish = vec![
            format!("{}.>", config.subject_prefix),
            format!("$KV.{bucket}.>"),
            format!("$JS.API.STREAM.INFO.{stream}"),
            format!("$JS.API.STREAM.INFO.KV_{bucket}"),
            format!("$JS.API.STREAM.CREATE.{stream}"),
            format!("$JS.API.STREAM.CREATE.KV_{bucket}"),
            "$JS.API.STREAM.NAMES".into(),
            "$JS.API.INFO".into(),
            // To find out whether a message arrived whose acknowledgement did not.
            format!("$JS.API.STREAM.MSG.GET.{stream}"),
            // To erase findings that ended long ago.
            format!("$JS.API.STREAM.PURGE.KV_{bucket}"),
            // To read the bucket, and the flow control of that.
            format!("$JS.API.CONSUMER.CREATE.KV_{bucket}"),
            format!("$JS.API.CONSUMER.CREATE.KV_{bucket}.>"),
            format!("$JS.FC.KV_{bucket}.>"),
        ];
        if config.election.enabled {
            // Which is read with every heartbeat.
            let lease = sink.lease_bucket();
            publish.extend([
                format!("$KV.{lease}.>"),
                format!("$JS.API.STREAM.INFO.KV_{lease}"),
                format!("$JS.API.STREAM.CREATE.KV_{lease}"),
                format!("$JS.API.DIRECT.GET.KV_{lease}.>"),
            ]);
        }
        let subscribe = vec![format!("{}.>", connection.inbox_prefix())];
        Self { publish, subscribe, asked_on: Vec::new() }
    }

    /// The same, for a user that is asked as well.
    #[must_use]
    pub fn asked(self) -> Self {
        Self { asked_on: api::subjects(), ..self }
    }

    /// Everything to subscribe to.
    pub fn subscriptions(&self) -> Vec<String> {
        self.subscribe.iter().chain(&self.asked_on).cloned().collect()
    }

    /// Whether the user answers requests, each once on the subject that the request names.
    pub const fn answers(&self) -> bool {
        !self.asked_on.is_empty()
    }

    /// A user of the system account with these permissions, as nats-server's configuration writes it.
    pub fn for_nats_server(&self, user: &str, account: &str) -> String {
        format!(
            "# The least-privilege user of insights-agent, for the system account. Put the user into the list that\n\
             # is there, and replace the password: `nats server passwd` makes a hash of one.\n{}\
             system_account: {}\n",
            self.account(user, account, ""),
            quoted(account)
        )
    }

    /// A user of an ordinary account with JetStream, as nats-server's configuration writes it.
    pub fn for_nats_server_sink(&self, user: &str, account: &str) -> String {
        format!(
            "# The least-privilege user of the sink of insights-agent, for an ordinary account with JetStream. Replace the\n\
             # password: `nats server passwd` makes a hash of one.\n{}",
            self.account(user, account, "    jetstream: enabled\n")
        )
    }

    fn account(&self, user: &str, account: &str, settings: &str) -> String {
        let mut text = format!(
            "accounts {{\n  {account} {{\n{settings}    users = [\n      {{\n        user: {user}\n        password: \
             \"REPLACE_ME\"\n        permissions {{\n",
            account = quoted(account),
            user = quoted(user),
        );
        for (verb, subjects) in [("publish", &self.publish), ("subscribe", &self.subscriptions())] {
            let _ = writeln!(text, "          {verb} {{\n            allow = [");
            for subject in subjects {
                let _ = writeln!(text, "              {}", quoted(subject));
            }
            let _ = writeln!(text, "            ]\n          }}");
        }
        if self.answers() {
            let _ = writeln!(text, "          allow_responses: true");
        }
        let _ = writeln!(text, "        }}\n      }}\n    ]\n  }}\n}}");
        text
    }

    /// The commands that make the user in operator mode.
    pub fn for_nsc(&self, user: &str, account: &str) -> String {
        let (user, account) = (in_shell(user), in_shell(account));
        let mut text = format!("nsc add user --account {account} --name {user}");
        for (flag, subjects) in [("--allow-pub", &self.publish), ("--allow-sub", &self.subscriptions())] {
            for subject in subjects {
                let _ = write!(text, " \\\n  {flag} {}", in_shell(subject));
            }
        }
        if self.answers() {
            text.push_str(" \\\n  --allow-pub-response");
        }
        let _ = writeln!(text, "\nnsc generate creds --account {account} --name {user} > {user}.creds");
        text
    }
}

/// A text in nats-server's configuration. In quotes, `$SYS` is no variable.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A word of a shell, in which `$`, `*` and `>` mean themselves.
fn in_shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ActiveChecks;

    #[test]
    fn accounts_checks_need_every_request_and_the_prefixes_of_the_configuration() {
        let mut config = Config { subject_prefix: "team.a".into(), ..Config::default() };
        config.checks.checks.retain(|check| check.entry.meta.id.starts_with("ACCOUNTS_"));
        config.connection.inbox_prefix = Some("_INBOX_A".into());
        let permissions = Permissions::for_config(&config);
        assert_eq!(
            permissions.publish,
            [
                "$SYS.REQ.SERVER.*.STATSZ",
                "$SYS.REQ.SERVER.*.VARZ",
                "$SYS.REQ.SERVER.*.CONNZ",
                "$SYS.REQ.ACCOUNT.*.STATZ",
                "$SYS.REQ.SERVER.*.ACCOUNTZ",
                "$SYS.REQ.ACCOUNT.*.CONNZ",
                "$SYS.REQ.SERVER.*.SUBSZ",
                "$SYS.REQ.CLAIMS.LIST",
                "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP",
                "$SYS.REQ.USER.INFO",
                "team.a.>",
                "insights.agents.*",
            ]
        );
        assert_eq!(permissions.subscribe[0], "_INBOX_A.>");
        assert_eq!(permissions.subscribe[5..], ["insights.agents.*", "team.a.>"]);
        // An agent that takes no notice of others needs neither.
        config.election.enabled = false;
        let permissions = Permissions::for_config(&config);
        assert!(!permissions.publish.iter().any(|subject| subject == "insights.agents.*"));
        assert_eq!(permissions.subscribe.len(), 5);
    }

    #[test]
    fn what_no_enabled_check_needs_is_not_allowed_and_nothing_that_changes_a_server_ever_is() {
        let none = ActiveChecks { checks: Vec::new(), disabled: 0 };
        let permissions = Permissions::for_config(&Config { checks: none, ..Config::default() });
        assert_eq!(
            permissions.publish,
            [
                "$SYS.REQ.SERVER.*.STATSZ",
                "$SYS.REQ.SERVER.*.VARZ",
                "$SYS.REQ.USER.INFO",
                "insights.checks.>",
                "insights.agents.*",
            ]
        );
        for subject in Permissions::for_config(&Config::default()).publish {
            let wide = subject.starts_with("$SYS") && (subject.ends_with('*') || subject.contains('>'));
            assert!(!wide, "{subject}");
        }
    }

    #[test]
    fn names_are_quoted_for_their_readers() {
        let permissions =
            Permissions { publish: vec!["$SYS.*.>".into()], subscribe: vec![], asked_on: vec![] };
        let text = permissions.for_nats_server("a\"b\\", "$SYS");
        assert!(text.contains(r#"user: "a\"b\\""#) && text.contains("  \"$SYS\" {"), "{text}");
        let text = permissions.for_nsc("it's", "SYS");
        assert!(text.starts_with(r"nsc add user --account SYS --name 'it'\''s' \"), "{text}");
        assert!(text.contains("--allow-pub '$SYS.*.>'") && !text.contains("response"), "{text}");
    }

    #[test]
    fn who_can_be_asked_must_be_allowed_to_answer_and_no_more() {
        let mut config = Config::default();
        let asked = Permissions::for_config(&config);
        assert!(asked.asked_on.contains(&"insights.api.>".to_owned()));
        let (file, nsc) = (asked.for_nats_server("a", "SYS"), asked.for_nsc("a", "SYS"));
        assert!(file.contains("\n          allow_responses: true\n") && nsc.contains("--allow-pub-response"));
        assert!(file.contains("\"$SRV.PING.insights.*\"") && nsc.contains("'$SRV.STATS'"), "{nsc}");
        config.api.enabled = false;
        let silent = Permissions::for_config(&config);
        assert!(!silent.for_nats_server("a", "SYS").contains("allow_responses"));
        assert_eq!((&silent.publish, &silent.subscribe), (&asked.publish, &asked.subscribe));
    }
}
