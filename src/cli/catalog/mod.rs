//! `catalog`: the checks and what is published.

mod markdown;
mod schema;
mod text;

use super::{Failure, Output, terminal};
use crate::api::{self, Card};
use crate::check::Entry;
use crate::checks::{catalogue, find};
use crate::config::unknown_id;
use clap::{Subcommand, ValueEnum};

/// List and explain the checks, and print JSON Schemas
#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// List the checks
    List {
        /// How they are printed
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        format: Format,
    },
    /// Explain checks: rule, reasons, thresholds, evidence and what to do
    Show {
        /// Ids or aliases of checks; every check by default
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// How they are printed
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        format: Format,
    },
    /// Print the JSON Schema of what is published
    Schema {
        /// `finding`, `epoch`, a request or an answer such as `api.findings.request`, or the id of a check for its
        /// thresholds and evidence
        #[arg(value_name = "WHAT", default_value = "finding")]
        what: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: an array of checks
    Json,
    /// For documentation
    Markdown,
}

pub(super) fn run(command: &CatalogCommand) -> Result<Output, Failure> {
    let all = || catalogue().map(Card::of).collect::<Vec<_>>();
    match command {
        CatalogCommand::List { format } => Ok(Output::of(match format {
            Format::Table => text::list(&all(), terminal::width()),
            Format::Json => json(&all())?,
            Format::Markdown => markdown::list(&all()),
        })),
        CatalogCommand::Show { ids, format } => {
            let cards = if ids.is_empty() { all() } else { named(ids)? };
            Ok(Output::of(match format {
                Format::Table => text::show(&cards, terminal::width()),
                Format::Json => json(&cards)?,
                Format::Markdown if ids.is_empty() => markdown::page(&cards),
                Format::Markdown => markdown::show(&cards),
            }))
        }
        CatalogCommand::Schema { what } => {
            let schema = match what.as_str() {
                "finding" => schema::finding(),
                "epoch" => schema::epoch(),
                name => match api::schema(name) {
                    Some(schema) => schema,
                    None => schema::check(entry(name)?),
                },
            };
            Ok(Output::of(serde_json::to_string_pretty(&schema)? + "\n"))
        }
    }
}

fn entry(id: &str) -> Result<&'static Entry, Failure> {
    find(id).ok_or_else(|| Failure::UnknownCheck(unknown_id(id)))
}

fn named(ids: &[String]) -> Result<Vec<Card>, Failure> {
    ids.iter().map(|id| entry(id).map(Card::of)).collect()
}

fn json(cards: &[Card]) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(cards)? + "\n")
}
