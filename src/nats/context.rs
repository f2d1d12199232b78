//! Contexts of the `nats` CLI: named sets of connection options in the user's configuration directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::connection::{ConnectionOptions, Secret, UserJwt};

/// A context that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The name would lead out of the directory of contexts.
    #[error("`{name}` is not a context name: it must not be empty or hold `..`, `/` or `\\`")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// Neither XDG_CONFIG_HOME nor HOME is set.
    #[error("cannot look for context `{name}`: set HOME or XDG_CONFIG_HOME")]
    NoHome {
        /// The context's name.
        name: String,
    },
    /// There is no such file.
    #[error("context `{name}` does not exist: there is no {}; {}", path.display(), known_contexts(known))]
    Missing {
        /// The context's name.
        name: String,
        /// Where it would be.
        path: PathBuf,
        /// The contexts that exist.
        known: Vec<String>,
    },
    /// The file cannot be read.
    #[error("cannot read context `{name}` from {}: {reason}", path.display())]
    Unreadable {
        /// The context's name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file is not a context.
    #[error("context `{name}` in {} is not valid at line {line}: write it anew with `nats context edit`", path.display())]
    Malformed {
        /// The context's name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Where the fault is.
        line: usize,
    },
    /// The context asks for something this agent does not do.
    #[error("context `{name}` uses {feature}, which is not supported: {instead}")]
    Unsupported {
        /// The context's name.
        name: String,
        /// The key of the context.
        feature: String,
        /// What to do.
        instead: &'static str,
    },
}

fn known_contexts(known: &[String]) -> String {
    if known.is_empty() {
        "no contexts exist there, create one with `nats context add`".to_owned()
    } else {
        format!("the contexts there are {}", known.join(", "))
    }
}

/// What of the environment decides where contexts lie and how paths in them expand.
pub struct Environment<'a> {
    /// Gives a variable's value.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'static> {
    /// The process's own environment.
    pub fn process() -> Self {
        Self { variable: &|name| std::env::var_os(name) }
    }
}

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn contexts(&self) -> Option<PathBuf> {
        let parent = match self.get("XDG_CONFIG_HOME") {
            Some(config) => PathBuf::from(config),
            None => Path::new(&self.get("HOME")?).join(".config"),
        };
        Some(parent.join("nats").join("context"))
    }
}

/// The keys that are used. Others are the CLI's own (colours, JetStream prefixes), and it keeps adding some.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: String,
    user: String,
    password: Secret,
    token: Secret,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    inbox_prefix: String,
    user_jwt: Secret,
    user_seed: Secret,
    nsc: String,
    socks_proxy: String,
    windows_cert_store: String,
    windows_cert_match: String,
    windows_cert_match_by: String,
    windows_ca_certs_match: Vec<String>,
}

/// The options of the context they name, with the options themselves on top; unchanged where they name none. The result
/// names no context any more.
pub fn apply(
    options: &ConnectionOptions,
    environment: &Environment<'_>,
) -> Result<ConnectionOptions, ContextError> {
    match &options.context {
        None => Ok(options.clone()),
        Some(name) => {
            let explicit = ConnectionOptions { context: None, ..options.clone() };
            Ok(load(name, environment)?.merge(explicit))
        }
    }
}

fn load(name: &str, environment: &Environment<'_>) -> Result<ConnectionOptions, ContextError> {
    if name.is_empty() || name.contains("..") || name.contains(['/', '\\', '\0']) {
        return Err(ContextError::BadName { name: name.to_owned() });
    }
    let directory = environment.contexts().ok_or_else(|| ContextError::NoHome { name: name.to_owned() })?;
    let path = directory.join(format!("{name}.json"));
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ContextError::Missing { name: name.to_owned(), path, known: known(&directory) });
        }
        Err(error) => {
            return Err(ContextError::Unreadable { name: name.to_owned(), path, reason: error.to_string() });
        }
    };
    // Only the line is kept of the parser's error: its text may quote a value, and the value may be a password.
    let file: File = serde_json::from_slice(&text).map_err(|error| ContextError::Malformed {
        name: name.to_owned(),
        path,
        line: error.line(),
    })?;
    file.into_options(name, environment)
}

