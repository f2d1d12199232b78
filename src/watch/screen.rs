//! The whole, for a terminal that is drawn again and again.

use super::state::Entry;
use super::{Row, State};
use crate::check::Severity;
use crate::report::{grid, lines, printable};
use comfy_table::{ColumnConstraint, Width};
use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;

/// How long what has ended is shown.
const SHOW_ENDED: Duration = Duration::from_secs(120);
/// Lines beside the rows: three above the table and its header, two below it, and the last, where a line break would scroll.
const AROUND: usize = 7;

/// Where it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What is listened to.
    pub subject: &'a str,
    /// Whether the connection stands.
    pub connected: bool,
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// All of it, worst first, in at most as many lines as there are; what has no room is counted.
pub fn screen(state: &State, frame: Frame<'_>, now: OffsetDateTime) -> String {
    let mut out = String::new();
    let firing = || state.entries.values().filter(|entry| entry.row.fires());
    let count = |severity: Severity| firing().filter(|entry| entry.row.severity == severity).count();
    let _ = writeln!(
        out,
        "{}  {} critical, {} warning, {} info",
        printable(frame.subject),
        count(Severity::Critical),
        count(Severity::Warning),
        count(Severity::Info),
    );
    let _ = writeln!(out, "{}\n", pulse(state, frame.connected, now));
    let mut entries: Vec<&Entry> = state.entries.values().filter(|entry| shown(entry, now)).collect();
    entries.sort_by_key(|entry| {
        (!entry.row.fires(), Reverse(entry.row.severity), &entry.row.check, &entry.row.entity)
    });
    let height = usize::from(frame.height).saturating_sub(AROUND).max(1);
    let mut drawn = table(&entries[..entries.len().min(height)], frame.width, now);
    let (mut ends, total) = (drawn.match_indices('\n'), entries.len());
    // The header of the table is a line as well.
    if let Some((end, _)) = ends.nth(height) {
        drawn.truncate(end + 1);
    }
    out.push_str(&drawn);
    let lines = drawn.lines().count();
    if total > height || lines > height {
        let _ = writeln!(out, "and more: {total} in all");
    }
    if state.left_out > 0 {
        let _ = writeln!(out, "{} more were heard of than can be kept here", state.left_out);
    }
    out
}

fn shown(entry: &Entry, now: OffsetDateTime) -> bool {
    entry.ended.is_none_or(|ended| entry.row.successor.is_none() && now - ended < SHOW_ENDED)
}

/// How the agents are.
fn pulse(state: &State, connected: bool, now: OffsetDateTime) -> String {
    let pulse = state.pulse();
    let mut told = Vec::new();
    if !connected {
        told.push("the connection is lost, and being made again".to_owned());
    }
    let age = since(pulse.last_heard(), now);
    match pulse.latest() {
        Some(epoch) => {
            let whole = if epoch.complete { "" } else { ", incomplete" };
            told.push(format!("epoch {}{whole}; heard {age} ago", epoch.epoch));
        }
        None if pulse.anything() => told.push(format!("no summary of an epoch heard; a finding {age} ago")),
        None => told.push(format!("nothing heard for {age}")),
    }
    let silent = pulse.silent_epochs(now);
    if state.silent {
        told.push(format!("NO AGENT HEARD FOR {silent} EPOCHS"));
    }
    if !state.settled {
        told.push("what is open is known after one epoch".to_owned());
    }
    told.join("; ")
}

fn table(entries: &[&Entry], width: u16, now: OffsetDateTime) -> String {
    if entries.is_empty() {
        return "nothing is firing\n".to_owned();
    }
    let mut table = grid(width);
    table.set_header(["SEVERITY", "CHECK", "ENTITY", "SINCE", "FINDING"]);
    for Entry { row, stale, ended } in entries {
        let word = match (ended, stale) {
            (Some(_), _) => "ended".to_owned(),
            (None, true) => format!("{} (stale)", row.severity.as_str()),
            (None, false) => row.severity.as_str().to_owned(),
        };
        let summary = match &row.held {
            Some(reason) if ended.is_none() => format!("{} (not judged now: {reason})", row.summary),
            _ => row.summary.clone(),
        };
        let Row { check, entity, first_seen, .. } = row;
        table.add_row([
            word,
            printable(check),
            printable(entity),
            since(ended.unwrap_or(*first_seen), now),
            printable(&summary),
        ]);
    }
    if let Some(entity) = table.column_mut(2) {
        // Names may have a thousand bytes.
        entity.set_constraint(ColumnConstraint::UpperBoundary(Width::Percentage(25)));
    }
    lines(table)
}

/// An age in its two largest units.
fn since(then: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - then).whole_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::{at, epoch, firing, resolved};
    use crate::watch::{Filter, Message};

    fn frame(height: u16) -> Frame<'static> {
        Frame { subject: "insights.checks.>", connected: true, width: 90, height }
    }

    fn state(rows: impl IntoIterator<Item = Row>) -> State {
        let mut state = State::new(Filter::default(), Duration::from_secs(60), at(0));
        for row in rows {
            state.hear(Message::Finding(Box::new(row)), at(120));
        }
        state
    }

    #[test]
    fn everything_at_a_glance() {
        let mut state = state([
            firing("a", Severity::Warning, 120),
            firing("b", Severity::Critical, 60),
            firing("c", Severity::Info, 120),
            resolved("c", Severity::Info, 180, None),
        ]);
        state.hear(epoch(120), at(121));
        state.hear(epoch(180), at(181));
        insta::assert_snapshot!(screen(&state, frame(30), at(190)));
        let later = screen(&state, Frame { connected: false, ..frame(30) }, at(400));
        assert!(!later.contains("ended") && later.contains("the connection is lost"), "{later}");
    }

    #[test]
    fn it_never_has_more_lines_than_the_terminal_and_says_so() {
        let state = state((0..500).map(|n| firing(&format!("user{n}"), Severity::Warning, 60)));
        for height in [1, 8, 24, 50] {
            let drawn = screen(&state, frame(height), at(120));
            assert!(drawn.lines().count() <= usize::from(height).max(AROUND + 1), "{height}: {drawn}");
            assert!(drawn.contains("500 in all"));
        }
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut row = firing("a", Severity::Warning, 60);
        row.summary = "\u{1b}]0;title\u{7}".into();
        row.entity = "user \u{1b}[2J".into();
        row.held = Some("\u{9b}2J".into());
        let drawn = screen(&state([row]), frame(30), at(120));
        assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{drawn:?}");
    }

    #[test]
    fn ages_have_two_units() {
        for (seconds, told) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (7320, "2h 2m"), (200_000, "2d 7h"), (-5, "0s")]
        {
            assert_eq!(since(at(0), at(seconds)), told);
        }
    }
}
