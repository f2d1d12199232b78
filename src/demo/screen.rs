//! What the demo prints: tables at a terminal, plain lines elsewhere.

use super::error::DemoError;
use super::evidence::evidence;
use super::scenario::{IDLE, IDLE_CHECK, MAX_CONNECTIONS, SERVERS};
use super::story::{Chapter, text};
use crate::report::{grid, lines, printable};
use comfy_table::{ColumnConstraint, Width};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Steps of the remedy that are shown; the message has them all.
const STEPS: usize = 1;

/// Where the demo prints.
#[derive(Debug)]
pub(super) struct Screen<W> {
    out: W,
    width: Option<u16>,
}

impl<W: Write> Screen<W> {
    pub(super) const fn new(out: W, width: Option<u16>) -> Self {
        Self { out, width }
    }

    pub(super) fn starting(&mut self, binary: &Path) -> Result<(), DemoError> {
        self.say(&format!("Starting three servers of {} on this machine.", binary.display()))
    }

    pub(super) fn formed(&mut self, urls: &[String], creds: &Path, config: &Path) -> Result<(), DemoError> {
        let servers: Vec<String> =
            SERVERS.iter().zip(urls).map(|(name, url)| format!("{name} {url}")).collect();
        self.say(&format!("  cluster demo    {}", servers.join(", ")))?;
        self.say(&format!("                  {} takes at most {MAX_CONNECTIONS} clients", SERVERS[0]))?;
        self.say(&format!(
            "  listen too      nats sub 'insights.checks.>' --server {} --creds {}",
            urls.first().map_or("", String::as_str),
            creds.display(),
        ))?;
        self.say(&format!("  agent's file    {}", config.display()))?;
        let idle = humantime::format_duration(IDLE);
        self.say(&format!(
            "  {IDLE_CHECK}    reports connections after {idle} without a message, instead of 5m, so that you need not wait"
        ))
    }

    pub(super) fn loaded(&mut self, clients: usize) -> Result<(), DemoError> {
        self.say(&format!(
            "  load            {clients} clients of three accounts, most of them on {}",
            SERVERS[0]
        ))
    }

    pub(super) fn agent_started(&mut self, epoch: Duration) -> Result<(), DemoError> {
        self.say(&format!(
            "The agent looks every {} as a user that may only ask and publish. Ctrl-C stops and removes everything.",
            humantime::format_duration(epoch),
        ))
    }

    pub(super) fn epoch(&mut self, number: u64, chapter: &Chapter) -> Result<(), DemoError> {
        if !chapter.news.is_empty() {
            let told = match self.width {
                Some(width) => table(&chapter.news, width),
                None => chapter.news.iter().map(plain).collect(),
            };
            self.say(&format!("\n{}", told.trim_end_matches('\n')))?;
            self.say("")?;
        }
        self.say(&status(number, &chapter.summary))
    }

    pub(super) fn all_found(&mut self, checks: usize, epochs: u64, after: Duration) -> Result<(), DemoError> {
        let epochs = crate::check::count(epochs, "epoch");
        self.say(&format!(
            "All {checks} checks that are provoked here were found within {epochs} ({:.1} s).",
            after.as_secs_f64()
        ))
    }

    pub(super) fn silence(&mut self, quiet: Duration) -> Result<(), DemoError> {
        let quiet = humantime::format_duration(quiet);
        self.say(&format!("Nothing was published for {quiet}."))
    }

    pub(super) fn stopping(&mut self, dir: &Path) -> Result<(), DemoError> {
        self.say(&format!("Stopping the servers and removing {}.", dir.display()))
    }

    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(DemoError::Output)
    }
}

/// The finding's severity, or that it has ended.
fn word(finding: &Value) -> String {
    let status = text(finding, "status");
    printable(if status == "resolved" { status } else { text(finding, "severity") })
}

fn entity(finding: &Value) -> String {
    let entity = &finding["entity"];
    let name = ["name", "user_name", "account_name", "id"].iter().map(|key| text(entity, key));
    let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    printable(&format!("{} {name}", text(entity, "type")))
}

/// The summary, then what lies behind it, then what to do about it.
fn told(finding: &Value) -> Vec<String> {
    let mut lines = vec![printable(text(finding, "summary"))];
    if text(finding, "status") == "resolved" {
        return lines;
    }
    let of = evidence(text(finding, "check"), &finding["evidence"]);
    lines.extend(of.iter().map(|line| printable(line)));
    let steps = finding["remediation"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(steps.take(STEPS).map(|step| format!("-> {}", printable(step))));
    lines
}

fn plain(finding: &Value) -> String {
    let told = told(finding).join("\n    ");
    format!("{} {} {}: {told}\n", word(finding), printable(text(finding, "check")), entity(finding))
}

fn table(findings: &[Value], width: u16) -> String {
    let mut table = grid(width);
    table.set_header(["SEVERITY", "CHECK", "ENTITY", "FINDING, EVIDENCE, AND WHAT TO DO FIRST"]);
    for finding in findings {
        let check = printable(text(finding, "check"));
        // An empty line sets the findings apart.
        table.add_row([word(finding), check, entity(finding), told(finding).join("\n") + "\n"]);
    }
    if let Some(entity) = table.column_mut(2) {
        // Names may have a thousand bytes.
        entity.set_constraint(ColumnConstraint::UpperBoundary(Width::Percentage(20)));
    }
    lines(table)
}

/// An epoch in one line.
fn status(number: u64, summary: &Value) -> String {
    let count = |part: &str, key: &str| summary[part][key].as_u64().unwrap_or(0);
    let resolved = match count("findings", "resolved") {
        0 => String::new(),
        resolved => format!(", {resolved} resolved"),
    };
    let unknown = summary["checks"]["unknown"].as_array().map_or(0, Vec::len);
    let unknown = match unknown {
        0 => String::new(),
        unknown => format!(", {unknown} unknown"),
    };
    format!(
        "epoch {number}: {} of {} servers, {} connections; {} critical, {} warning, {} info{resolved}{unknown}; \
         {} ms, {} requests, {} KiB",
        count("servers", "responded"),
        count("servers", "known"),
        count("scanned", "connections"),
        count("findings", "critical"),
        count("findings", "warning"),
        count("findings", "info"),
        summary["duration_ms"].as_u64().unwrap_or(0),
        count("cost", "requests"),
        count("cost", "bytes").div_ceil(1024),
    )
}
