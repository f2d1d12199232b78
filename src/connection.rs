//! How to reach a NATS system: plain data, as given by flags, the environment or the configuration file.
//!
//! Nothing here opens a file or a socket; [`crate::nats::connect`] does.

mod redact;
mod secret;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

pub use redact::redact_url;
pub use secret::Secret;

/// What is printed instead of a secret.
pub const REDACTED: &str = "[redacted]";

/// Where a NATS server listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// The inbox prefix unless told otherwise; its own name lets a system user be limited to it.
pub const DEFAULT_INBOX_PREFIX: &str = "_INBOX_INSIGHTS";

/// The connection's name in the servers' lists of connections unless told otherwise.
pub const DEFAULT_NAME: &str = "insights-agent";

/// How long one attempt to connect may take unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A user JWT and its seed written straight into a context of the `nats` CLI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserJwt {
    /// The user's JWT.
    pub jwt: Secret,
    /// The seed that signs the server's nonce.
    pub seed: Secret,
}

/// The options of a connection, those of the `nats` CLI. What is unset falls back to the context, then to the default.
///
/// As in the `nats` CLI, a `user` without a `password` is a token.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionOptions {
    /// Server URLs; each entry may itself be a comma-separated list.
    pub servers: Vec<String>,
    /// A credentials file (user JWT and seed), read again at every connect.
    pub creds: Option<PathBuf>,
    /// A user name; a token where no password is given.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// A file with an nkey seed, read again at every connect.
    pub nkey: Option<PathBuf>,
    /// The client certificate (PEM).
    pub tls_cert: Option<PathBuf>,
    /// The client certificate's private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// The certificate authority to trust (PEM) instead of the platform's.
    pub tls_ca: Option<PathBuf>,
    /// TLS handshake before the server's greeting, for servers with `handshake_first`.
    pub tls_first: bool,
    /// The name of a context of the `nats` CLI.
    pub context: Option<String>,
    /// How long one attempt to connect, or one question of the self-test, may take.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// The first tokens of the subjects on which answers are received.
    pub inbox_prefix: Option<String>,
    /// The connection's name in the servers' lists of connections.
    pub name: Option<String>,
    /// A JWT written into a context; no flag and no file key sets it.
    #[serde(skip)]
    pub user_jwt: Option<UserJwt>,
}

impl ConnectionOptions {
    /// These options with `over` on top: what `over` names wins.
    ///
    /// Credentials are replaced as a whole, so that a `--creds` on the command line does not meet the `user` of the
    /// file; a password alone completes the user it finds, and a user alone the password that has none.
    pub fn merge(mut self, over: Self) -> Self {
        if over.names_credentials() {
            let password_without_user = if self.user.is_none() { self.password } else { None };
            self.creds = over.creds;
            self.token = over.token;
            self.nkey = over.nkey;
            self.user_jwt = over.user_jwt;
            self.password = over.password.or(password_without_user.filter(|_| over.user.is_some()));
            self.user = over.user;
        } else {
            self.password = over.password.or(self.password);
        }
        if !over.servers.is_empty() {
            self.servers = over.servers;
        }
        // A certificate belongs to its key: half a pair from each layer could never match.
        if over.tls_cert.is_some() || over.tls_key.is_some() {
            self.tls_cert = over.tls_cert;
            self.tls_key = over.tls_key;
        }
        self.tls_ca = over.tls_ca.or(self.tls_ca);
        self.tls_first |= over.tls_first;
        self.context = over.context.or(self.context);
        self.timeout = over.timeout.or(self.timeout);
        self.inbox_prefix = over.inbox_prefix.or(self.inbox_prefix);
        self.name = over.name.or(self.name);
        self
    }

    fn names_credentials(&self) -> bool {
        self.creds.is_some()
            || self.user.is_some()
            || self.token.is_some()
            || self.nkey.is_some()
            || self.user_jwt.is_some()
    }

    /// The single server URLs, lists taken apart; the default server where none is given.
    pub fn server_urls(&self) -> Vec<String> {
        let urls: Vec<String> = self
            .servers
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(str::to_owned)
            .collect();
        if urls.is_empty() { vec![DEFAULT_SERVER.to_owned()] } else { urls }
    }

    /// How long one attempt to connect may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// The first tokens of the subjects on which answers are received.
    pub fn inbox_prefix(&self) -> &str {
        self.inbox_prefix.as_deref().unwrap_or(DEFAULT_INBOX_PREFIX)
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        de::Error::custom(format!("`{text}` is not a duration ({error}): write it like `5s` or `500ms`"))
    })
}

