//! What can be wrong with the configuration: one sentence each, with the place, never with a secret.

use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("the configuration file {} does not exist", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be read.
    #[error("the configuration file {} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It holds bytes that are no text.
    #[error("{}:{line}: the configuration file is not UTF-8 text", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// The line of the first such byte, counted from 1.
        line: usize,
    },
    /// A line of it cannot be used.
    #[error("{}:{line}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, by name.
        problem: String,
    },
    /// The catalogue's own defaults cannot be used.
    #[error("the defaults of check {check} cannot be used: {problem}")]
    Defaults {
        /// The check.
        check: &'static str,
        /// What is wrong.
        problem: String,
    },
}
