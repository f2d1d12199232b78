//! `simulate`: stands in for many servers.

use super::global::Settings;
use super::run::{runtime, stop_at_signals};
use super::{Failure, Output, logging};
use crate::connection::ConnectionOptions;
use crate::nats::connect::connect;
use crate::nats::events::ClientEvents;
use crate::nats::stage::{self, Stage};
use crate::simulate::{Expected, Fault, Faulty, NotPlanted, Planting, Plants, Prepared, Shape, World};
use clap::Args;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;
use time::OffsetDateTime;

const LONG_ABOUT: &str = "\
Stands in for many servers in the system account of a real nats-server, for load tests and demonstrations: it listens to \
the requests of that account and answers them as so many servers would, in the formats of nats-server 2.15, compressed \
when asked. The real server goes on answering for itself. Everything follows from the options and --seed.

It answers STATSZ (and sends it every 10 s), VARZ, CONNZ, ACCOUNTZ, IDZ, HEALTHZ and SUBSZ of servers, and CONNZ and STATZ of \
accounts. It needs a user of the system account without restrictions. The answers of a client are bound by the server's \
`max_payload`, unlike those of servers: where it is too small, the command says so and ends.

Conditions are planted for the checks, one of each as far as there is room; everything else is healthy. Once it serves, a \
line of JSON on standard output lists the findings that the agent must give, and the servers with faults. It serves until \
it is interrupted, and then prints a line with what it answered. The log goes to standard error.";

const AFTER_HELP: &str = "\
Conditions (--plant NAME or NAME=COUNT), and the checks that find them:
  account-near-connections        ACCOUNTS_001     silent-connections         OPT_IDLE_007
  account-near-subscriptions      ACCOUNTS_006     hot-server                 OPT_BALANCE_002
  user-with-too-many-connections  USER_002         account-on-one-server      OPT_BALANCE_006
  server-near-max-connections     SERVER_011

Faults (--fault NAME=SERVERS[:HOW][@FROM[..TO]]):
  silent=1 silent=1:CONNZ   answers nothing, or nothing to one endpoint
  late=1:2s                 answers later
  twice=1                   sends each answer twice
  garbage=1 garbage=1:VARZ  answers with nonsense, to everything but STATSZ or to one endpoint
  half-page=1               ends pages of connections in the middle
  shifting=1:5              closes so many percent of the connections before a page while it is asked for
  wrong-total=1             says that it has a third of its connections
  appear=1 vanish=1         comes, or goes without a word
  restart=1                 comes back with a new id
FROM and TO are numbers of roll calls ($SYS.REQ.SERVER.PING.STATSZ, counted from 1; the agent makes one when it starts), or \
times since the start such as 30s. Faults hold from the start and for ever, but for appear, vanish and restart: those \
happen at the third roll call. Without --faults-on-planted the last servers are the \
faulty ones, and no condition is planted in their clusters.";

/// Stand in for many servers in the system account of a real nats-server
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT, after_long_help = AFTER_HELP)]
pub(super) struct SimulateArgs {
    /// Servers
    #[arg(long, value_name = "N", default_value_t = 6)]
    servers: u32,
    /// Clusters [default: one for every ten servers; two for 6 to 20]
    #[arg(long, value_name = "N")]
    clusters: Option<u32>,
    /// Accounts, besides the system account
    #[arg(long, value_name = "N", default_value_t = 20)]
    accounts: u32,
    /// Client connections; conditions add some of their own
    #[arg(long, value_name = "N", default_value_t = 1000)]
    connections: u64,
    /// Users of an account; more where one would have more than 60 connections otherwise
    #[arg(long, value_name = "N", default_value_t = 5)]
    users_per_account: u32,
    /// Subscriptions of each connection
    #[arg(long, value_name = "N", default_value_t = 10)]
    subscriptions: u32,
    /// Streams; only counted in what servers tell of JetStream
    #[arg(long, value_name = "N", default_value_t = 0)]
    streams: u64,
    /// Consumers; only counted in what servers tell of JetStream
    #[arg(long, value_name = "N", default_value_t = 0)]
    consumers: u64,
    /// The share of accounts that have keys and JWTs, 0 to 1; the others stand in configuration files
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    jwt_share: f64,
    /// Put the connections of each account on all servers, and not only on those of one cluster
    #[arg(long)]
    spread: bool,
    /// The same seed gives the same servers, accounts and connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Conditions to plant, or `none` [default: one of each, as far as there is room]
    #[arg(long, value_name = "NAME[=COUNT]", value_delimiter = ',')]
    plant: Vec<Planting>,
    /// A fault of some servers; see below
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// Give the faults to the first servers, where conditions are planted, to see what becomes of their findings
    #[arg(long)]
    faults_on_planted: bool,
    /// Measure how much the simulation can answer at the most, print that, and end
    #[arg(long)]
    ceiling: bool,
}

