//! The text of nats-server configuration files: a server, its cluster, gateways and leafnodes, and who may log in.
//!
//! Everything listens on 127.0.0.1 only; HTTP monitoring and, unless asked for, JetStream are off.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

const HOST: &str = "127.0.0.1";

/// One server's configuration; written out with `to_string` it is the file.
#[derive(Debug, Clone)]
pub struct ServerConf {
    /// The server's name, unique in the system.
    pub name: String,
    /// Client port; -1 lets the server choose.
    pub port: i32,
    /// Most client connections; `None` leaves the server's default of 65,536.
    pub max_connections: Option<i64>,
    /// The cluster the server belongs to.
    pub cluster: Option<ClusterConf>,
    /// The super-cluster that the cluster belongs to.
    pub gateway: Option<GatewayConf>,
    /// Port for leafnodes.
    pub leafnode_port: Option<u16>,
    /// Hubs that this server, as a leafnode, connects to.
    pub leafnode_remotes: Vec<LeafRemote>,
    /// Where JetStream stores; `None` leaves it off.
    pub jetstream: Option<PathBuf>,
    /// Accounts and users.
    pub access: Access,
    /// Where the resolver of operator mode keeps the JWTs of all accounts, those that `access` names to begin with; `None`
    /// for one in memory.
    pub resolver_dir: Option<PathBuf>,
    /// Lines added as they are.
    pub extra: String,
}

impl ServerConf {
    /// A single server, without cluster or anything else.
    pub fn new(name: &str, port: i32, access: Access) -> Self {
        Self {
            name: name.to_owned(),
            port,
            max_connections: None,
            cluster: None,
            gateway: None,
            leafnode_port: None,
            leafnode_remotes: Vec::new(),
            jetstream: None,
            access,
            resolver_dir: None,
            extra: String::new(),
        }
    }
}

/// Routes between the servers of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConf {
    /// The cluster's name.
    pub name: String,
    /// The port this server accepts routes on.
    pub port: u16,
    /// Route ports of the cluster's servers; the server's own may be among them.
    pub routes: Vec<u16>,
}

/// Gateways between clusters.
#[derive(Debug, Clone)]
pub struct GatewayConf {
    /// The name of this server's cluster, as gateways know it.
    pub name: String,
    /// The port this server accepts gateways on.
    pub port: u16,
    /// The clusters of the super-cluster with their servers' gateway ports; the own one may be among them.
    pub remotes: Vec<(String, Vec<u16>)>,
}

/// The hub of a leafnode.
#[derive(Debug, Clone)]
pub struct LeafRemote {
    /// The hub's leafnode port.
    pub port: u16,
    /// The local account that is bound to the hub's account; `None` is the global account.
    pub account: Option<String>,
    /// How the leafnode proves who it is.
    pub login: LeafLogin,
}

/// A leafnode's proof of identity.
#[derive(Debug, Clone)]
pub enum LeafLogin {
    /// A credentials file.
    Credentials(PathBuf),
    /// User and password; characters that a URL would take apart are escaped.
    Password(String, String),
}

/// Accounts and users: where the server takes them from.
#[derive(Debug, Clone)]
pub enum Access {
    /// Nowhere: everybody may come in, and the system account is the server's own `$SYS`, without any user.
    Open,
    /// Operator mode, with a memory resolver unless the server says otherwise.
    Operator {
        /// The operator's JWT.
        operator_jwt: String,
        /// Public key of the system account.
        system_account: String,
        /// Public keys and JWTs of all accounts, the system account included.
        preload: Vec<(String, String)>,
    },
    /// The accounts are written in the configuration file itself.
    File {
        /// Name of the system account, which must be one of `accounts`.
        system_account: String,
        /// All accounts.
        accounts: Vec<FileAccount>,
    },
}

/// An account of a configuration file.
#[derive(Debug, Clone, Default)]
pub struct FileAccount {
    /// The account's name, which is also its id.
    pub name: String,
    /// Its users.
    pub users: Vec<FileUser>,
    /// Most client connections, summed over the whole system.
    pub max_connections: Option<i64>,
    /// Most subscriptions of a connection.
    pub max_subscriptions: Option<i64>,
    /// Most leafnode connections.
    pub max_leafnodes: Option<i64>,
    /// Largest message in bytes.
    pub max_payload: Option<i64>,
    /// Whether the account may use JetStream.
    pub jetstream: bool,
    /// Streams shown to other accounts.
    pub exports: Vec<FileExport>,
    /// Streams taken from other accounts: account and subject.
    pub imports: Vec<(String, String)>,
}

