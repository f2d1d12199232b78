//! How a command ends: what it prints, what it complains about, and its exit status.

use crate::agent::AgentError;
use crate::config::{ConfigError, ExplainError};
use crate::demo::DemoError;
use crate::nats::connect::ConnectError;
use crate::nats::stage::StageError;
use crate::nats::watch::WatchError;
use crate::report::Status;
use crate::simulate::ShapeError;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a command brings.
#[derive(Debug)]
pub struct Output {
    /// For standard output.
    pub text: String,
    /// For the exit status.
    pub status: Status,
}

impl Output {
    /// Text of a command that has done what was asked for.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: Status::Clear }
    }
}

/// Why a command brings nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be used, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What the configuration says about an entity cannot be explained.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// The agent cannot do its work.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The demo ended otherwise than it should.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What shall be simulated is not possible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The simulation cannot be served.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Nothing can be heard of agents.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// A check that does not exist.
    #[error("{0}")]
    UnknownCheck(String),
    /// No file was named.
    #[error(
        "which file is to be validated? Name it: `insights-agent config validate FILE`, or --config FILE"
    )]
    NoFile,
    /// The filter of the log cannot be used.
    #[error(
        "the log filter {filter} cannot be used: {problem}; write it like \"info\" or \"insights_agent=debug\""
    )]
    LogFilter {
        /// The filter, quoted.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Results cannot be written as JSON.
    #[error("the result cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
    /// The operating system refuses threads or signals.
    #[error("the program cannot be started: {0}")]
    Start(#[source] io::Error),
}

/// Prints and turns into the exit status of the process. A reader that has gone away changes neither.
pub fn end(outcome: Result<Output, Failure>) -> ExitCode {
    let status = match outcome {
        Ok(Output { text, status }) => match print(&mut io::stdout().lock(), &text) {
            Ok(()) => status,
            Err(error) => complain(&format!("standard output cannot be written: {error}")),
        },
        Err(Failure::Usage(usage)) => {
            let told = usage.print();
            // Help and version are what was asked for. An error would end with 2, which monitoring systems take for
            // critical findings.
            if usage.use_stderr() || told.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
                Status::Unknown
            } else {
                Status::Clear
            }
        }
        Err(failure) => complain(&failure.to_string()),
    };
    ExitCode::from(status.code())
}

fn print(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn complain(problem: &str) -> Status {
    // Nothing is left to be told it to, should this fail as well.
    let _ = writeln!(io::stderr(), "insights-agent: {problem}");
    Status::Unknown
}
