//! Connection options: names and environment variables are those of the `nats` CLI.

use crate::config;
use crate::connection::{ConnectionOptions, Secret};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection options, as the nats CLI has them")]
pub(super) struct ConnectionArgs {
    /// Server URLs, separated by commas or given several times [default: nats://127.0.0.1:4222]
    #[arg(short, long, global = true, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    server: Vec<String>,
    /// Credentials file of a user of the system account; read again at every connect
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CREDS", hide_env_values = true)]
    creds: Option<PathBuf>,
    /// User name; a token where no password is given
    #[arg(long, global = true, value_name = "USER", env = "NATS_USER", hide_env_values = true)]
    user: Option<String>,
    /// Password; better given in the environment, where other users of the host cannot read it
    #[arg(long, global = true, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true)]
    password: Option<Secret>,
    /// File with the seed of an nkey; read again at every connect
    #[arg(long, global = true, value_name = "FILE", env = "NATS_NKEY", hide_env_values = true)]
    nkey: Option<PathBuf>,
    /// Client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CERT", hide_env_values = true)]
    tlscert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "NATS_KEY", hide_env_values = true)]
    tlskey: Option<PathBuf>,
    /// Certificate authority to trust instead of the platform's (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CA", hide_env_values = true)]
    tlsca: Option<PathBuf>,
    /// TLS handshake before the server's greeting, for servers with handshake_first
    #[arg(long, global = true)]
    tlsfirst: bool,
    /// A context of the nats CLI
    #[arg(long, global = true, value_name = "NAME", env = "NATS_CONTEXT", hide_env_values = true)]
    context: Option<String>,
    /// How long one attempt to connect may take [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", env = "NATS_TIMEOUT", hide_env_values = true, value_parser = config::timeout)]
    timeout: Option<Duration>,
    /// The first tokens of the subjects on which answers come back [default: _INBOX_INSIGHTS]
    #[arg(long, global = true, value_name = "PREFIX", value_parser = config::prefix)]
    inbox_prefix: Option<String>,
}

impl ConnectionArgs {
    /// What the environment says, and what flags say: two layers, since credentials replace each other as a whole, so
    /// that `--creds` is not mixed with a `NATS_USER` that happens to be set.
    pub(super) fn layers(self, matches: &ArgMatches) -> (ConnectionOptions, ConnectionOptions) {
        let mut layers = [ConnectionOptions::default(), ConnectionOptions::default()];
        let at = |id: &str| usize::from(matches.value_source(id) != Some(ValueSource::EnvVariable));
        layers[at("server")].servers = self.server;
        layers[at("creds")].creds = self.creds;
        layers[at("user")].user = self.user;
        layers[at("password")].password = self.password;
        layers[at("nkey")].nkey = self.nkey;
        layers[at("tlscert")].tls_cert = self.tlscert;
        layers[at("tlskey")].tls_key = self.tlskey;
        layers[at("tlsca")].tls_ca = self.tlsca;
        layers[at("tlsfirst")].tls_first = self.tlsfirst;
        layers[at("context")].context = self.context;
        layers[at("timeout")].timeout = self.timeout;
        layers[at("inbox_prefix")].inbox_prefix = self.inbox_prefix;
        layers.into()
    }
}