/// A stream that an account of a configuration file shows to others.
#[derive(Debug, Clone, Default)]
pub struct FileExport {
    /// The subject.
    pub subject: String,
    /// The token of it, counted from 1, that must name the importing account.
    pub account_token_position: Option<u32>,
    /// The accounts that may import it; empty for all.
    pub accounts: Vec<String>,
}

/// A user of a configuration file.
#[derive(Debug, Clone, Default)]
pub struct FileUser {
    /// The user's name.
    pub user: String,
    /// The password, in clear: these are throwaway users.
    pub password: String,
    /// Subjects the user may publish to; empty allows all.
    pub publish: Vec<String>,
    /// Subjects the user may subscribe to; empty allows all.
    pub subscribe: Vec<String>,
    /// Whether the user may answer requests beside what it may publish to, each once within two minutes.
    pub responses: bool,
}

impl Display for ServerConf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "server_name: {}", quote(&self.name))?;
        writeln!(f, "listen: \"{HOST}:{}\"", self.port)?;
        if let Some(most) = self.max_connections {
            writeln!(f, "max_connections: {most}")?;
        }
        if let Some(dir) = &self.jetstream {
            writeln!(f, "jetstream {{ store_dir: {} }}", quote(&dir.to_string_lossy()))?;
        }
        if let Some(cluster) = &self.cluster {
            cluster.fmt(f)?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.fmt(f)?;
        }
        if self.leafnode_port.is_some() || !self.leafnode_remotes.is_empty() {
            writeln!(f, "leafnodes {{")?;
            if let Some(port) = self.leafnode_port {
                writeln!(f, "  listen: \"{HOST}:{port}\"")?;
            }
            if !self.leafnode_remotes.is_empty() {
                writeln!(f, "  remotes: [")?;
                for remote in &self.leafnode_remotes {
                    writeln!(f, "    {remote}")?;
                }
                writeln!(f, "  ]")?;
            }
            writeln!(f, "}}")?;
        }
        self.access.write(f, self.resolver_dir.as_deref())?;
        f.write_str(&self.extra)
    }
}

impl Display for ClusterConf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster {{\n  name: {}\n  listen: \"{HOST}:{}\"", quote(&self.name), self.port)?;
        writeln!(f, "  routes: [{}]\n}}", urls(&self.routes))
    }
}

impl Display for GatewayConf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "gateway {{\n  name: {}\n  listen: \"{HOST}:{}\"\n  gateways: [",
            quote(&self.name),
            self.port
        )?;
        for (name, ports) in &self.remotes {
            writeln!(f, "    {{ name: {}, urls: [{}] }}", quote(name), urls(ports))?;
        }
        writeln!(f, "  ]\n}}")
    }
}

impl Display for LeafRemote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.login {
            LeafLogin::Credentials(path) => write!(
                f,
                "{{ url: \"nats://{HOST}:{}\", credentials: {}",
                self.port,
                quote(&path.to_string_lossy())
            )?,
            LeafLogin::Password(user, password) => write!(
                f,
                "{{ url: \"nats://{}:{}@{HOST}:{}\"",
                percent_encode(user),
                percent_encode(password),
                self.port
            )?,
        }
        if let Some(account) = &self.account {
            write!(f, ", account: {}", quote(account))?;
        }
        f.write_str(" }")
    }
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

impl Access {
    fn write(&self, f: &mut Formatter<'_>, resolver_dir: Option<&Path>) -> fmt::Result {
        match self {
            Self::Open => Ok(()),
            Self::Operator { operator_jwt, system_account, preload } => {
                writeln!(f, "operator: {}", quote(operator_jwt))?;
                writeln!(f, "system_account: {}", quote(system_account))?;
                match resolver_dir {
                    None => writeln!(f, "resolver: MEMORY")?,
                    Some(dir) => {
                        writeln!(f, "resolver {{ type: full, dir: {} }}", quote(&dir.to_string_lossy()))?
                    }
                }
                writeln!(f, "resolver_preload {{")?;
                for (key, jwt) in preload {
                    writeln!(f, "  {}: {}", quote(key), quote(jwt))?;
                }
                writeln!(f, "}}")
            }
            Self::File { system_account, accounts } => {
                writeln!(f, "system_account: {}\naccounts {{", quote(system_account))?;
                for account in accounts {
                    account.fmt(f)?;
                }
                writeln!(f, "}}")
            }
        }
    }
}

