//! The program: parse, do what was asked for, end with a status.

use insights_agent::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = cli::parse(std::env::args_os()).and_then(cli::Invocation::run);
    cli::end(outcome)
}
