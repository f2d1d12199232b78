//! The `[alertmanager]` table: where alerts are sent. No error here repeats a URL with a password or a secret.

use super::tree::{Key, Node, Source, in_order, name};
use super::{ConfigError, value};
use crate::connection::Secret;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

const KEYS: &[&str] =
    &["urls", "timeout", "labels", "user", "password", "password_file", "token_file", "tls_ca"];

/// How long one request may take unless told otherwise.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many there may be: each has a queue of its own.
const MOST_URLS: usize = 16;

/// Labels that alerts have of their own.
pub const OWN_LABELS: &[&str] = &[
    "alertname",
    "check",
    "severity",
    "category",
    "kind",
    "system",
    "entity_type",
    "entity",
    "account",
    "cluster",
    "server",
    "user",
    "fingerprint",
];

/// Where alerts are sent, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alertmanager {
    /// The base of each instance, without `/api/v2/alerts` and without a slash at its end; every one gets everything.
    pub urls: Vec<String>,
    /// How long one request may take.
    #[serde(serialize_with = "humane")]
    pub timeout: Duration,
    /// Labels that every alert gets beside its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who it is that sends.
    #[serde(flatten)]
    pub login: Login,
    /// The certificate authority to trust (PEM) instead of the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
}

/// Who it is that sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Login {
    /// A user and a password of the configuration.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A user, and a file with the password that is read for each request.
    PasswordFile {
        /// The user.
        user: String,
        /// The file.
        password_file: PathBuf,
    },
    /// A file with a bearer token that is read for each request.
    TokenFile {
        /// The file.
        token_file: PathBuf,
    },
    /// Nobody in particular.
    Nobody {},
}

fn humane<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// The keys of the table as they are written.
#[derive(Default)]
struct Written {
    urls: Vec<String>,
    timeout: Option<Duration>,
    labels: BTreeMap<String, String>,
    user: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
}

/// Reads the table.
pub(super) fn read<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<Alertmanager, ConfigError> {
    let mut written = Written::default();
    let table = key;
    for (key, node) in in_order(source.table(key, node)?) {
        let text = || source.text(key, node).map(str::to_owned);
        let problem = |problem: String| source.error(key.span(), format!("{}: {problem}", name(key)));
        match key.get_ref().as_ref() {
            "urls" => written.urls = urls(source, key, node)?,
            "timeout" => written.timeout = Some(value::timeout(&text()?).map_err(problem)?),
            "labels" => written.labels = labels(source, key, node)?,
            "user" => written.user = Some(user(&text()?).map_err(problem)?),
            "password" => written.password = Some(text()?.into()),
            "password_file" => written.password_file = Some(text()?.into()),
            "token_file" => written.token_file = Some(text()?.into()),
            "tls_ca" => written.tls_ca = Some(text()?.into()),
            _ => return Err(source.unknown(key, "in [alertmanager]", KEYS)),
        }
    }
    let whole = |problem: &str| source.error(table.span(), format!("[alertmanager] {problem}"));
    let Written { urls, timeout, labels, user, password, password_file, token_file, tls_ca } = written;
    if urls.is_empty() {
        return Err(whole("needs `urls`, like [\"http://alertmanager:9093\"]"));
    }
    let login = match (user, password, password_file, token_file) {
        (None, None, None, None) => Login::Nobody {},
        (None, None, None, Some(token_file)) => Login::TokenFile { token_file },
        (Some(user), Some(password), None, None) => Login::Password { user, password },
        (Some(user), None, Some(password_file), None) => Login::PasswordFile { user, password_file },
        (Some(_), None, None, None) => {
            return Err(whole("has a `user` without `password` or `password_file`"));
        }
        (None, _, _, None) => return Err(whole("has a password without a `user`")),
        _ => return Err(whole("takes one of `password`, `password_file` and `token_file`, not several")),
    };
    Ok(Alertmanager { urls, timeout: timeout.unwrap_or(DEFAULT_TIMEOUT), labels, login, tls_ca })
}

fn urls<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Vec<String>, ConfigError> {
    let wrong = |problem: &str| source.error(key.span(), format!("{} {problem}", name(key)));
    let expected = "must be a list of texts in quotes, like [\"http://alertmanager:9093\"]";
    let DeValue::Array(items) = node.get_ref() else {
        return Err(wrong(expected));
    };
    let mut urls: Vec<String> = Vec::new();
    for item in items.iter() {
        let DeValue::String(text) = item.get_ref() else {
            return Err(wrong(expected));
        };
        let url =
            url(text).map_err(|problem| source.error(item.span(), format!("{}: {problem}", name(key))))?;
        if urls.contains(&url) {
            return Err(
                source.error(item.span(), format!("{} names {} twice", name(key), value::shown(&url)))
            );
        }
        urls.push(url);
    }
    if urls.len() > MOST_URLS {
        return Err(wrong(&format!("names more than {MOST_URLS} instances")));
    }
    Ok(urls)
}

