//! `watch`: what agents find, live.

mod output;

use super::global::Settings;
use super::run::{runtime, stop_at_signals};
use super::{Failure, Output, logging};
use crate::agent::now;
use crate::check::Severity;
use crate::checks::find;
use crate::config::{Config, unknown_id};
use crate::nats::connect::{Connection, connect};
use crate::nats::events::ClientEvents;
use crate::nats::recall::recall;
use crate::nats::sink::stored;
use crate::nats::watch::Watch;
use crate::watch::{Change, Filter, Message, State};
use clap::{Args, ValueEnum};
use output::Printer;
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

const LONG_ABOUT: &str = "\
Subscribes to what agents publish and shows it: at a terminal as a table that is drawn again on every change, elsewhere \
as a line for each finding that begins, changes its severity, ends, or is no longer repeated.

It needs a user of an account that hears the findings: the system account, or one that imports them. What is open at the \
beginning stands in the bucket of the [sink], if the configuration has one; else an agent is asked \
(insights.api.findings); where none answers, it is known after one epoch. Ctrl-C ends it.";

/// Show live what agents find
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT)]
pub(super) struct WatchArgs {
    /// The least severity
    #[arg(long, value_name = "SEVERITY", value_enum)]
    severity: Option<Severity>,
    /// Id of a check, or a pattern such as `OPT_*`; may be given several times
    #[arg(long, value_name = "ID")]
    check: Vec<String>,
    /// Id or name of an account, or a pattern; may be given several times
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    /// How it is shown
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: a table at a terminal, lines elsewhere
    #[default]
    Table,
    /// For programs: a JSON object for each change
    Ndjson,
}

impl WatchArgs {
    fn filter(&self) -> Result<Filter, Failure> {
        // A pattern may be meant for checks of a later agent.
        let id = |text: &String| match find(text) {
            Some(entry) => Ok(entry.meta.id.to_owned()),
            None if text.contains('*') => Ok(text.to_ascii_uppercase()),
            None => Err(Failure::UnknownCheck(unknown_id(text))),
        };
        Ok(Filter {
            severity: self.severity,
            checks: self.check.iter().map(id).collect::<Result<_, _>>()?,
            accounts: self.account.clone(),
        })
    }
}

pub(super) fn run(settings: &Settings, arguments: &WatchArgs) -> Result<Output, Failure> {
    let level = settings.log_level.clone();
    let filter = arguments.filter()?;
    let config = settings.load()?;
    // What happens to the connection is shown.
    logging::start(config.log_format, level.as_deref(), "error,async_nats=off")?;
    let table = arguments.format == Format::Table && io::stdout().is_terminal();
    let ended = runtime()?.block_on(async {
        let stop = stop_at_signals()?;
        let connection = tokio::select! {
            connection = connect(&config.connection, ClientEvents::new()) => connection?,
            () = stop.cancelled() => return Ok(()),
        };
        let mut printer = match arguments.format {
            Format::Table if table => Printer::screen(io::stdout()),
            Format::Table => Printer::lines(io::stdout()),
            Format::Ndjson => Printer::ndjson(io::stdout()),
        };
        let ended = watch(&config, &connection, filter, &mut printer, &stop).await;
        printer.close();
        ended
    });
    match ended {
        // A reader that has gone away is no failure, here as in the other commands.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(Output::of(""))
}

async fn watch(
    config: &Config,
    connection: &Connection,
    filter: Filter,
    printer: &mut Printer,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    // Before anything is asked, so that no change in between is missed.
    let mut heard = Watch::start(connection, &config.subject_prefix).await?;
    let mut state = State::new(filter, config.epoch, now());
    let subject = format!("{}.>", config.subject_prefix);
    let opened = tokio::select! {
        opened = opened(config, connection, printer) => opened?,
        () = stop.cancelled() => return Ok(()),
    };
    if let Some(findings) = opened {
        printer.changes(open(&mut state, findings), now())?;
        state.settle();
    }
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let settled = Instant::now() + config.epoch + config.epoch / 2;
    loop {
        printer.draw(&state, &subject, connection.events().connected(), now())?;
        let changes = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            published = heard.next() => match Message::read(published?.json) {
                Some(message) => state.hear(message, now()),
                None => Vec::new(),
            },
            _ = tick.tick() => state.tick(now()),
            // Where no summaries come, what is open has been heard all the same.
            () = sleep_until(settled), if !state.settled() => {
                state.settle();
                Vec::new()
            }
        };
        printer.changes(changes, now())?;
    }
}

/// What is open now, as the sink's bucket has it, else as an agent says; none if neither can be asked.
async fn opened(
    config: &Config,
    connection: &Connection,
    printer: &mut Printer,
) -> Result<Option<Vec<Value>>, Failure> {
    if let Some(sink) = &config.sink {
        match stored(sink).await {
            Ok(findings) => {
                let values: Result<_, _> = findings.iter().map(serde_json::to_value).collect();
                return Ok(Some(values?));
            }
            Err(why) => printer.note(&format!("{why}; an agent is asked instead"))?,
        }
    }
    match recall(connection).await {
        Ok(findings) => Ok(Some(findings)),
        Err(why) => {
            printer.note(&format!("{why}; what is open is known after one epoch"))?;
            Ok(None)
        }
    }
}

fn open(state: &mut State, findings: Vec<Value>) -> Vec<Change> {
    let rows = findings.into_iter().filter_map(|finding| match Message::read(finding) {
        Some(Message::Finding(row)) => Some(row),
        _ => None,
    });
    rows.filter_map(|row| state.open(*row)).collect()
}