impl Display for FileAccount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} {{\n    users: [", quote(&self.name))?;
        for user in &self.users {
            writeln!(f, "      {user}")?;
        }
        writeln!(f, "    ]")?;
        let limits = [
            ("max_connections", self.max_connections),
            ("max_subscriptions", self.max_subscriptions),
            ("max_leafnodes", self.max_leafnodes),
            ("max_payload", self.max_payload),
        ];
        if limits.iter().any(|(_, limit)| limit.is_some()) {
            writeln!(f, "    limits {{")?;
            for (key, limit) in limits {
                if let Some(limit) = limit {
                    writeln!(f, "      {key}: {limit}")?;
                }
            }
            writeln!(f, "    }}")?;
        }
        if self.jetstream {
            writeln!(f, "    jetstream: enabled")?;
        }
        if !self.exports.is_empty() {
            writeln!(f, "    exports: [")?;
            for export in &self.exports {
                write!(f, "      {{ stream: {}", quote(&export.subject))?;
                if let Some(position) = export.account_token_position {
                    write!(f, ", account_token_position: {position}")?;
                }
                if !export.accounts.is_empty() {
                    write!(f, ", accounts: [{}]", list(&export.accounts))?;
                }
                writeln!(f, " }}")?;
            }
            writeln!(f, "    ]")?;
        }
        if !self.imports.is_empty() {
            writeln!(f, "    imports: [")?;
            for (account, subject) in &self.imports {
                let (account, subject) = (quote(account), quote(subject));
                writeln!(f, "      {{ stream: {{ account: {account}, subject: {subject} }} }}")?;
            }
            writeln!(f, "    ]")?;
        }
        writeln!(f, "  }}")
    }
}

impl Display for FileUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{ user: {}, password: {}", quote(&self.user), quote(&self.password))?;
        if !self.publish.is_empty() || !self.subscribe.is_empty() {
            writeln!(f, ", permissions: {{")?;
            for (verb, subjects) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
                if !subjects.is_empty() {
                    writeln!(f, "        {verb}: {{ allow: [")?;
                    for subject in subjects {
                        writeln!(f, "          {}", quote(subject))?;
                    }
                    writeln!(f, "        ] }}")?;
                }
            }
            if self.responses {
                writeln!(f, "        allow_responses: true")?;
            }
            f.write_str("      }")?;
        }
        f.write_str(" }")
    }
}

fn urls(ports: &[u16]) -> String {
    list(ports.iter().map(|port| format!("nats://{HOST}:{port}")))
}

fn list(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quote(text.as_ref())).collect();
    quoted.join(", ")
}

/// A string as nats-server's configuration reads it: in double quotes, with the escapes that its lexer knows.
/// A quoted `$NAME` stays text, where a bare one would be a variable.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Escapes all but the characters that RFC 3986 calls unreserved.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out_of_their_quotes() {
        assert_eq!(quote(r#"a" b\ $X"#), r#""a\" b\\ $X""#);
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(percent_encode("p@ss:w/d"), "p%40ss%3Aw%2Fd");
    }

    #[test]
    fn a_server_listens_on_loopback_only() {
        let access = Access::File { system_account: "SYS".into(), accounts: Vec::new() };
        let mut conf = ServerConf::new("n1", -1, access);
        conf.cluster = Some(ClusterConf { name: "c".into(), port: 7, routes: vec![7, 8] });
        let text = conf.to_string();
        assert_eq!(text.matches("listen: \"127.0.0.1:").count(), 2, "{text}");
        assert!(text.contains(r#"routes: ["nats://127.0.0.1:7", "nats://127.0.0.1:8"]"#), "{text}");
        assert!(!text.contains("jetstream") && !text.contains("http"), "{text}");
    }
}