impl SimulateArgs {
    fn shape(self, system_account: String) -> Shape {
        let by_size = match self.servers {
            0..6 => 1,
            6..=20 => 2,
            more => more.div_ceil(10),
        };
        Shape {
            servers: self.servers,
            clusters: self.clusters.unwrap_or(by_size),
            accounts: self.accounts,
            connections: self.connections,
            users_per_account: self.users_per_account,
            subscriptions: self.subscriptions,
            streams: self.streams,
            consumers: self.consumers,
            jwt_share: self.jwt_share,
            spread: self.spread,
            seed: self.seed,
            plants: Plants::of(&self.plant),
            faults: self.fault,
            faults_on_planted: self.faults_on_planted,
            system_account,
        }
    }
}

/// The line that says that it serves.
#[derive(Serialize)]
struct Serving {
    expected: Vec<Expected>,
    not_planted: Vec<NotPlanted>,
    faults: Vec<Faulty>,
    servers: usize,
    clusters: u32,
    accounts: u32,
    connections: u64,
    prepared: InSeconds,
}

#[derive(Serialize)]
struct InSeconds {
    #[serde(flatten)]
    prepared: Prepared,
    seconds: f64,
}

pub(super) fn run(settings: &Settings, arguments: SimulateArgs) -> Result<Output, Failure> {
    let level = settings.log_level.clone();
    let config = settings.load()?;
    logging::start(config.log_format, level.as_deref(), "info,async_nats=warn")?;
    runtime()?.block_on(simulate(config.connection, arguments))
}

async fn simulate(options: ConnectionOptions, arguments: SimulateArgs) -> Result<Output, Failure> {
    let stop = stop_at_signals()?;
    let ceiling = arguments.ceiling;
    let began = Instant::now();
    let connection = connect(&options, ClientEvents::new()).await?;
    let system_account = stage::system_account(&connection).await?;
    let world = Arc::new(World::new(arguments.shape(system_account), now())?);
    let prepared = stage::prepare(&connection, &world).await?;
    let stage = Stage::open(&connection, Arc::clone(&world), now).await?;
    let seconds = began.elapsed().as_secs_f64();
    if ceiling {
        let asker = connect(&options, ClientEvents::new()).await?;
        let _serving = stage::in_background(stage);
        let ceiling = stage::ceiling(&asker, &world, prepared, now()).await?;
        return line(&ceiling).map(Output::of);
    }
    let serving = Serving {
        expected: world.expected(),
        not_planted: world.not_planted(),
        faults: world.faulty(),
        servers: world.servers(),
        clusters: world.clusters(),
        accounts: world.accounts(),
        connections: world.connections(),
        prepared: InSeconds { prepared, seconds },
    };
    say(&line(&serving)?).map_err(Failure::Output)?;
    let served = stage.run(stop).await?;
    line(&served).map(Output::of)
}

fn line(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// At once, and not at the end. A reader that has gone away is no failure.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge at which the clock is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
