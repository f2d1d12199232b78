//! A complete configuration file with every default and what it means, written from the catalogue.

use super::sink::{PASSWORD_VARIABLE, SinkConfig};
use super::{DEFAULT_EPOCH, DEFAULT_GRACE, DEFAULT_SUBJECT_PREFIX, alertmanager};
use crate::check::Entry;
use crate::checks::catalogue;
use crate::connection::{DEFAULT_INBOX_PREFIX, DEFAULT_NAME, DEFAULT_SERVER, DEFAULT_TIMEOUT};
use std::fmt::Write;

/// The width of comments.
const WIDTH: usize = 96;

/// The file. It can be used as it stands and then changes nothing: what it sets are the defaults, and what has none
/// is commented out.
pub fn example() -> String {
    let mut text = head();
    for entry in catalogue() {
        check(&mut text, entry);
    }
    text
}

fn head() -> String {
    let epoch = humantime::format_duration(DEFAULT_EPOCH);
    let grace = humantime::format_duration(DEFAULT_GRACE);
    let timeout = humantime::format_duration(DEFAULT_TIMEOUT);
    let alertmanager_timeout = humantime::format_duration(alertmanager::DEFAULT_TIMEOUT);
    let SinkConfig { stream, bucket, replicas, max_age, max_bytes, storage, buffer, .. } =
        SinkConfig::default();
    let (max_age, storage) = (humantime::format_duration(max_age), storage.as_str());
    format!(
        r#"# Configuration of insights-agent. Everything that is set here is the default.
# A flag wins over the environment, the environment over this file, this file over the default.
# Durations are written like "30s", "5m" or "1h 30m". Unknown keys are errors.

# How often the system is looked at; whole seconds, at least 1s.
epoch = "{epoch}"

# The first tokens of the subjects on which findings are published.
subject_prefix = "{DEFAULT_SUBJECT_PREFIX}"

# A name for the whole NATS system; part of the identity of every finding. Default: the system account's key.
# system = "production"

# The agent's name. Default: the host's.
# name = "insights-1"

# How the log is written: "text" or "json".
log_format = "text"

# Where /metrics, /livez and /readyz are served over HTTP. Default: nowhere.
# listen = "127.0.0.1:7778"

# How to reach the system account. The options are those of the nats CLI.
[connection]
# Server URLs.
# servers = ["{DEFAULT_SERVER}"]
# One of these ways to log in. Files are read again at every connect.
# creds = "/etc/insights/system.creds"
# user = "insights"          # without a password, this is a token
# password = "..."           # better: NATS_PASSWORD in the environment
# token = "..."
# nkey = "/etc/insights/system.nk"
# TLS: client certificate and key, the authority to trust, and the handshake before the server's greeting.
# tls_cert = "/etc/insights/tls.crt"
# tls_key = "/etc/insights/tls.key"
# tls_ca = "/etc/insights/ca.crt"
tls_first = false
# A context of the nats CLI, which fills in what is not set here.
# context = "production-system"
# How long one attempt to connect may take. (A context's own value holds unless this is set.)
# timeout = "{timeout}"
# The first tokens of the subjects on which answers come back; the agent's user must be allowed to subscribe there.
# inbox_prefix = "{DEFAULT_INBOX_PREFIX}"
# The connection's name in the servers' lists of connections.
# name = "{DEFAULT_NAME}"

# What it costs to look. To list all connections is by far the most of it.
[gather]
# Which connections the servers list: "all"; "flagged", only those of accounts that use 70 % or more of a limit; "off".
# Checks that need those that are not listed are unknown.
connections = "all"

# Where alerts are sent: every open finding to every one of these Alertmanagers, in every epoch.
# [alertmanager]
# Their bases, with a path prefix where they have one. There is no default.
# urls = ["http://alertmanager:9093"]
# How long one request may take.
# timeout = "{alertmanager_timeout}"
# Labels that every alert gets beside its own.
# labels = {{ env = "production" }}
# A login, if one is asked for. The file with the password is read anew for each request.
# user = "insights"
# password_file = "/etc/insights/alertmanager.password"
#     or: password = "..."
#     or, without a user, a bearer token: token_file = "/etc/insights/alertmanager.token"
# The authority to trust (PEM) instead of the platform's.
# tls_ca = "/etc/insights/alertmanager-ca.crt"
# Whether the agent answers requests, as the micro service `insights` on insights.api.>.
[api]
enabled = true

# Limits of accounts that live in a server's configuration file, which the monitoring API does not show. Without
# them, checks of these limits are unknown for such accounts.
# [accounts.PRODUCTION]
# max_connections = 500
# max_subscriptions = 50000
# max_leafnodes = 10

# Where findings are kept with JetStream, over a connection of its own to an ordinary account: a stream of all messages,
# and a bucket with the last state of each finding. Without this table there is none. The keys of [connection] are
# known here too; nothing that is set there, in the environment or by flags holds here.
# [sink]
# servers = ["{DEFAULT_SERVER}"]
# creds = "/etc/insights/sink.creds"
# user = "insights-sink"
# password = "..."           # better: {PASSWORD_VARIABLE} in the environment
# What is missing is created with these settings; what exists is never altered, and it is told where it differs.
# stream = "{stream}"
# bucket = "{bucket}"
# replicas = {replicas}
# storage = "{storage}"           # or "memory"
# How long the stream keeps messages ("0s": for ever), and how many bytes of them (0: any number).
# max_age = "{max_age}"
# max_bytes = {max_bytes}
# Beginnings, changes and ends of findings that are kept while the sink cannot be reached; the oldest go first.
# buffer = {buffer}

# Servers that leave in order. What may be because of one does not begin for this long after it said so, nor for this
# long after it came back; "0s" switches that off.
[maintenance]
grace = "{grace}"

# Findings that are known and not to be published until a given time. Every pattern that is given must match, and `*`
# stands for any characters. Any of: check, severity, account, cluster, server, user, stream, entity.
# [[silence]]
# match = {{ check = "USER_002", account = "BATCH" }}
# reason = "the nightly import opens a connection for each file until it is rewritten"
# until = 2026-12-01T08:00:00Z

# Checks. Each can be disabled, and given another severity ("info", "warning", "critical"), which then holds for all of
# its findings. A finding begins when the bad state was seen in `for` epochs in a row, and ends when it was seen to be
# over in `keep` epochs in a row. All of that and the thresholds can be narrowed to some entities; the last override
# that matches holds, and `*` stands for any characters:
#
#     [[checks.ID.override]]
#     match = {{ account = "BATCH", user = "worker-*" }}    # also: cluster, server, stream
#     THRESHOLD = VALUE                                     # also: enabled, severity, for, keep
"#
    )
}

fn check(text: &mut String, entry: &Entry) {
    let meta = entry.meta;
    let _ = writeln!(text);
    comment(text, &format!("{}: {}", meta.name, meta.rule));
    let _ = writeln!(text, "[checks.{}]", meta.id);
    let _ = writeln!(text, "enabled = true");
    let _ = writeln!(text, "# severity = \"{}\"", meta.severity.as_str());
    let _ = writeln!(text, "for = {}", entry.for_epochs);
    let _ = writeln!(text, "keep = {}", entry.keep);
    for (key, default) in entry.defaults() {
        comment(text, &description(entry, &key));
        let value =
            toml::Value::try_from(&default).map_or_else(|_| default.to_string(), |value| value.to_string());
        let _ = writeln!(text, "{key} = {value}");
    }
}

/// What the documentation of a threshold says, as one paragraph.
pub(crate) fn description(entry: &Entry, key: &str) -> String {
    let schema = entry.thresholds_schema();
    let text = schema.pointer(&format!("/properties/{key}/description")).and_then(|text| text.as_str());
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _ = writeln!(text, "{line}");
    }
}