/// Reads the base of an instance: scheme, host, port and a path prefix.
fn url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    // Before anything that repeats the text.
    if rest.contains('@') {
        return Err("a URL holds a user; write it as `user` and `password_file` instead".into());
    }
    let problem = if !matches!(scheme, "http" | "https") {
        "does not begin with http:// or https://"
    } else if host.is_empty() || host.starts_with(':') {
        "names no host"
    } else if text.contains(['?', '#']) {
        "has a query or a fragment"
    } else if text.contains(|c: char| !c.is_ascii_graphic()) {
        "has white space or a character that is not ASCII"
    } else if text.trim_end_matches('/').ends_with("/api/v2/alerts") {
        "names the API; leave out /api/v2/alerts"
    } else if !port_is_sound(host) {
        "has a port that is none"
    } else {
        return Ok(text.trim_end_matches('/').to_owned());
    };
    Err(format!("{} is no base of an Alertmanager: it {problem}", value::shown(text)))
}

fn port_is_sound(host: &str) -> bool {
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    match after_address.rsplit_once(':') {
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => true,
    }
}

fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
        // Basic authentication ends the user at the first colon.
        return Err(format!(
            "{} is no user: it is empty, or has a colon or a control character",
            value::shown(text)
        ));
    }
    Ok(text.into())
}

fn labels<'i>(
    source: Source<'i>,
    key: &Key<'i>,
    node: &Node<'i>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut labels = BTreeMap::new();
    for (key, node) in in_order(source.table(key, node)?) {
        let label = key.get_ref().as_ref();
        let mut chars = label.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let problem = format!("{} is no label: letters, digits and `_`, and no digit first", name(key));
            return Err(source.error(key.span(), problem));
        }
        if OWN_LABELS.contains(&label) {
            return Err(source.error(key.span(), format!("alerts have a label {} of their own", name(key))));
        }
        labels.insert(label.to_owned(), source.text(key, node)?.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, file, show};
    use super::*;
    use std::path::Path;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::assemble(file::parse(Path::new("a.toml"), text)?, Overrides::default())
    }

    fn read(text: &str) -> Alertmanager {
        load(&format!("[alertmanager]\n{text}")).unwrap().alertmanager.unwrap()
    }

    #[track_caller]
    fn error(text: &str) -> String {
        load(&format!("[alertmanager]\n{text}")).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read_and_shown_again() {
        assert_eq!(load("").unwrap().alertmanager, None);
        let least = read("urls = ['http://a:9093/']");
        assert_eq!(
            (least.urls, least.timeout, least.login),
            (vec!["http://a:9093".into()], DEFAULT_TIMEOUT, Login::Nobody {})
        );
        let text = "urls = ['https://a/am/', 'http://[::1]:9093']\ntimeout = '2s'\nlabels = { env = 'prod' }\n\
                    user = 'u'\npassword_file = '/p'\ntls_ca = '/ca.pem'";
        let whole = read(text);
        assert_eq!(whole.urls, ["https://a/am", "http://[::1]:9093"]);
        assert_eq!(whole.labels["env"], "prod");
        assert_eq!(whole.login, Login::PasswordFile { user: "u".into(), password_file: "/p".into() });
        let shown = show(&load(&format!("[alertmanager]\n{text}")).unwrap()).unwrap();
        assert_eq!(load(&shown).unwrap().alertmanager, Some(whole));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        assert_eq!(
            error("timeout = '1s'"),
            "a.toml:1: [alertmanager] needs `urls`, like [\"http://alertmanager:9093\"]"
        );
        assert!(
            error("url = 'http://a'")
                .starts_with("a.toml:2: unknown key `url` in [alertmanager]; did you mean `urls`?")
        );
        for bad in [
            "a:9093",
            "ftp://a",
            "http://",
            "http://:9093",
            "http://a b",
            "http://a/?x",
            "http://a/api/v2/alerts",
            "http://a:0",
            "http://a:x",
            "http://[::1]:99999",
        ] {
            assert!(error(&format!("urls = ['{bad}']")).contains("is no base of an Alertmanager"), "{bad}");
        }
        assert!(error("urls = 'http://a'").contains("must be a list"));
        assert!(error("urls = ['http://a', 'http://a/']").contains("twice"));
        assert!(error("urls = ['http://a']\nlabels = { severity = 'x' }").contains("of their own"));
        assert!(error("urls = ['http://a']\nlabels = { '1x' = 'x' }").contains("is no label"));
        assert!(error("urls = ['http://a']\nlabels = { x = 1 }").contains("in quotes"));
        assert!(error("urls = ['http://a']\nuser = 'u'").contains("without `password`"));
        assert!(error("urls = ['http://a']\npassword_file = 'p'").contains("without a `user`"));
        assert!(
            error("urls = ['http://a']\nuser = 'u'\npassword_file = 'p'\ntoken_file = 't'")
                .contains("not several")
        );
        assert!(error("urls = ['http://a']\nuser = 'a:b'\npassword_file = 'p'").contains("is no user"));
    }

    #[test]
    fn nothing_that_is_shown_or_told_holds_a_secret() {
        let config = load("[alertmanager]\nurls = ['http://a']\nuser = 'u'\npassword = 'hunter2'").unwrap();
        let shown = format!("{} {config:?}", show(&config).unwrap());
        assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
        for text in [
            "urls = ['http://u:hunter2@a']",
            "urls = ['http://a']\npassword = 'hunter2'",
            "password = ['hunter2']",
        ] {
            assert!(!error(text).contains("hunter2"), "{}", error(text));
        }
    }
}