fn known(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

impl File {
    fn into_options(
        self,
        name: &str,
        environment: &Environment<'_>,
    ) -> Result<ConnectionOptions, ContextError> {
        self.refuse_unsupported(name)?;
        let path =
            |text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| expand(text, environment));
        let user_jwt = match (self.user_jwt.expose(), self.user_seed.expose()) {
            ("", _) | (_, "") => None,
            _ => Some(UserJwt { jwt: self.user_jwt, seed: self.user_seed }),
        };
        let named = |secret: Secret| Some(secret).filter(|secret| !secret.expose().is_empty());
        Ok(ConnectionOptions {
            servers: Some(self.url).filter(|url| !url.is_empty()).into_iter().collect(),
            creds: path(&self.creds),
            nkey: path(&self.nkey),
            tls_cert: path(&self.cert),
            tls_key: path(&self.key),
            tls_ca: path(&self.ca),
            tls_first: self.tls_first,
            // In a context, unlike on the command line, a user without a password is no token.
            password: if self.user.is_empty() { None } else { Some(self.password) },
            user: Some(self.user).filter(|user| !user.is_empty()),
            token: named(self.token),
            inbox_prefix: Some(self.inbox_prefix).filter(|prefix| !prefix.is_empty()),
            user_jwt,
            ..ConnectionOptions::default()
        })
    }

    fn refuse_unsupported(&self, name: &str) -> Result<(), ContextError> {
        let refuse = |feature: &str, instead| {
            Err(ContextError::Unsupported { name: name.to_owned(), feature: feature.to_owned(), instead })
        };
        let windows = [&self.windows_cert_store, &self.windows_cert_match, &self.windows_cert_match_by];
        if !self.nsc.is_empty() {
            return refuse(
                "nsc",
                "write the credentials to a file with `nsc generate creds` and give it as creds",
            );
        }
        if !self.socks_proxy.is_empty() {
            return refuse("socks_proxy", "connect to a server that is reachable directly");
        }
        if windows.iter().any(|value| !value.is_empty()) || !self.windows_ca_certs_match.is_empty() {
            return refuse("the Windows certificate store", "give cert, key and ca as PEM files");
        }
        if !self.user_jwt.expose().is_empty() && self.user_seed.expose().is_empty() {
            return refuse("user_jwt without user_seed", "give a credentials file as creds");
        }
        let references = [
            self.creds.as_str(),
            &self.nkey,
            self.password.expose(),
            self.token.expose(),
            self.user_jwt.expose(),
        ];
        for reference in references {
            for scheme in ["nsc", "op", "env", "data"] {
                if reference.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')) {
                    return refuse(
                        &format!("a {scheme}: reference"),
                        "write the credentials to a file and name it",
                    );
                }
            }
        }
        Ok(())
    }
}

/// A path of a context as the CLI expands it: `file://`, a leading `~`, `$NAME` and `${NAME}`.
fn expand(text: &str, environment: &Environment<'_>) -> PathBuf {
    let text = text.strip_prefix("file://").unwrap_or(text);
    let mut rest = text;
    let mut out = OsString::new();
    if let Some(below) = text.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/')) {
        out.push(environment.get("HOME").unwrap_or_else(|| "~".into()));
        rest = below;
    }
    while let Some((before, after)) = rest.split_once('$') {
        out.push(before);
        let (name, tail) = variable(after);
        if name.is_empty() {
            out.push("$");
        } else {
            out.push(environment.get(name).unwrap_or_default());
        }
        rest = tail;
    }
    out.push(rest);
    PathBuf::from(out)
}

/// The name behind a `$`, and what follows it.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, tail)) = text.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (name, tail);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests;
