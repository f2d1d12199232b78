//! `permissions`: the user that the agent needs.

use super::global::Settings;
use super::{Failure, Output};
use crate::permissions::Permissions;
use clap::{Args, ValueEnum};

const LONG_ABOUT: &str = "\
Prints the least-privilege user of the system account for the enabled checks: as nats-server configuration, or as nsc \
commands in operator mode.

The requests that only read are allowed one by one. A wildcard over all of them would allow reloading servers, kicking \
clients and lame-duck mode as well.

With --sink it is the user of the sink: of an ordinary account with JetStream, for the names that [sink] in the \
configuration file gives.";

/// Print the least-privilege user of the system account for the enabled checks, or that of the sink
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT)]
pub(super) struct PermissionsArgs {
    /// How it is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// The user of the sink instead
    #[arg(long)]
    sink: bool,
    /// The user's name [default: insights, that of the sink insights-sink]
    #[arg(long, value_name = "NAME")]
    user_name: Option<String>,
    /// The account's name [default: SYS, that of the sink INSIGHTS]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
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
    let config = settings.load()?;
    let PermissionsArgs { format, sink, user_name, account } = arguments;
    let (permissions, user, of) = if *sink {
        let least = Permissions::for_sink(&config);
        (if config.api.enabled { least.asked() } else { least }, "insights-sink", "INSIGHTS")
    } else {
        (Permissions::for_config(&config), "insights", "SYS")
    };
    let (user, account) = (user_name.as_deref().unwrap_or(user), account.as_deref().unwrap_or(of));
    Ok(Output::of(match format {
        Format::NatsServer if *sink => permissions.for_nats_server_sink(user, account),
        Format::NatsServer => permissions.for_nats_server(user, account),
        Format::Nsc => permissions.for_nsc(user, account),
    }))
}
