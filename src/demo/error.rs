//! Why there is no demo, or no more.

use super::identity::IdentityError;
use super::server::ServerError;
use crate::agent::AgentError;
use crate::config::ConfigError;
use crate::nats::ask::AskError;
use crate::nats::connect::ConnectError;
use crate::nats::load::LoadError;
use crate::nats::watch::WatchError;
use std::io;
use std::time::Duration;

/// Why there is no demo, or no more. Whatever it is, everything that the demo started has been stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A server cannot be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An identity cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file or process of the demo.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The servers run, but not as one cluster.
    #[error("the servers did not form a cluster within {}: {seen}", humantime::format_duration(*within))]
    NotFormed {
        /// How long was waited.
        within: Duration,
        /// What was seen last.
        seen: String,
    },
    /// No connection to the servers.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Servers cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A client of the load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Findings cannot be heard.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The agent's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent ended.
    #[error("the agent ended: {0}")]
    Agent(#[from] AgentError),
    /// The agent ended, and does not say why.
    #[error("the agent ended although nobody stopped it")]
    AgentGone,
    /// A process ended that the demo needs.
    #[error("{part} ended ({how}), which the demo did not ask for; everything else has been stopped")]
    PartEnded {
        /// Which one.
        part: String,
        /// How.
        how: String,
    },
    /// Not everything was found in time.
    #[error("not found within {}: {}", humantime::format_duration(*within), missing.join(", "))]
    NotFound {
        /// The checks.
        missing: Vec<&'static str>,
        /// How long was waited.
        within: Duration,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl DemoError {
    /// For `map_err`: what was tried when the system refused.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
