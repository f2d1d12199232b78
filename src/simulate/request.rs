//! What is asked, read as a server reads it.

use super::world::{Moment, World};
use serde::Deserialize;

/// An endpoint that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Also the bare `$SYS.REQ.SERVER.PING`.
    Statsz,
    /// Settings and counts of a server.
    Varz,
    /// Connections.
    Connz,
    /// Accounts, or one of them.
    Accountz,
    /// Counts per account.
    AccountStatz,
    /// Name and id.
    Idz,
    /// Health.
    Healthz,
    /// Interest.
    Subsz,
}

impl Endpoint {
    /// The name in subjects.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Statsz => "STATSZ",
            Self::Varz => "VARZ",
            Self::Connz => "CONNZ",
            Self::Accountz => "ACCOUNTZ",
            Self::AccountStatz => "STATZ",
            Self::Idz => "IDZ",
            Self::Healthz => "HEALTHZ",
            Self::Subsz => "SUBSZ",
        }
    }
}

/// Options of all endpoints; each reads its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub(super) server_name: String,
    pub(super) cluster: String,
    pub(super) host: String,
    pub(super) domain: String,
    pub(super) tags: Vec<String>,
    pub(super) exact_match: bool,
    pub(super) auth: bool,
    pub(super) subscriptions: bool,
    pub(super) sort: String,
    pub(super) offset: i64,
    pub(super) limit: i64,
    pub(super) state: i64,
    pub(super) acc: String,
    pub(super) user: String,
    pub(super) cid: u64,
    pub(super) account: String,
    pub(super) accounts: Vec<String>,
    pub(super) include_unused: bool,
}

/// A question, and who answers it.
#[derive(Debug)]
pub struct Question {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// The servers that answer.
    pub servers: Vec<usize>,
    /// Whether the answers shall be compressed.
    pub compressed: bool,
    /// The options, or what is wrong with them.
    pub(super) options: Result<Options, String>,
}

/// Whether a subject begins a roll call.
pub fn is_roll_call(subject: &str) -> bool {
    matches!(subject, "$SYS.REQ.SERVER.PING" | "$SYS.REQ.SERVER.PING.STATSZ")
}

impl World {
    /// Reads a request; none where no simulated server answers.
    pub fn question(
        &self,
        moment: &Moment,
        subject: &str,
        body: &[u8],
        compressed: bool,
    ) -> Option<Question> {
        let mut options = match body.trim_ascii() {
            [] => Ok(Options::default()),
            body => serde_json::from_slice::<Options>(body).map_err(|error| error.to_string()),
        };
        let tokens: Vec<&str> = subject.split('.').collect();
        let (endpoint, whose) = match tokens[..] {
            ["$SYS", "REQ", "SERVER", "PING"] => (Endpoint::Statsz, "PING"),
            ["$SYS", "REQ", "SERVER", whose, what] => {
                let endpoint = match what {
                    "STATSZ" => Endpoint::Statsz,
                    "VARZ" => Endpoint::Varz,
                    "CONNZ" => Endpoint::Connz,
                    "ACCOUNTZ" => Endpoint::Accountz,
                    "IDZ" => Endpoint::Idz,
                    "HEALTHZ" => Endpoint::Healthz,
                    "SUBSZ" => Endpoint::Subsz,
                    _ => return None,
                };
                (endpoint, whose)
            }
            ["$SYS", "REQ", "ACCOUNT", account, "CONNZ"] => {
                if let Ok(options) = &mut options {
                    options.acc = account.to_owned();
                }
                (Endpoint::Connz, "PING")
            }
            ["$SYS", "REQ", "ACCOUNT", account, "STATZ"] => {
                if let Ok(options) = &mut options
                    && account != "PING"
                {
                    options.accounts = vec![account.to_owned()];
                }
                (Endpoint::AccountStatz, "PING")
            }
            _ => return None,
        };
        let mut servers: Vec<usize> = match whose {
            "PING" => (0..self.servers()).collect(),
            id => self.by_id(id, moment).into_iter().collect(),
        };
        servers.retain(|server| self.runs(*server, moment) && !self.mute(*server, moment));
        if let Ok(options) = &options {
            servers.retain(|server| self.matches(*server, options));
        }
        (!servers.is_empty()).then_some(Question { endpoint, servers, compressed, options })
    }

    fn matches(&self, server: usize, options: &Options) -> bool {
        let server = &self.layout.servers[server];
        let text = |wanted: &str, has: &str| {
            if options.exact_match { wanted.is_empty() || wanted == has } else { has.contains(wanted) }
        };
        text(&options.server_name, &server.name)
            && text(&options.cluster, &self.layout.clusters[server.cluster].name)
            && text(&options.host, super::print::HOST)
            && options.domain.is_empty()
            && options.tags.is_empty()
    }
}
