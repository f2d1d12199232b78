//! The catalogue for people at a terminal.

use crate::api::{Card, Field};
use crate::report::{grid, lines, wrap};
use std::fmt::Write;

/// A line per check.
pub(super) fn list(cards: &[Card], width: u16) -> String {
    let mut table = grid(width);
    table.set_header(["ID", "SEVERITY", "ABOUT", "NAME", "FIRES WHEN"]);
    for card in cards {
        table.add_row([card.id, card.severity.as_str(), card.entity.as_str(), card.name, card.rule]);
    }
    lines(table)
}

/// Everything about each check.
pub(super) fn show(cards: &[Card], width: u16) -> String {
    let columns = usize::from(width);
    let mut out = String::new();
    for card in cards {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        let _ = writeln!(out, "{} {}", card.id, card.name);
        out.push_str(&wrap(&card.facts(), columns, ""));
        let _ = write!(out, "\nFIRES WHEN\n{}", wrap(card.rule, columns, "  "));
        let _ = write!(out, "\nWHY IT MATTERS\n{}", wrap(card.why, columns, "  "));
        if let Some(differs) = card.differs {
            let _ = write!(out, "\nDIFFERENT FROM THE PUBLIC CATALOGUE\n{}", wrap(differs, columns, "  "));
        }
        fields(&mut out, "THRESHOLDS", &card.thresholds, width);
        out.push_str("\nWHAT TO DO\n");
        for remedy in card.remedy {
            let text = wrap(remedy, columns, "    ");
            out.push_str("  - ");
            out.push_str(text.trim_start());
        }
        fields(&mut out, "EVIDENCE", &card.evidence, width);
        let needs = if card.needs.is_empty() { "no answer".into() } else { card.needs.join(", ") };
        let _ = writeln!(out, "\nNEEDS\n  {needs}");
        if !card.evidence_from.is_empty() {
            let _ = writeln!(out, "  for the evidence also {}", card.evidence_from.join(", "));
        }
        if !card.listens_to.is_empty() {
            let _ = writeln!(out, "  what servers announce on {}", card.listens_to.join(", "));
        }
        if let Some(url) = card.docs_url {
            let _ = writeln!(out, "\nSEE\n  {url}");
        }
    }
    out
}

fn fields(out: &mut String, title: &str, fields: &[Field], width: u16) {
    if fields.is_empty() {
        return;
    }
    let mut table = grid(width.saturating_sub(2));
    for field in fields {
        let key = match &field.default {
            Some(default) => format!("{} = {default}", field.key),
            None => field.key.clone(),
        };
        table.add_row([key, field.description.clone()]);
    }
    let _ = writeln!(out, "\n{title}");
    for line in lines(table).lines() {
        let _ = writeln!(out, "  {line}");
    }
}
