//! A table for people at a terminal.

use super::{by_weight, first_remedy, looked_at, printable, totals, unknown, word};
use crate::agent::Report;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use std::fmt::Write;

/// The width where there is no terminal.
pub const DEFAULT_WIDTH: u16 = 100;
/// Below it, columns of single words would break.
const NARROWEST: u16 = 60;

/// The findings worst first with what to do first, what was missing, and the totals.
pub fn table(report: &Report, width: u16) -> String {
    let mut out = String::new();
    let findings = by_weight(report);
    if !findings.is_empty() {
        let mut table = grid(width);
        table.set_header(["SEVERITY", "CHECK", "ENTITY", "FINDING AND WHAT TO DO FIRST"]);
        for finding in findings {
            let entity = format!("{} {}", finding.entity.kind.as_str(), finding.entity.label());
            let mut told = printable(&finding.summary);
            if let Some(first) = first_remedy(finding) {
                let _ = write!(told, "\n-> {}", printable(first));
            }
            table.add_row([word(finding).to_owned(), finding.check.to_string(), printable(&entity), told]);
        }
        if let Some(entity) = table.column_mut(2) {
            // Names may have a thousand bytes.
            entity.set_constraint(ColumnConstraint::UpperBoundary(Width::Percentage(30)));
        }
        out.push_str(&lines(table));
        out.push('\n');
    }
    let missing = unknown(report);
    if !missing.is_empty() {
        out.push_str("Unknown:\n");
        for row in missing {
            let _ = writeln!(out, "  {}", printable(&row));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}. {}.", totals(report), printable(&looked_at(report)));
    out
}

/// An empty table of at most this width, without frames: what is copied from it is text.
pub(crate) fn grid(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width.max(NARROWEST));
    table
}

/// The table's lines without the blanks around them.
pub(crate) fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use crate::report::samples;

    #[test]
    fn wide() {
        insta::assert_snapshot!(table(&samples::report(), 100));
    }

    #[test]
    fn what_is_silenced_is_counted() {
        let mut report = samples::with(&[]);
        report.summary.findings.silenced = 2;
        assert!(table(&report, 100).starts_with("0 critical, 0 warnings, 0 info, 2 silenced. "));
    }

    #[test]
    fn narrow() {
        let text = table(&samples::report(), 60);
        let findings = text.lines().take_while(|line| *line != "Unknown:");
        assert!(findings.into_iter().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut report = samples::with(&[Severity::Warning]);
        samples::change(&mut report, 0).summary = "\u{1b}]0;title\u{7}\u{1b}[2J".into();
        report.summary.servers.missing = vec!["\u{1b}[31mn1".into()];
        let text = table(&report, 100);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