/// The options as they may be shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creds: &'a Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: &'a Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: &'a Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: &'a Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: &'a Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: &'a Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ca: &'a Option<PathBuf>,
    tls_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: &'a Option<String>,
    timeout: String,
    inbox_prefix: &'a str,
    name: &'a str,
}

impl<'a> From<&'a ConnectionOptions> for Shown<'a> {
    fn from(options: &'a ConnectionOptions) -> Self {
        // A user without a password is a token, and a token is a secret.
        let is_token = options.password.is_none();
        Self {
            servers: options.servers.iter().flat_map(|list| list.split(',')).map(redact_url).collect(),
            creds: &options.creds,
            user: options.user.as_deref().map(|user| if is_token { REDACTED } else { user }),
            password: &options.password,
            token: &options.token,
            nkey: &options.nkey,
            tls_cert: &options.tls_cert,
            tls_key: &options.tls_key,
            tls_ca: &options.tls_ca,
            tls_first: options.tls_first,
            context: &options.context,
            timeout: humantime::format_duration(options.timeout()).to_string(),
            inbox_prefix: options.inbox_prefix(),
            name: options.name(),
        }
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Shown::from(self), f)
    }
}

impl Serialize for ConnectionOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::from(self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<ConnectionOptions, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn an_empty_table_gives_the_defaults() {
        let options = parse("").unwrap();
        assert_eq!(options, ConnectionOptions::default());
        assert_eq!(options.server_urls(), ["nats://127.0.0.1:4222"]);
        assert_eq!(options.timeout(), Duration::from_secs(5));
        assert_eq!(options.inbox_prefix(), "_INBOX_INSIGHTS");
        assert_eq!(options.name(), "insights-agent");
    }

    #[test]
    fn unknown_keys_and_bad_durations_are_refused() {
        assert!(parse("serves = []").unwrap_err().message().contains("unknown field `serves`"));
        assert!(parse("user_jwt = 'x'").unwrap_err().message().contains("unknown field"));
        let error = parse("timeout = 'soon'").unwrap_err();
        assert!(error.message().contains("`soon` is not a duration"), "{error}");
        assert_eq!(parse("timeout = '1m 30s'").unwrap().timeout(), Duration::from_secs(90));
    }

    #[test]
    fn lists_of_servers_are_taken_apart() {
        let options = parse("servers = ['nats://a:1, b', 'tls://c', '']").unwrap();
        assert_eq!(options.server_urls(), ["nats://a:1", "b", "tls://c"]);
    }

    #[test]
    fn credentials_are_replaced_as_a_whole() {
        let file = parse("user = 'u'\npassword = 'p'\ntls_ca = 'ca.pem'\nservers = ['a']").unwrap();
        let flags = parse("creds = 'c.creds'\ntls_first = true").unwrap();
        let both = file.clone().merge(flags);
        assert_eq!((both.creds, both.user, both.password), (Some("c.creds".into()), None, None));
        assert_eq!((both.tls_ca, both.tls_first), (Some("ca.pem".into()), true));
        assert_eq!(both.servers, ["a"]);

        let changed = file.clone().merge(parse("password = 'q'\nservers = ['b']").unwrap());
        assert_eq!((changed.user, changed.password), (Some("u".into()), Some("q".into())));
        assert_eq!(changed.servers, ["b"]);

        let token = file.merge(parse("user = 't'").unwrap());
        assert_eq!((token.user, token.password), (Some("t".into()), None));

        let completed = parse("password = 'p'").unwrap().merge(parse("user = 'u'").unwrap());
        assert_eq!((completed.user, completed.password), (Some("u".into()), Some("p".into())));
    }

    #[test]
    fn nothing_that_is_shown_holds_a_secret() {
        let toml = "servers = ['nats://u:hush1@h:4222,nats://hush2@g']\nuser = 'hush3'\ntoken = 'hush4'";
        for options in [parse(toml).unwrap(), parse("user = 'visible'\npassword = 'hush5'").unwrap()] {
            let shown = format!("{options:?} {}", toml::to_string(&options).unwrap());
            assert!(!shown.contains("hush"), "{shown}");
            assert!(shown.contains("visible") || shown.contains("nats://[redacted]@h:4222"), "{shown}");
        }
    }
}
