//! `permissions`: the user that the agent needs.

use super::global::Settings;
use super::{Failure, Output};
use crate::permissions::Permissions;
use clap::{Args, ValueEnum};

const LONG_ABOUT: &str = "\
Prints the least-privilege user of the system account for the enabled checks: as nats-server configuration, or as nsc \
commands in operator mode.

The requests that only read are allowed one by one. A wildcard over all of them would allow reloading servers, kicking \
clients and lame-duck mode as well.";

/// Print the least-privilege user of the system account for the enabled checks
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT)]
pub(super) struct PermissionsArgs {
    /// How it is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// The user's name
    #[arg(long, value_name = "NAME", default_value = "insights")]
    user_name: String,
    /// The system account's name
    #[arg(long, value_name = "NAME", default_value = "SYS")]
    account: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a server's configuration file
    #[default]
    NatsServer,
    /// For operator mode
    Nsc,
}

pub(super) fn run(settings: &Settings, arguments: &PermissionsArgs) -> Result<Output, Failure> {
    let permissions = Permissions::for_config(&settings.load()?);
    let (user, account) = (&arguments.user_name, &arguments.account);
    Ok(Output::of(match arguments.format {
        Format::NatsServer => permissions.for_nats_server(user, account),
        Format::Nsc => permissions.for_nsc(user, account),
    }))
}
